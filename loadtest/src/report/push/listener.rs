//! Answers `GET /metrics` with what the run counts at that moment. It shares the machine with a generator that must
//! not be disturbed, so it takes few connections, small requests, and no second request on a connection.

use std::{sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    time::{sleep, timeout},
};

use super::{metrics, prometheus};
use crate::report::progress::Progress;

/// Scrapers are few; more connections wait.
const CONNECTIONS_MAX: usize = 16;

/// Scrapers send some hundred bytes.
const REQUEST_BYTES_MAX: usize = 8 << 10;

/// For request and answer together.
const SCRAPE_TIMEOUT: Duration = Duration::from_secs(5);

/// After an accept that failed (descriptors used up): long enough for some to close.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers until aborted. Where `last` holds a text (the finished run's figures), it is the answer.
pub async fn serve(listener: TcpListener, feed: watch::Receiver<Progress>, last: watch::Receiver<String>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        // The semaphore lives as long as this loop and is never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let Ok((stream, _)) = listener.accept().await else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let (feed, last) = (feed.clone(), last.clone());
        tokio::spawn(async move {
            let _place = place;
            // A scraper that is slow or gone is its own trouble.
            let _ = timeout(SCRAPE_TIMEOUT, answer(stream, &feed, &last)).await;
        });
    }
}

async fn answer(
    mut stream: TcpStream,
    feed: &watch::Receiver<Progress>,
    last: &watch::Receiver<String>,
) -> std::io::Result<()> {
    let mut request = Vec::with_capacity(1024);
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        if request.len() > REQUEST_BYTES_MAX {
            return respond(
                &mut stream,
                "431 Request Header Fields Too Large",
                "text/plain",
                "",
                true,
            )
            .await;
        }
        if stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let line = request.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = path.split(|byte| *byte == b'?').next().unwrap_or_default();
    let with_body = method != b"HEAD";
    match (method, path) {
        (b"GET" | b"HEAD", b"/metrics") => {
            let last = last.borrow().clone();
            let text = if last.is_empty() {
                let snapshot = metrics::of_progress(&feed.borrow());
                prometheus::write(&snapshot)
            } else {
                last
            };
            respond(&mut stream, "200 OK", prometheus::CONTENT_TYPE, &text, with_body).await
        }
        (b"GET" | b"HEAD", _) => {
            respond(
                &mut stream,
                "404 Not Found",
                "text/plain",
                "metrics are at /metrics\n",
                with_body,
            )
            .await
        }
        _ => respond(&mut stream, "405 Method Not Allowed", "text/plain", "", true).await,
    }
}

async fn respond(
    stream: &mut TcpStream,
    status: &str,
    kind: &str,
    body: &str,
    with_body: bool,
) -> std::io::Result<()> {
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nallow: GET, HEAD\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    if with_body {
        stream.write_all(body.as_bytes()).await?;
    }
    stream.shutdown().await
}

//! HTTP/2 against a peer made of the `h2` crate's other half.

use super::*;
use h2::{Reason, server};
use http::{Response, StatusCode};
use std::net::SocketAddr;
use tokio::net::{TcpListener, TcpStream};

type Incoming = (http::Request<h2::RecvStream>, server::SendResponse<Bytes>);
type Served = server::Connection<TcpStream, Bytes>;

/// A listener whose first connection is given to `serve`.
async fn peer<F>(streams_max: u32, serve: impl FnOnce(Served) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("accepts");
        let connection = server::Builder::new()
            .max_concurrent_streams(streams_max)
            .handshake(stream)
            .await
            .expect("shakes hands");
        serve(connection).await;
    });
    address
}

async fn target(address: SocketAddr) -> Target {
    let options = TargetOptions {
        http: HttpChoice::Http2,
        ..TargetOptions::default()
    };
    Target::resolve(&format!("http://{address}/mcp"), &options)
        .await
        .expect("resolves")
}

async fn next(connection: &mut Served) -> Incoming {
    connection.accept().await.expect("a stream").expect("a request")
}

async fn body_of(request: &mut http::Request<h2::RecvStream>) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(data) = request.body_mut().data().await {
        let data = data.expect("data");
        let _ = request.body_mut().flow_control().release_capacity(data.len());
        all.extend_from_slice(&data);
    }
    all
}

fn answer(respond: &mut server::SendResponse<Bytes>, body: impl Into<Bytes>) {
    let head = Response::builder()
        .status(StatusCode::OK)
        .header("content-type", "application/json")
        .header("mcp-session-id", "s-2")
        .body(())
        .expect("a head");
    let mut send = respond.send_response(head, false).expect("sends");
    send.send_data(body.into(), true).expect("sends");
}

/// Lets the connection move its frames until the other side closes.
async fn drain(mut connection: Served) {
    while let Some(Ok(_)) = connection.accept().await {}
}

#[tokio::test]
async fn many_calls_share_a_connection_and_come_back_in_any_order() {
    let address = peer(8, |mut connection| async move {
        let mut waiting = Vec::new();
        for _ in 0..3 {
            let (mut request, respond) = next(&mut connection).await;
            assert_eq!(
                (request.uri().path(), request.method().as_str()),
                ("/mcp", "POST")
            );
            assert_eq!(request.headers()["content-type"], "application/json");
            waiting.push((request.headers()["x-n"].clone(), respond));
            tokio::spawn(async move {
                assert_eq!(body_of(&mut request).await, CALL.as_bytes());
            });
        }
        while let Some((n, mut respond)) = waiting.pop() {
            answer(&mut respond, Bytes::copy_from_slice(n.as_bytes()));
        }
        drain(connection).await;
    })
    .await;
    let target = target(address).await;
    let head = post(&target);
    let connection = Connection::open(&target).await.expect("connects");
    assert!(connection.is_multiplexed());
    assert_eq!(connection.capacity(), 8);
    let mut calls = Vec::new();
    for n in 0..3 {
        let (mut handle, head) = (connection.share().expect("a handle"), head.clone());
        calls.push(tokio::spawn(async move {
            let extra = [(http::HeaderName::from_static("x-n"), http::HeaderValue::from(n))];
            let request = Request {
                extra: &extra,
                ..request(&head)
            };
            handle.exchange(&request, &want()).await
        }));
    }
    for (n, call) in calls.into_iter().enumerate() {
        let answer = call.await.expect("runs").expect("answered");
        assert_eq!(
            (answer.status, answer.content, answer.ended),
            (200, Content::Json, Ended::Complete)
        );
        assert_eq!(answer.body, n.to_string());
        assert_eq!(answer.session_id.as_deref(), Some(&b"s-2"[..]));
        assert!(answer.bytes_out > CALL.len() as u64 && answer.bytes_in > 1);
        assert!(answer.written <= answer.first.expect("a body came"));
    }
    assert_eq!(connection.capacity(), 8);
}

#[tokio::test]
async fn the_peers_limit_on_streams_is_kept() {
    let address = peer(1, |mut connection| async move {
        let held = next(&mut connection).await;
        drain(connection).await;
        drop(held);
    })
    .await;
    let target = target(address).await;
    let head = post(&target);
    let connection = Connection::open(&target).await.expect("connects");
    let (mut one, mut two) = (connection.share().expect("one"), connection.share().expect("two"));
    let held = tokio::spawn({
        let head = head.clone();
        async move { one.exchange(&request(&head), &want()).await.map(|_| ()) }
    });
    while connection.capacity() > 0 {
        tokio::task::yield_now().await;
    }
    let fault = two.exchange(&request(&head), &want()).await.expect_err("no room");
    assert_eq!(fault.key(), "refused");
    assert!(connection.is_reusable());
    held.abort();
}

#[tokio::test]
async fn a_reset_stream_harms_no_other_and_a_refused_one_is_told_apart() {
    let address = peer(8, |mut connection| async move {
        for reason in [Reason::INTERNAL_ERROR, Reason::REFUSED_STREAM] {
            next(&mut connection).await.1.send_reset(reason);
        }
        let (_, mut respond) = next(&mut connection).await;
        answer(&mut respond, "{}");
        drain(connection).await;
    })
    .await;
    let target = target(address).await;
    let head = post(&target);
    let mut connection = Connection::open(&target).await.expect("connects");
    for key in ["reset", "refused"] {
        let fault = connection
            .exchange(&request(&head), &want())
            .await
            .expect_err(key);
        assert_eq!(fault.key(), key, "{fault}");
    }
    let answer = connection
        .exchange(&request(&head), &want())
        .await
        .expect("answered");
    assert_eq!(answer.body, "{}");
}

#[tokio::test]
async fn after_goaway_what_was_taken_is_answered_and_nothing_more_is_sent() {
    let address = peer(8, |mut connection| async move {
        let (_, mut respond) = next(&mut connection).await;
        connection.graceful_shutdown();
        answer(&mut respond, "{}");
        drain(connection).await;
    })
    .await;
    let target = target(address).await;
    let head = post(&target);
    let mut connection = Connection::open(&target).await.expect("connects");
    let answer = connection
        .exchange(&request(&head), &want())
        .await
        .expect("answered");
    assert_eq!(answer.body, "{}");
    while connection.is_reusable() {
        tokio::task::yield_now().await;
    }
    assert_eq!(connection.capacity(), 0);
    let fault = connection
        .exchange(&request(&head), &want())
        .await
        .expect_err("gone");
    assert!(fault.stale, "{fault}");
}

#[tokio::test]
async fn a_connection_that_ends_under_a_call_is_closed() {
    let address = peer(8, |mut connection| async move {
        drop(next(&mut connection).await);
    })
    .await;
    let target = target(address).await;
    let head = post(&target);
    let mut connection = Connection::open(&target).await.expect("connects");
    let fault = connection
        .exchange(&request(&head), &want())
        .await
        .expect_err("ends");
    // The peer's own library may reset the stream, or the socket, on its way out.
    assert!(
        matches!(
            fault.kind,
            FaultKind::Closed | FaultKind::Reset | FaultKind::Refused
        ),
        "{fault}"
    );
    assert!(!fault.stale);
}

#[tokio::test]
async fn an_http1_server_spoken_to_in_http2_is_a_fault_of_opening() {
    use super::peer::{Step, say};
    let steps = vec![
        say("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"),
        Step::Hold,
    ];
    let peer = Peer::start(vec![steps]).await;
    let fault = Connection::open(&target(peer.address).await)
        .await
        .err()
        .expect("not HTTP/2");
    assert_eq!(fault.key(), "protocol", "{fault}");
}

#[tokio::test]
async fn events_come_one_by_one_and_walking_away_resets_the_stream() {
    let (tell, told) = tokio::sync::oneshot::channel();
    let address = peer(8, |mut connection| async move {
        let (_, mut respond) = next(&mut connection).await;
        let head = Response::builder()
            .header("content-type", "text/event-stream")
            .body(())
            .expect("a head");
        let mut send = respond.send_response(head, false).expect("sends");
        for data in ["data: 1\n\nda", "ta: 2\n\n", "data: 3\n\n"] {
            send.send_data(data.into(), false).expect("sends");
        }
        tokio::spawn(async move {
            let reason = std::future::poll_fn(|cx| send.poll_reset(cx)).await;
            let _ = tell.send(reason.expect("a reset"));
        });
        let (_, mut respond) = next(&mut connection).await;
        answer(&mut respond, "{}");
        drain(connection).await;
    })
    .await;
    let target = target(address).await;
    let head = post(&target);
    let mut connection = Connection::open(&target).await.expect("connects");
    let mut seen = Vec::new();
    let answer = connection
        .exchange_with(&request(&head), &want(), &mut |event: &Event, _| {
            seen.push(event.data.clone());
            if seen.len() == 2 {
                Flow::Stop
            } else {
                Flow::Continue
            }
        })
        .await
        .expect("stopped");
    assert_eq!(
        (answer.events, answer.ended, &answer.body[..]),
        (2, Ended::Stopped, &b"2"[..])
    );
    let answer = connection
        .exchange(&request(&head), &want())
        .await
        .expect("the connection goes on");
    assert_eq!(answer.body, "{}");
    let reason = tokio::time::timeout(PATIENCE, told)
        .await
        .expect("in time")
        .expect("told");
    assert_eq!(reason, Reason::CANCEL);
}

#[tokio::test]
async fn a_large_answer_passes_every_window_also_for_a_slow_reader() {
    const SIZE: usize = 6_000_000;
    let address = peer(8, |mut connection| async move {
        for size in [SIZE, 30_000] {
            let (_, mut respond) = next(&mut connection).await;
            answer(&mut respond, vec![b'x'; size]);
        }
        drain(connection).await;
    })
    .await;
    let target = target(address).await;
    let head = post(&target);
    let options = OpenOptions {
        receive_buffer_bytes: Some(4096),
    };
    let mut connection = Connection::open_with(&target, &options).await.expect("connects");
    let answer = connection
        .exchange(&request(&head), &want())
        .await
        .expect("answered");
    assert_eq!((answer.body.len(), answer.body_bytes), (SIZE, SIZE as u64));
    let slow = Want {
        read_bytes_per_s: Some(60_000),
        ..want()
    };
    let began = Instant::now();
    let answer = connection
        .exchange(&request(&head), &slow)
        .await
        .expect("answered");
    assert_eq!(answer.body.len(), 30_000);
    assert!(
        began.elapsed() >= Duration::from_millis(300),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn a_call_can_time_out_or_be_abandoned_and_the_connection_goes_on() {
    let address = peer(8, |mut connection| async move {
        let mut held = Vec::new();
        for _ in 0..2 {
            held.push(next(&mut connection).await);
        }
        let (_, mut respond) = next(&mut connection).await;
        answer(&mut respond, "{}");
        drain(connection).await;
    })
    .await;
    let target = target(address).await;
    let head = post(&target);
    let mut connection = Connection::open(&target).await.expect("connects");
    let hasty = Want {
        timeout: Some(Duration::from_millis(50)),
        ..Want::default()
    };
    let fault = connection
        .exchange(&request(&head), &hasty)
        .await
        .expect_err("silence");
    assert_eq!(fault.key(), "timeout");
    let soon = Want {
        abandon: Abandon::After(Duration::from_millis(50)),
        ..want()
    };
    let answer = connection
        .exchange(&request(&head), &soon)
        .await
        .expect("abandoned");
    assert_eq!((answer.status, answer.ended), (0, Ended::Abandoned));
    let answer = connection
        .exchange(&request(&head), &want())
        .await
        .expect("answered");
    assert_eq!((answer.status, &answer.body[..]), (200, &b"{}"[..]));
}

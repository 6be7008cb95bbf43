//! A peer that follows a script: for each connection a list of steps.

use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinHandle,
};

/// What the peer does next on a connection.
#[derive(Clone)]
pub enum Step {
    /// Reads one request (head, and body by its `content-length`) and reports it.
    Hear,
    /// Sends this in one write.
    Say(Vec<u8>),
    /// Sends this one byte at a time, each its own segment.
    Spell(Vec<u8>),
    /// Waits until the other side has closed, and reports so.
    HearClose,
    /// Closes with a reset.
    Reset,
    /// Stays silent with the connection open.
    Hold,
}

pub fn say(text: impl AsRef<[u8]>) -> Step {
    Step::Say(text.as_ref().to_vec())
}

/// What a [`Step::HearClose`] reports.
pub const CLOSED: &str = "(closed)";

pub struct Peer {
    pub address: SocketAddr,
    heard: mpsc::UnboundedReceiver<String>,
    task: JoinHandle<()>,
}

impl Peer {
    /// One list of steps for each connection in order; more connections are not accepted.
    pub async fn start(connections: Vec<Vec<Step>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("bound");
        let (tell, heard) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            for steps in connections {
                let (stream, _) = listener.accept().await.expect("accepts");
                tokio::spawn(follow(stream, steps, tell.clone()));
            }
            std::future::pending::<()>().await;
        });
        Self { address, heard, task }
    }

    pub fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}/mcp", self.address)
    }

    /// The next thing heard.
    pub async fn heard(&mut self) -> String {
        tokio::time::timeout(super::PATIENCE, self.heard.recv())
            .await
            .expect("the peer hears in time")
            .expect("the peer runs")
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn follow(mut stream: TcpStream, steps: Vec<Step>, tell: mpsc::UnboundedSender<String>) {
    stream.set_nodelay(true).expect("a socket");
    let mut buf = Vec::new();
    for step in steps {
        match step {
            Step::Hear => match hear(&mut stream, &mut buf).await {
                Some(request) => drop(tell.send(request)),
                None => return,
            },
            Step::Say(bytes) => {
                if stream.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            Step::Spell(bytes) => {
                for byte in bytes {
                    if stream.write_all(&[byte]).await.is_err() {
                        return;
                    }
                    // Lets the reader run, so that most bytes are read alone.
                    tokio::task::yield_now().await;
                }
            }
            Step::HearClose => {
                let mut rest = Vec::new();
                let _ = stream.read_to_end(&mut rest).await;
                let _ = tell.send(CLOSED.to_owned());
            }
            Step::Reset => {
                stream.set_zero_linger().expect("a socket");
                return;
            }
            Step::Hold => tokio::time::sleep(Duration::from_secs(3600)).await,
        }
    }
}

async fn hear(stream: &mut TcpStream, buf: &mut Vec<u8>) -> Option<String> {
    loop {
        if let Some(length) = whole(buf) {
            let request: Vec<u8> = buf.drain(..length).collect();
            return Some(String::from_utf8(request).expect("text"));
        }
        if stream.read_buf(buf).await.ok()? == 0 {
            return None;
        }
    }
}

fn whole(buf: &[u8]) -> Option<usize> {
    let text = String::from_utf8_lossy(buf);
    let head = text.find("\r\n\r\n")? + 4;
    let length = text[..head]
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |digits| digits.parse().expect("a number"));
    (buf.len() >= head + length).then_some(head + length)
}

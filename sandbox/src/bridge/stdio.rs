//! The pipes of a local process as a [`Duplex`]: one message per line (specification, "stdio").

use super::duplex::{Duplex, Incoming, Link, READ_AHEAD};
use crate::{
    limits::Limits,
    process::{
        Launch,
        child::{self, Pipes, Wish},
    },
};
use bytes::Bytes;
use std::{io, time::Duration};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader, BufWriter},
    process::ChildStdin,
    sync::{OwnedSemaphorePermit, mpsc, watch},
    time::timeout,
};

/// Read from a pipe at once; Linux pipes hold this much.
const CHUNK: usize = 64 << 10;
/// For reading what a dead process left in its pipe.
const DRAIN: Duration = Duration::from_secs(1);
/// Kept of both ends of a line that is too long: enough for `{"jsonrpc":"2.0","id":…,`.
const ENDS: usize = 64;

/// Starts a process and opens the channel to it.
pub(crate) fn open(
    launch: &Launch,
    limits: &Limits,
    places: Vec<OwnedSemaphorePermit>,
) -> io::Result<Duplex> {
    let (process, Pipes { stdin, stdout, wish }) = child::spawn(launch, limits, places)?;
    let (outgoing, messages) = mpsc::channel(limits.outgoing_queue_max);
    let (lines, incoming) = mpsc::channel(READ_AHEAD);
    tokio::spawn(write(stdin, messages, wish, launch.name.clone()));
    // The reader must not keep the process alive: it watches for its end through a clone that cannot stop it.
    tokio::spawn(read(
        Lines::new(stdout, limits.line_bytes_max),
        lines,
        process.watch(),
    ));
    Ok(Duplex {
        outgoing,
        incoming,
        link: Link::Process(process),
    })
}

/// Writes messages until the stop or until nobody can send any more; dropping stdin then is the server's sign to end.
async fn write(
    stdin: ChildStdin,
    mut messages: mpsc::Receiver<Bytes>,
    mut wish: watch::Receiver<Wish>,
    server: String,
) {
    let mut stdin = BufWriter::with_capacity(CHUNK, stdin);
    let all = async {
        while let Some(message) = messages.recv().await {
            stdin.write_all(&message).await?;
            stdin.write_all(b"\n").await?;
            // Messages that wait already leave in one write.
            if messages.is_empty() {
                stdin.flush().await?;
            }
        }
        stdin.flush().await
    };
    let outcome = tokio::select! {
        outcome = all => outcome,
        _ = wish.wait_for(|wish| *wish >= Wish::Stop) => Ok(()),
    };
    if let Err(error) = outcome {
        // Usually the process has just ended, and that is told elsewhere.
        tracing::debug!(server, %error, "cannot write to a local server");
    }
}

/// Reads to the end of the pipe, even when nobody listens any more: a server that blocks on a full pipe could not
/// end by itself.
async fn read(
    mut lines: Lines<impl AsyncRead + Unpin>,
    messages: mpsc::Sender<Incoming>,
    process: child::Watch,
) {
    let all = async {
        let mut heard = true;
        // A read error on a pipe is its end as well.
        while let Ok(Some(line)) = lines.next().await {
            heard = heard && messages.send(line).await.is_ok();
        }
    };
    tokio::pin!(all);
    tokio::select! {
        biased;
        () = &mut all => {}
        // A stray that hides from us may hold the pipe open for ever; what it holds already is still read.
        () = process.gone() => {
            let _ = timeout(DRAIN, all).await;
        }
    }
}

/// Lines of bounded length.
struct Lines<R> {
    from: BufReader<R>,
    max: usize,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    fn new(from: R, max: usize) -> Self {
        Self {
            from: BufReader::with_capacity(CHUNK, from),
            max,
        }
    }

    /// The next line that is not blank, without its end; `None` at the end of the pipe.
    async fn next(&mut self) -> io::Result<Option<Incoming>> {
        loop {
            let mut line = Vec::new();
            let limit = self.max as u64 + 1;
            if (&mut self.from).take(limit).read_until(b'\n', &mut line).await? == 0 {
                return Ok(None);
            }
            if line.len() > self.max && line.last() != Some(&b'\n') {
                return self.skip(line).await.map(Some);
            }
            let text = line.trim_ascii_end().len();
            line.truncate(text);
            if !line.trim_ascii_start().is_empty() {
                return Ok(Some(Incoming::Message(line.into())));
            }
        }
    }

    /// Passes the rest of a line that began with `head`.
    async fn skip(&mut self, mut head: Vec<u8>) -> io::Result<Incoming> {
        let mut tail = Vec::new();
        loop {
            let read = (&mut self.from)
                .take(CHUNK as u64)
                .read_until(b'\n', &mut tail)
                .await?;
            let over = read == 0 || tail.last() == Some(&b'\n');
            if over {
                tail.truncate(tail.trim_ascii_end().len());
            }
            tail.drain(..tail.len().saturating_sub(ENDS));
            if over {
                head.truncate(ENDS);
                // The kept bytes must not hold the whole line's memory.
                return Ok(Incoming::TooLong {
                    head: Bytes::copy_from_slice(&head),
                    tail: tail.into(),
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines(text: &[u8], max: usize) -> Vec<String> {
        let mut lines = Lines::new(text, max);
        let mut found = Vec::new();
        while let Some(line) = lines.next().await.expect("memory does not fail") {
            found.push(match line {
                Incoming::Message(line) => String::from_utf8_lossy(&line).into_owned(),
                Incoming::TooLong { head, tail } => {
                    format!(
                        "{}…{}",
                        String::from_utf8_lossy(&head),
                        String::from_utf8_lossy(&tail)
                    )
                }
            });
        }
        found
    }

    #[tokio::test]
    async fn splits_lines_of_any_ending() {
        assert_eq!(
            lines(b"one\r\ntwo\n\n  \nthree", 100).await,
            ["one", "two", "three"]
        );
        assert_eq!(lines(b"", 100).await, [""; 0]);
    }

    #[tokio::test]
    async fn a_long_line_leaves_its_ends_and_the_next_line_whole() {
        let long = [
            &b"{\"jsonrpc\":\"2.0\","[..],
            &[b'x'; 300_000],
            b",\"id\":12}\r\n{}\n",
        ]
        .concat();
        let found = lines(&long, 1000).await;
        assert_eq!(found.len(), 2);
        assert!(
            found[0].starts_with("{\"jsonrpc\":\"2.0\",x") && found[0].ends_with("x,\"id\":12}"),
            "{}",
            found[0]
        );
        assert_eq!(found[1], "{}");
        assert_eq!(lines(b"12345\n123456\n", 5).await, ["12345", "123456…"]);
    }
}

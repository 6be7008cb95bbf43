//! Frames: four bytes of length, big end first, then so many bytes of JSON.

use super::{SILENCE_MAX, WRITE_MAX};
use serde::{Serialize, de::DeserializeOwned};
use std::{io, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    time::timeout,
};

/// Read at once before more memory is taken: a length is only a promise.
const PIECE_BYTES: usize = 64 * 1024;

/// Why nothing more can be said on a connection.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The other side closed.
    #[error("the connection was closed")]
    Closed,
    /// Nothing came.
    #[error("nothing was heard for {} s", .0.as_secs())]
    Silent(Duration),
    /// A frame beyond its bound.
    #[error("a message of {bytes} bytes, where {max} is the most")]
    TooLarge {
        /// As announced.
        bytes: usize,
        /// The bound.
        max: usize,
    },
    /// Not what is said here.
    #[error("a message that is not understood: {0}")]
    Garbled(#[from] serde_json::Error),
    /// The network.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Reads one frame; silence longer than [`SILENCE_MAX`] is an error.
pub async fn read<T: DeserializeOwned>(
    from: &mut (impl AsyncRead + Unpin),
    bytes_max: usize,
) -> Result<T, FrameError> {
    read_within(from, bytes_max, SILENCE_MAX).await
}

/// Reads one frame that begins and goes on without longer silences than `silence_max`.
pub async fn read_within<T: DeserializeOwned>(
    from: &mut (impl AsyncRead + Unpin),
    bytes_max: usize,
    silence_max: Duration,
) -> Result<T, FrameError> {
    let silent = |_| FrameError::Silent(silence_max);
    let mut length = [0; 4];
    timeout(silence_max, from.read_exact(&mut length))
        .await
        .map_err(silent)?
        .map_err(ended)?;
    let bytes = u32::from_be_bytes(length) as usize;
    if bytes > bytes_max {
        return Err(FrameError::TooLarge {
            bytes,
            max: bytes_max,
        });
    }
    let mut frame = Vec::with_capacity(bytes.min(PIECE_BYTES));
    while frame.len() < bytes {
        let at = frame.len();
        frame.resize(bytes.min(at + PIECE_BYTES), 0);
        timeout(silence_max, from.read_exact(&mut frame[at..]))
            .await
            .map_err(silent)?
            .map_err(ended)?;
    }
    Ok(serde_json::from_slice(&frame)?)
}

/// Writes one frame.
pub async fn write(
    to: &mut (impl AsyncWrite + Unpin),
    message: &impl Serialize,
    bytes_max: usize,
) -> Result<(), FrameError> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, message)?;
    let bytes = frame.len() - 4;
    let announced = u32::try_from(bytes).ok().filter(|_| bytes <= bytes_max);
    let Some(announced) = announced else {
        return Err(FrameError::TooLarge {
            bytes,
            max: bytes_max,
        });
    };
    frame[..4].copy_from_slice(&announced.to_be_bytes());
    match timeout(WRITE_MAX, to.write_all(&frame)).await {
        Ok(written) => written.map_err(ended),
        Err(_) => Err(FrameError::Silent(WRITE_MAX)),
    }
}

fn ended(error: io::Error) -> FrameError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe => FrameError::Closed,
        _ => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_written_is_read() {
        let (mut one, mut two) = tokio::io::duplex(64);
        let long = "x".repeat(200_000);
        let written = long.clone();
        let writer = tokio::spawn(async move { write(&mut one, &written, 1 << 20).await });
        let heard: String = read(&mut two, 1 << 20).await.expect("reads");
        writer.await.expect("runs").expect("writes");
        assert_eq!(heard, long);
        assert!(matches!(
            read::<String>(&mut two, 10).await,
            Err(FrameError::Closed)
        ));
    }

    #[tokio::test]
    async fn bounds_hold_on_both_sides_and_garbage_is_named() {
        let mut none = Vec::new();
        let long = "x".repeat(100);
        assert!(matches!(
            write(&mut none, &long, 50).await,
            Err(FrameError::TooLarge { bytes: 102, max: 50 })
        ));
        assert!(none.is_empty());
        let announced = [&u32::MAX.to_be_bytes()[..], b"{}"].concat();
        assert!(matches!(
            read::<String>(&mut &announced[..], 50).await,
            Err(FrameError::TooLarge { .. })
        ));
        let garbage = [&2u32.to_be_bytes()[..], b"}{"].concat();
        assert!(matches!(
            read::<String>(&mut &garbage[..], 50).await,
            Err(FrameError::Garbled(_))
        ));
        let cut = [&9u32.to_be_bytes()[..], b"\"abc"].concat();
        assert!(matches!(
            read::<String>(&mut &cut[..], 50).await,
            Err(FrameError::Closed)
        ));
    }

    #[tokio::test]
    async fn silence_has_a_bound() {
        let (mut reader, _writer) = tokio::io::duplex(64);
        let heard = read_within::<String>(&mut reader, 50, Duration::from_millis(20)).await;
        assert!(matches!(heard, Err(FrameError::Silent(_))));
    }
}

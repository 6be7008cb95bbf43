//! The floor under Ringway's own I/O: a relay over `ringway_runtime::io` on io_uring.
//!
//! It takes turns: what one read brings from the client goes to the upstream, what one read brings from there goes
//! back. That is right only where each message arrives in one piece, as small calls on loopback do; the difference
//! to the bare relay is what the driver costs, and the difference to Ringway what Ringway does.

use bytes::BytesMut;
use ringway_runtime::io::{Driver, Stream, TcpListener, connect_tcp, run as run_io, spawn};
use std::{io, net::SocketAddr};

/// As the data plane's own listeners.
const BACKLOG: i32 = 4_096;
/// Takes a small call or its answer whole.
const BUFFER_BYTES: usize = 8 << 10;

/// Runs for ever.
pub fn run(listen: SocketAddr, upstream: SocketAddr) -> io::Result<()> {
    run_io(Driver::Uring, serve(listen, upstream))?
}

async fn serve(listen: SocketAddr, upstream: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(listen, false, BACKLOG)?;
    loop {
        let (client, _) = listener.accept().await?;
        spawn(async move {
            // Either side's end is the pair's.
            let _ = turns(client, upstream).await;
        });
    }
}

async fn turns(mut client: Stream, upstream: SocketAddr) -> io::Result<()> {
    let mut server = connect_tcp(upstream).await?;
    server.set_nodelay(true)?;
    let mut buffer = BytesMut::with_capacity(BUFFER_BYTES);
    loop {
        buffer = pass(&mut client, &mut server, buffer).await?;
        buffer = pass(&mut server, &mut client, buffer).await?;
    }
}

async fn pass(from: &mut Stream, to: &mut Stream, mut buffer: BytesMut) -> io::Result<BytesMut> {
    buffer.clear();
    buffer.reserve(BUFFER_BYTES);
    let (read, mut buffer) = from.read_append(buffer).await;
    if read? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    to.write_all(buffer.split().freeze()).await?;
    Ok(buffer)
}

//! The floor under Ringway's own I/O: a relay over `ringway_runtime::io` on io_uring.
//!
//! It takes turns: what one read brings from the client goes to the upstream, what one read brings from there goes
//! back. That is right only where each message arrives in one piece, as small calls on loopback do; the difference
//! to the bare relay is what the driver costs, and the difference to Ringway what Ringway does.

use bytes::BytesMut;
use ringway_runtime::io::{Driver, Stream, TcpListener, connect_tcp, run as run_io, spawn};
use std::{cell::Cell, io, net::SocketAddr, rc::Rc, time::Duration};

/// As the data plane's own listeners.
const BACKLOG: i32 = 4_096;
/// Calls between two naps when working in batches, and how long those are; the relay says why.
const BATCH: usize = 32;
const NAP: Duration = Duration::from_micros(400);
/// Takes a small call or its answer whole.
const BUFFER_BYTES: usize = 8 << 10;

/// Runs for ever.
pub fn run(listen: SocketAddr, upstream: SocketAddr, in_batches: bool) -> io::Result<()> {
    run_io(Driver::Uring, serve(listen, upstream, in_batches))?
}

async fn serve(listen: SocketAddr, upstream: SocketAddr, in_batches: bool) -> io::Result<()> {
    // Counts down to the next nap.
    let left = Rc::new(Cell::new(if in_batches { BATCH } else { usize::MAX }));
    let listener = TcpListener::bind(listen, false, BACKLOG)?;
    loop {
        let (client, _) = listener.accept().await?;
        let left = left.clone();
        spawn(async move {
            // Either side's end is the pair's.
            let _ = turns(client, upstream, &left).await;
        });
    }
}

async fn turns(mut client: Stream, upstream: SocketAddr, left: &Cell<usize>) -> io::Result<()> {
    let mut server = connect_tcp(upstream).await?;
    server.set_nodelay(true)?;
    let mut buffer = BytesMut::with_capacity(BUFFER_BYTES);
    loop {
        buffer = pass(&mut client, &mut server, buffer).await?;
        left.set(left.get() - 1);
        if left.get() == 0 {
            left.set(BATCH);
            // The whole thread, so that work gathers for all connections.
            std::thread::sleep(NAP);
        }
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

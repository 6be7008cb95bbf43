//! The floor: a layer-4 relay on one epoll, the least any proxy on this kernel must do.
//!
//! Each client connection has one of its own to the upstream. What is readable is read once into one shared
//! buffer and written at once to the other side; only what the socket does not take is kept. No timers, no limits,
//! no words: it is a yardstick, not a proxy.
//!
//! The relay is faster than any generator and upstream that share one processor. Left alone it would run out of work
//! after every message, go to sleep and be woken by the next, which costs more than the message: a relay under load
//! and yet not saturated. So it can be told to work in batches, as a saturated proxy does by itself. That costs
//! latency and shows the CPU time of the work alone.

use rustix::{
    buffer::spare_capacity,
    event::epoll::{self, EventData, EventFlags},
    io::Errno,
};
use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

/// One read takes a whole 64 KiB answer with its head.
const BUFFER_BYTES: usize = 128 * 1024;
/// Events taken from the kernel at once.
const EVENTS: usize = 256;
/// The listener's mark among the events; connections are numbered from zero.
const LISTENER: u64 = u64::MAX;

/// Sockets worth beginning with when working in batches: half of the usual 64 connections.
const BATCH: usize = 32;
/// How long to wait for so many, once.
const NAP: Duration = Duration::from_micros(200);

/// One direction's receiving end.
struct Side {
    socket: TcpStream,
    /// Bytes for this socket that it did not take at once.
    waiting: Vec<u8>,
}

/// Runs for ever. In batches, it waits until a good number of sockets are readable.
pub fn run(listen: SocketAddr, upstream: SocketAddr, in_batches: bool) -> io::Result<()> {
    let listener = TcpListener::bind(listen)?;
    listener.set_nonblocking(true)?;
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&poll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    // Side 2n is a client, side 2n + 1 its upstream.
    let mut sides: Vec<Option<Side>> = Vec::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut events = Vec::with_capacity(EVENTS);
    let mut napped = false;
    loop {
        match epoll::wait(&poll, spare_capacity(&mut events), None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if in_batches && !napped && events.len() < BATCH {
            // They are level-triggered, so the same ones come again, with more.
            events.clear();
            std::thread::sleep(NAP);
            napped = true;
            continue;
        }
        napped = false;
        for event in events.drain(..) {
            let mark = event.data.u64();
            if mark == LISTENER {
                accept(&poll, &listener, upstream, &mut sides)?;
                continue;
            }
            let me = usize::try_from(mark).unwrap_or(usize::MAX);
            if serve(&poll, &mut sides, me, event.flags, &mut buffer).is_err() {
                // Dropping both sockets takes them out of the poll.
                for side in [me & !1, me | 1] {
                    if let Some(side) = sides.get_mut(side) {
                        *side = None;
                    }
                }
            }
        }
    }
}

fn accept(
    poll: &impl std::os::fd::AsFd,
    listener: &TcpListener,
    upstream: SocketAddr,
    sides: &mut Vec<Option<Side>>,
) -> io::Result<()> {
    loop {
        let client = match listener.accept() {
            Ok((client, _)) => client,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => {
                eprintln!("accept: {error}");
                return Ok(());
            }
        };
        let Ok(server) = TcpStream::connect(upstream) else {
            continue;
        };
        let free = sides.chunks(2).position(|pair| pair.iter().all(Option::is_none));
        let first = free.map_or(sides.len(), |n| n * 2);
        if first == sides.len() {
            sides.resize_with(first + 2, || None);
        }
        for (place, socket) in [(first, client), (first + 1, server)] {
            socket.set_nodelay(true)?;
            socket.set_nonblocking(true)?;
            epoll::add(poll, &socket, EventData::new_u64(place as u64), EventFlags::IN)?;
            sides[place] = Some(Side {
                socket,
                waiting: Vec::new(),
            });
        }
    }
}

/// Moves what `me` has to its other side, and what waits for `me` to it. An error ends the pair.
fn serve(
    poll: &impl std::os::fd::AsFd,
    sides: &mut [Option<Side>],
    me: usize,
    flags: EventFlags,
    buffer: &mut [u8],
) -> io::Result<()> {
    let other = me ^ 1;
    let Some([one, two]) = sides.get_mut(me & !1..=me | 1) else {
        return Ok(());
    };
    let (mine, theirs) = if me & 1 == 0 { (one, two) } else { (two, one) };
    // The pair was closed by an earlier event of the same turn.
    let (Some(mine), Some(theirs)) = (mine, theirs) else {
        return Ok(());
    };
    if flags.contains(EventFlags::OUT) && !mine.waiting.is_empty() {
        let taken = written(&mut mine.socket, &mine.waiting)?;
        mine.waiting.drain(..taken);
        if mine.waiting.is_empty() {
            epoll::modify(poll, &mine.socket, EventData::new_u64(me as u64), EventFlags::IN)?;
            epoll::modify(
                poll,
                &theirs.socket,
                EventData::new_u64(other as u64),
                EventFlags::IN,
            )?;
        }
    }
    if !flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
        return Ok(());
    }
    if !theirs.waiting.is_empty() {
        return Ok(());
    }
    let read = match mine.socket.read(buffer) {
        Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(read) => read,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
        Err(error) => return Err(error),
    };
    let taken = written(&mut theirs.socket, &buffer[..read])?;
    if taken < read {
        theirs.waiting.extend_from_slice(&buffer[taken..read]);
        // Until it drains: wake for the writer, and read nothing more from the reader.
        let both = EventFlags::IN | EventFlags::OUT;
        epoll::modify(poll, &theirs.socket, EventData::new_u64(other as u64), both)?;
        epoll::modify(
            poll,
            &mine.socket,
            EventData::new_u64(me as u64),
            EventFlags::empty(),
        )?;
    }
    Ok(())
}

/// How much the socket took.
fn written(socket: &mut TcpStream, mut data: &[u8]) -> io::Result<usize> {
    let whole = data.len();
    while !data.is_empty() {
        match socket.write(data) {
            Ok(taken) => data = &data[taken..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(whole - data.len())
}

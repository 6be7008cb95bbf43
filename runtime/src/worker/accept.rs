//! One worker's life: serve until told to drain, take no more connections, wait for what is under way, cut what
//! is left at the deadline, and end with nothing in flight.

use super::{
    Message,
    signal::{Live, Signal, Stage},
    vitals::Vitals,
};
use crate::{
    downstream::{Hall, tls::ServerTls},
    http::Service,
    io::{self, Stream, TcpListener},
};
use bytes::Bytes;
use ringway_core::limits::{
    ACCEPT_BURST, ACCEPT_PAUSE_MS, DRAIN_ACCEPT_MS, DRAIN_CUT_MS, DownstreamLimits, HEARTBEAT_MS,
};
use std::{
    net::{SocketAddr, TcpListener as StdListener},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    rc::Rc,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

/// What a client hears when the worker has as many connections as it may.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\n\
    connection: close\r\n\r\n";
/// Time for the kernel to finish closing sockets and cancelled operations before the ring goes away.
const SETTLE: Duration = Duration::from_millis(5);

/// A bound socket and what is spoken there.
pub(super) struct Door {
    pub socket: StdListener,
    pub addr: SocketAddr,
    pub tls: Option<Arc<ServerTls>>,
}

/// A worker about to live.
pub(super) struct Worker {
    pub doors: Vec<Door>,
    pub inbox: async_channel::Receiver<Message>,
    pub vitals: Arc<Vitals>,
    pub limits: DownstreamLimits,
    pub started: mpsc::Sender<std::io::Result<()>>,
}

impl Worker {
    /// From the first connection to the last.
    pub(super) async fn live<S: Service>(self, make_service: impl FnOnce() -> Rc<S>) {
        let Self {
            doors,
            inbox,
            vitals,
            limits,
            started,
        } = self;
        vitals.beat();
        // A panic that got through to the loop would leave its ring and all that hangs on it behind.
        let Ok(service) = catch_unwind(AssertUnwindSafe(make_service)) else {
            let _ = started.send(Err(std::io::Error::other("its service could not be made: panic")));
            return;
        };
        let (signal, live) = (Rc::new(Signal::default()), Rc::new(Live::default()));
        let hall = Hall::new(service, limits, signal.clone(), live.clone(), vitals.clone());
        let accepting = Rc::new(Live::default());
        for door in doors {
            let (hall, guard) = (hall.clone(), accepting.enter());
            io::spawn(async move {
                let _guard = guard;
                serve_door(&hall, door).await;
            });
        }
        io::spawn(beat(vitals, signal.watch()));
        let _ = started.send(Ok(()));
        drop(started);

        let mut deadline = loop {
            if let Asked::Drain(deadline) = next_message(&inbox).await {
                break deadline;
            }
        };
        signal.set(Stage::Draining);
        let mut finished = pin!(async {
            accepting.none().await;
            live.none().await;
        });
        // Jobs still run while calls finish: they may be what a call waits for.
        while Instant::now() < deadline {
            let message = pin!(io::timeout_at(deadline, next_message(&inbox)));
            match io::first(finished.as_mut(), message).await {
                Ok(()) => break,
                Err(Ok(Asked::Drain(at))) => deadline = deadline.min(at),
                Err(Ok(Asked::Job) | Err(io::Elapsed)) => {}
            }
        }
        inbox.close();
        signal.set(Stage::Cut);
        let _ = io::timeout(Duration::from_millis(DRAIN_CUT_MS), live.none()).await;
        // Those hold a socket for at most the time of a linger.
        let _ = io::timeout(Duration::from_millis(DRAIN_CUT_MS), hall.refusals.none()).await;
        hall.service.ended();
        drop(hall);
        io::sleep(SETTLE).await;
    }
}

enum Asked {
    /// A job, which has been started.
    Job,
    /// To end by then.
    Drain(Instant),
}

/// Takes the next message; with nobody left to send one, it is time to end.
async fn next_message(inbox: &async_channel::Receiver<Message>) -> Asked {
    match inbox.recv().await {
        Ok(Message::Run(start)) => {
            io::spawn(async move { start().await });
            Asked::Job
        }
        Ok(Message::Drain(deadline)) => Asked::Drain(deadline),
        Err(_) => Asked::Drain(Instant::now()),
    }
}

/// Tells the world that the loop turns.
async fn beat(vitals: Arc<Vitals>, watch: super::signal::Watch) {
    loop {
        vitals.beat();
        let pause = io::sleep(Duration::from_millis(HEARTBEAT_MS));
        if io::race(watch.reached(Stage::Cut), pause).await.is_ok() {
            return;
        }
    }
}

/// Takes connections at one address until the worker drains; then what the kernel has queued, for a while.
async fn serve_door<S: Service>(hall: &Rc<Hall<S>>, door: Door) {
    let addr = door.addr;
    let listener = match TcpListener::from_std(door.socket) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!("the listener on {addr} cannot be used: {error}"),
    };
    let watch = hall.watch();
    let mut in_a_row = 0;
    let mut last_complaint: Option<Instant> = None;
    while watch.stage() == Stage::Serving {
        match io::race(watch.reached(Stage::Draining), listener.accept()).await {
            Ok(()) => break,
            Err(Ok((stream, remote))) => {
                take(hall, stream, remote, addr, door.tls.as_ref());
                in_a_row += 1;
                if in_a_row % ACCEPT_BURST == 0 {
                    io::yield_now().await;
                }
            }
            Err(Err(error)) => {
                hall.vitals.accept_errors.add_one();
                if last_complaint.is_none_or(|at| at.elapsed() > Duration::from_secs(1)) {
                    tracing::warn!("cannot take connections on {addr}: {error}");
                    last_complaint = Some(Instant::now());
                }
                io::sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
            }
        }
    }
    // Closing the listener would reset the connections in its queue.
    let end = Instant::now() + Duration::from_millis(DRAIN_ACCEPT_MS);
    while Instant::now() < end {
        match listener.try_accept() {
            Ok(Some((stream, remote))) => take(hall, stream, remote, addr, door.tls.as_ref()),
            Ok(None) | Err(_) => break,
        }
    }
}

fn take<S: Service>(
    hall: &Rc<Hall<S>>,
    stream: Stream,
    remote: SocketAddr,
    local: SocketAddr,
    tls: Option<&Arc<ServerTls>>,
) {
    if hall.connections.get() >= hall.limits.connections_per_worker_max {
        hall.vitals.connections_refused.add_one();
        // Under TLS a refusal would cost a handshake, which is what we have no room for.
        if tls.is_none() && hall.refusals.count() < hall.limits.refusals_at_once_max {
            let (hall, guard) = (hall.clone(), hall.refusals.enter());
            io::spawn(async move {
                let _guard = guard;
                refuse(&hall, stream).await;
            });
        }
        return;
    }
    hall.serve(stream, remote, local, tls.cloned());
}

async fn refuse<S: Service>(hall: &Rc<Hall<S>>, mut stream: Stream) {
    let within = Duration::from_millis(u64::from(hall.limits.linger_timeout_ms));
    if stream
        .write_all_within(Bytes::from_static(FULL), within)
        .await
        .is_ok()
    {
        crate::downstream::linger(&mut stream, within).await;
    }
}

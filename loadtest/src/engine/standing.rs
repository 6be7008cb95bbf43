//! What is held open beside the calls: event streams and idle connections.
//!
//! A stream is `subscriptions/listen` in the modern era and a session's GET stream in the old one (each on a session
//! of its own, because servers allow one stream a session). A stream that ends is opened again after a pause, and
//! the end is counted.

use super::{
    client::Client,
    lane::Common,
    record::{Finished, Tally},
};
use crate::{
    mcp::{Failing, Greeter, greet},
    scenario::{Call, template::Values},
    wire::{BodyWish, Connection, Content, Head, Method, Request, Want},
};
use bytes::{Bytes, BytesMut};
use ringway_proto::revision::{Era, Revision};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    sync::Semaphore,
    task::{JoinHandle, spawn_local},
};

/// Connections being opened at once, so that a thousand streams do not overflow the listener's queue.
const OPENING_MAX: usize = 32;
/// Before a stream that ended is opened again.
const PAUSE: Duration = Duration::from_millis(500);
/// How long streams may take to open before the load begins without them.
const OPENED_WITHIN: Duration = Duration::from_secs(30);

/// What was held, and how it went.
#[derive(Debug)]
pub struct Held {
    /// Streams: those asked for as due, those open at the end as ok.
    pub streams: Tally,
    /// Idle connections, likewise.
    pub idle: Tally,
}

/// See the module.
pub struct Standing {
    tasks: Vec<JoinHandle<()>>,
    streams: Rc<Share>,
    idle: Rc<Share>,
}

struct Share {
    tally: RefCell<Tally>,
    open: Cell<u64>,
    /// Those that have been tried once.
    tried: Cell<u64>,
    opening: Semaphore,
}

impl Share {
    fn new(asked: usize) -> Rc<Self> {
        let mut tally = Tally::new();
        tally.due = asked as u64;
        Rc::new(Self {
            tally: RefCell::new(tally),
            open: Cell::new(0),
            tried: Cell::new(0),
            opening: Semaphore::new(OPENING_MAX),
        })
    }

    fn opened(&self, by: i64) {
        self.open.set(self.open.get().saturating_add_signed(by));
    }
}

impl Standing {
    /// Opens this thread's part, and waits until each of them has been tried once.
    pub async fn open(common: &Rc<Common>, thread: usize, threads: usize) -> Self {
        let asked = common.plan.scenario.standing;
        let mine = |all: usize| (thread..all).step_by(threads);
        let streams = Share::new(mine(asked.listen).count());
        let idle = Share::new(mine(asked.idle).count());
        let mut tasks = Vec::new();
        for number in mine(asked.listen) {
            tasks.push(spawn_local(listen_on(
                Rc::clone(common),
                number,
                Rc::clone(&streams),
            )));
        }
        for number in mine(asked.idle) {
            tasks.push(spawn_local(stay_idle(
                Rc::clone(common),
                number,
                Rc::clone(&idle),
            )));
        }
        let wanted = tasks.len() as u64;
        let until = Instant::now() + OPENED_WITHIN;
        while streams.tried.get() + idle.tried.get() < wanted && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Self { tasks, streams, idle }
    }

    /// Closes all of it, and says how it went.
    pub fn close(self) -> Held {
        let end = |share: &Share| {
            let mut tally = share.tally.borrow().clone();
            tally.ok = share.open.get();
            tally
        };
        let held = Held {
            streams: end(&self.streams),
            idle: end(&self.idle),
        };
        for task in self.tasks {
            task.abort();
        }
        held
    }
}

async fn stay_idle(common: Rc<Common>, number: usize, share: Rc<Share>) {
    let target = &common.plan.targets[number % common.plan.targets.len()];
    let opened = {
        let _turn = share.opening.acquire().await;
        Connection::open(target).await
    };
    share.tried.set(share.tried.get() + 1);
    match opened {
        Ok(_held) => {
            share.opened(1);
            std::future::pending::<()>().await;
        }
        Err(fault) => share.tally.borrow_mut().fail(&fault.key().into(), 1),
    }
}

async fn listen_on(common: Rc<Common>, number: usize, share: Rc<Share>) {
    let mut first = true;
    loop {
        let ended = stream(&common, number, &share, &mut first).await;
        if std::mem::take(&mut first) {
            share.tried.set(share.tried.get() + 1);
        }
        share.tally.borrow_mut().fail(&ended, 1);
        tokio::time::sleep(PAUSE).await;
    }
}

/// One stream, to its end; why it ended.
async fn stream(common: &Common, number: usize, share: &Share, first: &mut bool) -> Failing {
    match stream_or_fault(common, number, share, first).await {
        Ok(why) | Err(why) => why,
    }
}

async fn stream_or_fault(
    common: &Common,
    number: usize,
    share: &Share,
    first: &mut bool,
) -> Result<Failing, Failing> {
    let plan = Arc::clone(&common.plan);
    let target = &plan.targets[number % plan.targets.len()];
    let client = Client::new(number, &plan.scenario.clients, plan.dialect.era).map_err(|e| e.to_string())?;
    let turn = share.opening.acquire().await;
    let began = Instant::now();
    let mut connection = Connection::open(target).await.map_err(|f| f.key())?;
    let mut own = plan.scenario.target.headers.clone();
    own.extend(client.credential());
    let (method, frame, body) = match plan.dialect.era {
        Era::Modern => {
            let mut call = Call::bare("subscriptions/listen");
            call.members
                .push_fixed(br#""notifications":{"toolsListChanged":true}"#);
            let dressed = plan.dialect.request(&call, false);
            let mut body = BytesMut::new();
            let mut values = Values {
                seq: 0,
                id: common.id(),
                client: number,
                random: &mut common.random.borrow_mut(),
            };
            dressed.body.render(&mut body, &mut values);
            (Method::Post, dressed.frame, body.freeze())
        }
        Era::Legacy => {
            let greeter = Greeter {
                target,
                fields: &own,
                timeout: plan.scenario.calls.timeout,
            };
            let revision =
                Revision::parse(plan.dialect.revision.as_bytes()).unwrap_or(Revision::NEWEST_LEGACY);
            let greeted = greet(&greeter, &mut connection, revision)
                .await
                .map_err(|f| f.key())?;
            client.greeted(greeted.session.as_deref());
            let mut frame = plan.dialect.frame(None, None);
            frame.fields.retain(|(name, _)| name != "accept");
            frame
                .fields
                .push(("accept".to_owned(), "text/event-stream".to_owned()));
            (Method::Get, frame, Bytes::new())
        }
    };
    let fields: Vec<(&str, &str)> = frame
        .fields
        .iter()
        .chain(&plan.scenario.target.headers)
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let head = Head::new(target, method, &fields).map_err(|e| e.to_string())?;
    let extra = client.extra();
    let request = Request {
        head: &head,
        extra: &extra,
        body,
    };
    let want = Want {
        timeout: None,
        body: BodyWish::Discard,
        ..Want::default()
    };
    let opening = connection.start(&request, &want);
    let opened = tokio::time::timeout(plan.scenario.calls.timeout, opening).await;
    let mut reply = opened.map_err(|_| "timeout")?.map_err(|f| f.key())?;
    let (status, content) = (reply.so_far().status, reply.so_far().content);
    if status != 200 {
        return Ok(format!("http_{status}").into());
    }
    if content != Content::Events {
        return Ok(crate::mcp::BAD_ANSWER.into());
    }
    drop(turn);
    let _open = Open::count(common, share);
    if std::mem::take(first) {
        share.tried.set(share.tried.get() + 1);
    }
    let mut heard = false;
    loop {
        match reply.next_event().await {
            Ok(Some((_, at))) => {
                if !std::mem::replace(&mut heard, true) {
                    share.tally.borrow_mut().add(began, &opened_at(at, began));
                }
            }
            Ok(None) => return Ok("closed".into()),
            Err(fault) => return Ok(fault.key().into()),
        }
    }
}

/// The stream's first event, as a call that took so long.
fn opened_at(at: Instant, began: Instant) -> Finished {
    Finished {
        result: Ok(()),
        written: Some(began),
        first_event: Some(at),
        last: at,
        bytes_out: 0,
        bytes_in: 0,
    }
}

/// Counted while it lives.
struct Open<'o>(&'o Common, &'o Share);

impl<'o> Open<'o> {
    fn count(common: &'o Common, share: &'o Share) -> Self {
        share.opened(1);
        common.connections.set(common.connections.get() + 1);
        Self(common, share)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.1.opened(-1);
        self.0.connections.set(self.0.connections.get().saturating_sub(1));
    }
}

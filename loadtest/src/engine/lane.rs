//! A lane carries one call at a time: a connection of HTTP/1.1, or one of the streams of an HTTP/2 connection.
//!
//! It connects when it must, sends, has the answer judged and gives back a [`Finished`]. A connection that the server
//! had given up while it was idle is no failure: the call is sent once more on a fresh one, as any client would. Its
//! due time stays.

use super::{
    client::Client,
    line::Line,
    plan::{Deed, Plan, Planned, Step},
    record::Finished,
};
use crate::{
    mcp::{Failing, Greeted, Greeter, greet, judge},
    scenario::template::Values,
    wire::{Answer, BodyWish, Connection, Content, Ended, Fault, Head, OpenOptions, Request, Target, Want},
};
use bytes::{Bytes, BytesMut};
use futures_util::future::{Either, select};
use http::{HeaderName, HeaderValue};
use rand::rngs::SmallRng;
use ringway_proto::{header_value::encode, revision::Revision};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::Instant,
};

/// A slow reader's receive buffer: what the kernel reads ahead for it must be small against the answer.
const SLOW_RECEIVE_BUFFER_BYTES: u32 = 16 << 10;
/// First size of a lane's buffer for bodies; it grows with what is sent.
const BODY_BYTES_USUAL: usize = 4 << 10;

/// What a thread's lanes share.
#[derive(Debug)]
pub struct Common {
    /// What is called.
    pub plan: Arc<Plan>,
    /// The thread's randomness.
    pub random: RefCell<SmallRng>,
    /// The next JSON-RPC id, and the step to the one after it: no two threads give the same one.
    pub next_id: Cell<u64>,
    /// See `next_id`.
    pub id_step: u64,
    /// Connections open now.
    pub connections: Cell<u64>,
}

impl Common {
    /// The next JSON-RPC id.
    pub fn id(&self) -> u64 {
        let id = self.next_id.get();
        self.next_id.set(id + self.id_step);
        id
    }
}

/// See the module.
pub struct Lane {
    common: Rc<Common>,
    line: Rc<Line>,
    /// The lane's own connection, or its handle on the line's.
    connection: Option<Connection>,
    /// Calls made on it.
    calls: u64,
    /// For what must be said while the connection is busy.
    side: Option<Connection>,
    /// With a small receive buffer.
    slow: Option<Connection>,
    buffer: BytesMut,
}

/// One call, as the lane is told of it.
#[derive(Clone, Copy, Debug)]
pub struct Order<'o> {
    /// What.
    pub operation: usize,
    /// The how-manieth of the run.
    pub seq: u64,
    /// On whose behalf.
    pub client: &'o Client,
}

/// What became of the requests of one call so far.
#[derive(Debug, Default)]
struct Sum {
    written: Option<Instant>,
    first_event: Option<Instant>,
    last: Option<Instant>,
    bytes_out: u64,
    bytes_in: u64,
}

impl Sum {
    fn add(&mut self, answer: &Answer) {
        self.written.get_or_insert(answer.written);
        if answer.content == Content::Events {
            self.first_event = self.first_event.or(answer.first);
        }
        self.last = Some(answer.last);
        self.bytes_out += answer.bytes_out;
        self.bytes_in += answer.bytes_in;
    }
}

impl Lane {
    /// A lane on this line, not connected yet.
    pub fn new(common: Rc<Common>, line: Rc<Line>) -> Self {
        Self {
            common,
            line,
            connection: None,
            calls: 0,
            side: None,
            slow: None,
            buffer: BytesMut::with_capacity(BODY_BYTES_USUAL),
        }
    }

    /// Connects, if it is not connected or may not call again.
    pub async fn connect(&mut self) -> Result<(), Fault> {
        let spent = self
            .common
            .plan
            .scenario
            .connections
            .calls_max
            .is_some_and(|max| self.calls >= max);
        if !spent && self.connection.as_ref().is_some_and(Connection::is_reusable) {
            return Ok(());
        }
        self.calls = 0;
        let old = self.connection.take();
        self.connection = Some(self.line.connection(&self.common.connections, old, spent).await?);
        Ok(())
    }

    /// True when the next call would have to connect first.
    pub fn is_disconnected(&self) -> bool {
        !self.connection.as_ref().is_some_and(Connection::is_reusable)
    }

    /// Makes one call, whatever it takes.
    pub async fn call(&mut self, order: Order<'_>) -> Finished {
        let plan = Arc::clone(&self.common.plan);
        let planned = &plan.operations[order.operation];
        let mut sum = Sum::default();
        let result = match &planned.deed {
            Deed::One(step) if planned.notify_after.is_some() => {
                self.cancelled(planned, step, order, &mut sum).await
            }
            Deed::One(step) => self.one(planned, step, order, &mut sum).await,
            Deed::Two(first, second) => match self.one(planned, first, order, &mut sum).await {
                Ok(()) => self.one(planned, second, order, &mut sum).await,
                Err(why) => Err(why),
            },
            Deed::Session(step, calls) => self.session(planned, step, *calls, order, &mut sum).await,
        };
        if planned.want.abandon != crate::wire::Abandon::Never && self.is_disconnected() {
            // It was we who closed it: the next call shall not pay for that.
            let _ = self.connect().await;
        }
        Finished {
            result,
            written: sum.written,
            first_event: sum.first_event,
            // A call without an answer ends now.
            last: sum.last.unwrap_or_else(Instant::now),
            bytes_out: sum.bytes_out,
            bytes_in: sum.bytes_in,
        }
    }

    /// A session for `client`, if the era has them and it has none.
    pub async fn ensure_greeted(&mut self, client: &Client) -> Result<(), Failing> {
        if !client.needs_greeting() {
            return Ok(());
        }
        let greeted = self.greet(client).await?;
        client.greeted(greeted.session.as_deref());
        Ok(())
    }

    /// Ends a client's session.
    pub async fn bid_farewell(&mut self, client: &Client) -> Result<(), Failing> {
        let extra = client.extra();
        self.farewell(&extra).await
    }

    async fn greet(&mut self, client: &Client) -> Result<Greeted, Failing> {
        let plan = Arc::clone(&self.common.plan);
        self.connect().await.map_err(failing)?;
        let mut fields = plan.scenario.target.headers.clone();
        fields.extend(client.credential());
        let greeter = Greeter {
            target: &plan.targets[self.line.target()],
            fields: &fields,
            timeout: plan.scenario.calls.timeout,
        };
        let revision = Revision::parse(plan.dialect.revision.as_bytes()).unwrap_or(Revision::NEWEST_LEGACY);
        let Some(connection) = &mut self.connection else {
            return Err("connect".into());
        };
        let greeted = greet(&greeter, connection, revision).await;
        greeted.map_err(|failure| failure.key().into())
    }

    async fn farewell(&mut self, extra: &[(HeaderName, HeaderValue)]) -> Result<(), Failing> {
        let plan = Arc::clone(&self.common.plan);
        let want = Want {
            timeout: Some(plan.scenario.calls.timeout),
            body: BodyWish::Discard,
            ..Want::default()
        };
        let head = &plan.farewell[self.line.target()];
        let answer = self
            .send(head, extra, Bytes::new(), &want)
            .await
            .map_err(failing)?;
        // A server may forbid it, and then says so with 405.
        match answer.status {
            200..=299 | 405 => Ok(()),
            status => Err(format!("http_{status}").into()),
        }
    }

    /// One request, judged.
    async fn one(
        &mut self,
        planned: &Planned,
        step: &Step,
        order: Order<'_>,
        sum: &mut Sum,
    ) -> Result<(), Failing> {
        self.ensure_greeted(order.client).await?;
        let (id, body, extra) = self.compose(step, order);
        let head = &step.heads[self.line.target()];
        let answer = match planned.want.read_bytes_per_s {
            None => self.send(head, &extra, body, &planned.want).await,
            Some(_) => self.send_slowly(head, &extra, body, &planned.want).await,
        };
        let answer = answer.map_err(failing)?;
        sum.add(&answer);
        if answer.ended == Ended::Abandoned {
            return Ok(());
        }
        if answer.status == 404 {
            order.client.lost();
        }
        judge(&answer, id, &planned.expectation)
    }

    /// One request that is cancelled by a notification, the way of the old era.
    async fn cancelled(
        &mut self,
        planned: &Planned,
        step: &Step,
        order: Order<'_>,
        sum: &mut Sum,
    ) -> Result<(), Failing> {
        self.ensure_greeted(order.client).await?;
        self.connect().await.map_err(failing)?;
        let plan = Arc::clone(&self.common.plan);
        let target = self.line.target();
        let (id, body, extra) = self.compose(step, order);
        let mut side = match self.side.take().filter(Connection::is_reusable) {
            Some(side) => side,
            None => Connection::open(&plan.targets[target]).await.map_err(failing)?,
        };
        let Some(connection) = &mut self.connection else {
            return Err("connect".into());
        };
        let request = Request {
            head: &step.heads[target],
            extra: &extra,
            body,
        };
        let delay = planned.notify_after.unwrap_or_default();
        let is_told = Cell::new(false);
        let told = async {
            tokio::time::sleep(delay).await;
            is_told.set(true);
            let params = format!(r#"{{"requestId":{id},"reason":"load test"}}"#);
            let (_, body) = plan
                .dialect
                .notification("notifications/cancelled", Some(&params));
            let request = Request {
                head: &plan.cancellation[target],
                extra: &extra,
                body: body.into(),
            };
            let want = Want {
                timeout: planned.want.timeout,
                body: BodyWish::Discard,
                ..Want::default()
            };
            let answer = side.exchange(&request, &want).await;
            answer.map(|answer| (answer.status, answer.last))
        };
        let (answer, told) = {
            let exchange = connection.exchange(&request, &planned.want);
            let (exchange, told) = (std::pin::pin!(exchange), std::pin::pin!(told));
            match select(exchange, told).await {
                // An answer that comes before its cancellation is an answer.
                Either::Left((answer, _)) if !is_told.get() => (answer, None),
                // The call may end before the word that ends it is acknowledged.
                Either::Left((answer, told)) => (answer, Some(told.await)),
                Either::Right((told, exchange)) => (exchange.await, Some(told)),
            }
        };
        self.calls += 1;
        if let Ok(answer) = &answer {
            sum.add(answer);
        }
        let judged = answer
            .map_err(failing)
            .and_then(|answer| judge(&answer, id, &planned.expectation));
        let result = match (judged, told) {
            (judged, None) => judged,
            // It was answered after all.
            (Ok(()), Some(_)) => Ok(()),
            (Err(_), Some(told)) => {
                let (status, at) = told.map_err(failing)?;
                sum.last = Some(at);
                match status {
                    200..=299 => Ok(()),
                    status => Err(format!("http_{status}").into()),
                }
            }
        };
        self.side = Some(side);
        result
    }

    /// A whole session.
    async fn session(
        &mut self,
        planned: &Planned,
        step: &Step,
        calls: u64,
        order: Order<'_>,
        sum: &mut Sum,
    ) -> Result<(), Failing> {
        sum.written = Some(Instant::now());
        let greeted = self.greet(order.client).await?;
        let visitor = order.client.visitor(greeted.session.as_deref());
        let inner = Order {
            client: &visitor,
            ..order
        };
        for _ in 0..calls {
            self.one(planned, step, inner, sum).await?;
        }
        if greeted.session.is_some() {
            self.farewell(&visitor.extra()).await?;
        }
        sum.last = Some(Instant::now());
        Ok(())
    }

    /// Id, body and the headers that are this call's own.
    fn compose(&mut self, step: &Step, order: Order<'_>) -> (u64, Bytes, Rc<Vec<(HeaderName, HeaderValue)>>) {
        let id = self.common.id();
        let random = &mut *self.common.random.borrow_mut();
        let mut values = Values {
            seq: order.seq,
            id,
            client: order.client.number(),
            random,
        };
        step.body.render(&mut self.buffer, &mut values);
        let body = self.buffer.split().freeze();
        let mut extra = order.client.extra();
        if !step.mirrored.is_empty() {
            let mut own = extra.to_vec();
            for (name, template) in &step.mirrored {
                let mut json = BytesMut::new();
                template.render(&mut json, &mut values);
                let text: serde_json::Value = serde_json::from_slice(&json).unwrap_or_default();
                let text = text.as_str().map_or_else(|| text.to_string(), str::to_owned);
                if let Ok(value) = HeaderValue::from_str(&encode(&text)) {
                    own.push((name.clone(), value));
                }
            }
            extra = Rc::new(own);
        }
        (id, body, extra)
    }

    /// Sends on the lane's connection, once more where the server had given that up.
    async fn send(
        &mut self,
        head: &Head,
        extra: &[(HeaderName, HeaderValue)],
        body: Bytes,
        want: &Want,
    ) -> Result<Answer, Fault> {
        let request = Request { head, extra, body };
        for attempt in 0.. {
            self.connect().await?;
            self.calls += 1;
            let Some(connection) = &mut self.connection else {
                break;
            };
            match connection.exchange(&request, want).await {
                Err(fault) if fault.stale && attempt == 0 => {}
                done => return done,
            }
        }
        Err(Fault::new(
            crate::wire::FaultKind::Closed,
            "the connection was given up twice",
        ))
    }

    /// Sends on a connection whose kernel does not read ahead.
    async fn send_slowly(
        &mut self,
        head: &Head,
        extra: &[(HeaderName, HeaderValue)],
        body: Bytes,
        want: &Want,
    ) -> Result<Answer, Fault> {
        let slow = match self.slow.take().filter(Connection::is_reusable) {
            Some(slow) => slow,
            None => {
                let options = OpenOptions {
                    receive_buffer_bytes: Some(SLOW_RECEIVE_BUFFER_BYTES),
                };
                Connection::open_with(self.here(), &options).await?
            }
        };
        let connection = self.slow.insert(slow);
        connection.exchange(&Request { head, extra, body }, want).await
    }

    fn here(&self) -> &Target {
        &self.common.plan.targets[self.line.target()]
    }
}

fn failing(fault: Fault) -> Failing {
    // Reports count kinds; whoever wants to know more asks with RUST_LOG=debug.
    tracing::debug!("a call failed: {fault}");
    Failing::Borrowed(fault.key())
}

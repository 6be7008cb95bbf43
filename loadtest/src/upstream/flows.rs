//! Answers that take more than one write: waits, faults, progress, held streams. Written once for both versions of
//! HTTP, over [`Out`].
//!
//! [`run`] is the order of things: wait as long as the call takes, let the gate pass, then either the fault or the
//! answer. A fault is counted at the moment it becomes visible to the client, never before.

use super::{
    answer::{self, Answer},
    faults::{Fault, FaultKind, Position},
    hold,
    protocol::{Plan, Progress, Reply},
    server::Shard,
    sessions::SessionId,
    stats::Counter,
};
use bytes::Bytes;
use std::{io, time::Duration};

/// Texts above this are written from where they lie.
pub const COPY_BYTES_MAX: usize = 16 << 10;

/// Between two pieces of a trickle that does not say.
const TRICKLE_WAIT: Duration = Duration::from_millis(10);

/// The type of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// There is none.
    None,
    /// `application/json`
    Json,
    /// `text/event-stream`
    Events,
    /// `text/plain`
    Text,
}

/// The head of an answer.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    /// HTTP status.
    pub status: u16,
    /// The type of the body.
    pub content: Content,
    /// Its length as stated; `None`: it ends when it ends.
    pub length: Option<usize>,
    /// A session to announce.
    pub session: Option<SessionId>,
    /// A `Retry-After` field.
    pub retry_after_s: Option<u32>,
}

impl Head {
    /// A head of a body of this length.
    pub fn new(status: u16, content: Content, length: impl Into<Option<usize>>) -> Self {
        Self {
            status,
            content,
            length: length.into(),
            session: None,
            retry_after_s: None,
        }
    }
}

/// What becomes of the connection after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// It goes on.
    Keep,
    /// It ends in order.
    Fin,
    /// It is reset.
    Reset,
    /// Its stream is reset; it goes on.
    RstStream,
    /// It takes no more requests.
    Goaway,
    /// Whoever asked has gone: of HTTP/1.1 the connection, of HTTP/2 only the stream.
    Gone,
}

/// Where an answer is written to.
pub trait Out: Send {
    /// Begins it. May be held back until there is data.
    fn head(&mut self, head: &Head) -> impl Future<Output = io::Result<()>> + Send;
    /// Goes on with it; the bytes are with the kernel, or in a bounded buffer, when this comes back.
    fn data(&mut self, piece: Bytes) -> impl Future<Output = io::Result<()>> + Send;
    /// Ends it.
    fn end(&mut self) -> impl Future<Output = io::Result<()>> + Send;
    /// Comes back once the client has gone away.
    fn gone(&mut self) -> impl Future<Output = ()> + Send;
}

/// How a wait ended.
enum Waited {
    Done,
    Gone,
    Cancelled,
}

/// Carries out a reply.
pub async fn run<O: Out>(shard: &Shard, out: &mut O, reply: Reply<'_>) -> io::Result<After> {
    let Reply {
        mut plan,
        opened,
        session,
        wait,
        fault,
        is_call,
    } = reply;
    match waited(shard, out, &plan, session, wait).await {
        Waited::Done => {}
        Waited::Gone => return Ok(left(shard)),
        Waited::Cancelled => {
            // A request that was cancelled is not answered; over HTTP its stream ends without a message.
            out.head(&Head::new(200, Content::Events, None)).await?;
            out.end().await?;
            return Ok(After::Keep);
        }
    }
    shard.server.gate.pass().await;

    let mut after = After::Keep;
    match fault {
        None => {}
        Some(Fault {
            kind: FaultKind::Stall,
            wait,
            ..
        }) => {
            shard.counters.fault(FaultKind::Stall);
            // A stall is deaf: only the end of its time or of its client ends it.
            tokio::select! {
                () = out.gone() => return Ok(left(shard)),
                () = stalled(shard, wait) => {}
            }
        }
        Some(Fault {
            kind: FaultKind::Goaway,
            ..
        }) => {
            shard.counters.fault(FaultKind::Goaway);
            after = After::Goaway;
        }
        Some(fault) => return misbehave(shard, out, fault, &plan, session, is_call).await,
    }

    let events = matches!(plan, Plan::Event(_));
    match &mut plan {
        Plan::Empty(status) => {
            let mut head = Head::new(*status, Content::None, 0);
            head.session = opened;
            out.head(&head).await?;
        }
        Plan::Json(answer) | Plan::Event(answer) => {
            let mut head = match events {
                true => Head::new(answer.status, Content::Events, None),
                false => Head::new(answer.status, Content::Json, answer.bytes()),
            };
            head.session = opened;
            out.head(&head).await?;
            for piece in answer.pieces(events, COPY_BYTES_MAX) {
                out.data(piece).await?;
            }
        }
        Plan::Raw(body) => {
            out.head(&Head::new(200, Content::Json, body.len())).await?;
            out.data(std::mem::take(body).into()).await?;
        }
        Plan::Progress(progress) => {
            if let Some(after) = report(shard, out, progress, session).await? {
                return Ok(after);
            }
        }
        Plan::Hold(held) => hold::stream(shard, out, held).await?,
    }
    out.end().await?;
    if is_call {
        shard.counters.add(Counter::CallsAnswered);
    }
    Ok(after)
}

/// The client is not there any more.
fn left(shard: &Shard) -> After {
    shard.counters.add(Counter::ClientsGone);
    After::Gone
}

async fn stalled(shard: &Shard, wait: Option<Duration>) {
    match wait {
        Some(wait) => shard.server.timer.sleep(wait).await,
        None => std::future::pending().await,
    }
}

/// Waits as long as the call takes, unless it is cancelled or given up before.
async fn waited<O: Out>(
    shard: &Shard,
    out: &mut O,
    plan: &Plan<'_>,
    session: Option<SessionId>,
    wait: Duration,
) -> Waited {
    if wait.is_zero() {
        return Waited::Done;
    }
    let id = match plan {
        Plan::Json(answer) | Plan::Event(answer) => Some(answer.id),
        Plan::Progress(progress) => Some(progress.answer.id),
        _ => None,
    };
    let call = session
        .zip(id)
        .map(|(session, id)| shard.server.waiting.enter(session, id));
    let cancelled = async {
        match &call {
            Some(call) => call.cancelled().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = shard.server.timer.sleep(wait) => Waited::Done,
        () = cancelled => Waited::Cancelled,
        () = out.gone() => Waited::Gone,
    }
}

/// An event stream of progress and the answer; what becomes of the connection when it ended before that.
async fn report<O: Out>(
    shard: &Shard,
    out: &mut O,
    progress: &Progress<'_>,
    session: Option<SessionId>,
) -> io::Result<Option<After>> {
    let _open = hold::OpenStream::enter(shard);
    let id = progress.answer.id;
    let call = session.map(|session| shard.server.waiting.enter(session, id));
    out.head(&Head::new(200, Content::Events, None)).await?;
    for step in 1..=progress.steps {
        let cancelled = async {
            match &call {
                Some(call) => call.cancelled().await,
                None => std::future::pending().await,
            }
        };
        let ended = tokio::select! {
            () = shard.server.timer.sleep(progress.interval) => None,
            () = cancelled => Some(Waited::Cancelled),
            () = out.gone() => Some(Waited::Gone),
        };
        match ended {
            None | Some(Waited::Done) => {}
            Some(Waited::Gone) => return Ok(Some(left(shard))),
            Some(Waited::Cancelled) => {
                out.end().await?;
                return Ok(Some(After::Keep));
            }
        }
        shard.server.gate.pass().await;
        if let Some(token) = progress.token {
            shard.counters.add(Counter::Events);
            out.data(answer::event(&notification(token, step, progress.steps)))
                .await?;
        }
    }
    for piece in progress.answer.pieces(true, COPY_BYTES_MAX) {
        out.data(piece).await?;
    }
    Ok(None)
}

fn notification(token: &[u8], step: u64, steps: u64) -> Vec<u8> {
    let mut out =
        b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{\"progressToken\":".to_vec();
    out.extend_from_slice(token);
    out.extend_from_slice(format!(",\"progress\":{step},\"total\":{steps}}}}}").as_bytes());
    out
}

/// Carries out a fault instead of the right answer, or breaks the right answer.
async fn misbehave<O: Out>(
    shard: &Shard,
    out: &mut O,
    fault: Fault,
    plan: &Plan<'_>,
    session: Option<SessionId>,
    is_call: bool,
) -> io::Result<After> {
    let count = || shard.counters.fault(fault.kind);
    let (content, body) = whole(plan);
    let length = (content != Content::Events).then_some(body.len());
    match (fault.kind, fault.at) {
        (FaultKind::Reset, Position::Before) => {
            count();
            Ok(After::Reset)
        }
        (FaultKind::RstStream, Position::Before) => {
            count();
            Ok(After::RstStream)
        }
        (FaultKind::Reset | FaultKind::RstStream | FaultKind::Close, _) => {
            out.head(&Head::new(200, content, length)).await?;
            count();
            out.data(body.slice(..body.len() / 2)).await?;
            Ok(match fault.kind {
                FaultKind::Reset => After::Reset,
                FaultKind::RstStream => After::RstStream,
                _ => After::Fin,
            })
        }
        (FaultKind::HttpError, _) => {
            let body = Bytes::from_static(b"injected");
            let mut head = Head::new(fault.status, Content::Text, body.len());
            head.retry_after_s = fault.retry_after_s;
            count();
            finish(out, head, body, After::Keep).await
        }
        (FaultKind::Session404, _) => {
            if let Some(session) = session {
                shard.server.sessions.end(session);
            }
            let body = Answer::error(404, id(plan), -32001, "Session not found", None).whole(false);
            count();
            finish(out, Head::new(404, Content::Json, body.len()), body, After::Keep).await
        }
        (FaultKind::GarbageHttp, _) => {
            count();
            out.data(Bytes::from_static(b"\x16\x03\x01 this is not HTTP\r\n\r\n"))
                .await?;
            Ok(After::Fin)
        }
        (FaultKind::GarbageJson, _) => {
            let body = Bytes::from_static(b"<html>this is not JSON</html>");
            count();
            finish(out, Head::new(200, Content::Json, body.len()), body, After::Keep).await
        }
        (FaultKind::GarbageId, _) => {
            let (events, body) = (content == Content::Events, with_wrong_id(plan));
            let length = (!events).then_some(body.len());
            count();
            finish(out, Head::new(200, content, length), body, After::Keep).await
        }
        (FaultKind::GarbageTruncated, _) => {
            let body = body.slice(..body.len() / 2);
            count();
            finish(
                out,
                Head::new(200, content, length.map(|_| body.len())),
                body,
                After::Keep,
            )
            .await
        }
        (FaultKind::GarbageLengthLong, _) => {
            count();
            finish(
                out,
                Head::new(200, Content::Json, body.len() + 10),
                body,
                After::Fin,
            )
            .await
        }
        (FaultKind::GarbageLengthShort, _) => {
            count();
            finish(
                out,
                Head::new(200, Content::Json, body.len() / 2),
                body,
                After::Keep,
            )
            .await
        }
        (FaultKind::Trickle, _) => {
            out.head(&Head::new(200, content, length)).await?;
            count();
            let mut rest = body;
            while !rest.is_empty() {
                out.data(rest.split_to(fault.bytes.min(rest.len()))).await?;
                tokio::select! {
                    () = shard.server.timer.sleep(fault.wait.unwrap_or(TRICKLE_WAIT)) => {}
                    () = out.gone() => return Ok(left(shard)),
                }
            }
            out.end().await?;
            if is_call {
                shard.counters.add(Counter::CallsAnswered);
            }
            Ok(After::Keep)
        }
        // `run` has dealt with these.
        (FaultKind::Stall | FaultKind::StallAll | FaultKind::Goaway, _) => Ok(After::Keep),
    }
}

async fn finish<O: Out>(out: &mut O, head: Head, body: Bytes, after: After) -> io::Result<After> {
    out.head(&head).await?;
    out.data(body).await?;
    out.end().await?;
    Ok(after)
}

/// The right answer in one piece, to be broken.
fn whole(plan: &Plan<'_>) -> (Content, Bytes) {
    match plan {
        Plan::Empty(_) => (Content::None, Bytes::new()),
        Plan::Json(answer) => (Content::Json, answer.whole(false)),
        Plan::Event(answer) => (Content::Events, answer.whole(true)),
        Plan::Progress(progress) => (Content::Events, progress.answer.whole(true)),
        Plan::Raw(body) => (Content::Json, Bytes::copy_from_slice(body)),
        Plan::Hold(_) => (
            Content::Events,
            Bytes::from_static(ringway_proto::sse::KEEP_ALIVE),
        ),
    }
}

fn id<'a>(plan: &Plan<'a>) -> Option<&'a [u8]> {
    match plan {
        Plan::Json(answer) | Plan::Event(answer) => Some(answer.id),
        Plan::Progress(progress) => Some(progress.answer.id),
        Plan::Empty(_) | Plan::Raw(_) | Plan::Hold(_) => None,
    }
}

/// The right answer to a request that nobody made: an id of the same type, one digit or letter longer.
fn with_wrong_id(plan: &Plan<'_>) -> Bytes {
    let (Plan::Json(answer) | Plan::Event(answer) | Plan::Progress(Progress { answer, .. })) = plan else {
        return whole(plan).1;
    };
    let wrong = match answer.id {
        [text @ .., b'"'] => [text, b"7\""].concat(),
        number => [number, b"7"].concat(),
    };
    let wrong = Answer {
        id: &wrong,
        ..answer.clone()
    };
    wrong.whole(!matches!(plan, Plan::Json(_)))
}

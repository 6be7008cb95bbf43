//! One HTTP/2 stream: a request, the service's answer, each chunk when the client has room for it.
//!
//! Sending into `h2` without asking for room would buffer a whole answer for a client that reads nothing, so
//! every piece waits for `poll_capacity`; a client that makes no room for `write_stall_timeout_ms` loses the
//! stream. A client's reset drops whatever the stream was waiting for.

use super::{Hall, head, millis};
use crate::{
    http::{Admitted, Body, BodyFault, BodyStream, Peer, Response, Service},
    io,
};
use bytes::{Bytes, BytesMut};
use h2::{Reason, RecvStream, SendStream, server::SendResponse};
use http::{Request, StatusCode, request::Parts};
use ringway_core::limits::CLIENT_STREAM_SEND_BYTES_MAX;
use std::{
    future::{Future, poll_fn},
    pin::pin,
    rc::Rc,
    task::Poll,
    time::Instant,
};

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The answer was handed over whole, or was cut by us.
    Answered,
    /// The client reset it, or its connection ended.
    Cancelled,
}

/// Serves one stream.
pub(super) async fn serve<S: Service>(
    hall: &Rc<Hall<S>>,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    peer: Peer,
) -> Ended {
    let (parts, body) = request.into_parts();
    let to_head = parts.method == http::Method::HEAD;
    let service = &hall.service;
    let admitted = match head::read(&parts, hall.limits.header_fields_max) {
        Err(fault) => Err(service.malformed(fault, peer)),
        Ok(head) => service.admit(head, peer),
    };
    let answered = match admitted {
        Err(refusal) => answer(hall, &mut respond, refusal, to_head).await,
        Ok(Admitted { body_bytes_max, call }) => {
            if expects(&parts) {
                let go_on = http::Response::builder().status(StatusCode::CONTINUE).body(());
                if let Ok(go_on) = go_on {
                    let _ = respond.send_informational(go_on);
                }
            }
            let body = read_body(hall, &parts, body, body_bytes_max).await;
            let response = {
                let reset = pin!(poll_fn(|cx| respond.poll_reset(cx)));
                // Pinned in place: by value it would stand in this task twice.
                io::first(pin!(service.respond(call, body)), reset).await
            };
            match response {
                Ok(response) => answer(hall, &mut respond, response, to_head).await,
                Err(_) => Err(Gone),
            }
        }
    };
    match answered {
        Ok(()) => Ended::Answered,
        Err(Gone) => Ended::Cancelled,
    }
}

/// The client is not there any more.
struct Gone;

fn expects(parts: &Parts) -> bool {
    let value = parts.headers.get(http::header::EXPECT);
    value.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// Reads the whole body, or tells what is wrong with it. `h2` has checked `content-length` against the frames.
async fn read_body<S>(
    hall: &Hall<S>,
    parts: &Parts,
    mut body: RecvStream,
    bytes_max: usize,
) -> Result<Bytes, BodyFault> {
    let stated = parts.headers.get(http::header::CONTENT_LENGTH);
    let stated = stated.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if stated.is_some_and(|length| length > bytes_max as u64) {
        return Err(BodyFault::TooLarge);
    }
    // One frame is the usual case: it came with the head and is not copied. Its window goes back with the stream.
    let at_hand = poll_fn(|cx| Poll::Ready(body.poll_data(cx))).await;
    let mut only = match at_hand {
        Poll::Ready(Some(Ok(data))) if data.len() > bytes_max => return Err(BodyFault::TooLarge),
        Poll::Ready(Some(Ok(data))) if body.is_end_stream() => return Ok(data),
        Poll::Ready(Some(Ok(data))) => {
            let _ = body.flow_control().release_capacity(data.len());
            data
        }
        Poll::Ready(Some(Err(_))) => return Err(BodyFault::Malformed),
        Poll::Ready(None) => return Ok(Bytes::new()),
        Poll::Pending => Bytes::new(),
    };
    let deadline = Instant::now() + millis(hall.limits.body_timeout_ms);
    let all = async {
        let mut whole = BytesMut::new();
        while let Some(data) = poll_fn(|cx| body.poll_data(cx)).await {
            let data = data.map_err(|_| BodyFault::Malformed)?;
            let _ = body.flow_control().release_capacity(data.len());
            if data.len() > bytes_max - only.len().max(whole.len()) {
                return Err(BodyFault::TooLarge);
            }
            if only.is_empty() && whole.is_empty() {
                only = data;
            } else {
                whole.extend_from_slice(&std::mem::take(&mut only));
                whole.extend_from_slice(&data);
            }
        }
        Ok(if whole.is_empty() { only } else { whole.freeze() })
    };
    io::timeout_at(deadline, all)
        .await
        .unwrap_or(Err(BodyFault::Slow))
}

async fn answer<S: Service>(
    hall: &Hall<S>,
    respond: &mut SendResponse<Bytes>,
    response: Response,
    to_head: bool,
) -> Result<(), Gone> {
    let Response {
        status,
        headers,
        body,
    } = response;
    let bodiless = to_head || matches!(status, 100..200 | 204 | 304);
    let length = match &body {
        _ if matches!(status, 100..200 | 204 | 304) => None,
        Body::Empty => Some(0),
        Body::Full(data) => Some(data.len() as u64),
        Body::Stream(stream) => stream.length,
    };
    let mut head = http::Response::new(());
    let fields = head::write(&headers, hall.date.now(), length);
    let (Some(fields), Ok(status)) = (fields, StatusCode::from_u16(status)) else {
        tracing::error!("an answer cannot be sent: bad status or field");
        *head.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        return respond.send_response(head, true).map(drop).map_err(|_| Gone);
    };
    *head.status_mut() = status;
    *head.headers_mut() = fields;
    let at_once = bodiless || length == Some(0);
    let mut out = respond.send_response(head, at_once).map_err(|_| Gone)?;
    match body {
        _ if at_once => Ok(()),
        Body::Empty => Ok(()),
        Body::Full(data) => send(hall, &mut out, data, true).await,
        Body::Stream(stream) => pull(hall, &mut out, stream).await,
    }
}

/// Pulls a body to its end; one that breaks off, or lies about its length, is reset (RFC 9113 §8.1.1).
async fn pull<S>(hall: &Hall<S>, out: &mut SendStream<Bytes>, stream: BodyStream) -> Result<(), Gone> {
    let BodyStream { length, mut source } = stream;
    let mut left = length;
    loop {
        let step = {
            let reset = pin!(poll_fn(|cx| out.poll_reset(cx)));
            io::first(source.next().as_mut(), reset).await.map_err(|_| Gone)?
        };
        let chunk = match step {
            Some(Ok(chunk)) => chunk,
            None if left.is_none_or(|left| left == 0) => {
                return out.send_data(Bytes::new(), true).map_err(|_| Gone);
            }
            Some(Err(_)) | None => break,
        };
        if let Some(left) = &mut left {
            match left.checked_sub(chunk.len() as u64) {
                Some(less) => *left = less,
                None => break,
            }
        }
        send(hall, out, chunk, false).await?;
    }
    // A reset throws away what still stands in the queue; what came before the break was good.
    io::yield_now().await;
    out.send_reset(Reason::INTERNAL_ERROR);
    Ok(())
}

/// Hands `data` over piece by piece, as the client makes room.
async fn send<S>(
    hall: &Hall<S>,
    out: &mut SendStream<Bytes>,
    mut data: Bytes,
    last: bool,
) -> Result<(), Gone> {
    while !data.is_empty() {
        out.reserve_capacity(data.len().min(CLIENT_STREAM_SEND_BYTES_MAX));
        let room = match out.capacity() {
            0 => match io::timeout(millis(hall.limits.write_stall_timeout_ms), room(out)).await {
                Ok(room) => room?,
                Err(io::Elapsed) => {
                    out.send_reset(Reason::CANCEL);
                    return Err(Gone);
                }
            },
            // No deadline where there is nothing to wait for.
            room => room,
        };
        let piece = data.split_to(room.min(data.len()));
        let end = last && data.is_empty();
        out.send_data(piece, end).map_err(|_| Gone)?;
    }
    Ok(())
}

/// Waits until something may be sent. `poll_capacity` only tells of growth, so what is there is taken first.
fn room(out: &mut SendStream<Bytes>) -> impl Future<Output = Result<usize, Gone>> {
    poll_fn(move |cx| {
        loop {
            if out.capacity() > 0 {
                return Poll::Ready(Ok(out.capacity()));
            }
            match out.poll_capacity(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(Err(Gone)),
            }
        }
    })
}

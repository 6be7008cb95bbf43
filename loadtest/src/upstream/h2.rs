//! HTTP/2 connections, over the `h2` crate: one task a connection, one a request.
//!
//! A request's task can ask its connection to end, in order or by reset, because only the connection owns the socket.

use super::{
    flows::{self, After, COPY_BYTES_MAX, Content, Head, Out},
    h1::BODY_BYTES_MAX,
    head::Fields,
    io::{Io, Prefixed},
    protocol::{Plan, respond},
    server::Shard,
};
use bytes::{Bytes, BytesMut};
use h2::{
    Reason, RecvStream, SendStream,
    server::{Builder, Connection, SendResponse},
};
use http::{HeaderMap, HeaderValue, Request, Response, header};
use ringway_proto::http::Method;
use std::{
    future::poll_fn,
    io,
    pin::pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::Poll,
};
use tokio::sync::mpsc;

/// Windows wide enough that uploads never wait for us.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// Of each stream, bytes waiting to be written; more waits in the stream's own task.
const SEND_BUFFER_BYTES: usize = 256 << 10;

/// Serves a connection until it ends; `first` is what was read of it already.
pub async fn serve(shard: Arc<Shard>, io: Io, first: Vec<u8>) -> io::Result<()> {
    let (io, reset) = Prefixed::new(first, io);
    let mut connection: Connection<Prefixed, Bytes> = Builder::new()
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(shard.server.options.http2_streams)
        .max_send_buffer_size(SEND_BUFFER_BYTES)
        .handshake(io)
        .await
        .map_err(io::Error::other)?;
    let (order, mut orders) = mpsc::unbounded_channel();
    loop {
        tokio::select! {
            biased;
            ordered = orders.recv() => match ordered {
                Some(After::Goaway) => connection.graceful_shutdown(),
                Some(After::Reset) => {
                    one_turn(&mut connection).await;
                    reset.store(true, Relaxed);
                    return Ok(());
                }
                Some(After::Fin) => {
                    one_turn(&mut connection).await;
                    return Ok(());
                }
                Some(After::Keep | After::RstStream | After::Gone) | None => {}
            },
            accepted = connection.accept() => match accepted {
                Some(Ok((request, respond))) => {
                    tokio::spawn(answer(Arc::clone(&shard), request, respond, order.clone()));
                }
                Some(Err(_)) | None => return Ok(()),
            },
        }
    }
}

/// Lets the connection write what its streams have handed over.
async fn one_turn(connection: &mut Connection<Prefixed, Bytes>) {
    let mut accept = pin!(connection.accept());
    poll_fn(|cx| {
        _ = accept.as_mut().poll(cx);
        Poll::Ready(())
    })
    .await;
}

async fn answer(
    shard: Arc<Shard>,
    request: Request<RecvStream>,
    respond_to: SendResponse<Bytes>,
    order: mpsc::UnboundedSender<After>,
) {
    let (parts, body) = request.into_parts();
    let Ok(body) = whole(body).await else { return };
    let headers = &parts.headers;
    let mut fields = Fields::new(Method::from_token(parts.method.as_str().as_bytes()), true);
    fields.revision = field(headers, "mcp-protocol-version");
    fields.session = field(headers, "mcp-session-id");
    fields.mcp_method = field(headers, "mcp-method");
    fields.mcp_name = field(headers, "mcp-name");
    fields.accept = field(headers, "accept");
    fields.content_type = field(headers, "content-type");
    let reply = respond(&shard, &fields, &body);
    let mut out = Writer {
        respond: respond_to,
        stream: None,
        whole: quick_body(&shard, &reply),
    };
    let after = match flows::run(&shard, &mut out, reply).await {
        Ok(after) => after,
        // The client has reset the stream or left; the connection knows.
        Err(_) => return,
    };
    match after {
        After::Keep | After::Gone => {}
        After::RstStream => out.reset(),
        After::Goaway | After::Fin | After::Reset => {
            // The connection may be gone by itself.
            _ = order.send(after);
            if after != After::Goaway {
                // A dropped stream would be reset in order before the connection breaks.
                tokio::task::yield_now().await;
            }
        }
    }
}

/// Whether the answer is one piece, which can then end the stream together with itself.
fn quick_body(shard: &Shard, reply: &super::protocol::Reply<'_>) -> bool {
    let small = match &reply.plan {
        Plan::Json(answer) | Plan::Event(answer) => answer.bytes() <= COPY_BYTES_MAX,
        _ => false,
    };
    small && reply.fault.is_none() && shard.server.gate.is_open()
}

fn field<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h [u8]> {
    headers.get(name).map(HeaderValue::as_bytes)
}

/// Reads a body; one frame, the usual case, is not copied.
async fn whole(mut body: RecvStream) -> Result<Bytes, h2::Error> {
    let mut first = Bytes::new();
    let mut more = BytesMut::new();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
        if first.is_empty() && more.is_empty() {
            first = piece;
            continue;
        }
        if more.is_empty() {
            more.extend_from_slice(&first);
        }
        more.extend_from_slice(&piece);
        if more.len() > BODY_BYTES_MAX {
            return Err(Reason::ENHANCE_YOUR_CALM.into());
        }
    }
    Ok(if more.is_empty() { first } else { more.freeze() })
}

struct Writer {
    respond: SendResponse<Bytes>,
    stream: Option<SendStream<Bytes>>,
    /// The one piece that comes is all there is.
    whole: bool,
}

impl Writer {
    fn reset(&mut self) {
        match &mut self.stream {
            Some(stream) => stream.send_reset(Reason::INTERNAL_ERROR),
            None => self.respond.send_reset(Reason::INTERNAL_ERROR),
        }
    }
}

impl Out for Writer {
    async fn head(&mut self, head: &Head) -> io::Result<()> {
        let mut response = Response::new(());
        *response.status_mut() = http::StatusCode::from_u16(head.status).map_err(io::Error::other)?;
        let headers = response.headers_mut();
        let content_type = match head.content {
            Content::None => None,
            Content::Json => Some("application/json"),
            Content::Events => Some("text/event-stream"),
            Content::Text => Some("text/plain"),
        };
        if let Some(content_type) = content_type {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        if head.content == Content::Events {
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
        }
        if let Some(session) = head.session {
            let value = HeaderValue::try_from(session.to_string()).map_err(io::Error::other)?;
            headers.insert("mcp-session-id", value);
        }
        if let Some(seconds) = head.retry_after_s {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if let Some(length) = head.length {
            headers.insert(header::CONTENT_LENGTH, length.into());
        }
        let ends = head.content == Content::None;
        let stream = self
            .respond
            .send_response(response, ends)
            .map_err(io::Error::other)?;
        self.stream = Some(stream);
        Ok(())
    }

    async fn data(&mut self, mut piece: Bytes) -> io::Result<()> {
        let stream = self.stream.as_mut().ok_or(io::ErrorKind::InvalidInput)?;
        if self.whole {
            return stream.send_data(piece, true).map_err(io::Error::other);
        }
        while !piece.is_empty() {
            stream.reserve_capacity(piece.len());
            let room = poll_fn(|cx| stream.poll_capacity(cx)).await;
            let room = room
                .ok_or(io::ErrorKind::ConnectionReset)?
                .map_err(io::Error::other)?;
            let part = piece.split_to(room.min(piece.len()));
            stream.send_data(part, false).map_err(io::Error::other)?;
        }
        Ok(())
    }

    async fn end(&mut self) -> io::Result<()> {
        match &mut self.stream {
            // An answer without a body, or in one piece, has ended itself; a second end is refused and means nothing.
            Some(stream) if !self.whole => {
                _ = stream.send_data(Bytes::new(), true);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    async fn gone(&mut self) {
        let (respond, stream) = (&mut self.respond, &mut self.stream);
        // An error is an end as well.
        _ = poll_fn(|cx| match stream {
            Some(stream) => stream.poll_reset(cx),
            None => respond.poll_reset(cx),
        })
        .await;
    }
}

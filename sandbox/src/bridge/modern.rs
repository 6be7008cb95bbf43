//! The modern wire (specification 2026-07-28, Streamable HTTP): every POST stands alone.
//!
//! `Mcp-Param-*` headers are not compared with the body: that takes the tool's schema, which the data plane has and
//! has checked; they end here either way.

use super::{
    handshake::Greeting,
    message::{self, HEADER_MISMATCH, INVALID_PARAMS, METHOD_NOT_FOUND, VERSION_UNSUPPORTED},
    peer::{Begin, Peer},
    reply::{self, Reply},
    serve::{PROTOCOL_VERSION, Post, header},
    server::Server,
};
use hyper::{HeaderMap, StatusCode};
use ringway_proto::{
    header_value,
    json::{Kind, kind},
    revision::{Era, Revision},
    rpc::Shape,
};
use serde_json::json;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

/// Answers a message to a modern server.
pub(super) async fn post(
    server: &Arc<Server>,
    peer: &Arc<Peer>,
    post: Post,
    place: OwnedSemaphorePermit,
) -> Reply {
    match post.message.shape() {
        Shape::Request => {}
        Shape::Notification => {
            // A cancellation is the closing of a response here; one that comes as a message names an id we gave no one.
            if post.method() != "notifications/cancelled" {
                peer.send(post.doc).await;
            }
            return reply::empty(StatusCode::ACCEPTED);
        }
        Shape::Result | Shape::Error => {
            let text = "a modern server takes no responses";
            return reply::refusal(StatusCode::BAD_REQUEST, None, message::INVALID_REQUEST, text);
        }
    }
    if post.method() == "initialize" {
        return no_initialize(peer, &post);
    }
    if let Err(refusal) = check(peer, &post) {
        return refusal;
    }
    let id = post.id().map(<[u8]>::to_vec);
    let Post { doc, message, .. } = post;
    let begin = Begin {
        doc,
        message,
        session: None,
        subscribes: None,
        level: None,
        place,
    };
    match peer.begin(begin).await {
        Ok(ticket) => reply::of_call(ticket, Era::Modern, &server.limits, Box::new(())).await,
        Err(how) => {
            let text = format!("server {} {how}; try again", server.name);
            let error = message::failure(
                id.as_deref().unwrap_or(b"null"),
                &server.name,
                "server_ended",
                &text,
            );
            reply::json(StatusCode::OK, error)
        }
    }
}

/// The only hint a legacy user will see (specification 2026-07-28, "Versioning").
fn no_initialize(peer: &Peer, post: &Post) -> Reply {
    let text = format!(
        "this server speaks revision {} and has no initialize",
        Revision::NEWEST.as_str()
    );
    let error = message::error(
        post.id(),
        METHOD_NOT_FOUND,
        &text,
        Some(json!({ "supported": supported(peer) })),
    );
    reply::json(StatusCode::NOT_FOUND, error)
}

/// Headers and body must say the same, and the body must say what every request says.
fn check(peer: &Peer, post: &Post) -> Result<(), Reply> {
    let refuse = |code, text: &str| Err(reply::refusal(StatusCode::BAD_REQUEST, post.id(), code, text));
    let Some(revision) = header(&post.headers, PROTOCOL_VERSION) else {
        return refuse(HEADER_MISMATCH, "the header MCP-Protocol-Version is missing");
    };
    let meta = post.message.meta();
    match post.message.meta_protocol_version(&post.doc) {
        None => {
            return refuse(
                INVALID_PARAMS,
                "params._meta must name io.modelcontextprotocol/protocolVersion",
            );
        }
        Some(named) if named != revision => {
            return refuse(HEADER_MISMATCH, "MCP-Protocol-Version differs from params._meta");
        }
        Some(_) if revision != Revision::NEWEST.as_str() => {
            let data = json!({ "supported": supported(peer), "requested": revision });
            let error = message::error(
                post.id(),
                VERSION_UNSUPPORTED,
                "this revision is not supported",
                Some(data),
            );
            return Err(reply::json(StatusCode::BAD_REQUEST, error));
        }
        Some(_) => {}
    }
    let capabilities = meta.and_then(|meta| meta.client_capabilities);
    if capabilities.and_then(|span| kind(&post.doc, span)) != Some(Kind::Object) {
        return refuse(
            INVALID_PARAMS,
            "params._meta must have io.modelcontextprotocol/clientCapabilities",
        );
    }
    if header(&post.headers, "mcp-method") != Some(post.method()) {
        return refuse(
            HEADER_MISMATCH,
            "Mcp-Method is missing or differs from the method",
        );
    }
    let named = match post.method() {
        "tools/call" | "prompts/get" => post.message.name(&post.doc),
        "resources/read" => post.message.uri(&post.doc),
        "tasks/get" | "tasks/update" | "tasks/cancel" => post.message.task_id(&post.doc),
        _ => return Ok(()),
    };
    if let Some(named) = named
        && mirrored(&post.headers).as_deref() != Some(&*named)
    {
        return refuse(HEADER_MISMATCH, "Mcp-Name is missing or differs from the body");
    }
    Ok(())
}

fn mirrored(headers: &HeaderMap) -> Option<String> {
    let value = headers.get("mcp-name")?;
    header_value::decode(value.as_bytes())
        .ok()
        .map(|name| name.into_owned())
}

fn supported(peer: &Peer) -> serde_json::Value {
    match &peer.greeting {
        Greeting::Modern { supported } => serde_json::from_slice(supported).unwrap_or_default(),
        Greeting::Legacy { .. } | Greeting::Unopened => serde_json::Value::Null,
    }
}

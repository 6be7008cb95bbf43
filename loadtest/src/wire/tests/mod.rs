//! Conversations with a scripted peer on loopback: what it sends, byte by byte, and what we make of it.

mod http1;
mod http2;
mod peer;
mod slow;
mod tls;

use super::*;
use bytes::Bytes;
use peer::Peer;
use std::time::Duration;

/// A call's body in these tests.
const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#;
/// Long enough for a loaded machine, short enough to notice a hang.
const PATIENCE: Duration = Duration::from_secs(20);

fn request(head: &Head) -> Request<'_> {
    Request {
        head,
        extra: &[],
        body: Bytes::from_static(CALL.as_bytes()),
    }
}

fn want() -> Want {
    Want {
        timeout: Some(PATIENCE),
        ..Want::default()
    }
}

async fn target_of(peer: &Peer) -> Target {
    Target::resolve(&peer.url("http"), &TargetOptions::default())
        .await
        .expect("loopback resolves")
}

fn post(target: &Target) -> Head {
    Head::new(target, Method::Post, &[("content-type", "application/json")]).expect("plain fields")
}

//! The control endpoint: what was counted, and switches that work while serving.
//!
//! | request | does |
//! |---|---|
//! | `GET /stats` | the counters |
//! | `GET /faults` | the rules in force |
//! | `POST /faults` | `{"faults": [rule…]}` replaces them; `{"stall_all_ms": n}` stops all answers for so long |
//! | `DELETE /faults` | no rules |
//! | `POST /notify` | `{"method": "notifications/tools/list_changed"}` (and `uri`) to every held stream |
//! | `DELETE /sessions` | forgets all sessions, as a restart does |
//!
//! Serves from a thread of its own, so that it answers while everything else stalls.

use super::{
    faults::Rule,
    flows::Content,
    h1::whole_answer,
    head::{self, Framing},
    server::{Event, Server},
};
use ringway_proto::http::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use std::{io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// Largest request: 64 rules are far smaller.
const REQUEST_BYTES_MAX: usize = 1 << 20;
/// A client that has said nothing for so long is let go.
const PATIENCE: Duration = Duration::from_secs(10);

/// Accepts until the server ends.
pub async fn serve(server: Arc<Server>, listener: TcpListener) {
    let mut stop = server.stop.subscribe();
    loop {
        let accepted = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            accepted = listener.accept() => accepted,
        };
        if let Ok((tcp, _)) = accepted {
            let server = Arc::clone(&server);
            tokio::spawn(async move {
                // Whoever asked sees the broken connection.
                _ = tokio::time::timeout(PATIENCE, connection(&server, tcp)).await;
            });
        }
    }
}

async fn connection(server: &Server, mut tcp: TcpStream) -> io::Result<()> {
    let mut buf = Vec::new();
    loop {
        if let Some(answer) = one(server, &buf) {
            tcp.write_all(&answer).await?;
            return tcp.shutdown().await;
        }
        if tcp.read_buf(&mut buf).await? == 0 || buf.len() > REQUEST_BYTES_MAX {
            return Ok(());
        }
    }
}

/// The answer, once the request is whole.
fn one(server: &Server, buf: &[u8]) -> Option<Vec<u8>> {
    let bad = |status, why: &str| Some(whole_answer(status, Content::Text, why.as_bytes()));
    let head = match head::read(buf) {
        Ok(Some(head)) => head,
        Ok(None) => return None,
        Err(why) => return bad(400, why),
    };
    let Framing::Length(length) = head.framing else {
        return bad(400, "send a content-length");
    };
    let body = buf.get(head.bytes..head.bytes.checked_add(length)?)?;
    let said = match (head.fields.method, head.target) {
        (Method::Get, "/stats") => match serde_json::to_value(server.stats()) {
            Ok(stats) => Ok(stats),
            Err(why) => Err((500, why.to_string())),
        },
        (Method::Get, "/faults") => Ok(faults(server)),
        (Method::Post, "/faults") => set_faults(server, body).map_err(|why| (400, why)),
        (Method::Delete, "/faults") => server
            .faults
            .set(Vec::new())
            .map(|()| faults(server))
            .map_err(|e| (500, e)),
        (Method::Post, "/notify") => notify(server, body).map_err(|why| (400, why)),
        (Method::Delete, "/sessions") => Ok(json!({ "forgotten": server.sessions.forget_all() })),
        (_, "/stats" | "/faults" | "/notify" | "/sessions") => Err((405, "not this method".to_owned())),
        _ => Err((404, "/stats, /faults, /notify, /sessions".to_owned())),
    };
    match said {
        Ok(value) => Some(whole_answer(200, Content::Json, value.to_string().as_bytes())),
        Err((status, why)) => bad(status, &why),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Orders {
    faults: Option<Vec<Rule>>,
    stall_all_ms: Option<u64>,
}

fn set_faults(server: &Server, body: &[u8]) -> Result<Value, String> {
    let orders: Orders = serde_json::from_slice(body).map_err(|e| e.to_string())?;
    if let Some(rules) = orders.faults {
        server.faults.set(rules)?;
    }
    if let Some(ms) = orders.stall_all_ms {
        server.gate.close(Duration::from_millis(ms));
    }
    Ok(faults(server))
}

fn faults(server: &Server) -> Value {
    json!({ "faults": server.faults.rules(), "stalled": !server.gate.is_open() })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Notice {
    method: String,
    uri: Option<String>,
}

fn notify(server: &Server, body: &[u8]) -> Result<Value, String> {
    let notice: Notice = serde_json::from_slice(body).map_err(|e| e.to_string())?;
    if !notice.method.starts_with("notifications/") {
        return Err("the method must begin with notifications/".to_owned());
    }
    let event = Event {
        method: notice.method.into(),
        uri: notice.uri.map(Into::into),
    };
    // An error says that no stream is held.
    Ok(json!({ "streams": server.events.send(event).unwrap_or(0) }))
}

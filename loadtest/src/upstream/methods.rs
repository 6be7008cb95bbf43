//! The methods: what each answers once the protocol's rules have let it in.

use super::{
    answer::{Answer, Text},
    catalogue::{Tool, capabilities, server_info},
    protocol::{Asked, Hold, INVALID_PARAMS, METHOD_NOT_FOUND, Plan, Progress, Reply, call_plan},
    server::{Shard, Waiting},
    stats::Counter,
    text::TEXT_BYTES_MAX,
};
use ringway_proto::{
    json::{self, Kind},
    revision::{Era, Revision},
};
use std::{borrow::Cow, time::Duration};

/// Longest wait a call may ask for.
const SLEEP_MS_MAX: u64 = 600_000;
/// Most reports a call may ask for.
const STEPS_MAX: u64 = 1_000_000;

const TEXT_OPEN: &[u8] = b",\"result\":{\"content\":[{\"type\":\"text\",\"text\":\"";
const TEXT_CLOSE: &[u8] = b"\"}]}}";
const FAILED_CLOSE: &[u8] = b"\"}],\"isError\":true}}";

/// The end of a modern result: its type, and who answers.
const MODERN_CLOSE: &str = concat!(
    "\"}],\"resultType\":\"complete\",\"_meta\":{\"io.modelcontextprotocol/serverInfo\":",
    "{\"name\":\"ringway-loadtest\",\"version\":\"",
    env!("CARGO_PKG_VERSION"),
    "\"}}}}"
);
const MODERN_FAILED_CLOSE: &str = "\"}],\"isError\":true,\"resultType\":\"complete\"}}";

/// Answers a request.
pub fn answer<'a>(shard: &Shard, asked: &Asked<'a, '_>) -> Reply<'a> {
    let era = asked.era;
    let catalogue = &shard.server.catalogue;
    let answer = match (asked.method, era) {
        ("tools/call", _) => return call(shard, asked),
        ("tools/list", _) => tools(shard, asked),
        ("resources/list", _) => Answer::rendered(asked.id, catalogue.resources(era).clone()),
        ("resources/templates/list", _) => Answer::rendered(asked.id, catalogue.templates(era).clone()),
        ("resources/read", _) => read(shard, asked),
        ("prompts/list", _) => Answer::rendered(asked.id, catalogue.prompts(era).clone()),
        ("prompts/get", _) => prompt(asked),
        ("completion/complete", _) => complete(
            asked,
            r#""completion":{"values":["alice","bob"],"total":2,"hasMore":false}"#,
        ),
        ("server/discover", Era::Modern) => Answer::rendered(asked.id, catalogue.discover().clone()),
        ("subscriptions/listen", Era::Modern) => return listen(asked),
        ("ping" | "logging/setLevel" | "resources/subscribe" | "resources/unsubscribe", Era::Legacy) => {
            complete(asked, "")
        }
        (_, Era::Modern) => asked.error(404, METHOD_NOT_FOUND, "Method not found"),
        (_, Era::Legacy) => asked.error(200, METHOD_NOT_FOUND, "Method not found"),
    };
    Reply::plain(Plan::Json(answer))
}

/// Takes note of a notification of the older era.
pub fn notified(shard: &Shard, asked: &Asked<'_, '_>) {
    let waiting: &Waiting = &shard.server.waiting;
    let id = asked.message.params.as_ref().and_then(|params| params.request_id);
    if asked.method == "notifications/cancelled"
        && let (Some(session), Some(id)) = (asked.session, id)
        && waiting.cancel(session, id.of(asked.doc))
    {
        shard.counters.add(Counter::Cancelled);
    }
}

/// Opens a session.
pub fn initialize<'a>(shard: &Shard, asked: &Asked<'a, '_>) -> Reply<'a> {
    let said = asked
        .message
        .params
        .as_ref()
        .and_then(|params| params.protocol_version);
    let said = said.and_then(|span| json::string(asked.doc, span));
    let known = said.as_deref().and_then(|said| Revision::parse(said.as_bytes()));
    let revision = known
        .filter(|revision| revision.era() == Era::Legacy)
        .unwrap_or(Revision::NEWEST_LEGACY);
    let mut opened = None;
    if !shard.server.options.stateless {
        opened = shard.server.sessions.open(revision, &mut *shard.rng());
        if opened.is_none() {
            return Reply::plain(Plan::Json(asked.error(503, -32603, "too many sessions")));
        }
        shard.counters.add(Counter::SessionsOpened);
    }
    let result = serde_json::json!({
        "protocolVersion": revision.as_str(),
        "capabilities": capabilities(),
        "serverInfo": server_info(),
    });
    let mut reply = Reply::plain(Plan::Json(Answer::made(
        asked.id,
        format!(",\"result\":{result}}}"),
    )));
    reply.opened = opened;
    reply
}

fn call<'a>(shard: &Shard, asked: &Asked<'a, '_>) -> Reply<'a> {
    let counters = &shard.counters;
    counters.add(Counter::Calls);
    let name = asked.message.name(asked.doc).unwrap_or_default();
    let Some(tool) = shard.server.catalogue.tool(&name) else {
        counters.add(Counter::CallsUnknown);
        let text = format!("Unknown tool: {name}");
        return Reply::plain(Plan::Json(asked.error(200, INVALID_PARAMS, &text)));
    };
    let latency = shard.server.latency(&name);
    let mut wait = match latency.is_none() {
        true => Duration::ZERO,
        false => latency.draw(&mut *shard.rng()),
    };
    let mut progress = None;
    let mut answer = match tool {
        Tool::Echo => {
            counters.add(Counter::CallsEcho);
            echo(asked)
        }
        Tool::Sized | Tool::Synthetic => {
            counters.add(if tool == Tool::Sized {
                Counter::CallsSized
            } else {
                Counter::CallsSynthetic
            });
            let asked_bytes = asked.number("bytes").filter(|_| tool == Tool::Sized);
            let bytes = asked_bytes.map_or(shard.server.options.size_bytes, |n| n as usize);
            if bytes > TEXT_BYTES_MAX {
                asked.error(200, INVALID_PARAMS, "bytes is too large")
            } else {
                text(asked, Text::Shared(shard.server.texts.of(bytes)))
            }
        }
        Tool::Sleep => {
            counters.add(Counter::CallsSleep);
            wait += Duration::from_millis(asked.number("ms").unwrap_or(0).min(SLEEP_MS_MAX));
            text(asked, Text::Slice(b"slept"))
        }
        Tool::Progress => {
            counters.add(Counter::CallsProgress);
            let steps = asked.number("steps").unwrap_or(5).min(STEPS_MAX);
            let interval = asked.number("interval_ms").unwrap_or(0).min(SLEEP_MS_MAX);
            progress = Some((steps, Duration::from_millis(interval)));
            match asked.argument("text") {
                Some(_) => echo(asked),
                None => text(asked, Text::Slice(b"done")),
            }
        }
        Tool::Fail => {
            counters.add(Counter::CallsFail);
            text(asked, Text::Slice(b"it failed, as it was told to"))
        }
        Tool::Error => {
            counters.add(Counter::CallsError);
            let code = asked
                .argument("code")
                .and_then(|span| std::str::from_utf8(span.of(asked.doc)).ok());
            let code = code.and_then(|code| code.parse().ok()).unwrap_or(-32603);
            asked.error(200, code, "it failed, as it was told to")
        }
    };
    if tool == Tool::Fail {
        answer.close = Cow::Borrowed(match asked.era {
            Era::Legacy => FAILED_CLOSE,
            Era::Modern => MODERN_FAILED_CLOSE.as_bytes(),
        });
    }
    let plan = match progress {
        Some((steps, interval)) => Plan::Progress(Progress {
            token: asked
                .message
                .meta()
                .and_then(|m| m.progress_token)
                .map(|span| span.of(asked.doc)),
            steps,
            interval,
            answer,
        }),
        None => call_plan(shard, answer),
    };
    Reply {
        wait,
        is_call: true,
        ..Reply::plain(plan)
    }
}

/// The argument `text` as it was written: what is escaped there is escaped here.
fn echo<'a>(asked: &Asked<'a, '_>) -> Answer<'a> {
    match asked.argument("text") {
        Some(span) if json::kind(asked.doc, span) == Some(Kind::String) => {
            text(asked, Text::Slice(span.unquoted().of(asked.doc)))
        }
        _ => asked.error(200, INVALID_PARAMS, "the argument text must be a string"),
    }
}

/// A result of one text.
fn text<'a>(asked: &Asked<'a, '_>, text: Text<'a>) -> Answer<'a> {
    Answer {
        status: 200,
        id: asked.id,
        open: TEXT_OPEN,
        text,
        close: Cow::Borrowed(match asked.era {
            Era::Legacy => TEXT_CLOSE,
            Era::Modern => MODERN_CLOSE.as_bytes(),
        }),
    }
}

/// A result of these members.
fn complete<'a>(asked: &Asked<'a, '_>, members: &str) -> Answer<'a> {
    let more = match (asked.era, members.is_empty()) {
        (Era::Legacy, _) => "",
        (Era::Modern, true) => r#""resultType":"complete""#,
        (Era::Modern, false) => r#","resultType":"complete""#,
    };
    Answer::made(asked.id, format!(",\"result\":{{{members}{more}}}}}"))
}

fn tools<'a>(shard: &Shard, asked: &Asked<'a, '_>) -> Answer<'a> {
    shard.counters.add(Counter::ToolLists);
    let cursor = asked.message.params.as_ref().and_then(|params| params.cursor);
    let page = match cursor.map(|span| json::string(asked.doc, span)) {
        None => Some(0),
        Some(cursor) => cursor.and_then(|cursor| cursor.parse().ok()),
    };
    match page.and_then(|page: usize| shard.server.catalogue.tools(asked.era, page)) {
        Some(page) => Answer::rendered(asked.id, page.clone()),
        None => asked.error(200, INVALID_PARAMS, "no such cursor"),
    }
}

fn read<'a>(shard: &Shard, asked: &Asked<'a, '_>) -> Answer<'a> {
    shard.counters.add(Counter::Reads);
    let uri = asked.message.uri(asked.doc).unwrap_or_default();
    if !shard.server.catalogue.has_resource(&uri) {
        let code = if asked.era == Era::Modern {
            INVALID_PARAMS
        } else {
            -32002
        };
        let data = serde_json::json!({ "uri": uri }).to_string();
        return Answer::error(200, Some(asked.id), code, "Resource not found", Some(&data));
    }
    let body = shard.server.texts.of(shard.server.options.size_bytes);
    let contents = serde_json::json!([{
        "uri": uri,
        "mimeType": "text/plain",
        "text": std::str::from_utf8(&body).unwrap_or_default(),
    }]);
    let hints = match asked.era {
        Era::Modern => ",\"ttlMs\":60000,\"cacheScope\":\"public\"",
        Era::Legacy => "",
    };
    complete(asked, &format!("\"contents\":{contents}{hints}"))
}

fn prompt<'a>(asked: &Asked<'a, '_>) -> Answer<'a> {
    if asked.message.name(asked.doc).as_deref() != Some("greeting") {
        return asked.error(200, INVALID_PARAMS, "Unknown prompt");
    }
    let whom = asked
        .argument("name")
        .and_then(|span| json::string(asked.doc, span));
    let whom = whom.unwrap_or(Cow::Borrowed("somebody"));
    let messages = serde_json::json!([{
        "role": "user",
        "content": { "type": "text", "text": format!("Please greet {whom}.") },
    }]);
    complete(asked, &format!("\"messages\":{messages}"))
}

fn listen<'a>(asked: &Asked<'a, '_>) -> Reply<'a> {
    let wanted = asked
        .message
        .params
        .as_ref()
        .and_then(|params| params.notifications);
    match wanted.filter(|span| json::kind(asked.doc, *span) == Some(Kind::Object)) {
        Some(wanted) => Reply::plain(Plan::Hold(Hold {
            listen: Some(asked.id.into()),
            asked: wanted.of(asked.doc).into(),
        })),
        None => Reply::plain(Plan::Json(asked.error(
            200,
            INVALID_PARAMS,
            "notifications must be an object",
        ))),
    }
}

//! How a request is dressed in each era: what stands in its headers and what in its `_meta`.
//!
//! Modern (2026-07-28): each request carries revision, capabilities and client in `_meta`, and mirrors revision,
//! method and name in headers. Old: the session's id and the agreed revision in headers, nothing in the body. What
//! differs from client to client (credential, session) is no part of a frame: it is added to each call.

use crate::scenario::{Call, template::Template};
use ringway_proto::{
    header_value::encode,
    revision::{Era, Revision},
};

/// Answers may come either way, and a client must say that it takes both.
const ACCEPT: &str = "application/json, text/event-stream";

/// A revision, as it was agreed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dialect {
    /// Which era.
    pub era: Era,
    /// As it stands in headers; an old server may have answered with one we do not know by name.
    pub revision: String,
}

/// The headers of a message that are the same for every client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// Names in lower case, and values.
    pub fields: Vec<(String, String)>,
}

/// A request that calls are made from.
#[derive(Clone, Debug)]
pub struct Dressed {
    /// Its headers.
    pub frame: Frame,
    /// Its body.
    pub body: Template,
}

impl Dialect {
    /// One of the revisions we know.
    pub fn of(revision: Revision) -> Self {
        Self {
            era: revision.era(),
            revision: revision.as_str().to_owned(),
        }
    }

    /// A request of this operation's call. With `progress`, its own id is its progress token.
    pub fn request(&self, call: &Call, progress: bool) -> Dressed {
        let mut body = Template::fixed(r#"{"jsonrpc":"2.0","id":"#);
        body.push_id();
        body.push_fixed(format!(r#","method":{}"#, quoted(&call.method)).as_bytes());
        let meta = self.meta(progress);
        let bare = call.members.is_fixed() && call.members.is_empty();
        if !bare || meta.is_some() {
            body.push_fixed(br#","params":{"#);
            body.push(call.members.clone());
            if let Some(meta) = meta {
                if !bare {
                    body.push_fixed(b",");
                }
                body.push_fixed(br#""_meta":"#);
                body.push(meta);
            }
            body.push_fixed(b"}");
        }
        body.push_fixed(b"}");
        Dressed {
            frame: self.frame(Some(&call.method), call.subject.as_deref()),
            body,
        }
    }

    /// A message without an id. `params` is JSON text.
    pub fn notification(&self, method: &str, params: Option<&str>) -> (Frame, String) {
        let params = params.map(|p| format!(r#","params":{p}"#)).unwrap_or_default();
        let body = format!(r#"{{"jsonrpc":"2.0","method":{}{params}}}"#, quoted(method));
        (self.frame(Some(method), None), body)
    }

    /// The headers of a message about `subject`; without a method, of a GET or a DELETE.
    pub fn frame(&self, method: Option<&str>, subject: Option<&str>) -> Frame {
        let mut fields = vec![("accept".to_owned(), ACCEPT.to_owned())];
        let mut add = |name: &str, value: String| fields.push((name.to_owned(), value));
        if method.is_some() {
            add("content-type", "application/json".to_owned());
        }
        // The header came with 2025-06-18; an older server ignores what it does not know.
        add("mcp-protocol-version", self.revision.clone());
        if let (Era::Modern, Some(method)) = (self.era, method) {
            add("mcp-method", encode(method).into_owned());
            if let Some(subject) = subject {
                add("mcp-name", encode(subject).into_owned());
            }
        }
        Frame { fields }
    }

    fn meta(&self, progress: bool) -> Option<Template> {
        let mut meta = Template::fixed("{");
        if self.era == Era::Modern {
            let own = format!(
                r#""io.modelcontextprotocol/protocolVersion":{},"io.modelcontextprotocol/clientCapabilities":{{}},"io.modelcontextprotocol/clientInfo":{}"#,
                quoted(&self.revision),
                client_info()
            );
            meta.push_fixed(own.as_bytes());
        }
        if progress {
            if self.era == Era::Modern {
                meta.push_fixed(b",");
            }
            meta.push_fixed(br#""progressToken":"#);
            meta.push_id();
        } else if self.era == Era::Legacy {
            return None;
        }
        meta.push_fixed(b"}");
        Some(meta)
    }
}

/// Who we say we are, JSON.
pub(super) fn client_info() -> String {
    format!(
        r#"{{"name":"ringway-loadtest","version":{}}}"#,
        quoted(env!("CARGO_PKG_VERSION"))
    )
}

pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Action, Scenario, template::Values};
    use bytes::BytesMut;
    use rand::{SeedableRng as _, rngs::SmallRng};
    use serde_json::{Value, json};
    use std::path::Path;

    fn call(table: &str) -> Call {
        let text = format!("[target]\nurl = \"http://a/\"\n[load]\nrate = 1\n[[operation]]\n{table}");
        let scenario = Scenario::read(&text, Path::new("")).unwrap_or_else(|e| panic!("{e}"));
        let Action::Call(call) = &scenario.operations[0].action else {
            panic!("one call");
        };
        call.clone()
    }

    fn body(dressed: &Dressed) -> Value {
        let mut random = SmallRng::seed_from_u64(1);
        let mut out = BytesMut::new();
        let mut values = Values {
            seq: 5,
            id: 9,
            client: 0,
            random: &mut random,
        };
        dressed.body.render(&mut out, &mut values);
        serde_json::from_slice(&out).unwrap_or_else(|e| panic!("{e}: {out:?}"))
    }

    #[test]
    fn modern_requests_carry_their_revision_and_mirror_their_name() {
        let dialect = Dialect::of(Revision::NEWEST);
        let call = call("call = \"tools/call\"\ntool = \"größe\"\narguments = { n = \"{{seq}}\" }");
        let dressed = dialect.request(&call, true);
        let body = body(&dressed);
        assert_eq!(body["id"], 9);
        assert_eq!(body["params"]["arguments"], json!({"n": 5}));
        assert_eq!(body["params"]["_meta"]["progressToken"], 9);
        assert_eq!(
            body["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"],
            "2026-07-28"
        );
        assert_eq!(
            body["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"],
            json!({})
        );
        let fields = &dressed.frame.fields;
        let of = |name: &str| fields.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
        assert_eq!(of("mcp-method"), Some("tools/call"));
        assert_eq!(of("mcp-name"), Some("=?base64?Z3LDtsOfZQ==?="));
        assert_eq!(of("mcp-protocol-version"), Some("2026-07-28"));
    }

    #[test]
    fn old_requests_carry_nothing_but_what_was_asked() {
        let dialect = Dialect::of(Revision::V2025_06_18);
        let list = dialect.request(&call("call = \"tools/list\""), false);
        assert_eq!(
            body(&list),
            json!({"jsonrpc": "2.0", "id": 9, "method": "tools/list"})
        );
        assert!(list.frame.fields.iter().all(|(name, _)| name != "mcp-method"));
        let tool = dialect.request(&call("call = \"tools/call\"\ntool = \"x\""), true);
        assert_eq!(
            body(&tool)["params"],
            json!({"name": "x", "arguments": {}, "_meta": {"progressToken": 9}})
        );
        let list = Dialect::of(Revision::NEWEST).request(&call("call = \"tools/list\""), false);
        assert!(body(&list)["params"]["_meta"].is_object());
    }
}

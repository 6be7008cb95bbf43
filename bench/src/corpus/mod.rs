//! Messages as real peers send them. Small ones are files under `bench/corpus`, byte for byte as on the wire (heads
//! with LF, which becomes CRLF here, and with holes for keys and lengths); large ones are made by a function, since
//! a megabyte of text says no more than its recipe.
//!
//! | what | size | as sent by |
//! |---|---|---|
//! | [`CALL_LEGACY`], [`CALL_MODERN`] | 285 B, 460 B | an agent appending 151 B of text; 210 B of parameters in the older era |
//! | [`CALL_NESTED`] | 1.4 KiB | an agent filing three issues with structured arguments |
//! | [`text_call`], [`rows_call`] | any | the same as one long string, and as many small objects |
//! | [`LIST_FILES`], [`LIST_FORGE`] | 10.7 KiB, 7 KiB | a file server of 14 tools, a forge's server of 12 |
//! | [`PROGRESS_LF`], [`PROGRESS_CRLF`] | 2.8 KiB, 3 KiB | a call's stream of the TypeScript and of the Python SDK |
//! | heads | 0.3–0.5 KiB | node's fetch, Python's httpx, curl; Express, uvicorn |

pub mod documents;

/// `tools/call` of the older era.
pub const CALL_LEGACY: &[u8] = include_bytes!("../../corpus/call_legacy_small.json");
/// `tools/call` of 2026-07-28, with the `_meta` it must have.
pub const CALL_MODERN: &[u8] = include_bytes!("../../corpus/call_modern_small.json");
/// `tools/call` with nested arguments, text beyond ASCII, and a progress token.
pub const CALL_NESTED: &[u8] = include_bytes!("../../corpus/call_nested.json");
/// `tools/call` of the gateway's own search tool.
pub const CALL_SEARCH: &[u8] = include_bytes!("../../corpus/search_call.json");
/// `initialize` of a client with every capability.
pub const INITIALIZE: &[u8] = include_bytes!("../../corpus/initialize.json");
/// A tool's answer of ordinary size.
pub const RESULT: &[u8] = include_bytes!("../../corpus/result_small.json");
/// Answer to `tools/list` of a file server.
pub const LIST_FILES: &[u8] = include_bytes!("../../corpus/list_files_server.json");
/// Answer to `tools/list` of a forge's server, first page.
pub const LIST_FORGE: &[u8] = include_bytes!("../../corpus/list_forge_server.json");
/// Sixteen progress notifications and the result, as the TypeScript SDK frames them.
pub const PROGRESS_LF: &[u8] = include_bytes!("../../corpus/progress_lf.sse");
/// The same with ids, CRLF and comments, as the Python SDK frames them.
pub const PROGRESS_CRLF: &[u8] = include_bytes!("../../corpus/progress_crlf.sse");

/// The tool that the small calls name, as clients of `/mcp` see it.
pub const TOOL_EXPOSED: &str = "notes__append_to_page";
/// The same tool as its server knows it.
pub const TOOL: &str = "append_to_page";

/// A request's head, by who sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the clients")]
pub enum Client {
    NodeFetch,
    PythonHttpx,
    Curl,
}

impl Client {
    /// All of them, with a name for reports.
    pub const ALL: [(&str, Self); 3] = [
        ("node_fetch", Self::NodeFetch),
        ("python_httpx", Self::PythonHttpx),
        ("curl", Self::Curl),
    ];

    /// The head of a POST of `body_bytes`, CRLF and all.
    pub fn request(self, key: &str, session: &str, body_bytes: usize) -> Vec<u8> {
        let text = match self {
            Self::NodeFetch => include_str!("../../corpus/request_node_fetch.http"),
            Self::PythonHttpx => include_str!("../../corpus/request_python_httpx.http"),
            Self::Curl => include_str!("../../corpus/request_curl.http"),
        };
        filled(text, &[("{key}", key), ("{session}", session)], body_bytes)
    }
}

/// The head of an Express server's JSON answer.
pub fn express_response(body_bytes: usize) -> Vec<u8> {
    filled(
        include_str!("../../corpus/response_express_json.http"),
        &[],
        body_bytes,
    )
}

/// The head of a uvicorn server's event stream.
pub fn uvicorn_response() -> Vec<u8> {
    filled(include_str!("../../corpus/response_uvicorn_sse.http"), &[], 0)
}

fn filled(text: &str, holes: &[(&str, &str)], body_bytes: usize) -> Vec<u8> {
    let mut text = text.replace("{length}", &body_bytes.to_string());
    for (hole, with) in holes {
        text = text.replace(hole, with);
    }
    text.replace('\n', "\r\n").into_bytes()
}

/// A `tools/call` whose one argument is a text of `text_bytes`, with a line end every 80 characters.
pub fn text_call(text_bytes: usize) -> Vec<u8> {
    around_arguments(&format!(r#"{{"message":"{}"}}"#, text(text_bytes)))
}

/// A `tools/call` with an array of small objects, at least `bytes` long.
pub fn rows_call(bytes: usize) -> Vec<u8> {
    let mut rows = String::from(r#"{"rows":["#);
    let mut n = 0;
    while rows.len() < bytes {
        if n > 0 {
            rows.push(',');
        }
        rows.push_str(&format!(
            r#"{{"id":{n},"sku":"A-{:05}","qty":{},"price":{}.5,"open":{}}}"#,
            n * 7919 % 100_000,
            n % 12,
            n * 31 % 997,
            n % 3 == 0
        ));
        n += 1;
    }
    rows.push_str("]}");
    around_arguments(&rows)
}

/// A result whose one text is `text_bytes` long.
pub fn text_result(id: &str, text_bytes: usize) -> Vec<u8> {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[{{"type":"text","text":"{}"}}],"isError":false}}}}"#,
        text(text_bytes)
    )
    .into_bytes()
}

/// Prose as JSON has it, escapes included.
fn text(bytes: usize) -> String {
    const LINE: &str =
        "The nightly import read the ledger of every region, and three rows did not add up.\\n";
    let mut out = LINE.repeat(bytes / LINE.len());
    out.extend(std::iter::repeat_n('.', bytes - out.len()));
    out
}

fn around_arguments(arguments: &str) -> Vec<u8> {
    format!(
        r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{{"name":"{TOOL_EXPOSED}","arguments":{arguments}}}}}"#
    )
    .into_bytes()
}

/// `body` in chunks of at most `chunk_bytes`, as the chunked transfer coding frames them.
pub fn chunked(body: &[u8], chunk_bytes: usize) -> Vec<u8> {
    use ringway_proto::chunked::{CHUNK_END, LAST_CHUNK, chunk_head};
    let mut out = Vec::with_capacity(body.len() + body.len() / chunk_bytes * 8 + 16);
    for piece in body.chunks(chunk_bytes) {
        chunk_head(&mut out, piece.len());
        out.extend_from_slice(piece);
        out.extend_from_slice(CHUNK_END);
    }
    out.extend_from_slice(LAST_CHUNK);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;
    use ringway_proto::{http1, rpc};

    #[test]
    fn every_message_is_one() {
        let made = [text_call(64 << 10), rows_call(4 << 10), text_result("1", 4096)];
        let fixed = [
            CALL_LEGACY,
            CALL_MODERN,
            CALL_NESTED,
            CALL_SEARCH,
            INITIALIZE,
            RESULT,
            LIST_FILES,
            LIST_FORGE,
        ];
        for doc in fixed.into_iter().chain(made.iter().map(Vec::as_slice)) {
            assert!(rpc::scan(doc).is_ok(), "{}", String::from_utf8_lossy(doc));
        }
        let sizes = made.map(|m| m.len());
        assert!(sizes[0] > 64 << 10 && sizes[0] < 65 << 10, "{sizes:?}");
    }

    #[test]
    fn every_head_is_one() {
        for (name, client) in Client::ALL {
            let mut head = BytesMut::from(&client.request("k", "s", 285)[..]);
            let read = http1::parse_request(&mut head, http1::HeadLimits::default());
            let read = read.unwrap_or_else(|e| panic!("{name}: {e}")).expect(name);
            assert_eq!(read.framing, http1::Framing::Length(285));
            assert!(head.is_empty());
        }
        for head in [express_response(10), uvicorn_response()] {
            let read = http1::parse_response(
                &mut BytesMut::from(&head[..]),
                false,
                http1::HeadLimits::default(),
            );
            assert_eq!(read.expect("sound").expect("whole").status, 200);
        }
    }
}

//! The one pass. Root, `params` and `_meta` each have a function that knows its keys; everything below them is
//! skipped by the cursor.

use super::{BATCH_MAX, Level, Message, Meta, Params, ScanFault, keys::Keys};
use crate::json::{self, Cursor, DEPTH_MAX, Kind, Span, Text};

/// Reads one message, validating every byte of it.
pub fn scan(doc: &[u8]) -> Result<Message, ScanFault> {
    let mut cursor = Cursor::open(doc, DEPTH_MAX)?;
    cursor.space();
    match cursor.kind() {
        Some(Kind::Object) => {}
        Some(Kind::Array) => return Err(ScanFault::Batch),
        // Say "not JSON" rather than "not an object" of something that is neither.
        _ => {
            cursor.skip(0)?;
            cursor.finish()?;
            return Err(ScanFault::NotObject);
        }
    }
    let mut message = Message::default();
    root(&mut cursor, doc, &mut message)?;
    cursor.finish()?;
    Ok(message)
}

/// The messages of a batch, as spans of `doc` to be scanned one by one. The whole document is validated.
pub fn split_batch(doc: &[u8]) -> Result<Vec<Span>, ScanFault> {
    json::check(doc, DEPTH_MAX)?;
    let root = json::root(doc);
    if json::kind(doc, root) != Some(Kind::Array) {
        return Err(ScanFault::NotObject);
    }
    let messages: Vec<Span> = json::elements(doc, root).take(BATCH_MAX + 1).collect();
    match messages.len() {
        0 => Err(ScanFault::EmptyBatch),
        1..=BATCH_MAX => Ok(messages),
        _ => Err(ScanFault::BatchTooLong),
    }
}

const ROOT: [&str; 6] = ["jsonrpc", "id", "method", "params", "result", "error"];

fn root(cursor: &mut Cursor<'_>, doc: &[u8], message: &mut Message) -> Result<(), ScanFault> {
    let mut keys = Keys::new(doc, Level::Root, &ROOT);
    let mut version = false;
    let mut null_id = None;

    message.root = cursor.object(|cursor, key| {
        match key.content.of(doc) {
            b"jsonrpc" => {
                keys.known(key, 0)?;
                let value = cursor.skip(1)?;
                if value.of(doc) != b"\"2.0\"" {
                    return Err(ScanFault::Version { at: value.start });
                }
                version = true;
            }
            b"id" => {
                keys.known(key, 1)?;
                if cursor.kind() == Some(Kind::Null) {
                    null_id = Some(cursor.skip(1)?.start);
                } else {
                    message.id = Some(id(cursor, doc)?);
                }
            }
            b"method" => {
                keys.known(key, 2)?;
                message.method = Some(method(cursor)?);
            }
            b"params" => {
                keys.known(key, 3)?;
                // JSON-RPC wants an object or nothing; some writers put null for nothing, and every reader takes it so.
                if cursor.kind() == Some(Kind::Null) {
                    cursor.skip(1)?;
                } else {
                    params(cursor, doc, message.params.insert(Params::default()))?;
                }
            }
            b"result" => {
                keys.known(key, 4)?;
                message.result = Some(cursor.skip(1)?);
            }
            b"error" => {
                keys.known(key, 5)?;
                expect(cursor, Kind::Object, "error", "an object")?;
                message.error = Some(cursor.skip(1)?);
            }
            _ => {
                keys.unknown(key)?;
                cursor.skip(1)?;
            }
        }
        Ok(())
    })?;

    if !version {
        return Err(ScanFault::NoVersion);
    }
    match (message.method, message.result, message.error) {
        (Some(_), None, None) | (None, Some(_), None) | (None, None, Some(_)) => {}
        (None, None, None) => return Err(ScanFault::Shapeless),
        _ => return Err(ScanFault::Ambiguous),
    }
    if let (Some(at), None) = (null_id, message.error) {
        return Err(ScanFault::Id { at });
    }
    if message.result.is_some() && message.id.is_none() {
        return Err(ScanFault::NoId);
    }
    Ok(())
}

const PARAMS: [&str; 17] = [
    "name",
    "uri",
    "arguments",
    "_meta",
    "taskId",
    "cursor",
    "requestId",
    "progressToken",
    "protocolVersion",
    "clientInfo",
    "capabilities",
    "ref",
    "level",
    "notifications",
    "inputResponses",
    "requestState",
    "task",
];

fn params(cursor: &mut Cursor<'_>, doc: &[u8], params: &mut Params) -> Result<(), ScanFault> {
    expect(cursor, Kind::Object, "params", "an object")?;
    let mut keys = Keys::new(doc, Level::Params, &PARAMS);

    params.span = cursor.object(|cursor, key| {
        let (place, field) = match key.content.of(doc) {
            b"name" => {
                keys.known(key, 0)?;
                params.name = Some(text(cursor, doc, "params.name")?);
                return Ok(());
            }
            b"uri" => {
                keys.known(key, 1)?;
                params.uri = Some(text(cursor, doc, "params.uri")?);
                return Ok(());
            }
            b"_meta" => {
                keys.known(key, 3)?;
                return meta(cursor, doc, params.meta.insert(Meta::default()));
            }
            b"taskId" => {
                keys.known(key, 4)?;
                params.task_id = Some(text(cursor, doc, "params.taskId")?);
                return Ok(());
            }
            b"arguments" => (2, &mut params.arguments),
            b"cursor" => (5, &mut params.cursor),
            b"requestId" => (6, &mut params.request_id),
            b"progressToken" => (7, &mut params.progress_token),
            b"protocolVersion" => (8, &mut params.protocol_version),
            b"clientInfo" => (9, &mut params.client_info),
            b"capabilities" => (10, &mut params.capabilities),
            b"ref" => (11, &mut params.reference),
            b"level" => (12, &mut params.level),
            b"notifications" => (13, &mut params.notifications),
            b"inputResponses" => (14, &mut params.input_responses),
            b"requestState" => (15, &mut params.request_state),
            b"task" => (16, &mut params.task),
            _ => {
                keys.unknown(key)?;
                cursor.skip(2)?;
                return Ok(());
            }
        };
        keys.known(key, place)?;
        *field = Some(cursor.skip(2)?);
        Ok(())
    })?;
    Ok(())
}

const META: [&str; 6] = [
    "progressToken",
    "io.modelcontextprotocol/protocolVersion",
    "io.modelcontextprotocol/clientInfo",
    "io.modelcontextprotocol/clientCapabilities",
    "io.modelcontextprotocol/logLevel",
    "io.modelcontextprotocol/subscriptionId",
];

fn meta(cursor: &mut Cursor<'_>, doc: &[u8], meta: &mut Meta) -> Result<(), ScanFault> {
    expect(cursor, Kind::Object, "params._meta", "an object")?;
    let mut keys = Keys::new(doc, Level::Meta, &META);

    meta.span = cursor.object(|cursor, key| {
        let (place, field) = match key.content.of(doc) {
            b"progressToken" => (0, &mut meta.progress_token),
            b"io.modelcontextprotocol/protocolVersion" => (1, &mut meta.protocol_version),
            b"io.modelcontextprotocol/clientInfo" => (2, &mut meta.client_info),
            b"io.modelcontextprotocol/clientCapabilities" => (3, &mut meta.client_capabilities),
            b"io.modelcontextprotocol/logLevel" => (4, &mut meta.log_level),
            b"io.modelcontextprotocol/subscriptionId" => (5, &mut meta.subscription_id),
            _ => {
                keys.unknown(key)?;
                cursor.skip(3)?;
                return Ok(());
            }
        };
        keys.known(key, place)?;
        *field = Some(cursor.skip(3)?);
        Ok::<(), ScanFault>(())
    })?;
    Ok(())
}

/// Refuses a value of another kind than `kind` before it is read.
#[inline(always)]
fn expect(
    cursor: &Cursor<'_>,
    kind: Kind,
    field: &'static str,
    expected: &'static str,
) -> Result<(), ScanFault> {
    if cursor.kind() == Some(kind) {
        Ok(())
    } else {
        Err(ScanFault::Type {
            field,
            at: cursor.at(),
            expected,
        })
    }
}

/// An id: an integer of any length, or a string that has a text.
#[inline(always)]
fn id(cursor: &mut Cursor<'_>, doc: &[u8]) -> Result<Span, ScanFault> {
    let start = cursor.at();
    match cursor.kind() {
        Some(Kind::String) => {
            let text = cursor.string()?;
            if text.escaped && json::unescape(doc, text.content).is_none() {
                return Err(ScanFault::Id { at: start });
            }
        }
        Some(Kind::Number) => {
            if !cursor.number()? {
                return Err(ScanFault::Id { at: start });
            }
        }
        _ => return Err(ScanFault::Id { at: start }),
    }
    Ok(Span {
        start,
        end: cursor.at(),
    })
}

/// A method: a string without escapes, so that comparing bytes compares text.
#[inline(always)]
fn method(cursor: &mut Cursor<'_>) -> Result<Span, ScanFault> {
    let at = cursor.at();
    if cursor.kind() != Some(Kind::String) {
        return Err(ScanFault::Method { at });
    }
    let Text { content, escaped } = cursor.string()?;
    if escaped {
        Err(ScanFault::Method { at })
    } else {
        Ok(content)
    }
}

/// A string that has a text: a lone surrogate would be read as one of several replacements.
#[inline(always)]
fn text(cursor: &mut Cursor<'_>, doc: &[u8], field: &'static str) -> Result<Span, ScanFault> {
    let at = cursor.at();
    if cursor.kind() != Some(Kind::String) {
        return Err(ScanFault::Type {
            field,
            at,
            expected: "a string",
        });
    }
    let text = cursor.string()?;
    if text.escaped && json::unescape(doc, text.content).is_none() {
        return Err(ScanFault::Type {
            field,
            at,
            expected: "a string of whole characters",
        });
    }
    Ok(text.quoted())
}

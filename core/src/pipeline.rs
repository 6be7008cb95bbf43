//! The life of a call, as a list.
//!
//! Before a message reaches a function of this file its caller is known ([`crate::authenticate`]), its body was
//! read under a cap, scanned once (`ringway_proto::rpc`), and its headers agree with it ([`crate::envelope`]).
//! Each function below is one kind of call: name what is wanted, prove that it may be had, forward. Only this
//! file can make an [`AuthorizedCall`], and [`Exchange::forward`] takes nothing else, so a call that skipped a
//! room does not compile (DESIGN invariant 3).
//!
//! `docs/life-of-a-call.md` tells the same story in prose, with every reason to refuse.

use crate::{
    authorize::{self, Permit, PromptPermit},
    envelope,
    interface::{self, Shown},
    rejection::Rejection,
    resolve,
    snapshot::{Principal, Scope, ServerIndex, Snapshot, ToolIndex},
    translate,
};
use bytes::Bytes;
use ringway_proto::{http::Headers, json, revision::Era, rpc::Message};
use std::future::Future;

/// Who calls, through which endpoint, under which snapshot.
#[derive(Clone, Copy)]
pub struct Caller<'a> {
    /// The snapshot this call sees from its first line to its last.
    pub snapshot: &'a Snapshot,
    /// Proved by [`crate::authenticate`].
    pub principal: &'a Principal,
    /// `/mcp` or one server's own endpoint.
    pub scope: Scope,
    /// The era the caller speaks.
    pub era: Era,
    /// The head of its request.
    pub headers: &'a Headers,
}

/// The outside of the pipeline: the only thing a call can wait for.
pub trait Exchange {
    /// What the caller will get.
    type Answer;

    /// Sends an authorised message to its server and gives the answer in the caller's era.
    fn forward(&self, call: AuthorizedCall) -> impl Future<Output = Result<Self::Answer, Rejection>>;

    /// An answer made here, as a whole JSON-RPC message.
    fn answer(&self, message: Vec<u8>) -> Self::Answer;
}

/// A message that has passed every room, under the names its server knows.
#[derive(Debug)]
pub struct AuthorizedCall {
    server: ServerIndex,
    doc: Bytes,
    name: Option<String>,
    tool: Option<ToolIndex>,
    // The proofs. Nobody reads them; their presence is the point.
    _proof: Proof,
}

#[derive(Debug)]
#[expect(dead_code, reason = "a proof is held, not read")]
enum Proof {
    Tool(Permit),
    Prompt(PromptPermit),
    /// A resource of the server, or the server as a whole.
    Server,
}

impl AuthorizedCall {
    /// Where it goes.
    pub fn server(&self) -> ServerIndex {
        self.server
    }

    /// The tool, when it is one of the catalogue.
    pub fn tool(&self) -> Option<ToolIndex> {
        self.tool
    }

    /// The message and the value of `Mcp-Name`.
    pub fn into_parts(self) -> (Bytes, Option<String>) {
        (self.doc, self.name)
    }
}

/// `tools/call`.
pub async fn tools_call<E: Exchange>(
    exchange: &E,
    caller: Caller<'_>,
    doc: &Bytes,
    message: &Message,
) -> Result<E::Answer, Rejection> {
    let asked = message.name(doc).ok_or_else(|| lacks("name"))?;
    let shown = interface::shown(caller.snapshot, caller.principal, caller.scope);
    if shown == Shown::Search && asked == interface::SEARCH_TOOLS {
        let permits = caller.snapshot.permits(caller.principal);
        return interface::search(caller.snapshot, permits, doc, message).map(|found| exchange.answer(found));
    }
    if shown == Shown::Search && asked == interface::EXECUTE_TOOL {
        let inner = interface::unwrap_execute(doc, message)?;
        let (permit, name) = tool(caller, &inner.name)?;
        let doc = edited(translate::request::unwrapped(doc, message, name, inner.arguments))?;
        return exchange.forward(tool_call(caller, permit, doc, name)).await;
    }
    match tool(caller, &asked) {
        Ok((permit, name)) => {
            if caller.era == Era::Modern {
                let tool = &caller.snapshot.tools[permit.tool().at()];
                envelope::params_agree(caller.headers, doc, message, tool)?;
            }
            let doc = if name == asked {
                doc.clone()
            } else {
                edited(translate::request::renamed(doc, message, name))?
            };
            exchange.forward(tool_call(caller, permit, doc, name)).await
        }
        // A server may have tools that it lists to some clients only. Whoever may use all of the server may
        // name them on its own endpoint; the server then says whether they exist.
        Err(rejection) => match whole_server(caller) {
            Some(server) if resolve::tool(caller.snapshot, caller.scope, &asked).is_err() => {
                exchange
                    .forward(server_call(server, doc.clone(), Some(asked.into_owned())))
                    .await
            }
            _ => Err(rejection),
        },
    }
}

/// Name → tool → permit; gives the name its server knows.
fn tool<'a>(caller: Caller<'a>, asked: &str) -> Result<(Permit, &'a str), Rejection> {
    let found = resolve::tool(caller.snapshot, caller.scope, asked)?;
    let permit = authorize::tool(caller.snapshot, caller.principal, caller.scope, found)?;
    Ok((permit, &caller.snapshot.tools[found.at()].name))
}

fn tool_call(caller: Caller<'_>, permit: Permit, doc: Bytes, name: &str) -> AuthorizedCall {
    let tool = permit.tool();
    let server = caller.snapshot.tools[tool.at()].server;
    AuthorizedCall {
        server,
        doc,
        name: Some(name.to_owned()),
        tool: Some(tool),
        _proof: Proof::Tool(permit),
    }
}

/// `prompts/get`.
pub async fn prompts_get<E: Exchange>(
    exchange: &E,
    caller: Caller<'_>,
    doc: &Bytes,
    message: &Message,
) -> Result<E::Answer, Rejection> {
    let asked = message.name(doc).ok_or_else(|| lacks("name"))?;
    exchange.forward(prompt_call(caller, doc, message, &asked)?).await
}

/// A message that addresses a prompt. On a server's own endpoint, whoever may use all of the server may name
/// prompts that are not in the catalogue.
fn prompt_call(
    caller: Caller<'_>,
    doc: &Bytes,
    message: &Message,
    asked: &str,
) -> Result<AuthorizedCall, Rejection> {
    let found = match (
        resolve::prompt(caller.snapshot, caller.scope, asked),
        whole_server(caller),
    ) {
        (Ok(found), _) => found,
        (Err(_), Some(server)) => return Ok(server_call(server, doc.clone(), Some(asked.to_owned()))),
        (Err(rejection), None) => return Err(rejection),
    };
    let permit = authorize::prompt(caller.snapshot, caller.principal, caller.scope, found)?;
    let prompt = &caller.snapshot.prompts[found.at()];
    let doc = if *prompt.name == *asked {
        doc.clone()
    } else {
        edited(translate::request::renamed(doc, message, &prompt.name))?
    };
    let name = Some(prompt.name.to_string());
    Ok(AuthorizedCall {
        server: prompt.server,
        doc,
        name,
        tool: None,
        _proof: Proof::Prompt(permit),
    })
}

/// `resources/read`, `resources/subscribe`, `resources/unsubscribe`: whatever names a resource by `params.uri`.
pub async fn resource<E: Exchange>(
    exchange: &E,
    caller: Caller<'_>,
    doc: &Bytes,
    message: &Message,
) -> Result<E::Answer, Rejection> {
    let asked = message.uri(doc).ok_or_else(|| lacks("uri"))?;
    exchange
        .forward(resource_call(caller, doc, message, &asked)?)
        .await
}

fn resource_call(
    caller: Caller<'_>,
    doc: &Bytes,
    message: &Message,
    asked: &str,
) -> Result<AuthorizedCall, Rejection> {
    let permit = authorize::resource(caller.snapshot, caller.principal, caller.scope, asked, caller.era)?;
    let doc = if permit.uri() == asked {
        doc.clone()
    } else {
        edited(translate::request::renamed(doc, message, permit.uri()))?
    };
    Ok(server_call(permit.server(), doc, Some(permit.uri().to_owned())))
}

/// `completion/complete`: its reference names a prompt or a resource template.
pub async fn complete<E: Exchange>(
    exchange: &E,
    caller: Caller<'_>,
    doc: &Bytes,
    message: &Message,
) -> Result<E::Answer, Rejection> {
    let reference = message
        .params
        .as_ref()
        .and_then(|p| p.reference)
        .ok_or_else(|| lacks("ref"))?;
    let text = |key| json::member(doc, reference, key).and_then(|span| json::string(doc, span));
    let call = match (text("name"), text("uri")) {
        (Some(name), None) => prompt_call(caller, doc, message, &name)?,
        (None, Some(uri)) => match template_server(caller, &uri) {
            Some(server) => server_call(server, doc.clone(), None),
            None => resource_call(caller, doc, message, &uri)?,
        },
        _ => {
            return Err(Rejection::ParamsInvalid(
                "params.ref must name one prompt or one resource".into(),
            ));
        }
    };
    // `Mcp-Name` is not defined for completion (specification 2026-07-28, "Streamable HTTP").
    exchange.forward(AuthorizedCall { name: None, ..call }).await
}

/// The visible server that lists exactly this template.
fn template_server(caller: Caller<'_>, uri: &str) -> Option<ServerIndex> {
    let permits = caller.snapshot.permits(caller.principal);
    let listed = caller
        .snapshot
        .templates
        .iter()
        .filter(|t| permits.resources(t.server) && *t.text == *uri);
    match caller.scope {
        Scope::Merged => listed.map(|t| t.server).next(),
        Scope::Server(own) => listed.map(|t| t.server).find(|server| *server == own),
    }
}

/// Any other method, where exactly one server is addressed: its own endpoint, or `/mcp` of a caller that sees
/// one server only. The caller must be allowed all of that server, because we cannot tell what the method does.
pub async fn passed<E: Exchange>(
    exchange: &E,
    caller: Caller<'_>,
    doc: &Bytes,
    message: &Message,
) -> Result<E::Answer, Rejection> {
    let Some(server) = only_server(caller) else {
        let method = message.method(doc).unwrap_or_default().to_owned();
        return Err(Rejection::MethodUnknown {
            era: caller.era,
            method,
        });
    };
    let name = message.task_id(doc).map(|id| id.into_owned());
    exchange.forward(server_call(server, doc.clone(), name)).await
}

/// The one server a caller can mean, if it may use all of it.
fn only_server(caller: Caller<'_>) -> Option<ServerIndex> {
    if let Scope::Server(_) = caller.scope {
        return whole_server(caller);
    }
    let permits = caller.snapshot.permits(caller.principal);
    let visible = |at: usize| {
        u16::try_from(at)
            .ok()
            .map(ServerIndex)
            .filter(|s| permits.server(*s))
    };
    let mut visible = (0..caller.snapshot.servers.len()).filter_map(visible);
    match (visible.next(), visible.next()) {
        (Some(only), None) => permits.resources(only).then_some(only),
        _ => None,
    }
}

/// The server of the caller's own endpoint, when its roles cover everything that server may ever offer.
pub fn whole_server(caller: Caller<'_>) -> Option<ServerIndex> {
    match caller.scope {
        Scope::Server(server) if caller.snapshot.permits(caller.principal).resources(server) => Some(server),
        _ => None,
    }
}

fn server_call(server: ServerIndex, doc: Bytes, name: Option<String>) -> AuthorizedCall {
    AuthorizedCall {
        server,
        doc,
        name,
        tool: None,
        _proof: Proof::Server,
    }
}

fn lacks(field: &'static str) -> Rejection {
    Rejection::ParamsInvalid(format!("params.{field} must be a string"))
}

fn edited(result: Result<Vec<u8>, translate::EditFault>) -> Result<Bytes, Rejection> {
    result.map(Bytes::from).map_err(|_| Rejection::Internal)
}

//! Reads a server's lists: tools, prompts, resources.

use crate::{
    engine::{RunError, resolve},
    mcp::{Dialect, GreetFailure, Greeter, discover},
    scenario::{Call, Scenario, template::Values},
    wire::{Connection, Content, Head, Method, Request, Target, Want},
};
use bytes::BytesMut;
use http::{HeaderName, HeaderValue};
use rand::{SeedableRng as _, rngs::SmallRng};
use serde_json::Value;

/// Pages read of one list; a server that has more has a cursor that goes in circles.
const PAGES_MAX: usize = 100;
/// Items kept of one list: more than a scenario may have operations.
const ITEMS_MAX: usize = 1_000;

/// What a server offers, each item as it was listed.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The revision that is spoken.
    pub revision: String,
    /// `tools/list`.
    pub tools: Vec<Value>,
    /// `prompts/list`.
    pub prompts: Vec<Value>,
    /// `resources/list`.
    pub resources: Vec<Value>,
}

/// Greets the scenario's first target as its first client, and reads its lists.
pub async fn look(scenario: &Scenario) -> Result<Found, RunError> {
    let targets = resolve(scenario).await?;
    let target = &targets[0];
    let mut fields = scenario.target.headers.clone();
    if let Some(key) = scenario.clients.keys.first() {
        fields.push((
            scenario.clients.header.clone(),
            format!("{}{key}", scenario.clients.prefix),
        ));
    }
    let greeter = Greeter {
        target,
        fields: &fields,
        timeout: scenario.calls.timeout,
    };
    let unreachable = |why: String| RunError::Unreachable(format!("{target}: {why}"));
    let opened = Connection::open(target).await;
    let mut connection = opened.map_err(|fault| unreachable(fault.to_string()))?;
    let greeted = discover(&greeter, &mut connection, scenario.target.revision)
        .await
        .map_err(|failure| match failure {
            GreetFailure::Fault(fault) => unreachable(fault.to_string()),
            failure => RunError::Input(format!("{target}: {failure}")),
        })?;
    if let Some(session) = greeted.session {
        fields.push(("mcp-session-id".to_owned(), session));
    }
    let mut reader = Reader {
        target,
        connection,
        dialect: greeted.dialect,
        fields,
        timeout: scenario.calls.timeout,
        next_id: 1,
    };
    let tools = reader
        .list("tools/list", "tools")
        .await
        .map_err(RunError::Input)?;
    // A server need not have these, and says so in a dozen ways.
    let prompts = reader.list("prompts/list", "prompts").await.unwrap_or_default();
    let resources = reader
        .list("resources/list", "resources")
        .await
        .unwrap_or_default();
    Ok(Found {
        revision: reader.dialect.revision,
        tools,
        prompts,
        resources,
    })
}

struct Reader<'r> {
    target: &'r Target,
    connection: Connection,
    dialect: Dialect,
    fields: Vec<(String, String)>,
    timeout: std::time::Duration,
    next_id: u64,
}

impl Reader<'_> {
    async fn list(&mut self, method: &str, key: &str) -> Result<Vec<Value>, String> {
        let mut items = Vec::new();
        let mut cursor: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let mut call = Call::bare(method);
            if let Some(cursor) = &cursor {
                call.members
                    .push_fixed(format!(r#""cursor":{}"#, Value::String(cursor.clone())).as_bytes());
            }
            let mut page = self.ask(&call).await?;
            match page.get_mut(key).map(Value::take) {
                Some(Value::Array(found)) => items.extend(found),
                _ => return Err(format!("{}: the answer to {method} has no `{key}`", self.target)),
            }
            cursor = page.get("nextCursor").and_then(Value::as_str).map(str::to_owned);
            if cursor.is_none() || items.len() >= ITEMS_MAX {
                break;
            }
        }
        items.truncate(ITEMS_MAX);
        Ok(items)
    }

    async fn ask(&mut self, call: &Call) -> Result<Value, String> {
        let said = |why: String| format!("{}: {}: {why}", self.target, call.method);
        let dressed = self.dialect.request(call, false);
        let mut body = BytesMut::new();
        let mut values = Values {
            seq: 0,
            id: self.next_id,
            client: 0,
            random: &mut SmallRng::seed_from_u64(0),
        };
        dressed.body.render(&mut body, &mut values);
        self.next_id += 1;
        let fields: Vec<(&str, &str)> = dressed
            .frame
            .fields
            .iter()
            .chain(&self.fields)
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let head = Head::new(self.target, Method::Post, &fields).map_err(|e| said(e.to_string()))?;
        let extra: &[(HeaderName, HeaderValue)] = &[];
        let request = Request {
            head: &head,
            extra,
            body: body.freeze(),
        };
        let want = Want {
            timeout: Some(self.timeout),
            ..Want::default()
        };
        if !self.connection.is_reusable() {
            self.connection = Connection::open(self.target)
                .await
                .map_err(|e| said(e.to_string()))?;
        }
        let answer = self
            .connection
            .exchange(&request, &want)
            .await
            .map_err(|e| said(e.to_string()))?;
        if answer.status != 200 || answer.content == Content::Other {
            return Err(said(format!("HTTP {}", answer.status)));
        }
        let mut message: Value = serde_json::from_slice(&answer.body).map_err(|e| said(e.to_string()))?;
        match message.get_mut("result").map(Value::take) {
            Some(result @ Value::Object(_)) => Ok(result),
            _ => Err(said(
                message
                    .get("error")
                    .map_or("no result".to_owned(), Value::to_string),
            )),
        }
    }
}

//! One HTTP exchange with an MCP endpoint: what every request carries, and what every response may be.

use super::{
    events::EventStream,
    failure::{Failure, quote},
    message::{self, Message},
};
use bytes::Bytes;
use hyper::{Method, Response, body::Incoming, header};
use ringway_sandbox::http_client::{Address, HttpClient, read_body};
use std::{fmt, time::Duration};

/// A whole JSON answer may be this large; as [`events`](super::events) allows for one event.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// An error page is read this far.
const ERROR_BYTES_MAX: usize = 64 << 10;
/// A longer path may carry a token; `/mcp` and `/api/v1/mcp` do not.
const PLAIN_PATH_MAX: usize = 24;
/// Both types must be accepted, in so many words: four of five SDKs answer 406 to `*/*`.
const ACCEPT_BOTH: &str = "application/json, text/event-stream";

/// The waits of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// Connecting and waiting for the response head.
    pub head: Duration,
    /// Between two pieces of the body.
    pub idle: Duration,
    /// The whole request.
    pub total: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(15),
            idle: Duration::from_secs(15),
            total: Duration::from_secs(30),
        }
    }
}

/// Where a server is, and what every request to it carries.
#[derive(Clone)]
pub struct Peer {
    /// The connections to use.
    pub http: HttpClient,
    /// The one MCP endpoint.
    pub address: Address,
    /// What of the address may stand in a log: a query can hold a credential.
    pub shown: String,
    /// Configured headers, credentials among them.
    pub headers: Vec<(String, String)>,
    /// How long to wait for it.
    pub deadlines: Deadlines,
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The headers hold credentials; their names are enough.
        let names: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        f.debug_struct("Peer")
            .field("address", &self.shown)
            .field("headers", &names)
            .finish_non_exhaustive()
    }
}

/// A response to a POST, sorted.
#[derive(Debug)]
pub(super) enum Reply {
    /// 202, or 2xx without a body: taken note of.
    Accepted,
    /// One JSON body, read.
    Messages(Vec<Message>),
    /// An event stream to be read.
    Stream(Box<EventStream>),
}

impl Peer {
    /// A peer with the default deadlines.
    pub fn new(http: HttpClient, address: Address, headers: Vec<(String, String)>) -> Self {
        let shown = match &address {
            Address::Url(url) => format!(
                "{}://{}",
                url.scheme_str().unwrap_or("http"),
                url.authority().map_or("", |a| a.as_str())
            ),
            Address::Unix(_) => address.to_string(),
        };
        Self {
            http,
            address,
            shown,
            headers,
            deadlines: Deadlines::default(),
        }
    }

    /// A failure in words that may be logged: without what the address hides.
    pub fn describe(&self, failure: &Failure) -> String {
        let text = failure.to_string();
        if matches!(self.address, Address::Unix(_)) {
            text
        } else {
            text.replace(&self.address.to_string(), &self.shown)
        }
    }

    /// Sends one message. `computed` are the protocol's own headers, which win over configured ones of that name.
    pub(super) async fn post(
        &self,
        computed: Vec<(String, String)>,
        body: Vec<u8>,
        within: Duration,
    ) -> Result<(Reply, Option<String>), Failure> {
        let mut headers = self.with_configured(computed);
        headers.push((header::CONTENT_TYPE.to_string(), "application/json".to_owned()));
        headers.push((header::ACCEPT.to_string(), ACCEPT_BOTH.to_owned()));
        let response = self
            .http
            .request(&self.address, Method::POST, None, headers, body.into(), within)
            .await?;
        let session = header_of(&response, "mcp-session-id");
        Ok((self.sort(response).await?, session))
    }

    /// Opens an event stream with GET.
    pub(super) async fn get(
        &self,
        computed: Vec<(String, String)>,
        within: Duration,
    ) -> Result<EventStream, Failure> {
        let mut headers = self.with_configured(computed);
        headers.push((header::ACCEPT.to_string(), "text/event-stream".to_owned()));
        let response = self
            .http
            .request(&self.address, Method::GET, None, headers, Bytes::new(), within)
            .await?;
        match self.sort(response).await? {
            Reply::Stream(stream) => Ok(*stream),
            _ => Err(Failure::Protocol(
                "it answers GET with something other than an event stream".to_owned(),
            )),
        }
    }

    /// Ends a session. What the server thinks of it does not matter.
    pub(super) async fn delete(&self, computed: Vec<(String, String)>, within: Duration) {
        let headers = self.with_configured(computed);
        let gone = self
            .http
            .request(&self.address, Method::DELETE, None, headers, Bytes::new(), within)
            .await;
        if let Err(failure) = gone {
            tracing::debug!(server = %self.shown, failure = self.describe(&failure.into()), "the session was not ended");
        }
    }

    /// Everything a server knows of us that must not come back in its words: header values, and an address that
    /// may hold a token.
    pub(super) fn secrets(&self) -> Vec<(String, String)> {
        let mut secrets = self.headers.clone();
        if let Address::Url(url) = &self.address {
            let path = url.path_and_query().map_or("", |p| p.as_str());
            if url.query().is_some() || path.len() > PLAIN_PATH_MAX {
                secrets.push((String::new(), path.to_owned()));
            }
            secrets.extend(url.query().map(|query| (String::new(), query.to_owned())));
        }
        secrets
    }

    async fn sort(&self, response: Response<Incoming>) -> Result<Reply, Failure> {
        let status = response.status();
        let kind = header_of(&response, "content-type")
            .unwrap_or_default()
            .to_ascii_lowercase();
        if !status.is_success() {
            return Err(self.refusal(response).await);
        }
        if kind.starts_with("text/event-stream") {
            return Ok(Reply::Stream(Box::new(EventStream::new(response.into_body()))));
        }
        let text = read_body(response.into_body(), ANSWER_BYTES_MAX, self.deadlines.total).await?;
        if text.iter().all(u8::is_ascii_whitespace) {
            return Ok(Reply::Accepted);
        }
        match message::read(&text) {
            Ok(messages) => Ok(Reply::Messages(messages)),
            Err(_) if status.as_u16() == 202 => Ok(Reply::Accepted),
            Err(error) => Err(Failure::Protocol(format!(
                "its answer ({}) is not a JSON-RPC message: {error}",
                if kind.is_empty() {
                    "without a content type"
                } else {
                    &kind
                }
            ))),
        }
    }

    /// Reads an answer that is not success: a JSON-RPC error if there is one.
    async fn refusal(&self, response: Response<Incoming>) -> Failure {
        let status = response.status().as_u16();
        let location = header_of(&response, "location").map(|to| quote(&to, &self.secrets()));
        let page = header_of(&response, "content-type").is_some_and(|kind| kind.contains("html"));
        let text = read_body(response.into_body(), ERROR_BYTES_MAX, self.deadlines.idle)
            .await
            .unwrap_or_default();
        let error = message::read(&text)
            .ok()
            .and_then(|messages| messages.into_iter().find_map(|m| m.error));
        match error {
            Some(mut error) => {
                error.message = quote(&error.message, &self.secrets());
                Failure::Rpc { status, error }
            }
            None if page => Failure::from_status(status, location.as_deref(), ""),
            None => {
                let said = quote(&String::from_utf8_lossy(&text), &self.secrets());
                Failure::from_status(status, location.as_deref(), &said)
            }
        }
    }

    fn with_configured(&self, computed: Vec<(String, String)>) -> Vec<(String, String)> {
        let mut headers = computed;
        for (name, value) in &self.headers {
            let taken = headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
            let ours = [
                "content-type",
                "accept",
                "content-length",
                "transfer-encoding",
                "connection",
            ];
            if !taken && !ours.iter().any(|n| n.eq_ignore_ascii_case(name)) {
                headers.push((name.clone(), value.clone()));
            }
        }
        headers
    }
}

fn header_of(response: &Response<Incoming>, name: &str) -> Option<String> {
    response
        .headers()
        .get(name)
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned)
}

//! A virtual client: its credential, and in the old era its session. Calls on its behalf carry both as headers.

use crate::scenario::Clients;
use http::{HeaderName, HeaderValue};
use ringway_proto::revision::Era;
use std::{cell::RefCell, rc::Rc};

const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");

/// What is wrong with a credential.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The header's name.
    #[error("`clients.header` is no header name: {0}")]
    Header(String),
    /// A key's text.
    #[error("key {0} holds a character that no header can carry")]
    Key(usize),
}

/// See the module.
#[derive(Debug)]
pub struct Client {
    number: usize,
    credential: Option<(HeaderName, HeaderValue)>,
    /// Credential and session, as calls carry them.
    extra: RefCell<Rc<Vec<(HeaderName, HeaderValue)>>>,
    standing: RefCell<Standing>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// The era has no sessions.
    Stateless,
    /// Not greeted yet, or the session is lost.
    Stranger,
    /// Greeted, with or without a session.
    Known,
}

impl Client {
    /// Client number `number`.
    pub fn new(number: usize, clients: &Clients, era: Era) -> Result<Self, ClientError> {
        let credential = match clients.keys.len() {
            0 => None,
            keys => {
                let at = number % keys;
                let name = HeaderName::from_bytes(clients.header.as_bytes())
                    .map_err(|_| ClientError::Header(clients.header.clone()))?;
                let value = format!("{}{}", clients.prefix, clients.keys[at]);
                let mut value = HeaderValue::from_str(&value).map_err(|_| ClientError::Key(at + 1))?;
                value.set_sensitive(true);
                Some((name, value))
            }
        };
        Ok(Self {
            number,
            extra: RefCell::new(Rc::new(credential.iter().cloned().collect())),
            credential,
            standing: RefCell::new(match era {
                Era::Legacy => Standing::Stranger,
                Era::Modern => Standing::Stateless,
            }),
        })
    }

    /// Its number, over all threads.
    pub fn number(&self) -> usize {
        self.number
    }

    /// The headers its calls carry.
    pub fn extra(&self) -> Rc<Vec<(HeaderName, HeaderValue)>> {
        Rc::clone(&self.extra.borrow())
    }

    /// The credential alone, as a header's text.
    pub fn credential(&self) -> Option<(String, String)> {
        let (name, value) = self.credential.as_ref()?;
        Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
    }

    /// Whether `initialize` comes before its next call.
    pub fn needs_greeting(&self) -> bool {
        *self.standing.borrow() == Standing::Stranger
    }

    /// Whether there is a session to end.
    pub fn has_session(&self) -> bool {
        self.extra.borrow().iter().any(|(name, _)| *name == SESSION)
    }

    /// It was greeted, and got this session.
    pub fn greeted(&self, session: Option<&str>) {
        let mut extra: Vec<_> = self.credential.iter().cloned().collect();
        if let Some(session) = session.and_then(|id| HeaderValue::from_str(id).ok()) {
            extra.push((SESSION, session));
        }
        *self.extra.borrow_mut() = Rc::new(extra);
        *self.standing.borrow_mut() = Standing::Known;
    }

    /// The server does not know its session any more.
    pub fn lost(&self) {
        if self.has_session() {
            *self.extra.borrow_mut() = Rc::new(self.credential.iter().cloned().collect());
            *self.standing.borrow_mut() = Standing::Stranger;
        }
    }

    /// The same client in a session of its own.
    pub fn visitor(&self, session: Option<&str>) -> Self {
        let visitor = Self {
            number: self.number,
            credential: self.credential.clone(),
            extra: RefCell::default(),
            standing: RefCell::new(Standing::Known),
        };
        visitor.greeted(session);
        visitor
    }
}

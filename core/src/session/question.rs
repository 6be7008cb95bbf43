//! The id under which a modern server's question reaches a legacy client.
//!
//! The server's `input_required` has no id; the call that met it waits on one worker for the answers, which come
//! as POSTs to any worker of any replica. So the id says where it waits and which question it was. Sealed, and
//! bound to the session, for the reasons of [`super::ServerRequestId`].

use super::{
    SessionId,
    wire::{Reader, Writer},
};
use crate::{
    limits::SERVER_REQUEST_ID_CHARS_MAX,
    seal::{Broken, Entropy, Purpose, Sealer, sealed_chars},
};

/// Where the answer to a question belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuestionId {
    /// The replica the call waits on.
    pub replica: u64,
    /// The worker.
    pub worker: u16,
    /// The call's number there.
    pub call: u64,
    /// The question's key in `inputRequests`.
    pub key: Box<str>,
}

/// Format number inside the seal.
const FORMAT: u8 = 1;

impl QuestionId {
    /// The id for the client of this session, without quotes; it needs no escapes. Fails when the key is too long.
    pub fn seal(&self, sealer: &Sealer, session: SessionId, entropy: Entropy<'_>) -> Result<String, Broken> {
        let mut w = Writer::default();
        w.byte(FORMAT)
            .fixed(&session)
            .number(self.replica)
            .number(u64::from(self.worker))
            .number(self.call)
            .bytes(self.key.as_bytes());
        if sealed_chars(w.out.len()) > SERVER_REQUEST_ID_CHARS_MAX {
            return Err(Broken);
        }
        sealer.seal(Purpose::Question, &w.out, entropy).ok_or(Broken)
    }

    /// Opens the id of an answer that came on this session.
    pub fn open(sealer: &Sealer, text: &[u8], session: SessionId) -> Result<Self, Broken> {
        let plain = sealer.open(Purpose::Question, text, SERVER_REQUEST_ID_CHARS_MAX)?;
        Self::read(&plain, session).ok_or(Broken)
    }

    fn read(plain: &[u8], session: SessionId) -> Option<Self> {
        let mut r = Reader(plain);
        if r.byte()? != FORMAT || r.fixed::<16>()? != session {
            return None;
        }
        let read = Self {
            replica: r.number()?,
            worker: u16::try_from(r.number()?).ok()?,
            call: r.number()?,
            key: r.text()?,
        };
        r.end()?;
        Some(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::tests::{counter, sealer};

    #[test]
    fn a_question_comes_back_on_its_own_session_only() {
        let question = QuestionId {
            replica: 7,
            worker: 1,
            call: 9,
            key: "a".into(),
        };
        let text = question.seal(&sealer(&[1]), [3; 16], &mut counter()).unwrap();
        assert_eq!(
            QuestionId::open(&sealer(&[1]), text.as_bytes(), [3; 16]),
            Ok(question)
        );
        assert_eq!(
            QuestionId::open(&sealer(&[1]), text.as_bytes(), [4; 16]),
            Err(Broken)
        );
    }
}

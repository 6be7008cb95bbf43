//! A call that waits for input: the `requestState` of `input_required` (specification 2026-07-28, "Multi
//! round-trip requests").
//!
//! The specification wants the state bound to the principal and the request, and short-lived; the client may
//! keep, repeat or forge it. A parked call lives on one worker of one replica (its upstream stream is open
//! there), so the state also says where.

use super::wire::{Reader, Writer};
use crate::{
    limits::{Limits, REQUEST_STATE_CHARS_MAX},
    rejection::Rejection,
    seal::{Entropy, Purpose, Sealer, sealed_chars},
    snapshot::Principal,
};
use bytes::Bytes;
use ring::digest::{Context, SHA256};

/// Which request: method, server and name.
pub type RequestDigest = [u8; 16];

/// What a request asks of whom. A retry repeats it; its arguments are not part, because the call they were for
/// is under way already.
pub fn request_digest(method: &str, server: &str, name: &str) -> RequestDigest {
    let mut hash = Context::new(&SHA256);
    for part in [method, server, name] {
        hash.update(&(part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    let mut half = RequestDigest::default();
    half.copy_from_slice(&hash.finish().as_ref()[..16]);
    half
}

/// A call that waits for input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parked {
    /// The replica it waits on; drawn at start, so that a restarted one is another.
    pub replica: u64,
    /// The worker it waits on.
    pub worker: u16,
    /// Its number there.
    pub call: u64,
    /// The upstream's own `requestState`, when it gave one: JSON text is not looked into.
    pub upstream_state: Option<Bytes>,
}

/// Format number inside the seal.
const FORMAT: u8 = 1;

impl Parked {
    /// The `requestState` for this principal and request. A state of the upstream's that is too large to carry
    /// makes the reply too large, which the caller learns.
    pub fn seal(
        &self,
        sealer: &Sealer,
        principal: &Principal,
        request: RequestDigest,
        now_s: u64,
        limits: &Limits,
        entropy: Entropy<'_>,
    ) -> Result<String, StateTooLarge> {
        let mut w = Writer::default();
        w.byte(FORMAT)
            .bytes(principal.credential.as_bytes())
            .bytes(principal.tenant.as_bytes())
            .fixed(&request)
            .number(now_s.saturating_add(u64::from(limits.parked_lifetime_s)))
            .number(self.replica)
            .number(u64::from(self.worker))
            .number(self.call)
            .optional(self.upstream_state.as_deref());
        if sealed_chars(w.out.len()) > REQUEST_STATE_CHARS_MAX {
            return Err(StateTooLarge);
        }
        sealer.seal(Purpose::Parked, &w.out, entropy).ok_or(StateTooLarge)
    }

    /// Opens a `requestState` for this principal and request. Anything amiss reads as a call that is gone.
    pub fn open(
        sealer: &Sealer,
        text: &[u8],
        principal: &Principal,
        request: RequestDigest,
        now_s: u64,
    ) -> Result<Self, Rejection> {
        let plain = sealer.open(Purpose::Parked, text, REQUEST_STATE_CHARS_MAX);
        let plain = plain.map_err(|_| Rejection::ParkedCallGone)?;
        Self::read(&plain, principal, request, now_s).ok_or(Rejection::ParkedCallGone)
    }

    fn read(plain: &[u8], principal: &Principal, request: RequestDigest, now_s: u64) -> Option<Self> {
        let mut r = Reader(plain);
        let bound = r.byte()? == FORMAT
            && r.bytes()? == principal.credential.as_bytes()
            && r.bytes()? == principal.tenant.as_bytes()
            && r.fixed::<16>()? == request
            && now_s < r.number()?;
        if !bound {
            return None;
        }
        let parked = Self {
            replica: r.number()?,
            worker: u16::try_from(r.number()?).ok()?,
            call: r.number()?,
            upstream_state: r.optional()?.map(Bytes::copy_from_slice),
        };
        r.end()?;
        Some(parked)
    }
}

/// The upstream's state does not fit into ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateTooLarge;

//! The secret that coordinator and generators share.

use ring::hmac;
use std::fmt;

/// Shortest token: one that is guessed by trying is none.
const TOKEN_BYTES_MIN: usize = 16;

/// A shared secret. It cannot be printed.
#[derive(Clone)]
pub struct Token(hmac::Key);

/// Why a text cannot be a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a token needs {TOKEN_BYTES_MIN} characters at least; `openssl rand -hex 16` makes one")]
pub struct BadToken;

impl Token {
    /// Takes a text, without the white space around it that files have.
    pub fn new(text: &str) -> Result<Self, BadToken> {
        let text = text.trim();
        if text.len() < TOKEN_BYTES_MIN {
            return Err(BadToken);
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, text.as_bytes())))
    }

    /// Shows that we know the token, to somebody who gave us `theirs`; `role` keeps one side's proof from serving the
    /// other.
    pub(super) fn prove(&self, role: Role, theirs: &str, ours: &str) -> String {
        hex(hmac::sign(&self.0, &statement(role, theirs, ours)).as_ref())
    }

    /// Whether `proof` is what [`Token::prove`] gave on the other side, in constant time.
    pub(super) fn is_proved(&self, role: Role, ours: &str, theirs: &str, proof: &str) -> bool {
        unhex(proof)
            .is_some_and(|proof| hmac::verify(&self.0, &statement(role, ours, theirs), &proof).is_ok())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// Whose proof it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Coordinator,
    Generator,
}

fn statement(role: Role, challenge: &str, nonce: &str) -> Vec<u8> {
    let role = match role {
        Role::Coordinator => "ringway-loadtest coordinator",
        Role::Generator => "ringway-loadtest generator",
    };
    [role, challenge, nonce].join("\0").into_bytes()
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = text.chars().map(|c| c.to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    let byte = |pair: &[u32]| u8::try_from(pair[0] * 16 + pair[1]).ok();
    digits.chunks(2).map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_holds_for_its_role_and_its_nonces_and_the_same_token_only() {
        let token = Token::new("0123456789abcdef\n").expect("long enough");
        let proof = token.prove(Role::Generator, "a", "b");
        let same = Token::new(" 0123456789abcdef").expect("long enough");
        assert!(same.is_proved(Role::Generator, "a", "b", &proof));
        assert!(!same.is_proved(Role::Coordinator, "a", "b", &proof));
        assert!(!same.is_proved(Role::Generator, "b", "a", &proof));
        let other = Token::new("0123456789abcdeg").expect("long enough");
        assert!(!other.is_proved(Role::Generator, "a", "b", &proof));
        for garbage in ["", "zz", "abc", &proof[2..]] {
            assert!(!same.is_proved(Role::Generator, "a", "b", garbage), "{garbage:?}");
        }
    }

    #[test]
    fn short_tokens_are_refused_and_none_is_shown() {
        assert!(Token::new("   short    \n").is_err());
        let token = Token::new("a long enough token").expect("long enough");
        assert!(!format!("{token:?}").contains("long"));
    }
}

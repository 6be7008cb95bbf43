//! The greeting: same version, same token, or goodbye.

use super::{
    GREETING_BYTES_MAX, PROTOCOL, Token,
    frame::{self, FrameError},
    message::{Claim, Hello, Welcome},
    token::{Role, hex},
};
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::net::TcpStream;

const NONCE_BYTES: usize = 16;

/// Name and version of this program, for people.
pub fn this_program() -> String {
    format!("{} {}", env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
}

/// Why the two do not work together.
#[derive(Debug, thiserror::Error)]
pub enum Unwelcome {
    /// The connection.
    #[error("greeting: {0}")]
    Frame(#[from] FrameError),
    /// Another version.
    #[error(
        "speaks version {theirs} of the protocol ({program}), this is version {PROTOCOL} ({}): use one release",
        this_program()
    )]
    Version {
        /// Its version.
        theirs: u32,
        /// Its name and version.
        program: String,
    },
    /// It does not know the token.
    #[error("does not know the token: give the same one to the generators and to the run")]
    Token,
    /// It said no.
    #[error("{0}")]
    Refused(String),
    /// This machine has no randomness.
    #[error("no randomness to greet with")]
    Random,
}

/// The coordinator's side.
pub async fn claim(stream: &mut TcpStream, token: &Token) -> Result<(), Unwelcome> {
    let hello: Hello = frame::read(stream, GREETING_BYTES_MAX).await?;
    if hello.protocol != PROTOCOL {
        return Err(Unwelcome::Version {
            theirs: hello.protocol,
            program: hello.program,
        });
    }
    let nonce = nonce()?;
    let claim = Claim {
        protocol: PROTOCOL,
        program: this_program(),
        proof: token.prove(Role::Coordinator, &hello.nonce, &nonce),
        nonce,
    };
    frame::write(stream, &claim, GREETING_BYTES_MAX).await?;
    match frame::read(stream, GREETING_BYTES_MAX).await? {
        Welcome::Refused { why } => Err(Unwelcome::Refused(why)),
        Welcome::Accepted { proof } => {
            match token.is_proved(Role::Generator, &claim.nonce, &hello.nonce, &proof) {
                true => Ok(()),
                false => Err(Unwelcome::Token),
            }
        }
    }
}

/// A generator's side. `vacancy` is awaited once the other side is known to be no stranger: it gives what holds the
/// place, or why there is none.
pub async fn welcome<V>(
    stream: &mut TcpStream,
    token: &Token,
    vacancy: impl Future<Output = Result<V, String>>,
) -> Result<V, Unwelcome> {
    let hello = Hello {
        protocol: PROTOCOL,
        program: this_program(),
        nonce: nonce()?,
    };
    frame::write(stream, &hello, GREETING_BYTES_MAX).await?;
    let claim: Claim = frame::read(stream, GREETING_BYTES_MAX).await?;
    let refusal = if claim.protocol != PROTOCOL {
        Err(Unwelcome::Version {
            theirs: claim.protocol,
            program: claim.program.clone(),
        })
    } else if !token.is_proved(Role::Coordinator, &hello.nonce, &claim.nonce, &claim.proof) {
        Err(Unwelcome::Token)
    } else {
        vacancy.await.map_err(Unwelcome::Refused)
    };
    let answer = match &refusal {
        Ok(_) => Welcome::Accepted {
            proof: token.prove(Role::Generator, &claim.nonce, &hello.nonce),
        },
        Err(Unwelcome::Token) => Welcome::Refused {
            why: "the token is not the one this generator was started with".to_owned(),
        },
        Err(why) => Welcome::Refused { why: why.to_string() },
    };
    frame::write(stream, &answer, GREETING_BYTES_MAX).await?;
    refusal
}

fn nonce() -> Result<String, Unwelcome> {
    let mut bytes = [0; NONCE_BYTES];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| Unwelcome::Random)?;
    Ok(hex(&bytes))
}

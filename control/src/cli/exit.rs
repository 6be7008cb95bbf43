//! How a command ends: a stable exit code, one line that says what happened, one that says what to do next.
//!
//! `docs/cli.md` lists the codes; a test holds that page to this enum.

use std::{fmt, io::Write, process::ExitCode};

/// Exit codes. Scripts depend on them, so none changes its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// It worked.
    Ok = 0,
    /// It did not, for a reason none of the others names.
    Failure = 1,
    /// The command line itself is wrong.
    Usage = 2,
    /// The configuration has errors.
    Config = 3,
    /// The gateway or a server could not be reached, or did not answer in time.
    Unreachable = 4,
    /// The tool ran and reported an error.
    ToolError = 5,
    /// The gateway was reached and refused: no or a wrong key, or no permission.
    Refused = 6,
}

impl Exit {
    /// Every code.
    pub const ALL: [Self; 7] = [
        Self::Ok,
        Self::Failure,
        Self::Usage,
        Self::Config,
        Self::Unreachable,
        Self::ToolError,
        Self::Refused,
    ];

    /// What the documentation says of it.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "It worked.",
            Self::Failure => "It failed, for a reason none of the other codes names.",
            Self::Usage => "The command line is wrong.",
            Self::Config => "The configuration has errors.",
            Self::Unreachable => "The gateway could not be reached, or did not answer in time.",
            Self::ToolError => "The tool ran and reported an error.",
            Self::Refused => "The gateway refused: no key, a wrong key, or no permission.",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A command's failure, for people.
#[derive(Debug)]
pub struct Stop {
    /// The code to end with.
    pub exit: Exit,
    /// What happened.
    pub what: String,
    /// What to do next, if anything is known.
    pub next: Option<String>,
}

impl Stop {
    /// A failure with a next step.
    pub fn new(exit: Exit, what: impl Into<String>, next: impl Into<String>) -> Self {
        Self {
            exit,
            what: what.into(),
            next: Some(next.into()),
        }
    }

    /// A failure that speaks for itself.
    pub fn plain(exit: Exit, what: impl Into<String>) -> Self {
        Self {
            exit,
            what: what.into(),
            next: None,
        }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.what)?;
        match &self.next {
            Some(next) => write!(f, "\n next: {next}"),
            None => Ok(()),
        }
    }
}

/// Writes a line to stdout. A reader that has gone away (`ringway … | head`) ends the process quietly.
pub fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let written = out
        .write_all(text.as_bytes())
        .and_then(|()| out.write_all(b"\n"))
        .and_then(|()| out.flush());
    if written.is_err() {
        std::process::exit(i32::from(Exit::Ok as u8));
    }
}

/// Writes any serialisable value to stdout as indented JSON.
pub fn say_json(value: &impl serde::Serialize) -> Result<(), Stop> {
    let text = serde_json::to_string_pretty(value).map_err(|e| {
        Stop::plain(
            Exit::Failure,
            format!("the output cannot be written as JSON: {e}"),
        )
    })?;
    say(&text);
    Ok(())
}

/// Writes a line to stderr, for people watching.
pub fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Somebody else's text on one line of a terminal.
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

//! Findings: everything that is wrong with a configuration, all at once, for people and for programs.
//!
//! Constraints: a finding never holds a secret. Messages quote only what the reader knows to be harmless, and
//! the line shown under a message is masked (`excerpt.rs`) before it gets here. The texts of this file are what
//! a person sees at three in the morning; golden files in `control/tests/golden` hold them.

use super::excerpt::Excerpt;
use serde::Serialize;
use std::fmt::Write as _;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The configuration is refused; a running gateway keeps the one it has.
    Error,
    /// The configuration is used, but probably does not say what was meant.
    Warning,
}

/// What kind of thing is wrong. Stable: programs may depend on the text, so it is never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(
    missing_docs,
    reason = "`Code::meaning` documents every one, and docs/configuration.md prints it"
)]
pub enum Code {
    Syntax,
    TooLarge,
    UnknownKey,
    DuplicateKey,
    NonStringKey,
    Missing,
    WrongType,
    BadValue,
    BadName,
    BadUrl,
    BadAddress,
    BadReference,
    UnsetVariable,
    UnreadableFile,
    UnknownRole,
    DeadPattern,
    Conflict,
    NotApplicable,
    NameCollision,
    DuplicateId,
    Expired,
    Insecure,
    NobodyMayCall,
    Renamed,
    Ignored,
    Assumed,
    SecretMoved,
    Unsupported,
    NeedsRestart,
}

impl Code {
    /// Every code, in the order of the documentation.
    pub const ALL: [Self; 29] = [
        Self::Syntax,
        Self::TooLarge,
        Self::UnknownKey,
        Self::DuplicateKey,
        Self::NonStringKey,
        Self::Missing,
        Self::WrongType,
        Self::BadValue,
        Self::BadName,
        Self::BadUrl,
        Self::BadAddress,
        Self::BadReference,
        Self::UnsetVariable,
        Self::UnreadableFile,
        Self::UnknownRole,
        Self::DeadPattern,
        Self::Conflict,
        Self::NotApplicable,
        Self::NameCollision,
        Self::DuplicateId,
        Self::Expired,
        Self::Insecure,
        Self::NobodyMayCall,
        Self::Renamed,
        Self::Ignored,
        Self::Assumed,
        Self::SecretMoved,
        Self::Unsupported,
        Self::NeedsRestart,
    ];

    /// The stable text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Syntax => "syntax",
            Self::TooLarge => "too_large",
            Self::UnknownKey => "unknown_key",
            Self::DuplicateKey => "duplicate_key",
            Self::NonStringKey => "non_string_key",
            Self::Missing => "missing",
            Self::WrongType => "wrong_type",
            Self::BadValue => "bad_value",
            Self::BadName => "bad_name",
            Self::BadUrl => "bad_url",
            Self::BadAddress => "bad_address",
            Self::BadReference => "bad_reference",
            Self::UnsetVariable => "unset_variable",
            Self::UnreadableFile => "unreadable_file",
            Self::UnknownRole => "unknown_role",
            Self::DeadPattern => "dead_pattern",
            Self::Conflict => "conflict",
            Self::NotApplicable => "not_applicable",
            Self::NameCollision => "name_collision",
            Self::DuplicateId => "duplicate_id",
            Self::Expired => "expired",
            Self::Insecure => "insecure",
            Self::NobodyMayCall => "nobody_may_call",
            Self::Renamed => "renamed",
            Self::Ignored => "ignored",
            Self::Assumed => "assumed",
            Self::SecretMoved => "secret_moved",
            Self::Unsupported => "unsupported",
            Self::NeedsRestart => "needs_restart",
        }
    }

    /// One sentence for the documentation.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Syntax => "The text is not YAML (or JSON), or uses a part of YAML that is refused.",
            Self::TooLarge => "A bound is exceeded: bytes, depth, values with aliases written out, servers.",
            Self::UnknownKey => "The key does not exist in this place.",
            Self::DuplicateKey => "The key stands twice in one map.",
            Self::NonStringKey => "A key is a number, a list or nothing; keys are text.",
            Self::Missing => "A required key is absent.",
            Self::WrongType => "A list where a map belongs, a number where text belongs, and so on.",
            Self::BadValue => "The type is right, the value is not.",
            Self::BadName => "A name breaks the rule for names.",
            Self::BadUrl => "The address of a server cannot be used.",
            Self::BadAddress => "A listening address cannot be read.",
            Self::BadReference => "A `${…}` cannot be read, or stands where references are not read.",
            Self::UnsetVariable => "An environment variable that is referred to is not set.",
            Self::UnreadableFile => {
                "A file that is referred to cannot be read, or does not hold what it should."
            }
            Self::UnknownRole => "A role is granted that does not exist.",
            Self::DeadPattern => "A pattern can match no tool of any configured server.",
            Self::Conflict => "Two keys say different things, or exactly one of several was expected.",
            Self::NotApplicable => "The key exists, but not for this kind of server.",
            Self::NameCollision => "Two servers end up with the same name.",
            Self::DuplicateId => "Two keys share an id or a hash.",
            Self::Expired => "The key's time is over.",
            Self::Insecure => "A secret would travel or lie in clear.",
            Self::NobodyMayCall => "No key and no anonymous access: every call will be refused.",
            Self::Renamed => "A name of a desktop client's file was changed into a valid one.",
            Self::Ignored => "A part of the file has no meaning here and is skipped.",
            Self::Assumed => "The file leaves something open; what was assumed instead.",
            Self::SecretMoved => "An import replaced a secret by a reference to an environment variable.",
            Self::Unsupported => "A kind of server or placeholder that cannot be run.",
            Self::NeedsRestart => "A setting that is read once at start has changed.",
        }
    }
}

/// One thing wrong.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// Error or warning.
    pub severity: Severity,
    /// The stable kind.
    pub code: Code,
    /// The file as the operator named it.
    pub file: String,
    /// Line, from 1; 0 when the finding is about the file as a whole.
    pub line: u32,
    /// Column in characters, from 1; 0 likewise.
    pub column: u32,
    /// Where in the document: `servers.git.command`; empty for the file as a whole.
    pub path: String,
    /// One sentence: what is wrong.
    pub message: String,
    /// One sentence: what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The masked line.
    #[serde(skip)]
    pub(crate) excerpt: Option<Excerpt>,
}

impl Finding {
    /// A finding about a file as a whole.
    pub fn about_file(
        severity: Severity,
        code: Code,
        file: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            severity,
            code,
            file: file.into(),
            line: 0,
            column: 0,
            path: String::new(),
            message: message.into(),
            hint: None,
            excerpt: None,
        }
    }

    /// The same with advice.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// All findings of one reading, in the order of the file.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Findings {
    /// The findings.
    pub list: Vec<Finding>,
}

impl Findings {
    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether the configuration must be refused.
    pub fn has_errors(&self) -> bool {
        self.list
            .iter()
            .any(|finding| finding.severity == Severity::Error)
    }

    /// How many findings are of this severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.list
            .iter()
            .filter(|finding| finding.severity == severity)
            .count()
    }

    /// Adds one at the end.
    pub fn push(&mut self, finding: Finding) {
        self.list.push(finding);
    }

    /// Adds all of another reading.
    pub fn extend(&mut self, other: Findings) {
        self.list.extend(other.list);
    }

    /// As a compiler would print it.
    pub fn render_human(&self, colour: bool) -> String {
        let paint = Paint { colour };
        let mut out = String::new();
        for finding in &self.list {
            render_one(&mut out, finding, &paint);
            out.push('\n');
        }
        if !self.list.is_empty() {
            let _ = writeln!(out, "{}", self.totals());
        }
        out
    }

    /// One JSON object: `{"errors": n, "warnings": n, "findings": […]}`.
    pub fn render_json(&self) -> String {
        #[derive(Serialize)]
        struct Report<'f> {
            errors: usize,
            warnings: usize,
            findings: &'f [Finding],
        }
        let report = Report {
            errors: self.count(Severity::Error),
            warnings: self.count(Severity::Warning),
            findings: &self.list,
        };
        // Strings and numbers only: there is nothing in it that could fail.
        serde_json::to_string_pretty(&report).map_or_else(|_| "{}\n".to_owned(), |text| text + "\n")
    }

    /// "2 errors, 1 warning".
    pub fn totals(&self) -> String {
        let part = |count: usize, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
        let (errors, warnings) = (self.count(Severity::Error), self.count(Severity::Warning));
        match (errors, warnings) {
            (0, warnings) => part(warnings, "warning"),
            (errors, 0) => part(errors, "error"),
            (errors, warnings) => format!("{}, {}", part(errors, "error"), part(warnings, "warning")),
        }
    }
}

fn render_one(out: &mut String, finding: &Finding, paint: &Paint) {
    let (label, ink) = match finding.severity {
        Severity::Error => ("error", "31"),
        Severity::Warning => ("warning", "33"),
    };
    let label = paint.ink(ink, &format!("{label}[{}]", finding.code.as_str()));
    let _ = writeln!(out, "{label}: {}", finding.message);
    let gutter = finding.line.to_string().len();
    let arrow = paint.ink("34", "-->");
    if finding.line == 0 {
        let _ = writeln!(out, "{:gutter$}{arrow} {}", "", finding.file);
    } else {
        let _ = writeln!(
            out,
            "{:gutter$}{arrow} {}:{}:{}",
            "", finding.file, finding.line, finding.column
        );
    }
    let bar = paint.ink("34", "|");
    if let Some(excerpt) = &finding.excerpt {
        let number = paint.ink("34", &finding.line.to_string());
        let _ = writeln!(out, "{:gutter$} {bar}", "");
        let _ = writeln!(out, "{number} {bar} {}", excerpt.text);
        let _ = writeln!(out, "{:gutter$} {bar} {}", "", paint.ink(ink, &excerpt.carets));
    }
    let equals = paint.ink("34", "=");
    if !finding.path.is_empty() {
        let _ = writeln!(out, "{:gutter$} {equals} at: {}", "", finding.path);
    }
    if let Some(hint) = &finding.hint {
        let _ = writeln!(out, "{:gutter$} {equals} help: {hint}", "");
    }
}

struct Paint {
    colour: bool,
}

impl Paint {
    fn ink(&self, code: &str, text: &str) -> String {
        if self.colour {
            format!("\u{1b}[1;{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}

/// Quotes a piece of the file inside a message: short, and without anything a terminal would act on.
pub(crate) fn quote(text: &str) -> String {
    const SHOWN_MAX: usize = 60;
    let mut shown: String = text
        .chars()
        .take(SHOWN_MAX)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().count() > SHOWN_MAX {
        shown.push('…');
    }
    // `escape_debug` is for Rust's quotes; ours are backticks.
    format!("`{}`", shown.replace("\\'", "'").replace("\\\"", "\""))
}

/// The nearest of `known`, if it is near enough to have been meant.
pub(crate) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    // A third of the letters may differ, and two always: `timeot`, `idle-stop`, `lisen`.
    let budget = (word.chars().count() / 3).clamp(1, 3);
    known
        .into_iter()
        .map(|candidate| {
            (
                strsim::damerau_levenshtein(&word.to_lowercase(), candidate),
                candidate,
            )
        })
        .filter(|(distance, _)| *distance <= budget)
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_listed_once_and_match_their_json() {
        let mut seen = std::collections::BTreeSet::new();
        for code in Code::ALL {
            assert!(seen.insert(code.as_str()), "{code:?} stands twice");
            assert_eq!(
                serde_json::to_string(&code).unwrap(),
                format!("\"{}\"", code.as_str())
            );
        }
    }

    #[test]
    fn a_near_word_is_suggested_and_a_far_one_is_not() {
        let known = ["timeouts", "headers", "http"];
        assert_eq!(nearest("timeout", known), Some("timeouts"));
        assert_eq!(nearest("Headers", known), Some("headers"));
        assert_eq!(nearest("wibble", known), None);
        assert_eq!(nearest("a", known), None);
    }

    #[test]
    fn quoting_disarms_control_characters_and_length() {
        assert_eq!(quote("a\u{1b}[31mb"), "`a\\u{1b}[31mb`");
        assert!(quote(&"x".repeat(1000)).chars().count() < 70);
    }
}

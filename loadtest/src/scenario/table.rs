//! Reads TOML tables key by key, and keeps every finding with its line: a person corrects a file once, not once
//! for each mistake.
//!
//! A getter answers `None` both for a key that is absent and for one that is wrong (then a finding says so), so the
//! reading goes on with a default. What no getter asked for is a key we do not know: [`Section::finish`].

use super::values;
use std::{cell::RefCell, collections::BTreeSet, fmt, ops::Range, time::Duration};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// One thing wrong in a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The line it stands on, counted from 1; none when it is about the whole.
    pub line: Option<usize>,
    /// What is wrong and what would be right.
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.text),
            None => f.write_str(&self.text),
        }
    }
}

/// Everything found so far, and the text it was found in.
#[derive(Debug)]
pub struct Findings<'t> {
    text: &'t str,
    found: RefCell<Vec<Finding>>,
}

impl<'t> Findings<'t> {
    /// None yet.
    pub fn new(text: &'t str) -> Self {
        Self {
            text,
            found: RefCell::default(),
        }
    }

    /// Adds one about the bytes at `span`.
    pub fn add(&self, span: Option<Range<usize>>, text: impl Into<String>) {
        let line = span.map(|span| {
            let before = self.text.get(..span.start).unwrap_or(self.text);
            before.bytes().filter(|b| *b == b'\n').count() + 1
        });
        let text = text.into();
        self.found.borrow_mut().push(Finding { line, text });
    }

    /// All of them, in the order of their lines.
    pub fn into_sorted(self) -> Vec<Finding> {
        let mut found = self.found.into_inner();
        found.sort_by_key(|finding| finding.line.unwrap_or(usize::MAX));
        found
    }
}

/// One table, while it is read.
#[derive(Debug)]
pub struct Section<'s, 't> {
    findings: &'s Findings<'t>,
    /// How people name it: `load.search`, `operation 2`; empty at the root.
    path: String,
    span: Range<usize>,
    table: &'s DeTable<'t>,
    asked: RefCell<BTreeSet<&'static str>>,
}

impl<'s, 't> Section<'s, 't> {
    /// The whole document.
    pub fn root(findings: &'s Findings<'t>, table: &'s Spanned<DeTable<'t>>) -> Self {
        Self {
            findings,
            path: String::new(),
            span: table.span(),
            table: table.get_ref(),
            asked: RefCell::default(),
        }
    }

    /// Says which keys nobody asked for.
    pub fn finish(self) {
        let asked = self.asked.borrow();
        for key in self.table.keys() {
            if !asked.contains(key.get_ref().as_ref()) {
                let known: Vec<&str> = asked.iter().copied().collect();
                let text = format!(
                    "unknown key `{}`; known here: {}",
                    self.name(key.get_ref()),
                    known.join(", ")
                );
                self.findings.add(Some(key.span()), text);
            }
        }
    }

    /// Whether the key stands here at all.
    pub fn has(&self, key: &'static str) -> bool {
        self.raw(key).is_some()
    }

    /// A finding about `key`, or about the whole section where the key is absent.
    pub fn bad(&self, key: &'static str, text: &str) {
        let span = self.raw(key).map_or(self.span.clone(), Spanned::span);
        self.findings
            .add(Some(span), format!("`{}` {text}", self.name(key)));
    }

    /// A finding about the section.
    pub fn wrong(&self, text: &str) {
        let text = match self.path.is_empty() {
            true => text.to_owned(),
            false => format!("`{}` {text}", self.path),
        };
        // The root's span is the whole document: a line would say nothing.
        let span = (!self.path.is_empty()).then(|| self.span.clone());
        self.findings.add(span, text);
    }

    /// A string.
    pub fn string(&self, key: &'static str) -> Option<String> {
        match self.raw(key)?.get_ref() {
            DeValue::String(text) => Some(text.clone().into_owned()),
            other => self.not(key, "a string", other),
        }
    }

    /// A boolean.
    pub fn boolean(&self, key: &'static str) -> Option<bool> {
        match self.raw(key)?.get_ref() {
            DeValue::Boolean(value) => Some(*value),
            other => self.not(key, "true or false", other),
        }
    }

    /// A whole number within bounds.
    pub fn integer(&self, key: &'static str, within: Range<u64>) -> Option<u64> {
        let value = self.raw(key)?.get_ref();
        let Some(number) = integer_of(value) else {
            return self.not(key, "a whole number", value);
        };
        match u64::try_from(number) {
            Ok(number) if within.contains(&number) => Some(number),
            _ => {
                let text = format!("must lie between {} and {}", within.start, within.end - 1);
                self.bad(key, &text);
                None
            }
        }
    }

    /// A number above zero.
    pub fn positive(&self, key: &'static str) -> Option<f64> {
        let value = self.raw(key)?.get_ref();
        let Some(number) = number_of(value) else {
            return self.not(key, "a number", value);
        };
        if number.is_finite() && number > 0.0 {
            return Some(number);
        }
        self.bad(key, "must be above zero");
        None
    }

    /// A share: `0.01`, or `"1%"`.
    pub fn share(&self, key: &'static str) -> Option<f64> {
        let value = self.raw(key)?.get_ref();
        let share = match value {
            DeValue::String(text) => values::share(text),
            other => number_of(other),
        };
        let share = share.filter(|share| (0.0..=1.0).contains(share));
        if share.is_none() {
            self.bad(
                key,
                "must be a share between 0 and 1, or a percentage such as \"0.1%\"",
            );
        }
        share
    }

    /// A time with its unit: `"250ms"`.
    pub fn duration(&self, key: &'static str) -> Option<Duration> {
        match self.raw(key)?.get_ref() {
            DeValue::String(text) => match values::duration(text) {
                Ok(time) => Some(time),
                Err(why) => {
                    self.bad(key, &why);
                    None
                }
            },
            other => self.not(key, "a time such as \"10s\" or \"250ms\"", other),
        }
    }

    /// A size with its unit: `"64KiB"`, or bare bytes.
    pub fn size_bytes(&self, key: &'static str) -> Option<u64> {
        let value = self.raw(key)?.get_ref();
        let size = match value {
            DeValue::String(text) => values::size_bytes(text),
            other => integer_of(other).and_then(|n| u64::try_from(n).ok()),
        };
        if size.is_none() {
            self.bad(key, "must be a size such as 4096 or \"64KiB\"");
        }
        size
    }

    /// A list of strings.
    pub fn strings(&self, key: &'static str) -> Option<Vec<String>> {
        let value = self.raw(key)?.get_ref();
        let DeValue::Array(items) = value else {
            return self.not(key, "a list of strings", value);
        };
        let text = |item: &Spanned<DeValue<'_>>| match item.get_ref() {
            DeValue::String(text) => Some(text.clone().into_owned()),
            _ => None,
        };
        let texts: Option<Vec<String>> = items.iter().map(text).collect();
        if texts.is_none() {
            self.bad(key, "must be a list of strings");
        }
        texts
    }

    /// A list of whole numbers.
    pub fn integers(&self, key: &'static str) -> Option<Vec<u64>> {
        let value = self.raw(key)?.get_ref();
        let DeValue::Array(items) = value else {
            return self.not(key, "a list of whole numbers", value);
        };
        let number =
            |item: &Spanned<DeValue<'_>>| integer_of(item.get_ref()).and_then(|n| u64::try_from(n).ok());
        let numbers: Option<Vec<u64>> = items.iter().map(number).collect();
        if numbers.is_none() {
            self.bad(key, "must be a list of whole numbers");
        }
        numbers
    }

    /// A table of strings, such as headers.
    pub fn pairs(&self, key: &'static str) -> Vec<(String, String)> {
        let Some(value) = self.raw(key) else {
            return Vec::new();
        };
        let DeValue::Table(table) = value.get_ref() else {
            self.bad(key, "must be a table of strings");
            return Vec::new();
        };
        let mut pairs = Vec::new();
        for (name, value) in table {
            match value.get_ref() {
                DeValue::String(text) => {
                    pairs.push((name.get_ref().clone().into_owned(), text.clone().into_owned()))
                }
                _ => self.findings.add(
                    Some(value.span()),
                    format!("`{}.{}` must be a string", self.name(key), name.get_ref()),
                ),
            }
        }
        pairs
    }

    /// Any value as JSON: an object where it is a table, or a JSON text where it is a string.
    pub fn json(&self, key: &'static str) -> Option<serde_json::Value> {
        match self.raw(key)?.get_ref() {
            DeValue::String(text) => match serde_json::from_str(text) {
                Ok(value) => Some(value),
                Err(why) => {
                    self.bad(key, &format!("is not JSON: {why}"));
                    None
                }
            },
            other => {
                let value = json_of(other);
                if value.is_none() {
                    self.bad(
                        key,
                        "holds a date or a number that JSON has no form for; write it as a string",
                    );
                }
                value
            }
        }
    }

    /// A table inside this one.
    pub fn section(&self, key: &'static str) -> Option<Section<'s, 't>> {
        let value = self.raw(key)?;
        match value.get_ref() {
            DeValue::Table(table) => Some(self.inner(self.name(key), value.span(), table)),
            other => self.not(key, "a table", other),
        }
    }

    /// The tables of `[[key]]`.
    pub fn sections(&self, key: &'static str) -> Vec<Section<'s, 't>> {
        let Some(value) = self.raw(key) else {
            return Vec::new();
        };
        let DeValue::Array(items) = value.get_ref() else {
            let _: Option<()> = self.not(
                key,
                &format!("written as `[[{}]]`", self.name(key)),
                value.get_ref(),
            );
            return Vec::new();
        };
        let mut found = Vec::new();
        for (at, item) in items.iter().enumerate() {
            let name = format!("{} {}", self.name(key), at + 1);
            match item.get_ref() {
                DeValue::Table(table) => found.push(self.inner(name, item.span(), table)),
                _ => self
                    .findings
                    .add(Some(item.span()), format!("`{name}` must be a table")),
            }
        }
        found
    }

    fn inner(&self, path: String, span: Range<usize>, table: &'s DeTable<'t>) -> Section<'s, 't> {
        Section {
            findings: self.findings,
            path,
            span,
            table,
            asked: RefCell::default(),
        }
    }

    fn raw(&self, key: &'static str) -> Option<&'s Spanned<DeValue<'t>>> {
        self.asked.borrow_mut().insert(key);
        self.table.get(key)
    }

    fn name(&self, key: &str) -> String {
        match self.path.is_empty() {
            true => key.to_owned(),
            false => format!("{}.{key}", self.path),
        }
    }

    fn not<T>(&self, key: &'static str, wanted: &str, found: &DeValue<'_>) -> Option<T> {
        self.bad(key, &format!("must be {wanted}, not {}", kind(found)));
        None
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

fn integer_of(value: &DeValue<'_>) -> Option<i64> {
    match value {
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok(),
        _ => None,
    }
}

fn number_of(value: &DeValue<'_>) -> Option<f64> {
    match value {
        DeValue::Float(number) => number.as_str().parse().ok(),
        #[expect(clippy::cast_precision_loss, reason = "rates and shares lie far below 2^53")]
        other => integer_of(other).map(|number| number as f64),
    }
}

fn json_of(value: &DeValue<'_>) -> Option<serde_json::Value> {
    use serde_json::Value;
    Some(match value {
        DeValue::String(text) => Value::String(text.clone().into_owned()),
        DeValue::Integer(_) => Value::from(integer_of(value)?),
        DeValue::Float(_) => Value::Number(serde_json::Number::from_f64(number_of(value)?)?),
        DeValue::Boolean(value) => Value::Bool(*value),
        DeValue::Datetime(_) => return None,
        DeValue::Array(items) => Value::Array(
            items
                .iter()
                .map(|i| json_of(i.get_ref()))
                .collect::<Option<_>>()?,
        ),
        DeValue::Table(table) => Value::Object(
            table
                .iter()
                .map(|(k, v)| Some((k.get_ref().clone().into_owned(), json_of(v.get_ref())?)))
                .collect::<Option<_>>()?,
        ),
    })
}

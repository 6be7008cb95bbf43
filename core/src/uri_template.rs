//! URI templates (RFC 6570), read backwards: could this URI be an expansion of that template?
//!
//! It only routes `resources/read`; the server that gets the request reads the URI for itself. So we match what
//! servers accept in practice (`{x}` is anything without a slash) rather than exactly what an expansion writes.
//!
//! A template becomes parts; matching walks the parts once, holding the set of offsets reached so far. That is
//! linear in URI times parts whatever the template, so an upstream cannot make it slow.

use crate::limits::{TEMPLATE_PARTS_MAX, TEMPLATE_URI_BYTES_MAX};

/// A parsed template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UriTemplate {
    parts: Box<[Part]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(Box<str>),
    /// `{x}`: some characters, no slash.
    Simple,
    /// `{+x}`, `{#x}`: some characters of any kind.
    Reserved,
    /// `{/x}`, `{.x}`, `{;x}`: nothing, or the operator and characters that may hold more of it.
    Led(u8),
    /// `{?x}`, `{&x}`: nothing, or the operator and anything up to a fragment.
    Query(u8),
}

impl UriTemplate {
    /// Reads a template; `None` when it is malformed or beyond our bounds.
    pub fn parse(text: &str) -> Option<Self> {
        if text.is_empty() || text.len() > TEMPLATE_URI_BYTES_MAX {
            return None;
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            if parts.len() == TEMPLATE_PARTS_MAX * 2 {
                return None;
            }
            let Some(open) = rest.find(['{', '}']) else {
                parts.push(Part::Literal(rest.into()));
                break;
            };
            if open > 0 {
                parts.push(Part::Literal(rest[..open].into()));
            }
            let (expression, after) = rest[open..].strip_prefix('{')?.split_once('}')?;
            parts.push(Part::expression(expression)?);
            rest = after;
        }
        Some(Self { parts: parts.into() })
    }

    /// Bytes of fixed text before the first expression: the longer, the more this template says.
    pub fn literal_prefix_len(&self) -> usize {
        match self.parts.first() {
            Some(Part::Literal(text)) => text.len(),
            _ => 0,
        }
    }

    /// Whether `uri` could be an expansion.
    pub fn matches(&self, uri: &str) -> bool {
        if uri.len() > TEMPLATE_URI_BYTES_MAX {
            return false;
        }
        let uri = uri.as_bytes();
        // Most templates that do not match say so in their first part.
        if let Some(Part::Literal(text)) = self.parts.first()
            && !uri.starts_with(text.as_bytes())
        {
            return false;
        }
        let mut reached = vec![false; uri.len() + 1];
        reached[0] = true;
        for part in &self.parts {
            reached = part.advance(uri, &reached);
        }
        reached.last() == Some(&true)
    }
}

impl Part {
    fn expression(text: &str) -> Option<Self> {
        let (part, names) = match text.as_bytes().first()? {
            b'+' | b'#' => (Self::Reserved, &text[1..]),
            op @ (b'/' | b'.' | b';') => (Self::Led(*op), &text[1..]),
            op @ (b'?' | b'&') => (Self::Query(*op), &text[1..]),
            _ => (Self::Simple, text),
        };
        let name = |n: &str| {
            let n = n.strip_suffix('*').unwrap_or(n);
            let n = n.split_once(':').map_or(n, |(n, _)| n);
            !n.is_empty()
                && n.bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'%' | b'-'))
        };
        names.split(',').all(name).then_some(part)
    }

    /// The offsets reached behind this part, given those reached before it.
    fn advance(&self, uri: &[u8], from: &[bool]) -> Vec<bool> {
        let mut to = vec![false; from.len()];
        match self {
            Self::Literal(text) => {
                for at in (0..from.len()).filter(|at| from[*at]) {
                    if uri[at..].starts_with(text.as_bytes()) {
                        to[at + text.len()] = true;
                    }
                }
            }
            Self::Simple => run(uri, from, &mut to, |_| true, |b| b != b'/'),
            Self::Reserved => run(uri, from, &mut to, |_| true, |_| true),
            Self::Led(op) => {
                to.copy_from_slice(from);
                let stop = |b: u8| b != b'/' || *op == b'/';
                run(uri, from, &mut to, |b| b == *op, stop);
            }
            Self::Query(op) => {
                to.copy_from_slice(from);
                run(uri, from, &mut to, |b| b == *op, |b| b != b'#');
            }
        }
        to
    }
}

/// Adds to `to` every offset behind a run of one or more bytes that begins at an offset in `from`.
fn run(uri: &[u8], from: &[bool], to: &mut [bool], first: impl Fn(u8) -> bool, more: impl Fn(u8) -> bool) {
    let mut running = false;
    for (at, byte) in uri.iter().enumerate() {
        running = more(*byte) && (running || (from[at] && first(*byte)));
        if running {
            to[at + 1] = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(template: &str, uri: &str) -> bool {
        UriTemplate::parse(template).unwrap().matches(uri)
    }

    #[test]
    fn expansions_match() {
        for (template, uri) in [
            ("file:///{path}", "file:///a.txt"),
            ("file:///{+path}", "file:///a/b/c.txt"),
            ("repo://{owner}/{name}", "repo://me/x"),
            ("repo://{owner}/{name}/x{.ext}", "repo://me/x/x.rs"),
            ("db://t{/a,b}", "db://t/one/two"),
            ("db://t{/a,b}", "db://t"),
            ("s://find{?q,limit}", "s://find?q=a%20b&limit=3"),
            ("s://find{?q}", "s://find"),
            ("s://x{?a}{&b}", "s://x?a=1&b=2"),
            ("{+any}", "x:y/z"),
            ("a{x}b{y}c", "aXbYbZc"),
            ("plain:x", "plain:x"),
        ] {
            assert!(matches(template, uri), "{template} {uri}");
        }
    }

    #[test]
    fn others_do_not() {
        for (template, uri) in [
            ("file:///{path}", "file:///a/b"),
            ("file:///{path}", "file:///"),
            ("repo://{o}/{n}", "repo://me"),
            ("s://find{?q}", "s://find#x"),
            ("s://find{?q}", "s://finder"),
            ("plain:x", "plain:xy"),
            ("plain:x", ""),
        ] {
            assert!(!matches(template, uri), "{template} {uri}");
        }
    }

    #[test]
    fn malformed_templates_are_refused() {
        for bad in [
            "",
            "a{",
            "a}",
            "a{}",
            "a{+}",
            "a{b c}",
            "a{x{y}}",
            &"{x}".repeat(100),
        ] {
            assert_eq!(UriTemplate::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn many_expressions_over_a_long_uri_stay_cheap() {
        let template = UriTemplate::parse(&"{+x}".repeat(TEMPLATE_PARTS_MAX)).unwrap();
        assert!(template.matches(&"a".repeat(TEMPLATE_URI_BYTES_MAX)));
        assert!(
            !template.matches("a"),
            "each expression takes at least one character"
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(template in ".{0,60}", uri in ".{0,60}") {
            if let Some(t) = UriTemplate::parse(&template) {
                let _ = t.matches(&uri);
            }
        }

        #[test]
        fn filled_in_values_match(owner in "[a-z0-9%.-]{1,12}", path in "[a-z0-9/%.?#-]{1,24}") {
            let uri = format!("repo://{owner}/blob/{path}");
            let found = matches("repo://{owner}/blob/{+path}", &uri);
            prop_assert!(found);
        }
    }
}

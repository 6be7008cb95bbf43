//! An answer at a glance: its id, whether it is a result or an error, and whether a tool says that it failed.
//!
//! No tree and no check of grammar: the bytes are walked once, and strings, which make up most of a result, are
//! skipped at the speed of `memchr`. What is not JSON gives `None` or a wrong glance, and either way the call counts
//! as badly answered.

use memchr::memchr2;

/// What an answer shows of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Glance<'a> {
    /// The id as it stands there.
    pub id: Option<&'a [u8]>,
    /// There is a `result`.
    pub has_result: bool,
    /// `error.code`; zero where an error has none.
    pub error_code: Option<i64>,
    /// `result.isError` is true.
    pub is_tool_error: bool,
    /// `result.resultType`, where there is one.
    pub result_type: Option<&'a [u8]>,
}

/// Looks at one JSON-RPC message; `None` when it is no object, or ends too early.
pub fn glance(message: &[u8]) -> Option<Glance<'_>> {
    let mut seen = Glance::default();
    let mut walk = Walk { text: message, at: 0 };
    walk.members(|key, walk| {
        match key {
            b"id" => seen.id = Some(walk.value()?),
            b"result" => {
                seen.has_result = true;
                if walk.peek()? != b'{' {
                    walk.value()?;
                    return Some(());
                }
                walk.members(|key, walk| {
                    let value = walk.value()?;
                    match key {
                        b"isError" => seen.is_tool_error = value == b"true",
                        b"resultType" => {
                            seen.result_type = value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\""));
                        }
                        _ => {}
                    }
                    Some(())
                })?;
            }
            b"error" => {
                seen.error_code = Some(0);
                if walk.peek()? != b'{' {
                    walk.value()?;
                    return Some(());
                }
                walk.members(|key, walk| {
                    let value = walk.value()?;
                    if key == b"code" {
                        seen.error_code = std::str::from_utf8(value).ok().and_then(|code| code.parse().ok());
                    }
                    Some(())
                })?;
            }
            _ => {
                walk.value()?;
            }
        }
        Some(())
    })?;
    walk.blanks();
    (walk.at == message.len()).then_some(seen)
}

struct Walk<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Walk<'a> {
    /// Walks an object; `each` stands before a member's value and must walk over it.
    fn members(&mut self, mut each: impl FnMut(&'a [u8], &mut Self) -> Option<()>) -> Option<()> {
        self.take(b'{')?;
        if self.peek()? == b'}' {
            self.at += 1;
            return Some(());
        }
        loop {
            self.blanks();
            let key = self.string()?;
            self.take(b':')?;
            self.blanks();
            each(&key[1..key.len() - 1], self)?;
            match self.peek()? {
                b',' => self.at += 1,
                b'}' => {
                    self.at += 1;
                    return Some(());
                }
                _ => return None,
            }
        }
    }

    /// Any value, as it stands there.
    fn value(&mut self) -> Option<&'a [u8]> {
        let start = {
            self.blanks();
            self.at
        };
        match self.text.get(start)? {
            b'"' => {
                self.string()?;
            }
            b'{' | b'[' => self.container()?,
            _ => {
                let rest = &self.text[start..];
                let length = rest
                    .iter()
                    .position(|b| matches!(b, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t'))
                    .unwrap_or(rest.len());
                if length == 0 {
                    return None;
                }
                self.at += length;
            }
        }
        Some(&self.text[start..self.at])
    }

    /// To behind the bracket that closes the one we stand on.
    fn container(&mut self) -> Option<()> {
        let mut depth = 0usize;
        loop {
            match self.text.get(self.at)? {
                b'"' => {
                    self.string()?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => {
                    depth -= 1;
                    if depth == 0 {
                        self.at += 1;
                        return Some(());
                    }
                }
                _ => {}
            }
            self.at += 1;
        }
    }

    /// A string with its quotes.
    fn string(&mut self) -> Option<&'a [u8]> {
        let start = self.at;
        if *self.text.get(start)? != b'"' {
            return None;
        }
        let mut at = start + 1;
        loop {
            at += memchr2(b'"', b'\\', self.text.get(at..)?)?;
            if self.text[at] == b'"' {
                self.at = at + 1;
                return Some(&self.text[start..self.at]);
            }
            at += 2;
        }
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn peek(&mut self) -> Option<u8> {
        self.blanks();
        self.text.get(self.at).copied()
    }

    fn blanks(&mut self) {
        while matches!(self.text.get(self.at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn results_and_errors_are_told_apart() {
        let seen = glance(br#"{"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":"a \" } \\"}],"isError":false}}"#);
        assert_eq!(
            seen,
            Some(Glance {
                id: Some(b"7"),
                has_result: true,
                ..Glance::default()
            })
        );
        let seen =
            glance(br#" { "result" : {"isError" : true, "resultType":"complete"} , "id" : "x" } "#).unwrap();
        assert!(seen.is_tool_error && seen.has_result);
        assert_eq!(
            (seen.id, seen.result_type),
            (Some(&b"\"x\""[..]), Some(&b"complete"[..]))
        );
        let seen = glance(br#"{"id":null,"error":{"code":-32601,"message":"no"}}"#).unwrap();
        assert_eq!(seen.error_code, Some(-32601));
        let seen = glance(br#"{"result":{"structuredContent":{"isError":true}},"id":1}"#).unwrap();
        assert!(!seen.is_tool_error, "only the result's own word counts");
    }

    #[test]
    fn what_is_cut_off_is_no_answer() {
        let whole = br#"{"jsonrpc":"2.0","id":7,"result":{"content":[{"text":"x"}]}}"#;
        assert!(glance(whole).is_some());
        for end in 0..whole.len() {
            assert_eq!(glance(&whole[..end]), None, "{end}");
        }
        for text in ["", "[]", "<html>", "{}x", "{\"a\"}", "{\"a\":}", "null"] {
            assert_eq!(glance(text.as_bytes()), None, "{text}");
        }
        assert_eq!(glance(b"{}"), Some(Glance::default()));
    }

    proptest! {
        #[test]
        fn any_bytes_give_an_answer_and_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = glance(&bytes);
        }

        #[test]
        fn it_agrees_with_the_validating_scanner(
            id in any::<i64>(), text in ".*", failed in any::<bool>(), spaced in any::<bool>(),
        ) {
            let value = serde_json::json!({
                "jsonrpc": "2.0", "id": id,
                "result": {"content": [{"type": "text", "text": text}], "isError": failed},
            });
            let text = match spaced {
                true => serde_json::to_string_pretty(&value).unwrap(),
                false => value.to_string(),
            };
            let message = ringway_proto::rpc::scan(text.as_bytes()).unwrap();
            let seen = glance(text.as_bytes()).unwrap();
            prop_assert_eq!(seen.id, message.id.map(|span| span.of(text.as_bytes())));
            prop_assert_eq!(seen.has_result, message.result.is_some());
            prop_assert_eq!(seen.is_tool_error, failed);
        }
    }
}

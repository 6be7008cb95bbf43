//! Text of others inside the page. Labels, tool names, error kinds and scenarios come from files and servers, so all
//! text goes through one of these two; nothing else in this folder writes `<` or `&` from a value.

use std::fmt::{self, Write as _};

use crate::report::figures;

/// A value as HTML text or inside a quoted attribute. Control and direction characters become a visible mark, so that
/// a name cannot rearrange what stands around it; line breaks and tabs stay (scenarios have them).
pub struct Text<'a>(pub &'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                '\n' | '\t' => f.write_char(c)?,
                _ if figures::steers(c) => f.write_char('\u{fffd}')?,
                _ => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// A value as JSON inside a `<script type="application/json">`: no `<` can end the element, no `&` is read as one.
pub fn json(value: &impl serde::Serialize) -> String {
    // Strings, numbers and lists of our own always serialise; an empty list leaves the plot without read-outs.
    let text = serde_json::to_string(value).unwrap_or_else(|_| "[]".to_owned());
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                // Writing to a `String` does not fail.
                let _ = write!(safe, "\\u{:04x}", u32::from(c));
            }
            _ => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_value_is_markup() {
        let shown = Text("<img src=x onerror='alert(1)'>&\"\u{1b}\u{202e}\n").to_string();
        assert_eq!(
            shown,
            "&lt;img src=x onerror=&#39;alert(1)&#39;&gt;&amp;&quot;\u{fffd}\u{fffd}\n"
        );
    }

    #[test]
    fn json_cannot_end_its_element_and_stays_the_same_value() {
        let value = "</script><!--&\u{2028}";
        let text = json(&value);
        assert!(!text.contains(['<', '>', '&']), "{text}");
        assert_eq!(serde_json::from_str::<String>(&text).expect("JSON"), value);
    }
}

//! Words: from text to the terms that are compared.
//!
//! Names are written `createIssue`, `create_issue` or `create-issue`; people ask for "creating issues". So text
//! is cut at everything that is no letter or digit and at the humps of camel case, lowered, and stripped of the
//! commonest English endings. Ideographs have no spaces between words and become terms one by one. It is meant
//! for short technical text and is the same for what is indexed and what is asked; nothing else matters.

/// Calls `term` for each term of `text`, in order.
pub(super) fn each(text: &str, mut term: impl FnMut(&str)) {
    let mut scratch = String::new();
    for word in text
        .split(|c: char| !c.is_alphanumeric())
        .filter(|w| !w.is_empty())
    {
        if word.is_ascii() {
            let mut parts = 0;
            for part in humps(word) {
                parts += 1;
                emit(part, &mut scratch, &mut term);
            }
            // `GitHub` is also found as `github`.
            if parts > 1 {
                emit(word, &mut scratch, &mut term);
            }
            continue;
        }
        let mut from = 0;
        for (at, c) in word.char_indices().filter(|(_, c)| is_ideograph(*c)) {
            emit(&word[from..at], &mut scratch, &mut term);
            from = at + c.len_utf8();
            emit(&word[at..from], &mut scratch, &mut term);
        }
        emit(&word[from..], &mut scratch, &mut term);
    }
}

fn emit(word: &str, scratch: &mut String, term: &mut impl FnMut(&str)) {
    if word.is_empty() {
        return;
    }
    scratch.clear();
    if word.is_ascii() {
        scratch.push_str(word);
        scratch.make_ascii_lowercase();
        if scratch.len() <= STOP_CHARS_MAX && STOP.contains(&scratch.as_str()) {
            return;
        }
        stem(scratch);
    } else {
        scratch.extend(word.chars().flat_map(char::to_lowercase));
    }
    term(scratch);
}

/// The humps of an ASCII word: `HTTPServerName` → `HTTP`, `Server`, `Name`.
fn humps(word: &str) -> impl Iterator<Item = &str> {
    let bytes = word.as_bytes();
    let mut from = 0;
    std::iter::from_fn(move || {
        if from == bytes.len() {
            return None;
        }
        let border = |at: usize| {
            let upper = bytes[at].is_ascii_uppercase();
            let after_lower = !bytes[at - 1].is_ascii_uppercase();
            let before_lower = bytes.get(at + 1).is_some_and(u8::is_ascii_lowercase);
            upper && (after_lower || before_lower)
        };
        let end = (from + 1..bytes.len())
            .find(|at| border(*at))
            .unwrap_or(bytes.len());
        let part = &word[from..end];
        from = end;
        Some(part)
    })
}

fn is_ideograph(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{ac00}'..='\u{d7af}')
}

/// The longest of [`STOP`].
const STOP_CHARS_MAX: usize = 5;
/// Words that say nothing about a tool.
const STOP: [&str; 28] = [
    "a", "an", "and", "are", "as", "at", "be", "by", "can", "for", "from", "i", "in", "is", "it", "me", "my",
    "of", "on", "or", "that", "the", "this", "to", "use", "want", "which", "with",
];

/// Takes the commonest endings off a lower-case ASCII word: plurals, `-ing`, `-ed`, a last `e`.
fn stem(word: &mut String) {
    let cut = |word: &mut String, n: usize| word.truncate(word.len() - n);
    if word.len() > 4 && word.ends_with("ies") {
        cut(word, 3);
        word.push('y');
    } else if word.len() > 4
        && ["sses", "xes", "ches", "shes"]
            .iter()
            .any(|end| word.ends_with(end))
    {
        cut(word, 2);
    } else if word.len() > 3
        && word.ends_with('s')
        && !["ss", "us", "is"].iter().any(|end| word.ends_with(end))
    {
        cut(word, 1);
    }
    for ending in ["ing", "ed"] {
        let Some(rest) = word.strip_suffix(ending) else {
            continue;
        };
        if rest.len() >= 3 && word.len() > 5 && rest.bytes().any(|b| b"aeiouy".contains(&b)) {
            cut(word, ending.len());
            let bytes = word.as_bytes();
            if let [.., a, b] = bytes
                && a == b
                && !b"aeiouls".contains(b)
            {
                cut(word, 1);
            }
            break;
        }
    }
    if word.len() > 4 && word.ends_with('e') {
        cut(word, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn terms(text: &str) -> Vec<String> {
        let mut out = Vec::new();
        each(text, |t| out.push(t.to_owned()));
        out
    }

    #[test]
    fn names_fall_into_words() {
        assert_eq!(terms("create_issue"), ["creat", "issu"]);
        assert_eq!(terms("createIssue"), ["creat", "issu", "createissu"]);
        assert_eq!(terms("HTTPServer-s3"), ["http", "server", "httpserver", "s3"]);
        assert_eq!(terms("GitHub"), ["git", "hub", "github"]);
    }

    #[test]
    fn forms_of_a_word_meet() {
        for forms in [
            &["create", "creates", "creating", "created"][..],
            &["issue", "issues"],
            &["query", "queries"],
            &["run", "running", "runs"],
            &["search", "searches", "searching"],
            &["list", "lists", "listing", "listed"],
            &["status", "status"],
            &["address", "addresses"],
        ] {
            let all: Vec<_> = forms.iter().map(|f| terms(f)).collect();
            assert!(all.windows(2).all(|w| w[0] == w[1]), "{forms:?} {all:?}");
        }
        assert_eq!(terms("string thing this class"), ["string", "thing", "class"]);
    }

    #[test]
    fn ideographs_stand_alone() {
        assert_eq!(terms("\u{5929}\u{6c17}API"), ["\u{5929}", "\u{6c17}", "api"]);
    }

    proptest! {
        #[test]
        fn any_text_gives_terms_without_a_panic(text in ".{0,80}") {
            prop_assert!(terms(&text).iter().all(|t| !t.is_empty()));
        }
    }
}

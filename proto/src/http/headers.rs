//! A list of header fields: one piece of text, and where names and values stand in it.
//!
//! ```text
//! text   POST /mcp HTTP/1.1␍␊Host: a␍␊Accept: */*␍␊X-Mine: 1␍␊␍␊      as it came, one reference for all of it, or
//!        content-type: application/json␍␊x-mine: 1␍␊                  as it will be written, grown by `push`
//! list   (ACCEPT, 41..44) (48..54, 56..57)                            eight bytes a field; known names are numbers
//! ```
//!
//! No field is in the list that could break out of its line: the parser finds none, `push` takes none. What `push`
//! refuses is remembered, and a list that remembers a fault cannot be written. Who fills a list from outside asks for
//! the fault before anything is decided: what was left out must not read as what was never sent.

use super::fields::{Field, FieldList, Place};
use super::lines::Lines;
use super::names::{self, Name, NameSet};
use super::octets::{self, LOWER_TOKEN};
use bytes::Bytes;
use std::{fmt, sync::LazyLock};

/// An ordered list of header fields with lower-case names. Small: it changes hands often.
#[derive(Clone, Default)]
pub struct Headers {
    content: Held,
}

#[derive(Clone, Default)]
enum Held {
    #[default]
    Nothing,
    Own(Box<Content>),
    /// Of everybody; copied by who pushes to it.
    Shared(&'static Content),
}

/// The fields of nearly every answer.
static JSON: LazyLock<Content> = LazyLock::new(|| {
    let mut content = Content::default();
    content.push(names::CONTENT_TYPE.into(), b"application/json");
    content
});

/// A header that must stand at most once came twice (RFC 9110 §5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeated;

/// Why a field was not taken into a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldFault {
    /// The name is not a token in lower case.
    Name,
    /// The value holds CR, LF, NUL or another control character.
    Value,
    /// There is more text than any head may have.
    TooLarge,
}

/// Largest text of a list: places in it are 16 bits.
const TEXT_BYTES_MAX: usize = u16::MAX as usize;
/// Room for a usual line.
const LINE_BYTES_USUAL: usize = 48;

/// A list that is being filled, by `push` or by a parser.
#[derive(Clone, Default)]
pub(crate) struct Content {
    text: Text,
    pub(crate) fields: FieldList,
    fault: Option<FieldFault>,
}

#[derive(Clone)]
enum Text {
    /// A head as it came. Fields are pieces of it.
    Head(Bytes),
    /// As they will be written, one a field, in order, and nothing else.
    Lines(Lines),
}

impl Default for Text {
    fn default() -> Self {
        Self::Lines(Lines::default())
    }
}

impl Headers {
    /// An empty list with room for `n` usual fields.
    pub fn with_capacity(n: usize) -> Self {
        let content = Content {
            text: Text::Lines(Lines::with_capacity(n * LINE_BYTES_USUAL)),
            ..Content::default()
        };
        Self {
            content: Held::Own(Box::new(content)),
        }
    }

    /// The fields of an answer that has just a content type. Costs nothing for JSON.
    pub fn of_type(content_type: &[u8]) -> Self {
        if content_type == b"application/json" {
            return Self {
                content: Held::Shared(&JSON),
            };
        }
        let mut headers = Self::default();
        headers.push(names::CONTENT_TYPE, content_type);
        headers
    }

    /// The first value of `name`.
    #[inline]
    pub fn get<'n>(&self, name: impl Into<Name<'n>>) -> Option<&[u8]> {
        let content = self.content()?;
        Some(content.find(name.into())?.of(content.text()))
    }

    /// The first value of `name` for who keeps it: a slice of the head that came, or a copy of what was pushed.
    pub fn get_bytes<'n>(&self, name: impl Into<Name<'n>>) -> Option<Bytes> {
        let content = self.content()?;
        let value = content.find(name.into())?.of(content.text());
        Some(match &content.text {
            Text::Head(head) => head.slice_ref(value),
            Text::Lines(_) => Bytes::copy_from_slice(value),
        })
    }

    /// The value of `name`, refusing a second one: two readers could pick different ones.
    #[inline]
    pub fn get_one<'n>(&self, name: impl Into<Name<'n>>) -> Result<Option<&[u8]>, Repeated> {
        let name = name.into();
        let repeated = match name {
            Name::Known(known) => self.content().is_some_and(|c| c.fields.repeated.has(known)),
            Name::Other(_) => self.get_all(name).nth(1).is_some(),
        };
        if repeated {
            Err(Repeated)
        } else {
            Ok(self.get(name))
        }
    }

    /// Every value of `name`, in order of arrival.
    pub fn get_all<'h>(&'h self, name: impl Into<Name<'h>>) -> impl Iterator<Item = &'h [u8]> {
        let name = name.into();
        let content = self.content().filter(|content| content.may_have(name));
        content.into_iter().flat_map(move |content| content.all(name))
    }

    /// Appends a field, its name in lower case. A field that cannot be sent is left out, and then the whole list
    /// cannot; see [`Headers::fault`].
    pub fn push<'n>(&mut self, name: impl Into<Name<'n>>, value: impl AsRef<[u8]>) {
        let mut content = match std::mem::take(&mut self.content) {
            Held::Own(content) => content,
            Held::Shared(content) => Box::new(content.clone()),
            Held::Nothing => Box::default(),
        };
        content.push(name.into(), value.as_ref());
        self.content = Held::Own(content);
    }

    /// Appends a field whose name came from outside, as [`Headers::push`] does.
    pub fn push_bytes(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        self.push(name.as_ref(), value);
    }

    /// Why this list cannot be sent: the first field that was not taken into it.
    pub fn fault(&self) -> Option<FieldFault> {
        self.content()?.fault
    }

    /// All fields in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.named().map(|(name, value)| (name.bytes(), value))
    }

    /// All fields in order, the known names as such.
    pub fn named(&self) -> impl Iterator<Item = (Name<'_>, &[u8])> {
        let content = self.content().into_iter();
        content.flat_map(|content| content.named())
    }

    /// Number of fields.
    pub fn len(&self) -> usize {
        let content = self.content();
        content.map_or(0, |content| content.fields.len())
    }

    /// True when there is no field.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether one of these is there.
    pub(crate) fn has_any(&self, names: NameSet) -> bool {
        let content = self.content();
        content.is_some_and(|content| content.fields.present.meets(names))
    }

    /// The lines of all fields, if they stand ready to be written.
    pub(crate) fn lines(&self) -> Option<&[u8]> {
        match self.content().map(|content| &content.text) {
            Some(Text::Lines(lines)) => Some(lines.text()),
            Some(Text::Head(_)) => None,
            None => Some(&[]),
        }
    }

    #[inline]
    fn content(&self) -> Option<&Content> {
        match &self.content {
            Held::Own(content) => Some(content),
            Held::Shared(content) => Some(content),
            Held::Nothing => None,
        }
    }
}

impl Content {
    /// An empty list for the fields of a head that is being read.
    pub(crate) fn of_head() -> Box<Self> {
        Box::new(Self {
            text: Text::Head(Bytes::new()),
            fields: FieldList::default(),
            fault: None,
        })
    }

    /// The list, once its head is there. All its fields have been checked; names are lower case.
    pub(crate) fn with_head(mut self: Box<Self>, head: Bytes) -> Headers {
        self.text = Text::Head(head);
        Headers {
            content: Held::Own(self),
        }
    }

    fn push(&mut self, name: Name<'_>, value: &[u8]) {
        if let Err(fault) = self.append(name, value) {
            self.fault.get_or_insert(fault);
        }
    }

    fn append(&mut self, name: Name<'_>, value: &[u8]) -> Result<(), FieldFault> {
        if !octets::is_value(value) {
            return Err(FieldFault::Value);
        }
        let Text::Lines(lines) = &mut self.text else {
            self.become_lines();
            return self.append(name, value);
        };
        let fits = |name_bytes| lines.len() + name_bytes + value.len() + 4 <= TEXT_BYTES_MAX;
        match name {
            Name::Known(known) => {
                let line = known.line().as_bytes();
                if !fits(line.len()) {
                    return Err(FieldFault::TooLarge);
                }
                let value_at = lines.push(line, value);
                self.fields.push_known(known, Place::new(value_at, value.len()));
            }
            Name::Other(text) => {
                if text.is_empty() || !octets::all(text, LOWER_TOKEN) {
                    return Err(FieldFault::Name);
                }
                if !fits(text.len()) {
                    return Err(FieldFault::TooLarge);
                }
                let name = Place::new(lines.len(), text.len());
                let value_at = lines.push(&[text, b": "].concat(), value);
                self.fields.push_other(name, Place::new(value_at, value.len()));
            }
        }
        Ok(())
    }

    /// Makes lines of a head that came.
    fn become_lines(&mut self) {
        let head = std::mem::take(self);
        self.fault = head.fault;
        for (name, value) in head.named() {
            self.push(name, value);
        }
    }

    #[inline]
    fn find(&self, name: Name<'_>) -> Option<Place> {
        match name {
            Name::Known(known) => self.fields.find_known(known),
            Name::Other(_) => {
                let mut fields = self.fields.iter();
                fields
                    .find(|field| self.name(field) == name)
                    .map(|field| field.value)
            }
        }
    }

    fn all(&self, name: Name<'_>) -> impl Iterator<Item = &[u8]> {
        let (known, other) = match name {
            Name::Known(known) => (Some(self.fields.find_all_known(known)), None),
            Name::Other(_) => (None, Some(self.named().filter(move |(named, _)| *named == name))),
        };
        let known = known.into_iter().flatten().map(|place| place.of(self.text()));
        known.chain(other.into_iter().flatten().map(|(_, value)| value))
    }

    fn named(&self) -> impl Iterator<Item = (Name<'_>, &[u8])> {
        let (fields, text) = (self.fields.iter(), self.text());
        fields.map(move |field| (self.name(field), field.value.of(text)))
    }

    fn may_have(&self, name: Name<'_>) -> bool {
        match name {
            Name::Known(known) => self.fields.present.has(known),
            Name::Other(_) => true,
        }
    }

    fn name(&self, field: &Field) -> Name<'_> {
        match field.known() {
            Some(known) => Name::Known(known),
            None => Name::Other(field.name.of(self.text())),
        }
    }

    fn text(&self) -> &[u8] {
        match &self.text {
            Text::Head(head) => head,
            Text::Lines(lines) => lines.text(),
        }
    }
}

impl PartialEq for Headers {
    fn eq(&self, other: &Self) -> bool {
        self.fault() == other.fault() && self.named().eq(other.named())
    }
}

impl Eq for Headers {}

impl fmt::Debug for Headers {
    /// Values that let somebody in are not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SECRET: NameSet = NameSet::of(&[
            names::AUTHORIZATION,
            names::COOKIE,
            names::SET_COOKIE,
            names::X_API_KEY,
            names::MCP_SESSION_ID,
        ]);
        let shown = self.named().map(|(name, value)| {
            let secret = matches!(name, Name::Known(known) if SECRET.has(known));
            let value = if secret { b"***" } else { value };
            (
                String::from_utf8_lossy(name.bytes()),
                String::from_utf8_lossy(value),
            )
        });
        f.debug_map().entries(shown).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::super::names::{ACCEPT, AUTHORIZATION, MCP_NAME};
    use super::*;

    #[test]
    fn fields_are_found_by_constant_and_by_text() {
        let mut headers = Headers::default();
        headers.push(ACCEPT, "a");
        headers.push("x-mine", String::from("b"));
        headers.push("accept", Bytes::from_static(b"c"));
        headers.push_bytes(b"x-mine", b"");
        headers.push(MCP_NAME, b"\tgr\xc3\xbcn");
        assert_eq!(headers.get("accept"), Some(&b"a"[..]));
        assert_eq!(headers.get(ACCEPT), Some(&b"a"[..]));
        assert_eq!(headers.get("x-mine"), Some(&b"b"[..]));
        assert_eq!(headers.get("x-other"), None);
        assert_eq!(headers.get(AUTHORIZATION), None);
        assert_eq!(headers.get_one("accept"), Err(Repeated));
        assert_eq!(headers.get_one("x-mine"), Err(Repeated));
        assert_eq!(headers.get_one(MCP_NAME), Ok(Some(&b"\tgr\xc3\xbcn"[..])));
        assert_eq!(headers.get_one("x-other"), Ok(None));
        assert_eq!(headers.get_all(ACCEPT).collect::<Vec<_>>(), [b"a", b"c"]);
        assert_eq!(headers.get_all("x-mine").collect::<Vec<_>>(), [&b"b"[..], b""]);
        assert_eq!(headers.get_bytes("accept").unwrap(), "a");
        assert_eq!(headers.len(), 5);
        assert_eq!(headers.fault(), None);
        assert_eq!(headers.iter().nth(1), Some((&b"x-mine"[..], &b"b"[..])));
    }

    #[test]
    fn a_field_that_cannot_be_sent_is_left_out_and_remembered() {
        for (name, value, fault) in [
            ("x", "a\nb", FieldFault::Value),
            ("X", "a", FieldFault::Name),
            ("x y", "a", FieldFault::Name),
            ("", "a", FieldFault::Name),
            ("date", "\u{7f}", FieldFault::Value),
        ] {
            let mut headers = Headers::default();
            headers.push("x", "good");
            headers.push(name, value);
            headers.push("y", "good");
            headers.push("", "\r");
            assert_eq!((headers.fault(), headers.len()), (Some(fault), 2), "{name:?}");
        }
        let mut headers = Headers::default();
        headers.push("x", vec![b'a'; 60_000]);
        headers.push("y", vec![b'a'; 60_000]);
        assert_eq!((headers.fault(), headers.len()), (Some(FieldFault::TooLarge), 1));
        assert_eq!(headers.get("x").unwrap().len(), 60_000);
    }

    #[test]
    fn a_head_that_came_can_be_added_to() {
        let wire = &b"GET / HTTP/1.1\r\nHost: a\r\nACCEPT: x\r\nX-Mine:  y \r\n\r\n"[..];
        let head = crate::http1::parse_request(&mut wire.into(), crate::http1::HeadLimits::default());
        let mut headers = head.unwrap().unwrap().headers;
        let before = headers.clone();
        headers.push("x-more", "z");
        assert_eq!(
            headers.lines(),
            Some(&b"accept: x\r\nx-mine: y\r\nx-more: z\r\n"[..])
        );
        assert_ne!(headers, before);
        assert_eq!(before.get_bytes("x-mine").unwrap(), "y");
        assert_eq!(headers.get(ACCEPT), before.get(ACCEPT));
    }

    #[test]
    fn a_shared_list_is_copied_by_who_adds_to_it() {
        let json = Headers::of_type(b"application/json");
        let mut more = json.clone();
        more.push("x-mine", "a");
        assert_eq!((json.len(), more.len()), (1, 2));
        assert_eq!(json.lines(), Some(&b"content-type: application/json\r\n"[..]));
        assert_eq!(
            Headers::of_type(b"text/plain").get("content-type"),
            Some(&b"text/plain"[..])
        );
    }

    #[test]
    fn credentials_are_not_printed() {
        let mut headers = Headers::default();
        headers.push(AUTHORIZATION, "Bearer secret");
        headers.push("accept", "a");
        assert_eq!(
            format!("{headers:?}"),
            r#"{"authorization": "***", "accept": "a"}"#
        );
    }
}

//! Where the fields of a head stand in its text: eight bytes a field, the usual number of them in place.

use super::names::{FieldName, NameSet};
use std::ops::Range;

/// How many fields most heads have at most. More go to a list of their own.
const USUAL: usize = 16;

/// The places of a list's fields, and which of the known names are among them.
#[derive(Clone, Default)]
pub(crate) struct FieldList {
    pub(super) present: NameSet,
    pub(super) repeated: NameSet,
    count: usize,
    first: [Field; USUAL],
    rest: Vec<Field>,
}

/// Where a name and its value stand.
#[derive(Clone, Copy, Default)]
pub(crate) struct Field {
    /// The number of a known name, at length 0; otherwise its place.
    pub(super) name: Place,
    pub(super) value: Place,
}

/// A piece of a text, both ends below 2¹⁶: where it begins above, how long it is below. One word is compared at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place(u32);

impl FieldList {
    pub(crate) fn push_known(&mut self, name: FieldName, value: Place) {
        if self.present.add(name) {
            self.repeated.add(name);
        }
        self.push(Field {
            name: Place::of_known(name),
            value,
        });
    }

    /// The name is not empty.
    pub(crate) fn push_other(&mut self, name: Place, value: Place) {
        self.push(Field { name, value });
    }

    fn push(&mut self, field: Field) {
        match self.first.get_mut(self.count) {
            Some(slot) => *slot = field,
            None => self.push_more(field),
        }
        self.count += 1;
    }

    #[cold]
    fn push_more(&mut self, field: Field) {
        self.rest.push(field);
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// The first value under a known name.
    #[inline]
    pub(super) fn find_known(&self, name: FieldName) -> Option<Place> {
        if !self.present.has(name) {
            return None;
        }
        let named = |field: &&Field| field.name == Place::of_known(name);
        let found = self.in_place().iter().find(named);
        found
            .or_else(|| self.rest.iter().find(named))
            .map(|field| field.value)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Field> {
        self.in_place().iter().chain(&self.rest)
    }

    fn in_place(&self) -> &[Field] {
        &self.first[..self.count.min(USUAL)]
    }

    /// Every value under a known name.
    pub(super) fn find_all_known(&self, name: FieldName) -> impl Iterator<Item = Place> {
        let fields = self
            .iter()
            .filter(move |field| field.name == Place::of_known(name));
        fields.map(|field| field.value)
    }

    /// The places of the names that are not known.
    pub(crate) fn other_names(&self) -> impl Iterator<Item = Range<usize>> {
        self.iter()
            .filter(|field| field.known().is_none())
            .map(|field| field.name.range())
    }
}

impl Field {
    pub(super) fn known(&self) -> Option<FieldName> {
        match self.name.0.to_be_bytes() {
            [0, number, 0, 0] => FieldName::from_number(number),
            _ => None,
        }
    }
}

impl Place {
    pub(crate) fn new(at: usize, length: usize) -> Self {
        debug_assert!(at + length <= usize::from(u16::MAX));
        Self((at as u32) << 16 | length as u32)
    }

    fn of_known(name: FieldName) -> Self {
        Self(u32::from(name.number()) << 16)
    }

    pub(crate) fn range(self) -> Range<usize> {
        let at = (self.0 >> 16) as usize;
        at..at + (self.0 & 0xffff) as usize
    }

    /// The piece; nothing if the text is another one.
    pub(crate) fn of(self, text: &[u8]) -> &[u8] {
        text.get(self.range()).unwrap_or_default()
    }
}

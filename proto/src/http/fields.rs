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
    /// Where the name begins; the number of a known one.
    pub(super) name_at: u16,
    /// 0 for a known one.
    pub(super) name_length: u16,
    pub(super) value_at: u16,
    pub(super) value_length: u16,
}

impl FieldList {
    pub(crate) fn push(&mut self, field: Field) {
        if let Some(name) = field.as_known()
            && self.present.add(name)
        {
            self.repeated.add(name);
        }
        match self.first.get_mut(self.count) {
            Some(slot) => *slot = field,
            None => self.rest.push(field),
        }
        self.count += 1;
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Field> {
        self.first[..self.count.min(USUAL)].iter().chain(&self.rest)
    }

    /// The places of the names that are not known.
    pub(crate) fn other_names(&self) -> impl Iterator<Item = Range<usize>> {
        let others = self.iter().filter(|field| field.name_length != 0);
        others.map(|field| {
            let at = usize::from(field.name_at);
            at..at + usize::from(field.name_length)
        })
    }
}

impl Field {
    /// A field with a known name. Places are below 2¹⁶.
    pub(crate) fn known(name: FieldName, value: Range<usize>) -> Self {
        Self {
            name_at: u16::from(name.number()),
            name_length: 0,
            value_at: value.start as u16,
            value_length: value.len() as u16,
        }
    }

    /// A field with another name, which is not empty.
    pub(crate) fn other(name: Range<usize>, value: Range<usize>) -> Self {
        Self {
            name_at: name.start as u16,
            name_length: name.len() as u16,
            value_at: value.start as u16,
            value_length: value.len() as u16,
        }
    }

    pub(super) fn as_known(&self) -> Option<FieldName> {
        match self.name_length {
            0 => FieldName::from_number(self.name_at as u8),
            _ => None,
        }
    }
}

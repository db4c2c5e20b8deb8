//! How each type is saved, as text: a test compares it with a list, so that no type changes under the same
//! [`VERSION`](super::VERSION). Only builds with debug assertions have this.
//!
//! A struct or an enum of [`saved!`](crate::saved!) has its fields or variants. Of a type that is saved by hand it is what its
//! [`restore`](Saved::restore) takes from zeros: there, every list is empty, but is noted with the type of its values. A type
//! notes the types of its parts, so what a state leads to is complete.

#![forbid(unsafe_code)]

use super::{Restorer, Saved};
use std::any::type_name;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Instant;

/// More than any type takes that has no lists.
static ZEROS: [u8; 1 << 14] = [0; 1 << 14];

/// The types of which a value is saved, each with its parts.
#[derive(Debug, Default)]
pub struct Layout {
    /// By their full names: types of several modules have the same short one.
    types: BTreeMap<&'static str, String>,
}

impl Layout {
    /// Returns a line for each type to which a type leads.
    pub fn of<T: Saved>() -> String {
        let mut all = Self::default();
        T::layout(&mut all);
        let has_parts = all.types.iter().filter(|(_, parts)| !parts.is_empty());
        let mut lines: Vec<_> = has_parts.map(|(name, parts)| format!("{}: {parts}\n", short(name))).collect();
        lines.sort();
        lines.concat()
    }

    /// Adds a struct with its fields.
    pub fn add_struct<T: Saved>(&mut self, add_fields: impl FnOnce(&mut Parts)) {
        self.add::<T>(|| {
            let mut parts = Parts::default();
            add_fields(&mut parts);
            parts
        });
    }

    /// Adds an enum with its variants.
    pub fn add_enum<T: Saved>(&mut self, variants: &[(&str, u8)]) {
        let texts = variants.iter().map(|(name, number)| format!("{number} {name}")).collect();
        self.add::<T>(|| Parts { texts, layouts: Vec::new() });
    }

    /// Adds a type with what is restored of it.
    pub fn add_restored<T: Saved>(&mut self) {
        self.add::<T>(|| {
            let mut from = Restorer::new(&ZEROS, Instant::now());
            from.parts = Some(Parts::default());
            // A type that refuses zeros has taken its parts before.
            let is_refused = T::restore(&mut from).is_err();
            let mut parts = from.parts.unwrap_or_default();
            parts.texts.extend(is_refused.then(|| "no value of zeros".to_owned()));
            parts
        });
    }

    fn add<T>(&mut self, parts: impl FnOnce() -> Parts) {
        let name = type_name::<T>();
        if self.types.contains_key(name) {
            return;
        }
        let Parts { texts, layouts } = parts();
        self.types.insert(name, joined(&texts));
        layouts.into_iter().for_each(|layout| layout(self));
    }
}

/// The parts of a type, in the order in which they are saved.
#[derive(Default)]
pub struct Parts {
    texts: Vec<String>,
    layouts: Vec<fn(&mut Layout)>,
}

/// By hand: Rust 1.63 does not derive it for these functions.
impl fmt::Debug for Parts {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.texts.fmt(out)
    }
}

impl Parts {
    /// Adds a field. The function says of which type it is.
    pub fn add_field<S, T: Saved>(&mut self, name: &str, _: impl Fn(&S) -> &T) {
        self.add_text::<T>(format!("{name} {}", short(type_name::<T>())));
    }

    pub(super) fn add<T: Saved>(&mut self) {
        self.add_text::<T>(short(type_name::<T>()));
    }

    pub(super) fn add_list<T: Saved>(&mut self) {
        self.add_text::<T>(format!("list of {}", short(type_name::<T>())));
    }

    pub(super) fn add_bytes(&mut self) {
        self.texts.push("bytes".to_owned());
    }

    fn add_text<T: Saved>(&mut self, text: String) {
        self.texts.push(text);
        self.layouts.push(T::layout);
    }
}

/// Joins texts; equal ones are counted.
fn joined(texts: &[String]) -> String {
    let (mut joined, mut rest) = (String::new(), texts);
    while let Some(text) = rest.first() {
        let count = rest.iter().take_while(|next| *next == text).count();
        let comma = if joined.is_empty() { "" } else { ", " };
        let times = if count > 1 { format!("{count} * ") } else { String::new() };
        joined.extend([comma, &times, text]);
        rest = &rest[count..];
    }
    joined
}

/// Leaves the modules out of the name of a type: they may change.
fn short(name: &str) -> String {
    let mut short = String::new();
    for part in name.split_inclusive(|sign: char| !sign.is_alphanumeric() && sign != '_' && sign != ':') {
        short.push_str(part.rsplit("::").next().unwrap_or(part));
    }
    short
}

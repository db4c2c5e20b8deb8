//! The events of several channels in the order of their places.

use crate::log::Logged;
use std::collections::vec_deque;
use std::iter::Peekable;

/// One channel's part.
pub(super) enum Part<'a> {
    All(vec_deque::Iter<'a, Logged>),
    /// Of each key the newest.
    Newest(Box<dyn Iterator<Item = &'a Logged> + 'a>),
}

impl<'a> Iterator for Part<'a> {
    type Item = &'a Logged;

    fn next(&mut self) -> Option<&'a Logged> {
        match self {
            Self::All(events) => events.next(),
            Self::Newest(events) => events.next(),
        }
    }
}

/// All parts, merged. A channel that is there twice, by its name and by a pattern, counts once.
pub(super) enum Merge<'a> {
    Nothing,
    One(Part<'a>),
    Many(Vec<Peekable<Part<'a>>>),
}

impl<'a> FromIterator<Part<'a>> for Merge<'a> {
    fn from_iter<I: IntoIterator<Item = Part<'a>>>(parts: I) -> Self {
        let mut parts = parts.into_iter();
        match (parts.next(), parts.next()) {
            (None, _) => Self::Nothing,
            (Some(one), None) => Self::One(one),
            (Some(one), Some(other)) => Self::Many([one, other].into_iter().chain(parts).map(Part::peekable).collect()),
        }
    }
}

impl<'a> Iterator for Merge<'a> {
    type Item = &'a Logged;

    fn next(&mut self) -> Option<&'a Logged> {
        let parts = match self {
            Self::Nothing => return None,
            Self::One(events) => return events.next(),
            Self::Many(parts) => parts,
        };
        let next = parts.iter_mut().filter_map(|part| part.peek().copied()).min_by_key(|logged| logged.place)?;
        for part in parts {
            part.next_if(|logged| logged.place == next.place);
        }
        Some(next)
    }
}

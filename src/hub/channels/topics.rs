//! Topics as the hub stores them: slots of its channels and patterns.

use std::ops::Deref;

/// A topic of a subscription: the slot of a channel or of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::hub) enum TopicId {
    Channel(u32),
    Pattern(u32),
}

/// The topics of a stream, sorted. Most streams have one, which needs no allocation.
#[derive(Debug)]
pub(in crate::hub) enum Topics {
    One(TopicId),
    Many(Box<[TopicId]>),
}

impl Default for Topics {
    fn default() -> Self {
        Self::Many(Box::default())
    }
}

impl From<Vec<TopicId>> for Topics {
    fn from(topics: Vec<TopicId>) -> Self {
        match topics[..] {
            [one] => Self::One(one),
            _ => Self::Many(topics.into()),
        }
    }
}

impl Deref for Topics {
    type Target = [TopicId];

    fn deref(&self) -> &[TopicId] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

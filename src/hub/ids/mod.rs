//! Ids of events: those that the hub gives, plain or opaque (`plain_and_opaque`), those that the application gives
//! (`custom_ids`), and the last one that a client has.

pub(super) mod custom_ids;
pub(super) mod plain_and_opaque;

/// The last id that the client of a stream was sent: the sequence number that it stands for, and whether the application
/// gave it, in the lowest bit.
///
/// One word, because each stream has one. With a flag of its own a [`Cursor`](crate::hub::Cursor) would need a larger block
/// of memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::hub) struct LastId(u64);

impl LastId {
    pub(in crate::hub) fn new(seq: u64, is_custom: bool) -> Self {
        Self(seq << 1 | u64::from(is_custom))
    }

    /// Returns the id of the hub for a sequence number.
    pub(in crate::hub) fn at(seq: u64) -> Self {
        Self::new(seq, false)
    }

    pub(in crate::hub) fn seq(self) -> u64 {
        self.0 >> 1
    }

    pub(in crate::hub) fn is_custom(self) -> bool {
        self.0 & 1 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_last_id_keeps_its_number_and_its_kind() {
        for (seq, is_custom) in [(0, false), (0, true), (7, false), (u64::MAX >> 1, true)] {
            let id = LastId::new(seq, is_custom);
            assert_eq!((id.seq(), id.is_custom()), (seq, is_custom));
        }
    }
}

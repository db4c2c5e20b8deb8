//! How many bytes the stream holds, and where it must begin to hold fewer.

use super::entry::Id;
use super::CHUNK_BYTES;
use std::collections::VecDeque;

/// How many entries are counted together, at most.
const BLOCK: usize = 64;
/// A block with so many bytes is full.
const BLOCK_BYTES: usize = 1 << 18;

/// Entries that follow one another.
#[derive(Debug)]
struct Block {
    first: Id,
    entries: usize,
    bytes: usize,
}

/// The sizes of the entries that the reader has read, as far as the stream holds them.
#[derive(Debug, Default)]
pub struct Sizes {
    blocks: VecDeque<Block>,
    bytes: usize,
}

impl Sizes {
    /// Counts an entry.
    pub fn add(&mut self, id: Id, bytes: usize) {
        match self.blocks.back_mut() {
            Some(block) if block.entries < BLOCK && block.bytes < BLOCK_BYTES => {
                block.entries += 1;
                block.bytes += bytes;
            }
            _ => self.blocks.push_back(Block { first: id, entries: 1, bytes }),
        }
        self.bytes += bytes;
    }

    /// Forgets the entries before that one.
    pub fn forget_before(&mut self, first: Id) {
        while self.blocks.get(1).is_some_and(|second| second.first <= first) {
            self.drop_first();
        }
    }

    /// Returns the id of the first entry of those that fit in so many bytes, if not all of them do. A reader that is behind
    /// notices an eviction only if it reads a chunk at once, so a chunk always stays.
    pub fn cut(&mut self, bytes: usize) -> Option<Id> {
        let before = self.blocks.front()?.first;
        while self.bytes > bytes && self.blocks.len() > 1 && self.bytes - self.blocks[0].bytes >= CHUNK_BYTES {
            self.drop_first();
        }
        let first = self.blocks.front()?.first;
        (first != before).then_some(first)
    }

    /// Whether the first entry is before that id.
    pub fn begins_before(&self, id: Id) -> bool {
        self.blocks.front().is_some_and(|block| block.first < id)
    }

    fn drop_first(&mut self) {
        if let Some(block) = self.blocks.pop_front() {
            self.bytes -= block.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(ms: u64) -> Id {
        Id { ms, part: 0 }
    }

    #[test]
    fn a_cut_keeps_at_least_one_chunk() {
        let mut sizes = Sizes::default();
        for ms in 0..10_000 {
            sizes.add(id(ms), 1 << 10);
        }
        assert_eq!(sizes.cut(usize::MAX), None);
        let first = sizes.cut(5 << 20).expect("a cut");
        assert!((4800..5000).contains(&first.ms), "{first}");
        assert_eq!(sizes.cut(5 << 20), None);
        let first = sizes.cut(0).expect("a cut");
        assert!((8900..=8976).contains(&first.ms), "{first}");
        sizes.forget_before(id(9_990));
        assert!(sizes.bytes < 80 << 10);
    }
}

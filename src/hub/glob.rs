//! Matching channel names with patterns.
//!
//! A pattern is divided into blocks at `**`, a block into segments at `/`, and a segment into pieces at `*`. Stars are greedy
//! for the least: after a star the first match of what follows is as good as any later one, so nothing is tried twice. Only a
//! block between two `**` that has stars and slashes begins anew at each segment of the name, since strings cannot be searched
//! for something with wildcards in linear time; `EventSource::XS::Hub::Pattern` bounds the slashes of such a block.

use super::steps;
use crate::saved::{Malformed, Restorer, Saved, Saver};
use memchr::{memchr_iter, memmem, memrchr_iter};

/// A pattern: `*` matches any characters but `/`, `**` any characters, everything else itself.
#[derive(Clone, Debug)]
pub(super) struct Glob {
    text: Box<[u8]>,
    /// The number of bytes before the first star.
    literal: usize,
    /// What is between two `**`.
    blocks: Box<[Block]>,
}

/// A part of a pattern without `**`: its segments, between slashes.
#[derive(Clone, Debug)]
struct Block {
    segments: Box<[Segment]>,
    /// The text, if it has no star.
    literal: Option<Box<[u8]>>,
}

/// A part of a pattern without slashes and `**`: its pieces, between stars. Only the first and the last may be empty.
#[derive(Clone, Debug)]
struct Segment {
    pieces: Box<[Box<[u8]>]>,
    /// The bytes of all pieces, so the least that a match has.
    bytes: usize,
}

/// On which sides of a match the text may have more.
#[derive(Clone, Copy)]
struct Floats {
    left: bool,
    right: bool,
}

impl Glob {
    pub(super) fn new(pattern: &[u8]) -> Self {
        let literal = memchr::memchr(b'*', pattern).unwrap_or(pattern.len());
        let mut blocks = Vec::new();
        let mut rest = pattern;
        while let Some(at) = memmem::find(rest, b"**") {
            blocks.push(Block::new(&rest[..at]));
            let stars = rest[at..].iter().take_while(|byte| **byte == b'*').count();
            rest = &rest[at + stars..];
        }
        blocks.push(Block::new(rest));
        Self { text: pattern.into(), literal, blocks: blocks.into() }
    }

    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }

    /// Returns what every matching name begins with.
    pub(super) fn prefix(&self) -> &[u8] {
        &self.text[..self.literal]
    }

    /// Returns true if the pattern matches a name. A name that differs before the first star, as most do, takes few steps.
    pub(super) fn matches(&self, name: &[u8]) -> bool {
        steps::count(1);
        if !name.starts_with(self.prefix()) {
            return false;
        }
        let last = self.blocks.len() - 1;
        let mut rest = name;
        for (number, block) in self.blocks.iter().enumerate() {
            match block.end_in(rest, Floats { left: number > 0, right: number < last }) {
                Some(end) => rest = &rest[end..],
                None => return false,
            }
        }
        true
    }

    /// Returns true if both patterns match the same name.
    ///
    /// It takes at most as many steps as the product of both lengths. Patterns that differ before their first stars take few.
    pub(super) fn meets(&self, other: &Self) -> bool {
        let same = self.literal.min(other.literal);
        if self.text[..same] != other.text[..same] {
            return false;
        }
        let (one, other) = (Token::all(&self.text[same..]), Token::all(&other.text[same..]));
        // The beginnings of both, by lengths, that match the same name. Both lengths only grow.
        let width = other.len() + 1;
        let mut meet = vec![false; (one.len() + 1) * width];
        meet[0] = true;
        for at in (0..one.len() + 1).flat_map(|i| (0..width).map(move |j| (i, j))) {
            let (i, j) = at;
            if !meet[i * width + j] {
                continue;
            }
            let (first, second) = (one.get(i).copied(), other.get(j).copied());
            let is_byte = |token| matches!(token, Some(Token::Byte(_)));
            // A star that matches nothing more, or a byte that the other one matches.
            let takes_first = first.map_or(false, |token| !is_byte(Some(token)) || token.is_taken_by(second));
            let takes_second = second.map_or(false, |token| !is_byte(Some(token)) || token.is_taken_by(first));
            if is_byte(first) && first == second {
                meet[(i + 1) * width + j + 1] = true;
            }
            if takes_first {
                meet[(i + 1) * width + j] = true;
            }
            if takes_second {
                meet[i * width + j + 1] = true;
            }
        }
        meet[meet.len() - 1]
    }
}

/// A part of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Byte(u8),
    /// One star.
    Segment,
    /// Two stars.
    Anything,
}

impl Token {
    fn all(mut text: &[u8]) -> Vec<Self> {
        let mut tokens = Vec::new();
        while let [first, rest @ ..] = text {
            let (token, rest) = match (first, rest) {
                (b'*', [b'*', rest @ ..]) => (Self::Anything, rest),
                (b'*', rest) => (Self::Segment, rest),
                (byte, rest) => (Self::Byte(*byte), rest),
            };
            tokens.push(token);
            text = rest;
        }
        tokens
    }

    /// Returns true if this is a byte that a star matches.
    fn is_taken_by(self, star: Option<Self>) -> bool {
        match (self, star) {
            (Self::Byte(byte), Some(Self::Segment)) => byte != b'/',
            (Self::Byte(_), Some(Self::Anything)) => true,
            _ => false,
        }
    }
}

impl Block {
    fn new(text: &[u8]) -> Self {
        let literal = Some(text).filter(|text| memchr::memchr(b'*', text).is_none()).map(Into::into);
        Self { segments: text.split(|byte| *byte == b'/').map(Segment::new).collect(), literal }
    }

    /// Returns where the first match in a text ends.
    fn end_in(&self, text: &[u8], floats: Floats) -> Option<usize> {
        match (floats.left, floats.right, &self.literal) {
            (true, true, Some(literal)) => find(literal, text).map(|at| at + literal.len()),
            (true, true, None) => {
                let mut starts = std::iter::once(0).chain(memchr_iter(b'/', text).map(|at| at + 1));
                starts.find_map(|from| self.end_at(&text[from..], floats).map(|end| from + end))
            }
            // A match up to the end of the text has the last segments of the text.
            (true, false, _) => {
                let from = memrchr_iter(b'/', text).nth(self.segments.len() - 1).map_or(0, |at| at + 1);
                self.end_at(&text[from..], floats).map(|end| from + end)
            }
            (false, ..) => self.end_at(text, floats),
        }
    }

    /// Returns where the first match ends that begins in the first segment of a text.
    fn end_at(&self, text: &[u8], floats: Floats) -> Option<usize> {
        let last = self.segments.len() - 1;
        let mut from = 0;
        for (number, segment) in self.segments.iter().enumerate() {
            steps::count(1);
            let rest = &text[from..];
            let len = memchr::memchr(b'/', rest).unwrap_or(rest.len());
            steps::count(len);
            let is_last = number == last;
            let sides = Floats { left: floats.left && number == 0, right: floats.right && is_last };
            let end = segment.end_in(&rest[..len], sides)?;
            match (is_last, floats.right, rest.get(end)) {
                (true, true, _) | (true, false, None) => return Some(from + end),
                (false, _, Some(_)) => from += end + 1, // a slash: the segment has matched to its end
                _ => return None,
            }
        }
        None
    }
}

impl Segment {
    fn new(text: &[u8]) -> Self {
        let pieces: Box<[Box<[u8]>]> = text.split(|byte| *byte == b'*').map(Into::into).collect();
        let bytes = pieces.iter().map(|piece| piece.len()).sum();
        Self { pieces, bytes }
    }

    /// Returns where the first match in a segment of a name ends.
    fn end_in(&self, text: &[u8], floats: Floats) -> Option<usize> {
        if self.bytes > text.len() {
            return None;
        }
        let last = self.pieces.len() - 1;
        let mut from = 0;
        for (number, piece) in self.pieces.iter().enumerate() {
            let rest = &text[from..];
            let (is_at_start, is_at_end) = (number == 0 && !floats.left, number == last && !floats.right);
            let at = match (is_at_start, is_at_end) {
                (true, true) => (rest.len() == piece.len()).then_some(0).filter(|_| starts_with(rest, piece)),
                (true, false) => Some(0).filter(|_| starts_with(rest, piece)),
                (false, true) => {
                    let at = rest.len().checked_sub(piece.len())?;
                    Some(at).filter(|_| starts_with(&rest[at..], piece))
                }
                (false, false) => find(piece, rest),
            }?;
            from += at + piece.len();
        }
        Some(from)
    }
}

fn starts_with(text: &[u8], piece: &[u8]) -> bool {
    steps::count(piece.len());
    text.starts_with(piece)
}

/// Returns where a piece begins in a text, in time that is linear in both.
fn find(piece: &[u8], text: &[u8]) -> Option<usize> {
    if piece.len() > text.len() {
        return None;
    }
    let at = memmem::find(text, piece);
    steps::count(1 + at.unwrap_or(text.len()) + piece.len());
    at
}

impl Saved for Glob {
    fn save(&self, to: &mut Saver) {
        to.add(&self.text);
    }

    fn restore(from: &mut Restorer<'_>) -> Result<Self, Malformed> {
        from.take::<Box<[u8]>>().map(|text| Self::new(&text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A pattern as its definition reads: each star tries all that it may match.
    fn naive(pattern: &[u8], name: &[u8]) -> bool {
        let tries = |rest: &[u8], most: usize| (0..=most).any(|from| naive(rest, &name[from..]));
        match pattern {
            [] => name.is_empty(),
            [b'*', b'*', rest @ ..] => tries(rest, name.len()),
            [b'*', rest @ ..] => tries(rest, name.iter().position(|byte| *byte == b'/').unwrap_or(name.len())),
            [byte, rest @ ..] => name.first() == Some(byte) && naive(rest, &name[1..]),
        }
    }

    #[test]
    fn one_star_matches_within_a_segment_and_two_stars_match_across_segments() {
        for (pattern, name, is_match) in [
            ("news", "news", true),
            ("news", "new", false),
            ("news/*", "news/a", true),
            ("news/*", "news/", true),
            ("news/*", "news", false),
            ("news/*", "news/a/b", false),
            ("news/**", "news/a/b", true),
            ("*", "", true),
            ("*/b", "a/b", true),
            ("**b", "a/b/c/b", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b-d", false),
            ("a?[b]", "a?[b]", true),
            ("***", "a/b", true),
            ("**", "a/b", true),
            ("news/**", "new", false),
            ("news/**", "news/", true),
            ("news", "news/a", false),
            ("news*", "new", false),
            ("news*", "news", true),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(Glob::new(pattern.as_bytes()).matches(name.as_bytes()), is_match, "{pattern} {name}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn a_pattern_matches_what_its_definition_matches(pattern in "[ab/*]{0,10}", name in "[ab/]{0,10}") {
            let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
            prop_assert_eq!(Glob::new(pattern).matches(name), naive(pattern, name));
        }
    }

    #[test]
    fn a_match_takes_steps_in_proportion_to_pattern_and_name() {
        let many = |text: &str| text.repeat(1000 / text.len());
        let patterns =
            ["*a", "a*", "**a", "a**", "*/", "*a/*", "**a/", "a/**", "*a**", "**/*a**"].map(many).into_iter().chain(
                [format!("**{}**", many("a")), format!("**{}b*", many("a/")), format!("*{}b", many("a"))]
                    .into_iter()
                    .chain([format!("**{}**", "a*/".repeat(16)), format!("**a*{}/**", many("b")), many("*a") + "b"]),
            );
        let names = ["a", "b", "a/", "/", "aa/", "ab"].map(many);
        for pattern in patterns {
            let glob = Glob::new(pattern.as_bytes());
            for name in &names {
                let steps = steps::of(|| glob.matches(name.as_bytes()));
                let most = if pattern.starts_with("**a*/") { 40 } else { 4 };
                assert!(steps <= most * (pattern.len() + name.len()), "{steps} steps: {pattern} {name}");
            }
        }
    }

    #[test]
    fn patterns_meet_if_a_name_matches_both() {
        for (one, other, expected) in [
            ("a/*", "a/*", true),
            ("a/*", "*/b", true),
            ("a/*", "b/*", false),
            ("a/*", "a/b/*", false),
            ("a/*", "a/*/*", false),
            ("a/**", "a/b/*", true),
            ("**", "a/b/*", true),
            ("*", "a/*", false),
            ("*x", "y*", true),
            ("*x", "*y", false),
            ("a", "a", true),
            ("a", "b", false),
            ("a*", "a", true),
            ("a**b", "*", true),
            ("a**/b", "*", false),
            ("", "**", true),
            ("", "a*", false),
        ] {
            let [one, other] = [one, other].map(|text| Glob::new(text.as_bytes()));
            assert_eq!((one.meets(&other), other.meets(&one)), (expected, expected), "{one:?} {other:?}");
        }
    }

    /// Every name of up to four characters of a small alphabet, against every pair of patterns of that length.
    #[test]
    fn patterns_meet_as_names_show() {
        let texts = |alphabet: &[u8], most| {
            let mut all = vec![Vec::new()];
            for length in 0..most {
                let longest: Vec<Vec<u8>> = all.iter().filter(|text| text.len() == length).cloned().collect();
                let longer = |text: &Vec<u8>, byte: &u8| [&text[..], &[*byte]].concat();
                all.extend(longest.iter().flat_map(|text| alphabet.iter().map(move |byte| longer(text, byte))));
            }
            all
        };
        let names = texts(b"a/", 6);
        let patterns: Vec<Glob> = texts(b"a/*", 3).iter().map(|text| Glob::new(text)).collect();
        for one in &patterns {
            for other in &patterns {
                let is_shown = names.iter().any(|name| one.matches(name) && other.matches(name));
                assert_eq!(one.meets(other), is_shown, "{one:?} {other:?}");
            }
        }
    }
}

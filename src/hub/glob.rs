//! Matching channel names with patterns.
//!
//! A pattern is divided into blocks at `**`, a block into segments at `/`, and a segment into pieces at `*`. Stars are greedy
//! for the least: after a star the first match of what follows is as good as any later one, so nothing is tried twice. Only a
//! block between two `**` that has stars and slashes begins anew at each segment of the name, since strings cannot be searched
//! for something with wildcards in linear time; `EventSource::XS::Hub::Pattern` bounds the slashes of such a block.

use crate::hub::steps;
use crate::saved::{Malformed, Restorer, Saved, Saver};
use memchr::{memchr_iter, memmem, memrchr_iter};

/// A pattern: `*` matches any characters but `/`, `**` any characters, everything else itself. As a shell does with a dot, a
/// pattern that begins with a star matches no name that begins with a NUL: these are channels of the library's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::hub) struct Glob {
    text: Box<[u8]>,
    /// The number of bytes before the first star.
    literal: usize,
    /// The text between two `**`.
    blocks: Box<[PatternBlock]>,
}

/// A part of a pattern without `**`: its segments, between slashes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct PatternBlock {
    segments: Box<[Segment]>,
    /// The text, if it has no star.
    literal: Option<Box<[u8]>>,
}

/// A part of a pattern without slashes and `**`: its pieces, between stars. Only the first and the last may be empty.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    pub(in crate::hub) fn new(pattern: &[u8]) -> Self {
        let literal = memchr::memchr(b'*', pattern).unwrap_or(pattern.len());
        let mut blocks = Vec::new();
        let mut rest = pattern;
        while let Some(at) = memmem::find(rest, b"**") {
            blocks.push(PatternBlock::new(&rest[..at]));
            let stars = rest[at..].iter().take_while(|byte| **byte == b'*').count();
            rest = &rest[at + stars..];
        }
        blocks.push(PatternBlock::new(rest));
        Self { text: pattern.into(), literal, blocks: blocks.into() }
    }

    pub(in crate::hub) fn text(&self) -> &[u8] {
        &self.text
    }

    /// Returns what every matching name begins with.
    pub(in crate::hub) fn prefix(&self) -> &[u8] {
        &self.text[..self.literal]
    }

    /// Returns true if the pattern matches a name. A name that differs before the first star, as most do, takes few steps.
    pub(in crate::hub) fn is_match(&self, name: &[u8]) -> bool {
        steps::count(1);
        if !name.starts_with(self.prefix()) || self.literal == 0 && name.first() == Some(&0) {
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
}

/// Returns what every name begins with that a pattern matches.
pub(in crate::hub) fn literal(pattern: &[u8]) -> &[u8] {
    &pattern[..memchr::memchr(b'*', pattern).unwrap_or(pattern.len())]
}

/// Returns true if two patterns match the same name.
///
/// It takes a few steps for each token of one pattern and each 64 of the other. Patterns that differ before their first stars
/// take one.
pub(in crate::hub) fn can_match_same(one: &[u8], other: &[u8]) -> bool {
    steps::count(1);
    let same = literal(one).len().min(literal(other).len());
    if one[..same] != other[..same] {
        return false;
    }
    let columns = Columns::new(&Token::all(&other[same..]));
    // The beginnings of the other pattern, by lengths, that match a name which the tokens of the first one until here match.
    let mut row = Bits::new(columns.len + 1);
    row.set(0);
    for token in Token::all(&one[same..]) {
        steps::count(row.0.len());
        row.spread(columns.passed_by(token));
        if let Token::Byte(byte) = token {
            row = row.step(&columns.bytes[usize::from(byte)], columns.taking(byte));
        }
    }
    row.spread(&columns.stars);
    row.has(columns.len)
}

/// A set of small numbers.
#[derive(Clone, Debug)]
struct Bits(Box<[u64]>);

impl Bits {
    /// Returns an empty set of numbers below a bound.
    fn new(bound: usize) -> Self {
        Self(vec![0; (bound + 63) / 64].into())
    }

    fn set(&mut self, number: usize) {
        self.0[number / 64] |= 1 << (number % 64);
    }

    fn has(&self, number: usize) -> bool {
        self.0[number / 64] >> (number % 64) & 1 != 0
    }

    /// Adds the successor of each number that is in `through`, also of those that are added: the carry of an addition runs
    /// through them (Myers 1999, A fast bit-vector algorithm for approximate string matching).
    fn spread(&mut self, through: &Self) {
        let mut has_carry = false;
        for (word, through) in self.0.iter_mut().zip(&*through.0) {
            let (sum, first) = (*word & through).overflowing_add(*through);
            let (sum, second) = sum.overflowing_add(u64::from(has_carry));
            *word |= sum ^ through;
            has_carry = first || second;
        }
    }

    /// Returns the successors of numbers that are in `moving`, and the numbers that are in `staying`.
    fn step(&self, moving: &Self, staying: &Self) -> Self {
        let mut carry = 0;
        let step = |((word, moving), staying): ((&u64, &u64), &u64)| {
            let moved = (word & moving) << 1 | carry;
            carry = (word & moving) >> 63;
            moved | word & staying
        };
        Self(self.0.iter().zip(&*moving.0).zip(&*staying.0).map(step).collect())
    }
}

/// Where the tokens of a pattern are.
struct Columns {
    len: usize,
    /// Where each byte is.
    bytes: Vec<Bits>,
    stars: Bits,
    /// Stars that match slashes, too.
    anything: Bits,
    /// All tokens but slashes.
    in_segment: Bits,
    all: Bits,
}

impl Columns {
    fn new(tokens: &[Token]) -> Self {
        let none = Bits::new(tokens.len() + 1);
        let [stars, anything, in_segment, all] = [none.clone(), none.clone(), none.clone(), none.clone()];
        let mut columns = Self { len: tokens.len(), bytes: vec![none; 256], stars, anything, in_segment, all };
        for (at, token) in tokens.iter().enumerate() {
            match token {
                Token::Byte(byte) => columns.bytes[usize::from(*byte)].set(at),
                Token::Segment => columns.stars.set(at),
                Token::Anything => {
                    columns.stars.set(at);
                    columns.anything.set(at);
                }
            }
            if *token != Token::Byte(b'/') {
                columns.in_segment.set(at);
            }
            columns.all.set(at);
        }
        columns
    }

    /// Returns the tokens that match a name which a token matches with what it has matched before: a star that matches
    /// nothing more, or what a star of the other pattern takes.
    fn passed_by(&self, token: Token) -> &Bits {
        match token {
            Token::Byte(_) => &self.stars,
            Token::Segment => &self.in_segment,
            Token::Anything => &self.all,
        }
    }

    /// Returns the stars that take a byte.
    fn taking(&self, byte: u8) -> &Bits {
        if byte == b'/' {
            &self.anything
        } else {
            &self.stars
        }
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
}

impl PatternBlock {
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
            ("**", "\0own", false),
            ("*n", "\0own", false),
            ("\0*", "\0own", true),
        ] {
            assert_eq!(Glob::new(pattern.as_bytes()).is_match(name.as_bytes()), is_match, "{pattern} {name}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn a_pattern_matches_as_its_definition_does(pattern in "[ab/*]{0,10}", name in "[ab/]{0,10}") {
            let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
            prop_assert_eq!(Glob::new(pattern).is_match(name), naive(pattern, name));
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
                let steps = steps::of(|| glob.is_match(name.as_bytes()));
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
            let [first, second] = [one, other].map(str::as_bytes);
            assert_eq!(
                (can_match_same(first, second), can_match_same(second, first)),
                (expected, expected),
                "{one} {other}"
            );
        }
    }

    #[test]
    fn patterns_of_more_than_64_tokens_meet_or_take_few_steps_to_find_that_they_do_not() {
        let many = |text: &str| text.repeat(1000 / text.len());
        for (one, other, expected) in [
            (many("*a"), many("a*"), true),
            (many("*a") + "b", many("a*") + "a", false),
            (many("*a") + "a", many("b*") + "a", true),
            (format!("**{}", many("a")), format!("**{}", many("ab")), false),
            (format!("**{}b", many("a")), format!("*{}b", many("a")), true),
            (format!("{}**", many("*/")), format!("*{}", many("/a")), true),
            (many("*"), many("a*"), true),
            ("*".to_owned(), many("*/"), false),
            (format!("*{}/", many("a")), many("a*"), false),
        ] {
            let steps =
                steps::of(|| assert_eq!(can_match_same(one.as_bytes(), other.as_bytes()), expected, "{one} {other}"));
            assert!(steps <= 20 * (one.len() + other.len()), "{steps} steps: {one} {other}");
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
                let is_shown = names.iter().any(|name| one.is_match(name) && other.is_match(name));
                assert_eq!(can_match_same(one.text(), other.text()), is_shown, "{one:?} {other:?}");
            }
        }
    }
}

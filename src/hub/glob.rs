//! Matching channel names with patterns, and patterns with each other.
//!
//! Both are one algorithm: which beginnings of a pattern match what was read of a name, as a set of bits that moves on with
//! each byte (Shift-And: Baeza-Yates and Gonnet 1992, A new approach to text searching). A byte takes a step for each 64 tokens
//! of the pattern, whatever the stars are, so no pattern is slow.

use crate::codec::{Coded, Malformed, Reader, Writer};
use crate::hub::steps;
use std::collections::BTreeMap;

/// A pattern: `*` matches any characters but `/`, `**` any characters, everything else itself. As a shell does with a dot, a
/// pattern that begins with a star matches no name that begins with a NUL: these are channels of the library's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::hub) struct Glob {
    text: Box<[u8]>,
    /// The number of bytes before the first star.
    literal: usize,
    /// The rest of the pattern, from the first star on.
    rest: Columns,
}

impl Coded<'_> for Glob {
    fn write(&self, to: &mut Writer<'_>) {
        to.bytes(&self.text);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        from.bytes().map(Self::new)
    }
}

in_tests! {
    impl crate::codec::Random for Glob {
        fn random(rng: &mut fastrand::Rng) -> Self {
            Self::new(&Box::<[u8]>::random(rng))
        }
    }
}

impl Glob {
    pub(in crate::hub) fn new(pattern: &[u8]) -> Self {
        let literal = literal(pattern).len();
        Self { text: pattern.into(), literal, rest: Columns::new(&pattern[literal..]) }
    }

    pub(in crate::hub) fn text(&self) -> &[u8] {
        &self.text
    }

    /// Returns what every matching name begins with.
    pub(in crate::hub) fn prefix(&self) -> &[u8] {
        &self.text[..self.literal]
    }

    /// Returns true if the pattern matches a name. A name that differs before the first star, as most do, takes one step.
    pub(in crate::hub) fn is_match(&self, name: &[u8]) -> bool {
        steps::count(1);
        match name.strip_prefix(self.prefix()) {
            Some(rest) => {
                (self.literal > 0 || name.first() != Some(&0))
                    && self.rest.matches(rest.iter().copied().map(Token::Byte))
            }
            None => false,
        }
    }
}

/// Returns what every name begins with that a pattern matches.
pub(in crate::hub) fn literal(pattern: &[u8]) -> &[u8] {
    &pattern[..memchr::memchr(b'*', pattern).unwrap_or(pattern.len())]
}

/// Returns true if two patterns match the same name. Patterns that differ before their first stars take one step.
pub(in crate::hub) fn can_match_same(one: &[u8], other: &[u8]) -> bool {
    steps::count(1);
    let same = literal(one).len().min(literal(other).len());
    one[..same] == other[..same] && Columns::new(&other[same..]).matches(Token::all(&one[same..]))
}

/// A set of small numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
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

    /// Keeps the successors of numbers that are in `moving`, if there are any, and the numbers that are in `staying`.
    fn step(&mut self, moving: Option<&Self>, staying: &Self) {
        let mut carry = 0;
        for (at, word) in self.0.iter_mut().enumerate() {
            let moved = moving.map_or(0, |moving| *word & moving.0[at]);
            *word = moved << 1 | carry | *word & staying.0[at];
            carry = moved >> 63;
        }
    }
}

/// Where the tokens of a pattern are.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Columns {
    len: usize,
    /// Where each byte is that the pattern has.
    bytes: BTreeMap<u8, Bits>,
    stars: Bits,
    /// Stars that match slashes, too.
    anything: Bits,
    /// All tokens but slashes.
    in_segment: Bits,
    all: Bits,
}

impl Columns {
    fn new(pattern: &[u8]) -> Self {
        let len = Token::all(pattern).count();
        let none = || Bits::new(len + 1);
        let [stars, anything, in_segment, all] = [none(), none(), none(), none()];
        let mut columns = Self { len, bytes: BTreeMap::new(), stars, anything, in_segment, all };
        for (at, token) in Token::all(pattern).enumerate() {
            match token {
                Token::Byte(byte) => columns.bytes.entry(byte).or_insert_with(none).set(at),
                Token::Segment => columns.stars.set(at),
                Token::Anything => {
                    columns.stars.set(at);
                    columns.anything.set(at);
                }
            }
            if token != Token::Byte(b'/') {
                columns.in_segment.set(at);
            }
            columns.all.set(at);
        }
        columns
    }

    /// Returns true if the pattern and one of these tokens match the same name.
    fn matches(&self, tokens: impl Iterator<Item = Token>) -> bool {
        // The beginnings of the pattern, by lengths, that match a name which the tokens until here match.
        let mut row = Bits::new(self.len + 1);
        row.set(0);
        for token in tokens {
            steps::count(row.0.len());
            row.spread(self.passed_by(token));
            if let Token::Byte(byte) = token {
                row.step(self.bytes.get(&byte), self.taking(byte));
            }
        }
        row.spread(&self.stars);
        row.has(self.len)
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
    /// Returns the tokens of a pattern. More than two stars are as two.
    fn all(mut text: &[u8]) -> impl Iterator<Item = Self> + '_ {
        std::iter::from_fn(move || {
            let (first, rest) = text.split_first()?;
            let stars = if *first == b'*' { 1 + rest.iter().take_while(|byte| **byte == b'*').count() } else { 0 };
            text = &text[stars.max(1)..];
            Some(match stars {
                0 => Self::Byte(*first),
                1 => Self::Segment,
                _ => Self::Anything,
            })
        })
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
            ("news/*", "news/a", true),
            ("news/*", "news", false),
            ("news/*", "news/a/b", false),
            ("news/**", "news/a/b", true),
            ("**b", "a/b/c/b", true),
            ("a?[b]", "a?[b]", true),
            ("**", "a/b", true),
            ("news/**", "new", false),
            ("news*", "new", false),
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
    fn a_match_takes_a_step_for_each_byte_of_the_name_and_64_of_the_pattern() {
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
                assert!(steps <= 1 + name.len() * (pattern.len() / 64 + 1), "{steps} steps: {pattern} {name}");
            }
        }
    }

    #[test]
    fn patterns_meet_if_a_name_matches_both() {
        for (one, other, expected) in [
            ("a/*", "*/b", true),
            ("a/*", "b/*", false),
            ("a/*", "a/b/*", false),
            ("a/**", "a/b/*", true),
            ("*", "a/*", false),
            ("*x", "y*", true),
            ("*x", "*y", false),
            ("a**b", "*", true),
            ("a**/b", "*", false),
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

//! Matching channel names with patterns.

/// A pattern: `*` matches any characters but `/`, `**` any characters, everything else itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Glob {
    text: Box<[u8]>,
    /// The number of bytes before the first star.
    literal: usize,
}

impl Glob {
    pub(super) fn new(pattern: &[u8]) -> Self {
        let literal = pattern.iter().position(|byte| *byte == b'*').unwrap_or(pattern.len());
        Self { text: pattern.into(), literal }
    }

    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }

    /// Returns true if the pattern matches a name.
    ///
    /// It takes at most as many steps as the product of both lengths. A name that differs before the first star, as
    /// most do, takes few.
    pub(super) fn matches(&self, name: &[u8]) -> bool {
        let (literal, rest) = self.text.split_at(self.literal);
        match (name.strip_prefix(literal), rest) {
            (None, _) => false,
            (Some(name), b"") => name.is_empty(),
            (Some(_), b"**") => true,
            (Some(name), rest) => Self::matches_rest(rest, name),
        }
    }

    fn matches_rest(mut rest: &[u8], name: &[u8]) -> bool {
        // The prefixes of the name, by length, that the pattern read so far matches.
        let mut ends = vec![false; name.len() + 1];
        ends[0] = true;
        while let [first, after @ ..] = rest {
            rest = after;
            if *first != b'*' {
                for at in (0..name.len()).rev() {
                    ends[at + 1] = ends[at] && name[at] == *first;
                }
                ends[0] = false;
                continue;
            }
            let crosses = after.first() == Some(&b'*');
            if crosses {
                rest = &after[1..];
            }
            for at in 0..name.len() {
                ends[at + 1] |= ends[at] && (crosses || name[at] != b'/');
            }
        }
        ends[name.len()]
    }
}

saved!(Glob { text, literal });

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn a_pattern_of_many_stars_takes_no_more_than_quadratic_time() {
        let pattern = b"*a".repeat(500);
        assert!(!Glob::new(&pattern).matches(&[b'b'; 1000]));
    }
}

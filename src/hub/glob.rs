//! Patterns of channel names.

/// A pattern: `*` stands for any characters but `/`, `**` for any characters at all, everything else for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Glob(Box<[u8]>);

impl Glob {
    pub(super) fn new(pattern: &[u8]) -> Self {
        Self(pattern.into())
    }

    pub(super) fn text(&self) -> &[u8] {
        &self.0
    }

    /// Whether it stands for that name. Takes no more than the product of both lengths in steps.
    pub(super) fn matches(&self, name: &[u8]) -> bool {
        // Which beginnings of the name the pattern so far can stand for.
        let mut ends = vec![false; name.len() + 1];
        ends[0] = true;
        let mut rest = &*self.0;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stays_within_a_segment_and_two_cross() {
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
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(Glob::new(pattern.as_bytes()).matches(name.as_bytes()), is_match, "{pattern} {name}");
        }
    }

    #[test]
    fn a_hostile_pattern_takes_no_longer_than_others() {
        let pattern = b"*a".repeat(500);
        assert!(!Glob::new(&pattern).matches(&[b'b'; 1000]));
    }
}

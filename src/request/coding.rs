//! The content coding of a response (RFC 9110, section 12.5.3).

use super::trimmed;
use crate::compression::ContentCoding;

/// A weight, in ten-thousandths: what a client gives has three digits at most.
type Weight = u32;

const ONE: Weight = 10_000;

/// The weight of identity where nobody names it: anything else that is accepted is better.
const LEAST: Weight = 1;

/// Returns the best coding of this build that a client accepts, by its `Accept-Encoding`.
pub fn content_coding(accept_encoding: Option<&[u8]>) -> ContentCoding {
    best_coding(accept_encoding, ContentCoding::ALL)
}

/// Returns the best coding of these, the best last, that a client accepts.
pub fn best_coding(accept_encoding: Option<&[u8]>, known: &[ContentCoding]) -> ContentCoding {
    let given = accept_encoding.map_or_else(Weights::default, Weights::of);
    let (mut best, mut most) = (ContentCoding::Identity, LEAST);
    for coding in known {
        let weight = given.weight(*coding);
        if weight >= most {
            (best, most) = (*coding, weight);
        }
    }
    best
}

/// The weights that a client gives. The last of a name counts.
#[derive(Default)]
struct Weights {
    of_coding: [Option<Weight>; 3],
    of_others: Option<Weight>,
}

impl Weights {
    fn of(accept_encoding: &[u8]) -> Self {
        let mut weights = Self::default();
        for part in accept_encoding.split(|byte| *byte == b',') {
            let mut parameters = part.split(|byte| *byte == b';').map(trimmed);
            let name = parameters.next().unwrap_or_default();
            let weight = Some(parameters.find_map(weight_of).unwrap_or(ONE));
            if name == b"*" {
                weights.of_others = weight;
            } else if let Some(coding) = coding_of(name) {
                weights.of_coding[coding as usize] = weight;
            }
        }
        weights
    }

    fn weight(&self, coding: ContentCoding) -> Weight {
        let default = if coding == ContentCoding::Identity { LEAST } else { 0 };
        self.of_coding[coding as usize].or(self.of_others).unwrap_or(default)
    }
}

fn coding_of(name: &[u8]) -> Option<ContentCoding> {
    let name = if name.eq_ignore_ascii_case(b"x-gzip") { b"gzip" } else { name };
    let mut all = ContentCoding::ALL.iter().copied();
    all.find(|coding| name.eq_ignore_ascii_case(coding.name().as_bytes()))
}

/// Returns the weight that a parameter gives, if that is its name. A malformed one is 0.
fn weight_of(parameter: &[u8]) -> Option<Weight> {
    let (name, after) = parameter.split_first()?;
    let value = trimmed(after).strip_prefix(b"=").filter(|_| name.eq_ignore_ascii_case(&b'q'))?;
    Some(match trimmed(value) {
        [whole @ (b'0' | b'1')] => ONE * Weight::from(whole - b'0'),
        [whole @ (b'0' | b'1'), b'.', digits @ ..] if digits.len() <= 3 && digits.iter().all(u8::is_ascii_digit) => {
            let places = [1000, 100, 10].iter().zip(digits);
            ONE * Weight::from(whole - b'0')
                + places.map(|(place, digit)| place * Weight::from(digit - b'0')).sum::<Weight>()
        }
        _ => 0,
    })
}

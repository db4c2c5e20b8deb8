//! A histogram with an error of at most 1.6 per cent: 64 buckets for each power of two.

use std::time::Duration;

const BITS: u32 = 6;
const PER_OCTAVE: usize = 1 << BITS;
const BUCKETS: usize = (u64::BITS - BITS + 1) as usize * PER_OCTAVE;

/// Counts durations.
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max_ns: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS], total: 0, max_ns: 0 }
    }
}

impl Histogram {
    pub fn add(&mut self, value_ns: u64) {
        self.counts[bucket(value_ns)] += 1;
        self.total += 1;
        self.max_ns = self.max_ns.max(value_ns);
    }

    /// Returns the value that the given share of all values, 0 to 1, does not exceed; zero if there are no values.
    pub fn quantile(&self, share: f64) -> Duration {
        let rank = ((self.total as f64 * share).ceil() as u64).clamp(1, self.total.max(1));
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_nanos(largest(bucket).min(self.max_ns));
            }
        }
        Duration::ZERO
    }

    /// Returns the counts as a JSON object, by the largest value of their buckets: the histograms of several processes are
    /// added so.
    pub fn counts_json(&self) -> String {
        let counts = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        let members: Vec<_> = counts.map(|(bucket, count)| format!(r#""{}":{count}"#, largest(bucket))).collect();
        format!("{{{}}}", members.join(","))
    }

    /// Returns the median, p90, p99 and the largest value, in milliseconds.
    pub fn json(&self) -> String {
        let [p50, p90, p99, max] = [0.5, 0.9, 0.99, 1.0].map(|share| self.quantile(share).as_secs_f64() * 1e3);
        format!(r#"{{"p50":{p50:.3},"p90":{p90:.3},"p99":{p99:.3},"max":{max:.3}}}"#)
    }
}

/// Returns the bucket of a value. Each value below 64 has a bucket; a larger value's bucket is given by its highest bit and
/// the 6 bits below it.
fn bucket(value: u64) -> usize {
    let shift = (u64::BITS - value.leading_zeros()).saturating_sub(BITS + 1);
    shift as usize * PER_OCTAVE + (value >> shift) as usize
}

/// Returns the largest value of a bucket.
fn largest(bucket: usize) -> u64 {
    let shift = (bucket / PER_OCTAVE).saturating_sub(1);
    let top = (bucket - shift * PER_OCTAVE) as u64;
    (top << shift) | ((1 << shift) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_value_of_a_bucket_is_in_the_bucket() {
        for bucket_number in 0..BUCKETS {
            assert_eq!(bucket(largest(bucket_number)), bucket_number);
        }
        assert_eq!(largest(bucket(u64::MAX)), u64::MAX);
    }

    #[test]
    fn quantiles_are_those_of_a_sorted_list() {
        let mut values: Vec<u64> = (1..=1000).map(|n| n * n * 997).collect();
        let mut histogram = Histogram::default();
        values.iter().for_each(|&value| histogram.add(value));
        values.sort_unstable();
        for share in [0.001, 0.5, 0.9, 0.99, 1.0] {
            let exact = values[(share * 1000.0) as usize - 1] as f64;
            let found = histogram.quantile(share).as_nanos() as f64;
            assert!((exact..=exact * 1.016).contains(&found), "{share}: {found} for {exact}");
        }
    }

    #[test]
    fn a_quantile_of_no_values_is_zero() {
        assert_eq!(Histogram::default().quantile(0.5), Duration::ZERO);
    }
}

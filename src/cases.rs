//! How many cases a property test tries.

use proptest::prelude::ProptestConfig;

/// Few under Miri, which is some hundred times slower and has no files to keep failures in.
pub(crate) fn cases() -> ProptestConfig {
    if cfg!(miri) {
        ProptestConfig { cases: 4, failure_persistence: None, ..ProptestConfig::default() }
    } else {
        ProptestConfig::default()
    }
}

//! The number of cases that each property test tries.

use proptest::prelude::ProptestConfig;

/// Returns the configuration of a property test. Under Miri, which is some hundred times slower and has no file system,
/// there are few cases, and failures are not recorded.
pub(crate) fn cases() -> ProptestConfig {
    if cfg!(miri) {
        ProptestConfig { cases: 4, failure_persistence: None, ..ProptestConfig::default() }
    } else {
        ProptestConfig::default()
    }
}

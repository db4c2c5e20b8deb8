//! The settings of the store of a hub process, at the boundary to Perl.

use super::text::RawText;
use crate::codec::Reader;
use crate::store_settings::{names, StoreSettings};
use std::time::Duration;

/// Reads the settings of a store: names and values, each with its length before it (`pack '(V/a*)*'`).
///
/// # Errors
///
/// The wrong setting and the mistake, for a person.
pub(super) fn settings(given: &[u8], publish_timeout: Duration) -> Result<StoreSettings, String> {
    let mut reader = Reader(given);
    let mut texts = Vec::new();
    while !reader.0.is_empty() {
        texts.push(reader.str().map_err(|error| error.to_string())?);
    }
    let pairs: Vec<_> = texts.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
    StoreSettings::new(&pairs, publish_timeout)
}

/// Returns the names of the settings of a kind of store, with spaces between. They are empty after the last kind.
#[no_mangle]
extern "C" fn esx_store_names(kind: usize) -> RawText {
    RawText::of(names().nth(kind).unwrap_or_default().as_bytes())
}

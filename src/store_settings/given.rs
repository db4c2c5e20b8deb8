//! Settings of a store as somebody has given them, and the check of paths, which several stores use.

use std::path::PathBuf;
use std::time::Duration;

/// Settings by their names.
pub(super) struct Given<'a> {
    pub(super) pairs: &'a [(&'a str, &'a str)],
    /// The time for which a publish waits for the store.
    pub(super) timeout: Duration,
}

impl<'a> Given<'a> {
    /// Returns a setting. The last one counts.
    pub(super) fn text(&self, name: &str) -> Option<&'a str> {
        self.pairs.iter().rev().find(|(given, _)| *given == name).map(|(_, value)| *value)
    }

    /// Returns the absolute path of a file.
    pub(super) fn path(&self, name: &str) -> Result<Option<Box<str>>, String> {
        let must_be = |what: &str| format!("{name} must be the path of a file, {what}");
        let path = match self.text(name) {
            None => return Ok(None),
            Some(path) if path.is_empty() || path.contains('\0') => return Err(must_be("not empty and without a NUL")),
            Some(path) => path,
        };
        if path.get(..5).map_or(false, |begin| begin.eq_ignore_ascii_case("file:")) {
            return Err(must_be("without file:"));
        }
        let folder = std::env::current_dir().map_err(|error| format!("{name}: the working directory: {error}"))?;
        let absolute: PathBuf = folder.join(path).components().collect(); // without . and doubled slashes
        let absolute = absolute.to_str().ok_or_else(|| format!("{name} must be a path in UTF-8"))?;
        Ok(Some(absolute.into()))
    }
}

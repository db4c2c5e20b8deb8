//! Settings of a store as somebody has given them, and the checks that several stores use.

use std::path::{Path, PathBuf};
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

    /// Returns which of these values a setting has.
    pub(super) fn one_of(&self, name: &str, allowed: &[&str]) -> Result<Option<usize>, String> {
        let value = some_or!(self.text(name), return Ok(None));
        let quoted: Vec<_> = allowed.iter().map(|value| format!("'{value}'")).collect();
        let (last, others) = quoted.split_last().expect("a value");
        let place = allowed.iter().position(|allowed| *allowed == value);
        place.map(Some).ok_or_else(|| format!("{name} of store must be {} or {last}", others.join(", ")))
    }

    pub(super) fn whole_number(&self, name: &str, from: u32, to: u32) -> Result<Option<u32>, String> {
        let wrong = || format!("{name} of store must be a whole number from {from} to {to}");
        let number = |text: &str| {
            let number = text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
            number.filter(|number| (from..=to).contains(number)).ok_or_else(wrong)
        };
        self.text(name).map(number).transpose()
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

/// Returns true for the path of a folder.
pub(super) fn is_folder(path: &str) -> bool {
    path.ends_with('/') || Path::new(path).is_dir()
}

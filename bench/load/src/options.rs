//! The command line: names with values, `--streams 1000`.

use std::collections::BTreeMap;
use std::str::FromStr;

/// Any error. Only scripts start these programs, so a message is enough.
pub type AnyError = Box<dyn std::error::Error>;

/// Options by name, without their dashes.
pub struct Options(BTreeMap<String, String>);

impl Options {
    /// Parses the arguments after the program's name.
    pub fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, AnyError> {
        let mut options = BTreeMap::new();
        while let Some(argument) = arguments.next() {
            let name = argument.strip_prefix("--").ok_or_else(|| format!("{argument} is not an option"))?;
            let value = arguments.next().ok_or_else(|| format!("{argument} needs a value"))?;
            options.insert(name.to_owned(), value);
        }
        Ok(Self(options))
    }

    /// Returns the value of an option, or its default.
    pub fn get<T: FromStr>(&self, name: &str, default: T) -> Result<T, AnyError> {
        match self.0.get(name) {
            None => Ok(default),
            Some(text) => text.parse().map_err(|_| format!("--{name} cannot be {text}").into()),
        }
    }

    /// Returns the value of a required option.
    pub fn need<T: FromStr>(&self, name: &str) -> Result<T, AnyError> {
        let text = self.0.get(name).ok_or_else(|| format!("--{name} is missing"))?;
        text.parse().map_err(|_| format!("--{name} cannot be {text}").into())
    }
}

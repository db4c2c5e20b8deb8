//! The command line: names with values, `--streams 1000`.

use std::collections::BTreeMap;
use std::str::FromStr;

/// What can go wrong in a program that is only ever started by a script: a sentence for whoever reads its output.
pub type Trouble = Box<dyn std::error::Error>;

/// Options by name, without their dashes.
pub struct Options(BTreeMap<String, String>);

impl Options {
    /// Takes what follows the name of the program.
    pub fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, Trouble> {
        let mut options = BTreeMap::new();
        while let Some(argument) = arguments.next() {
            let name = argument.strip_prefix("--").ok_or_else(|| format!("{argument} is no option"))?;
            let value = arguments.next().ok_or_else(|| format!("{argument} needs a value"))?;
            options.insert(name.to_owned(), value);
        }
        Ok(Self(options))
    }

    /// The value of an option, or what it is if it was not given.
    pub fn get<T: FromStr>(&self, name: &str, default: T) -> Result<T, Trouble> {
        match self.0.get(name) {
            None => Ok(default),
            Some(text) => text.parse().map_err(|_| format!("--{name} cannot be {text}").into()),
        }
    }

    /// The value of an option that has to be given.
    pub fn need<T: FromStr>(&self, name: &str) -> Result<T, Trouble> {
        let text = self.0.get(name).ok_or_else(|| format!("--{name} is missing"))?;
        text.parse().map_err(|_| format!("--{name} cannot be {text}").into())
    }
}

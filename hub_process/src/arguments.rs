//! The command line: what a hub process was started with. It is read once, with the environment and files. In an upgrade it
//! travels as options that name the same: all of these may have changed by then. A folder that was made since is preferred now,
//! or the file with the store is gone.
//!
//! With lexopt 0.3, the smallest library of the field, and the same messages this file has 10 lines more and
//! the program 6 kB: it hands over option after option, too, and neither knows their names nor says what is wrong with a value.

use crate::http::Endpoint;
use crate::store::check_built;
use eventsource_xs::remote::Place;
use eventsource_xs::store_settings::VARIABLE;
use eventsource_xs::wire::{Name, NamedSettings, StoreSettings};
use std::error::Error;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

pub const USAGE: &str = "\
usage: eventsource-hub run     [--name NAME] [--socket PATH] [--idle-exit SECONDS] [--grace SECONDS]
                               [--store STORE | --store-from FILE] [--metrics ADDRESS:PORT[,NAME]...]
                               [--http unix:PATH|ADDRESS:PORT] [--log text|json]
       eventsource-hub upgrade [--program PATH] [--socket PATH] [--timeout SECONDS] [NAME]
       eventsource-hub --help | --version

  --name NAME          the hub (default: default)
  --socket PATH        its socket, in another place than the folder of this user
  --timeout SECONDS    upgrade: how long it takes at most (default: 50); run: a publish waits 4/5 of it for Redis (default: 5)
  --program PATH       upgrade: the program that the process executes (default: the one that this command is)
  --idle-exit SECONDS  run: end after so long without peer and stream (default: 60)
  --grace SECONDS      run: end the streams so long after the last peer (default: 30)
  --store STORE        run: where events are kept, instead of where peers say: memory, file:PATH?sync=event, or
                       the URL of Redis, with settings behind ? (ps shows it: a password is better in a file)
  --store-from FILE    run: the same, from the first line of a file
                       Without both, run takes the environment variable EVENTSOURCE_STORE.
  --metrics ADDRESS:PORT[,NAME]...
                       run: answer GET /metrics over HTTP with the metrics, as OpenMetrics, for example
                       on 127.0.0.1:9464. Everybody who reaches the address may read them, by an address,
                       as localhost, by the name of the machine, or by one of the names.
  --http ADDRESS       run: serve streams to clients that have a ticket, behind a proxy that connects to
                       unix:/PATH or an address of this machine alone, such as 127.0.0.1:8080
  --log text|json      run: the form of the lines on standard error (default: text)

The command eventsource publishes to hubs, follows them and stops them.";

/// The number of seconds that an upgrade may take: the new program reads the state twice.
const UPGRADE_WITHIN: u64 = 50;

/// The options with which the process continues in an upgrade, beside its name and its socket.
const KEPT: [&str; 5] = ["--idle-exit", "--grace", "--metrics", "--http", "--log"];

/// The command.
#[derive(Debug, PartialEq, Eq)]
pub enum Subcommand {
    /// Prints the usage.
    Help,
    /// Prints the versions of the program and of its protocol.
    Version,
    /// Serves a hub.
    Run,
    /// Starts `run` with the inherited socket and lock, in a session of its own, and ends.
    Start,
    /// Asks a hub process to exec another program.
    Upgrade,
    /// Checks that this program reads the state of another one, on the standard input.
    CheckState { version: u32 },
}

/// The command and its options.
#[derive(Debug)]
pub struct Arguments {
    pub command: Subcommand,
    pub name: Name,
    pub socket: Option<PathBuf>,
    pub timeout: Duration,
    /// True if a worker or a command has started `run`: the socket is the standard input, and the lock the standard output.
    /// Such a process ends if another one is run.
    pub is_started: bool,
    /// The program of an upgrade.
    pub program: Option<PathBuf>,
    /// The descriptor of the state with which `run` continues.
    pub state: Option<u32>,
    /// The settings that it names. They go before all others.
    pub settings: NamedSettings,
    /// Where monitors read the metrics, and more names of the host that they may ask for.
    pub metrics: Option<(Endpoint, Vec<String>)>,
    /// Where a proxy connects for streams.
    pub http: Option<Endpoint>,
    /// True if lines of the log are objects.
    pub logs_objects: bool,
    /// The options that have a value, as they were given.
    pub options: Vec<(String, String)>,
}

impl Arguments {
    /// Reads the command line, without the program's name. Fails with a message for the user.
    pub fn parse(given: impl Iterator<Item = OsString>) -> Result<Self, String> {
        let mut given =
            given.map(|word| word.into_string().map_err(|word| format!("not UTF-8: {}", word.to_string_lossy())));
        let command = given.next().ok_or("which command?")??;
        let mut parsed = Self {
            command: Subcommand::Run,
            name: Name::new("default").map_err(|error| error.to_string())?,
            socket: None,
            timeout: Duration::from_secs(if command == "upgrade" { UPGRADE_WITHIN } else { 5 }),
            is_started: false,
            program: None,
            state: None,
            settings: NamedSettings::default(),
            metrics: None,
            http: None,
            logs_objects: false,
            options: Vec::new(),
        };
        let mut asks_for_help = false;
        let mut words = Vec::new();
        while let Some(word) = given.next() {
            let word = word?;
            let mut value = || -> Result<String, String> {
                let value = given.next().ok_or(format!("{word} needs a value"))??;
                parsed.options.push((word.clone(), value.clone()));
                Ok(value)
            };
            match &*word {
                "--name" => parsed.name = Name::new(&value()?).map_err(|error| error.to_string())?,
                "--socket" => parsed.socket = Some(value()?.into()),
                "--timeout" => parsed.timeout = seconds(&word, &value()?)?,
                "--idle-exit" => parsed.settings.idle_exit = Some(seconds(&word, &value()?)?),
                "--grace" => parsed.settings.grace = Some(seconds(&word, &value()?)?),
                "--store" | "--store-from" => drop(value()?),
                "--metrics" => parsed.metrics = Some(metrics(&value()?)?),
                "--http" => parsed.http = Some(Endpoint::of_streams(&value()?)?),
                "--log" => parsed.logs_objects = logs_objects(&value()?)?,
                "--help" => asks_for_help = true,
                "--inherited" => parsed.is_started = true,
                "--program" => parsed.program = Some(value()?.into()),
                "--state" => parsed.state = Some(value()?.parse().map_err(|_| "--state must be a number")?),
                "--" => {
                    for word in given.by_ref() {
                        words.push(word?);
                    }
                }
                _ if word.starts_with("--") => return Err(format!("unknown option {word}")),
                _ => words.push(word),
            }
        }
        if asks_for_help {
            parsed.command = Subcommand::Help;
            return Ok(parsed);
        }
        if command == "upgrade" && words.len() == 1 {
            parsed.name = Name::new(&words.remove(0)).map_err(|error| error.to_string())?;
        }
        parsed.command = command_of(&command, &words)?;
        let is_of_run = |option: &&str| parsed.command != Subcommand::Run && parsed.option(option).is_some();
        if let Some(option) = ["--metrics", "--http", "--store", "--store-from"].into_iter().find(is_of_run) {
            return Err(format!("{option} is for run"));
        }
        parsed.read_store()?;
        Ok(parsed)
    }

    /// Returns the last value of an option.
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.iter().rev().find(|(option, _)| option == name).map(|(_, value)| &**value)
    }

    /// Reads the store of `run`: from the command line, a file or the environment. `start` checks the environment that `run`
    /// will have, because its exit status reaches the starter.
    fn read_store(&mut self) -> Result<(), String> {
        let is_upgrade = self.state.is_some(); // the store is that of the program before
        if is_upgrade || !matches!(self.command, Subcommand::Run | Subcommand::Start) {
            return Ok(());
        }
        let (what, text) = match (self.option("--store"), self.option("--store-from")) {
            (Some(_), Some(_)) => return Err("--store and --store-from exclude each other".to_owned()),
            (Some(text), None) => ("--store", text.to_owned()),
            (None, Some(file)) => ("--store-from", first_line(file)?),
            (None, None) => match std::env::var(VARIABLE) {
                Ok(text) if !text.is_empty() => (VARIABLE, text),
                Ok(_) | Err(std::env::VarError::NotPresent) => return Ok(()),
                Err(_) => return Err(format!("{VARIABLE} is not UTF-8")),
            },
        };
        let parsed = match what {
            VARIABLE => StoreSettings::parse_variable(&text, self.timeout)?,
            _ => StoreSettings::parse(&text, self.timeout).map_err(|message| format!("{what}: {message}"))?,
        };
        check_built(&parsed).map_err(|message| format!("{what}: {message}"))?;
        self.settings.store = Some(parsed);
        Ok(())
    }

    /// Returns where the hub is.
    pub fn place(&self) -> Result<Place, Box<dyn Error>> {
        Ok(Place::new(self.name.clone(), self.socket.as_deref())?)
    }

    /// Returns the options of a command line that name these, without the store: a password must not be there.
    pub fn words(&self, place: &Place) -> impl Iterator<Item = OsString> + '_ {
        let is_kept = |(option, _): &&(String, String)| KEPT.contains(&&**option);
        let options = self.options.iter().filter(is_kept).flat_map(|(option, value)| [option.into(), value.into()]);
        options.chain(["--name".into(), place.name().as_str().into(), "--socket".into(), place.socket().into()])
    }
}

fn command_of(command: &str, words: &[String]) -> Result<Subcommand, String> {
    match (command, words.len()) {
        ("--help" | "-h" | "help", _) => Ok(Subcommand::Help),
        ("--version", 0) => Ok(Subcommand::Version),
        ("run", 0) => Ok(Subcommand::Run),
        ("start", 0) => Ok(Subcommand::Start),
        ("upgrade", 0) => Ok(Subcommand::Upgrade),
        ("check-state", 1) => {
            let version = words[0].parse().map_err(|_| "check-state needs a version".to_owned())?;
            Ok(Subcommand::CheckState { version })
        }
        ("run" | "start" | "upgrade" | "check-state", _) => Err(format!("too many words after {command}")),
        _ => Err(format!("unknown command {command}")),
    }
}

/// Reads an address with a port, and names of hosts, with commas between them.
fn metrics(value: &str) -> Result<(Endpoint, Vec<String>), String> {
    let mut words = value.split(',').map(str::to_owned);
    let text = words.next().unwrap_or_default();
    let wrong = |_| format!("--metrics must be an address and a port, such as 127.0.0.1:9464, not {text}");
    let (address, names) = (Endpoint::Tcp(text.parse().map_err(wrong)?), words.collect::<Vec<_>>());
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    match names.iter().find(|name| !is_name(name)) {
        Some(name) => Err(format!("--metrics takes names of hosts behind the address, without ports, not {name}")),
        None => Ok((address, names)),
    }
}

fn logs_objects(value: &str) -> Result<bool, String> {
    match value {
        "text" => Ok(false),
        "json" => Ok(true),
        _ => Err(format!("--log must be text or json, not {value}")),
    }
}

fn first_line(file: &str) -> Result<String, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("--store-from: {file}: {error}"))?;
    let line = text.lines().next().unwrap_or_default().trim();
    if line.is_empty() {
        return Err(format!("--store-from: {file}: its first line is empty"));
    }
    Ok(line.to_owned())
}

fn seconds(option: &str, value: &str) -> Result<Duration, String> {
    let seconds = value.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.ok_or_else(|| format!("{option} must be a number of seconds, not {value}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, String> {
        Arguments::parse(line.split_whitespace().map(OsString::from))
    }

    /// Returns the settings of a hub whose workers give none.
    fn settings(line: &str) -> NamedSettings {
        parse(&format!("run --socket /run/shop {line}")).expect("a command").settings
    }

    #[test]
    fn options_may_stand_before_and_after_words() {
        for line in ["upgrade shop --program /x", "upgrade --program /x shop", "upgrade --program /x -- shop"] {
            let parsed = parse(line).expect(line);
            assert_eq!((parsed.name.as_str(), parsed.program), ("shop", Some("/x".into())), "{line}");
        }
        let settings = settings("--idle-exit 0.5 --grace 2");
        let (idle_exit, grace) = (Duration::from_millis(500), Duration::from_secs(2));
        assert_eq!((settings.idle_exit, settings.grace), (Some(idle_exit), Some(grace)));
    }

    #[test]
    fn the_store_of_the_command_line_is_read_from_an_option_or_a_file() {
        let file = std::env::temp_dir().join(format!("eventsource-hub-store-{}", std::process::id()));
        std::fs::write(&file, " redis://:secret@h:1/0 \n# a comment\n").expect("a file");
        let store = settings(&format!("--timeout 2 --store-from {}", file.display())).store;
        std::fs::remove_file(&file).expect("no file");
        match store {
            Some(StoreSettings::Redis(redis)) => {
                assert_eq!((&*redis.url, redis.timeout), ("redis://:secret@h:1/0", Duration::from_millis(1600)));
            }
            store => panic!("{store:?}"),
        }
        assert_eq!(settings("--store memory").store, Some(StoreSettings::Memory));
        assert_eq!(settings("").store, None);
    }

    #[test]
    fn help_and_the_version_are_commands() {
        for line in ["--help", "-h", "help", "help run", "run --help", "upgrade shop --help"] {
            assert_eq!(parse(line).expect(line).command, Subcommand::Help, "{line}");
        }
        assert_eq!(parse("--version").expect("a command").command, Subcommand::Version);
    }

    #[test]
    fn the_error_of_a_wrong_line_names_the_mistake() {
        for (line, message) in [
            ("", "which command?"),
            ("jump", "unknown command jump"),
            ("run all", "too many words after run"),
            ("run --name", "--name needs a value"),
            ("run --fast", "unknown option --fast"),
            ("run --grace -1", "--grace must be a number of seconds, not -1"),
            ("run --store disk", "--store: a store is memory, file:PATH or the URL of Redis"),
            ("run --store memory --store-from x", "--store and --store-from exclude each other"),
            ("upgrade --store memory", "--store is for run"),
            ("run --log xml", "--log must be text or json, not xml"),
            ("upgrade --metrics 127.0.0.1:1", "--metrics is for run"),
            ("run --metrics :9464", "--metrics must be an address and a port, such as 127.0.0.1:9464, not :9464"),
            (
                "run --metrics 127.0.0.1:1,hub.example:1",
                "--metrics takes names of hosts behind the address, without ports, not hub.example:1",
            ),
        ] {
            assert_eq!(parse(line).expect_err(line), message);
        }
        assert!(parse("run --name a/b").expect_err("no name").starts_with("name must be"));
    }
}

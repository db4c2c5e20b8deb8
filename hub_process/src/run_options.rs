//! What a hub process was started with: where it is, and what the command line has decided.
//!
//! It is read once, from the command line, the environment and files. In an upgrade it travels as options that name the same.
//! All of these may have changed by then: a folder that was made since is preferred now, or the file with the store is gone.

use crate::http::{Endpoint, Hosts};
use eventsource_xs::remote::Place;
use eventsource_xs::wire::{NamedSettings, StoreSettings};
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// The options with which a hub process was started.
#[derive(Debug)]
pub struct RunOptions {
    pub place: Place,
    /// Whether a worker or a command has started the process: it ends if another one is run.
    pub is_started: bool,
    pub idle_exit: Option<Duration>,
    pub grace: Option<Duration>,
    /// The store, instead of that of the workers' settings.
    pub store: Option<StoreSettings>,
    /// The address and port for monitors, as text; behind commas the names under which they may ask.
    pub metrics: Option<Box<str>>,
    /// Where a proxy connects for streams, as text.
    pub http: Option<Box<str>>,
    /// Whether lines of the log are objects.
    pub logs_objects: bool,
}

impl RunOptions {
    /// Returns the options of a command line that name these, without the store: a password must not be there.
    pub fn words(&self) -> impl Iterator<Item = OsString> {
        let Self { place, is_started: _, idle_exit, grace, store: _, metrics, http, logs_objects } = self;
        let seconds = |time: Duration| time.as_secs_f64().to_string().into();
        let text = |text: &Option<Box<str>>| text.as_deref().map(OsString::from);
        let given: [(&str, Option<OsString>); 7] = [
            ("--idle-exit", idle_exit.map(seconds)),
            ("--grace", grace.map(seconds)),
            ("--metrics", text(metrics)),
            ("--http", text(http)),
            ("--log", logs_objects.then(|| "json".into())),
            ("--name", Some(place.name().as_str().into())),
            ("--socket", Some(place.socket().into())),
        ];
        given.into_iter().filter_map(|(option, value)| Some([option.into(), value?])).flatten()
    }

    /// Listens for monitors, if that is asked for.
    pub fn listen_for_monitors(&self) -> io::Result<Option<OwnedFd>> {
        let address: Option<SocketAddr> = self.metrics_words().next().and_then(|address| address.parse().ok());
        let listen = |address| Endpoint::Tcp(address).listen().map_err(|error| cannot("--metrics", &address, &error));
        address.map(listen).transpose()
    }

    /// Listens for the proxy, if that is asked for and systemd does not.
    pub fn listen_for_streams(&self, of_systemd: Option<OwnedFd>) -> io::Result<Option<OwnedFd>> {
        let listen = |endpoint: Endpoint| endpoint.listen().map_err(|error| cannot("--http", &endpoint, &error));
        of_systemd.map_or_else(|| self.http().map(listen).transpose(), |socket| Ok(Some(socket)))
    }

    /// Returns where a proxy connects for streams.
    pub fn http(&self) -> Option<Endpoint> {
        self.http.as_ref().and_then(|text| Endpoint::of_streams(text).ok())
    }

    /// Returns the names under which monitors may ask.
    pub fn metrics_hosts(&self) -> Hosts {
        Hosts::new(self.metrics_words().skip(1).map(str::to_owned))
    }

    fn metrics_words(&self) -> impl Iterator<Item = &str> {
        self.metrics.as_deref().unwrap_or_default().split(',')
    }

    /// Returns the settings that the command line names. They go before all others.
    pub fn settings(&self) -> NamedSettings {
        let (idle_exit, grace, store) = (self.idle_exit, self.grace, self.store.clone());
        NamedSettings { idle_exit, grace, store, ..NamedSettings::default() }
    }
}

fn cannot(option: &str, place: &dyn fmt::Display, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot listen on {place} for {option}: {error}"))
}

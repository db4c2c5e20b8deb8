//! What a hub process was started with: where it is, and what the command line has decided.
//!
//! It is read once, from the command line, the environment and files, and travels with an upgrade. All of these may have
//! changed by then: a folder that was made since is preferred now, or the file with the store is gone.

use crate::metrics_listener::Hosts;
use eventsource_xs::remote::Place;
use eventsource_xs::saved;
use eventsource_xs::wire::{NamedSettings, StoreSettings};
use std::net::SocketAddr;
use std::time::Duration;

/// The options with which a hub process was started.
#[derive(Clone, Debug)]
pub struct RunOptions {
    pub place: Place,
    pub idle_exit: Option<Duration>,
    pub grace: Option<Duration>,
    /// The store, instead of that of the workers' settings.
    pub store: Option<StoreSettings>,
    /// The address and port for monitors, as text; behind commas the names under which they may ask.
    pub metrics: Option<Box<str>>,
    /// Whether lines of the log are objects.
    pub logs_objects: bool,
}

saved!(RunOptions { place, idle_exit, grace, store, metrics, logs_objects });

impl RunOptions {
    /// Returns the address and port for monitors.
    pub fn metrics(&self) -> Option<SocketAddr> {
        self.metrics_words().next().and_then(|address| address.parse().ok())
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

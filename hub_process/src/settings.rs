//! Whose settings count. In this order:
//!
//! 1. those of the command line
//! 2. those that a peer names in its greeting
//! 3. those of the hub that runs; while there is none, those that were named before, here or in earlier processes
//! 4. the defaults
//!
//! What the command line or a peer has named for a hub is claimed, for as long as any worker is connected: of the settings that
//! must agree ([`NamedSettings::disagreement`]) no other peer may name another value; the greeting of one that names another
//! store waits a moment for the others to leave. For a peer that names another value for what nobody has claimed the process
//! continues with that (`server/upgrade.rs`).

use crate::arguments::Arguments;
use crate::process_log::log_message;
use crate::store::check_built;
use eventsource_xs::remote::{kept_settings, Place};
use eventsource_xs::wire::{Failure, HubSettings, Name, NamedSettings};
use eventsource_xs::ErrorCode;

/// The settings that are there before a peer comes.
#[derive(Debug)]
pub struct Precedence {
    /// Those of the command line.
    pub decided: NamedSettings,
    /// Those that were named for this hub, here or in earlier processes. They are kept for the next one.
    pub known: NamedSettings,
    pub place: Place,
}

/// The settings that a hub is to have when a peer has come.
#[derive(Debug)]
pub struct Wanted {
    /// Those that the command line or the peer names.
    pub named: NamedSettings,
    pub all: HubSettings,
}

impl Precedence {
    /// Returns the settings that earlier processes have kept.
    pub fn kept(place: &Place) -> NamedSettings {
        let kept = kept_settings::read(place).unwrap_or_else(|message| {
            log_message(&message);
            None
        });
        kept.unwrap_or_default()
    }

    /// Begins with what is known already.
    pub fn of(options: &Arguments, place: Place, known: NamedSettings) -> Self {
        let precedence = Self { decided: options.settings.clone(), known, place };
        precedence.write_kept();
        precedence
    }

    /// Returns the settings that a hub is to have for a peer, in the place of a hub with these or of none.
    pub fn wanted(&self, given: NamedSettings, of_hub: Option<&HubSettings>) -> Wanted {
        let named = self.decided.clone().or(given);
        let before = of_hub.cloned().unwrap_or_else(|| self.known.clone().over(HubSettings::default()));
        Wanted { all: named.clone().over(before), named }
    }

    /// Takes note of settings that a peer has named, and keeps them for the next process.
    pub fn remember(&mut self, named: &NamedSettings) {
        let known = named.clone().or(self.known.clone());
        if known != self.known {
            self.known = known;
            self.write_kept();
        }
    }

    fn write_kept(&self) {
        if let Err(error) = kept_settings::write(&self.place, &self.known) {
            let file = self.place.settings();
            log_message(&format!("the settings of the hub cannot be kept in {}: {error}", file.display()));
        }
    }

    /// Called when a command has ended the hub: the next process begins with other settings.
    pub fn forget(&self) {
        kept_settings::forget(&self.place);
    }
}

impl Wanted {
    /// Checks that a hub of which others have claimed these settings, if any, can have the wanted ones.
    pub fn check(&self, hub: &Name, claimed: Option<&NamedSettings>) -> Result<(), Failure> {
        let refused = |field, message: &str| Err(Failure::new(ErrorCode::Refused, Some(field), message));
        if let Some(field) = claimed.and_then(|claimed| claimed.disagreement(&self.named)) {
            let message = format!(
                "{field} differs from that of the hub process: give all peers the same settings, \
                 or stop the hub (eventsource hub stop {hub})"
            );
            return refused(field, &message);
        }
        if self.all.hub.gap_event == self.all.hub.position_event {
            return refused("position_event", "position_event is the name of the hub's event for gaps: choose another");
        }
        check_built(&self.all.store).or_else(|message| refused("store", &message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn named(max_topics: usize) -> NamedSettings {
        NamedSettings { max_topics: Some(max_topics), ..NamedSettings::default() }
    }

    /// A precedence that keeps nothing.
    fn precedence(decided: &NamedSettings, known: &NamedSettings) -> Precedence {
        let place = Place::new(Name::new("default").expect("a name"), Some("/no such folder/s".as_ref()));
        Precedence { decided: decided.clone(), known: known.clone(), place: place.expect("a place") }
    }

    #[test]
    fn the_command_line_goes_before_the_peer_the_peer_before_the_hub_and_the_hub_before_what_was_known() {
        let none = NamedSettings::default();
        let of_hub = HubSettings { max_topics: 3, ..HubSettings::default() };
        let default = HubSettings::default().max_topics;
        for (decided, given, hub, known, expected) in [
            (&named(1), &named(2), Some(&of_hub), &named(4), 1),
            (&none, &named(2), Some(&of_hub), &named(4), 2),
            (&none, &none, Some(&of_hub), &named(4), 3),
            (&none, &none, None, &named(4), 4),
            (&none, &none, None, &none, default),
        ] {
            let wanted = precedence(decided, known).wanted(given.clone(), hub);
            assert_eq!(wanted.all.max_topics, expected);
        }
    }

    #[test]
    fn what_a_peer_names_is_known_from_then_on_and_what_it_does_not_name_stays_known() {
        let mut precedence = precedence(&NamedSettings::default(), &named(4));
        let grace = Some(Duration::from_secs(7));
        precedence.remember(&NamedSettings { grace, ..NamedSettings::default() });
        assert_eq!(precedence.known, NamedSettings { grace, ..named(4) });
    }

    #[test]
    fn a_claimed_setting_that_must_agree_is_refused_and_one_that_may_change_is_not() {
        let wanted = |named: NamedSettings| Wanted { all: named.clone().over(HubSettings::default()), named };
        let claimed = NamedSettings { opaque_ids: Some(true), ..named(1) };
        let hub = Name::new("shop").expect("a name");
        assert_eq!(wanted(named(2)).check(&hub, Some(&claimed)), Ok(()));
        let other = wanted(NamedSettings { opaque_ids: Some(false), ..NamedSettings::default() });
        let failure = other.check(&hub, Some(&claimed)).expect_err("another value");
        assert!(failure.message.ends_with("(eventsource hub stop shop)"), "{failure}");
        assert_eq!((failure.code, failure.field.as_deref()), (ErrorCode::Refused, Some("opaque_ids")));
        assert_eq!(other.check(&hub, None), Ok(()));
    }
}

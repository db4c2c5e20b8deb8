//! How each type of the state is saved, compared with `saved.txt`. Where it differs, a program of the same [`VERSION`] would
//! misread the state: increase it, and renew the list with
//! `EVENTSOURCE_XS_RENEW=1 cargo test --manifest-path hub_process/Cargo.toml --bin eventsource-hub saved_state`.
//!
//! If the list was renewed for this version already, git restores it before. What only has another name or other words needs no
//! other version: its lines are changed by hand.

use super::SavedServer;
use crate::store::{MemberHere, MemberPart};
use eventsource_xs::hub::Topic;
use eventsource_xs::runtime::saved_reactor::State;
use eventsource_xs::saved::layout::Layout;
use eventsource_xs::saved::{Saved, Saver, VERSION};
use eventsource_xs::store_settings::StoreSettings;
use eventsource_xs::wire::FieldList;
use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::time::{Duration, Instant};
use std::{env, fs};

/// The folder of this crate; the library is in its parent.
const CRATE: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn the_types_of_a_saved_state_have_the_layout_of_this_version() {
    let list = Path::new(CRATE).join("src/server/upgrade/saved.txt");
    let (listed, found) = (fs::read_to_string(&list).unwrap_or_default(), current());
    let of_version = format!("VERSION {VERSION}\n");
    if env::var_os("EVENTSOURCE_XS_RENEW").is_some() && listed != found {
        assert!(!listed.starts_with(&of_version), "increase VERSION in src/saved.rs before this is renewed");
        return fs::write(list, found).expect("a file of the sources");
    }
    let only = |lines: &str, other: &str, sign: &str| -> String {
        let others: BTreeSet<&str> = other.lines().collect();
        lines.lines().filter(|line| !others.contains(line)).map(|line| format!("{sign} {line}\n")).collect()
    };
    let difference = only(&listed, &found, "-") + &only(&found, &listed, "+");
    assert!(listed == found, "increase VERSION in src/saved.rs, then renew the list (see the test):\n{difference}");
}

/// Returns the layout of all types, and the bytes of values whose types it does not show in full.
fn current() -> String {
    let here = MemberHere { linger: Duration::from_secs(1), leave: FieldList::default(), rest: (*b"a").into() };
    let here = Box::new(here);
    let members = [MemberPart::None, MemberPart::Here(here.clone()), MemberPart::Changed(here), MemberPart::Gone];
    let store = |name, place| StoreSettings::new(&[(name, place)], Duration::from_secs(1)).expect("a store");
    let values = [
        ("numbers", bytes(&((1u8, 2u16), ((3u32, 4u64), (5usize, (-6i32, -7i64)))))),
        ("truth", bytes(&(true, Some(false)))),
        ("duration", bytes(&Duration::new(1, 2))),
        ("texts", bytes(&((Box::<str>::from("a"), Box::<[u8]>::from(&b"bc"[..])), [9u8; 16]))),
        ("lists", bytes(&(vec![None, Some(1u8)], HashMap::from([(1u8, 2u8)])))),
        ("topics", bytes(&[Topic::Channel((*b"a").into()), Topic::Pattern((*b"b").into())].to_vec())),
        ("members", bytes(&members.to_vec())),
        ("stores", bytes(&vec![StoreSettings::Memory, store("file", "/x"), store("redis", "redis://a:1/2")])),
    ];
    let values = values.map(|(name, bytes)| format!("= {name}: {bytes}\n"));
    let mut by_hand: Vec<_> = sources().iter().flat_map(|source| by_hand(source)).map(|line| line + "\n").collect();
    by_hand.sort();
    let layout = Layout::of::<(State, SavedServer)>();
    format!("VERSION {VERSION}\n{layout}{}{}", by_hand.concat(), values.concat())
}

fn bytes(value: &impl Saved) -> String {
    let mut saver = Saver::new(Instant::now());
    saver.add(value);
    saver.into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What no type of the state leads to, a state does not have: either nothing saves it, or a layout is incomplete.
#[test]
fn every_type_that_can_be_saved_is_part_of_a_saved_state() {
    let found = current();
    let listed: BTreeSet<&str> = found.lines().filter_map(|line| line.split([':', '<']).next()).collect();
    let sources = sources();
    let types: BTreeSet<_> = sources.iter().flat_map(|source| source.lines()).filter_map(saved_type).collect();
    assert!(types.len() > 100, "{types:?}");
    let unlisted: Vec<_> = types.difference(&listed).collect();
    assert!(unlisted.is_empty(), "{unlisted:?}");
}

/// Returns the sources of both crates that say how their types are saved.
fn sources() -> Vec<String> {
    let (mut folders, mut sources) = (vec![Path::new(CRATE).join("src"), Path::new(CRATE).join("../src")], Vec::new());
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).expect("sources").map(|entry| entry.expect("a file").path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "rs") && !path.ends_with("src/saved.rs") {
                sources.push(fs::read_to_string(path).expect("a source"));
            }
        }
    }
    sources
}

/// Returns the type for which a line says how it is saved.
fn saved_type(line: &str) -> Option<&str> {
    let by_hand = || Some(line.strip_prefix("impl")?.split_once(" Saved for ")?.1);
    let named = line.trim_start().strip_prefix("saved!(").or_else(by_hand)?;
    named.split(|sign: char| !sign.is_alphanumeric()).next()
}

/// Returns a line for each type that a source saves by hand: its parts may have the same type, and change places.
fn by_hand(source: &str) -> Vec<String> {
    let (mut all, mut is_inside) = (Vec::new(), false);
    for line in source.lines() {
        if line.starts_with("impl") && saved_type(line).is_some() {
            is_inside = true;
            all.push(format!("by hand {}:", saved_type(line).unwrap_or_default()));
        }
        is_inside &= line != "}";
        if is_inside && ["to.add", "from.take", "from.collect"].iter().any(|part| line.contains(part)) {
            all.last_mut().expect("a type").extend([" ", line.trim()]);
        }
    }
    all
}

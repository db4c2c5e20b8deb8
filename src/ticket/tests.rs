//! Tests of sealed tickets.

use super::*;
use crate::codec::{encode, Random};
use crate::hub::{Access, StreamLimit, SubscribeRequest, Topic};
use proptest::prelude::*;
use std::time::Duration;

const HOUR: u64 = LONGEST_TICKET.as_nanos() as u64;

/// Random bytes, each time others.
fn random() -> [u8; RANDOM_BYTES] {
    let mut bytes = [0; RANDOM_BYTES];
    bytes.iter_mut().for_each(|byte| *byte = fastrand::u8(..));
    bytes
}

fn ticket(expires_at: u64) -> Ticket {
    let limits = vec![StreamLimit { label: b"\0=key"[..].into(), most: 3 }];
    let access = Access { labels: vec![b"user/7"[..].into()], limits, asked_at: 5, ..Access::default() };
    let topics = vec![Topic::Channel(b"orders"[..].into()), Topic::Pattern(b"room/*"[..].into())];
    let request = SubscribeRequest { topics, access, ..SubscribeRequest::default() };
    let binding = b"binding"[..].into();
    Ticket { expires_at, owner: "0123".into(), request, binding, ..Ticket::default() }
}

fn seal(keys: &mut TicketKeys, ticket: &Ticket, now: u64) -> Vec<u8> {
    keys.seal(ticket, now, random())
}

fn open(keys: &TicketKeys, sealed: &[u8], now: u64) -> Result<Ticket, TicketOutcome> {
    keys.open(sealed, |ticket| *ticket.binding == *b"binding", now)
}

#[test]
fn a_ticket_opens_until_it_expires_for_the_request_that_it_was_sealed_for() {
    let mut keys = TicketKeys::default();
    let sealed = seal(&mut keys, &ticket(100), 10);
    assert_eq!(open(&keys, &sealed, 99), Ok(ticket(100)));
    assert_eq!(open(&keys, &sealed, 100), Err(TicketOutcome::Expired));
    assert_eq!(keys.open(&sealed, |_| false, 99), Err(TicketOutcome::Unknown), "for another request");
    let mut others = TicketKeys::default();
    seal(&mut others, &ticket(100), 10);
    assert_eq!(open(&others, &sealed, 99), Err(TicketOutcome::Unknown), "the key of another hub has its number");
    assert_eq!(open(&TicketKeys::default(), &sealed, 99), Err(TicketOutcome::Unknown));
}

#[test]
fn a_stream_that_begins_late_ends_with_its_ticket() {
    for (now, left) in [(40, 60), (100, 0), (140, 0)] {
        let request = ticket(100).into_request(now, None, None, None);
        assert_eq!(request.access.max_age, Some(Duration::from_nanos(left)), "{now}");
    }
}

#[test]
fn nothing_of_a_ticket_is_readable_and_no_two_are_equal() {
    let mut keys = TicketKeys::default();
    let [one, other] = [(); 2].map(|()| seal(&mut keys, &ticket(100), 10));
    assert_ne!(one[13..], other[13..]);
    assert!(!one.windows(6).any(|part| part == b"orders" || part == b"user/7"));
}

#[test]
fn a_ticket_with_any_bit_changed_or_cut_anywhere_does_not_open() {
    let mut keys = TicketKeys::default();
    let sealed = seal(&mut keys, &ticket(100), 10);
    for at in 0..sealed.len() {
        for bit in 0..8 {
            let mut forged = sealed.clone();
            forged[at] ^= 1 << bit;
            assert_eq!(open(&keys, &forged, 50), Err(TicketOutcome::Unknown), "{at} {bit}");
        }
        assert_eq!(open(&keys, &sealed[..at], 50), Err(TicketOutcome::Unknown), "{at}");
    }
    assert_eq!(open(&keys, &[&sealed[..], b"\0"].concat(), 50), Err(TicketOutcome::Unknown));
}

#[test]
fn the_key_and_the_one_before_open_also_if_they_were_kept() {
    let mut keys = TicketKeys::default();
    let first = seal(&mut keys, &ticket(9 * HOUR), 10);
    let last_of_first = seal(&mut keys, &ticket(9 * HOUR), 9 + HOUR);
    let second = seal(&mut keys, &ticket(9 * HOUR), 10 + HOUR);
    assert_eq!((first[0], last_of_first[0], second[0]), (0, 0, 1));
    let mut keys: TicketKeys = decode(&encode(&keys)).expect("keys");
    for sealed in [&first, &last_of_first, &second] {
        assert_eq!(open(&keys, sealed, 20 + HOUR), Ok(ticket(9 * HOUR)));
    }
    let third = seal(&mut keys, &ticket(9 * HOUR), 10 + 2 * HOUR);
    assert_eq!(open(&keys, &first, 20 + 2 * HOUR), Err(TicketOutcome::Unknown));
    assert!([&second, &third].iter().all(|sealed| open(&keys, sealed, 20 + 2 * HOUR).is_ok()));
    let shown = format!("{keys:?}");
    assert_eq!(shown, "TicketKeys { current: Some(Key 2), previous: Some(Key 1) }", "no secret is shown");
}

proptest! {
    #[test]
    fn any_bytes_are_refused(sealed in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut keys = TicketKeys::default();
        seal(&mut keys, &ticket(100), 10);
        prop_assert_eq!(keys.open(&sealed, |_| true, 50), Err(TicketOutcome::Unknown));
    }

    #[test]
    fn any_ticket_opens_as_it_was(seed in any::<u64>()) {
        let given = Ticket { expires_at: 100, ..Ticket::random(&mut fastrand::Rng::with_seed(seed)) };
        let mut keys = TicketKeys::default();
        let sealed = keys.seal(&given, 10, random());
        prop_assert_eq!(keys.open(&sealed, |ticket| *ticket == given, 50), Ok(given.clone()));
        prop_assert_eq!(decode(&encode(&given)), Ok(given));
    }

    #[test]
    fn bytes_that_are_not_a_ticket_are_not_decoded(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(ticket) = decode::<Ticket>(&bytes) {
            prop_assert_eq!(encode(&ticket), bytes);
        }
    }
}

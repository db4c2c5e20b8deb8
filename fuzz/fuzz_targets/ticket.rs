//! Any bytes are refused as a ticket; so is a ticket of which anything was changed. Bytes that pass
//! as an opened one are encoded to the same bytes.
#![no_main]

use arbitrary::Arbitrary;
use eventsource_xs::codec::{decode, encode};
use eventsource_xs::hub::Ticket;
use eventsource_xs::ticket::{TicketKeys, RANDOM_BYTES};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    at: usize,
    change: u8,
    bytes: &'a [u8],
}

fuzz_target!(|input: Input<'_>| {
    let Input { at, change, bytes } = input;
    let mut keys = TicketKeys::default();
    if let Ok(mut ticket) = decode::<Ticket>(bytes) {
        assert_eq!(encode(&ticket), bytes);
        ticket.expires_at = 2;
        let mut sealed = keys.seal(&ticket, 1, [7; RANDOM_BYTES]);
        assert_eq!(keys.open(&sealed, |opened| *opened == ticket, 1), Ok(ticket.clone()));
        let at = at % sealed.len();
        sealed[at] ^= change.max(1);
        assert!(keys.open(&sealed, |_| true, 1).is_err());
    }
    assert!(keys.open(bytes, |_| true, 1).is_err());
});

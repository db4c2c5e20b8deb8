//! Any bytes are read as the head of a request: what is found is within its bounds, and does not depend on what does not count.
#![no_main]

use arbitrary::Arbitrary;
use eventsource_xs::request::{content_coding, last_event_id, query_without_id, ticket_of, BoundRequest, Preference};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    header: Option<&'a [u8]>,
    query: &'a [u8],
    cookies: &'a [u8],
    name: &'a [u8],
}

fuzz_target!(|input: Input<'_>| {
    let Input { header, query, cookies, name } = input;
    assert!(last_event_id(header, query).map_or(true, |id| !id.is_empty() && id.len() <= 1025));
    let asked_again = [query, b"&eventsource-request=0.5; lastEventId=7"].concat();
    assert_eq!(query_without_id(&asked_again), query_without_id(query));
    for field in header.iter().chain([&cookies]) {
        content_coding(Some(field));
        if let Some(given) = Preference::of(field) {
            let again = Preference::of(given.applied().as_bytes()).expect("what was applied");
            assert_eq!((again.wait, again.request), (given.wait, given.request));
        }
    }
    assert!(ticket_of(cookies, name, query).map_or(true, |ticket| !ticket.is_empty() && ticket.len() <= 3072));
    let request = BoundRequest {
        hub: name,
        method: b"GET",
        host: header,
        origin: None,
        authorization: None,
        path: b"/",
        query,
        cookies: Some(cookies),
        cookie_names: header.map(|_| std::slice::from_ref(&name)),
        headers: &[header],
    };
    assert_eq!(request.digest(), BoundRequest { query: &asked_again, ..request }.digest());
    let cookies = [cookies, b"; eventsource-ticket=AAAA"].concat();
    assert_eq!(request.digest(), BoundRequest { cookies: Some(&cookies), ..request }.digest());
});

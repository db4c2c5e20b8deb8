//! Tests of what the head of a request says: tables, and any bytes.

use super::*;
use crate::compression::ContentCoding::{self, Gzip, Identity};
use crate::hub::PollReason::{Cut, Mute, Other};
use proptest::collection::vec;
use proptest::prelude::*;

fn repeated(part: &str, times: usize) -> Vec<u8> {
    part.repeat(times).into_bytes()
}

/// The last event ID of a query alone.
fn id_in(query: impl AsRef<[u8]>) -> Option<Vec<u8>> {
    last_event_id(None, query.as_ref())
}

#[test]
fn the_header_counts_first_and_then_the_first_parameter_that_is_not_empty() {
    let long = repeated("x", 2000);
    for (header, query, id) in [
        (None, &b""[..], None),
        (Some(&b"7"[..]), b"lastEventId=8", Some(&b"7"[..])),
        (Some(b" \t7 \t"), b"lastEventId=8", Some(b"7")),
        (Some(b""), b"lastEventId=8", Some(b"8")),
        (Some(b"\t"), b"lastEventId=8", Some(b"8")),
        (Some(&long), b"", Some(&long[..1025])),
        (None, b"a=1&lastEventId=7&b=2", Some(b"7")),
        (None, b"a=1; lastEventId=7", Some(b"7")),
        (None, b" lastEventId=7", None),
        (None, b"&  lastEventId=7", None),
        (None, b"lastEventId", None),
        (None, b"lasteventid=7", None),
        (None, b"xlastEventId=7&lastEventIdx=8", None),
        (None, b"lastEventId=a+b%2B%20c%zz%4", Some(b"a b+ c%zz%4")),
        (None, b"last%45vent%49d=%c3%A9%00", Some(b"\xC3\xA9\0")),
        (None, b"lastEventId=7&lastEventId=8", Some(b"8")),
        (None, b"lastEventId=7&lastEventId", None),
        (None, b"evs_last_event_id=1&last_event_id=&lastEventId=3=4#5", Some(b"3=4#5")),
    ] {
        assert_eq!(last_event_id(header, query).as_deref(), id, "{header:?} {:?}", String::from_utf8_lossy(query));
    }
}

#[test]
fn only_the_beginning_of_a_long_query_is_read_and_a_value_that_continues_is_unknown() {
    let filled = |before: usize, rest: &str| [repeated("y", before - 1), b"&".to_vec(), rest.into()].concat();
    let unknown = |id: Option<Vec<u8>>| id.expect("an id").len() == 1025;
    let value = "lastEventId=7";
    assert_eq!(id_in(filled(8192 - value.len(), value)), Some(b"7".to_vec()));
    assert_eq!(id_in(filled(8192 - value.len(), "lastEventId=7&more")), Some(b"7".to_vec()));
    assert!(unknown(id_in(filled(8192 - value.len(), "lastEventId=78"))));
    assert!(unknown(id_in(filled(8192 - value.len() + 1, value))));
    assert!(unknown(id_in(filled(8192 - 11, "lastEventId=7"))));
    assert_eq!(id_in(filled(8192 - 10, "lastEventId=7")), None, "its name is cut");
    assert_eq!(id_in(filled(8192, value)), None);
    assert!(unknown(id_in([b"lastEventId=".to_vec(), repeated("%41", 1025)].concat())));
    assert_eq!(id_in([b"lastEventId=".to_vec(), repeated("%41", 1024)].concat()), Some(repeated("A", 1024)));
}

#[test]
fn a_query_without_the_id_has_the_other_parameters_as_they_are() {
    for (query, without) in [
        ("", ""),
        ("a=1", "a=1"),
        ("lastEventId=7", ""),
        ("last_event_id&evs_last_event_id=7;a=%41&", "a=%41&"),
        ("a; lastEventId=7&lastEventId", "a"),
        ("&;&", "&;&"),
        ("a=1;lastEventId=7&b=2", "a=1;b=2"),
        ("a=1;lastEventId=7&", "a=1;"),
        ("lasteventid=7&xlastEventId=8", "lasteventid=7&xlastEventId=8"),
        ("eventsource-request=0.123", ""),
        ("a=1&eventsource-request=0.123", "a=1"),
        ("a=1&eventsource-requests=0.123", "a=1&eventsource-requests=0.123"),
    ] {
        assert_eq!(query_without_id(query.as_bytes()), without.as_bytes(), "{query}");
    }
}

#[test]
fn what_is_malformed_is_no_preference() {
    for (field, applied, reason) in [
        ("wait=20; reason=mute, request=k3j9x", "wait=20, request=k3j9x", Some(Mute)),
        ("WAIT = 007 ;reason= \"cut\" ; x", "wait=7", Some(Cut)),
        ("wait=5; reason=of-the-client", "wait=5", Some(Other)),
        ("wait=5; reason=cut;reason=mute", "wait=5", Some(Cut)),
        ("wait=5; reason;;reason=mute", "wait=5", Some(Other)),
        ("wait=5, wait=6; reason=mute", "wait=5", Some(Other)),
        (",, respond-async, wait=\"\\5\" ,", "wait=5", Some(Other)),
        ("foo; bar=\"a,\\\"wait=5\", request=a.b_-", "request=a.b_-", None),
        ("wait=61", "wait=60", Some(Other)),
        ("wait=0", "wait=0", Some(Other)),
        ("wait=x, wait=5, request=a", "request=a", None),
    ] {
        let given = Preference::of(field.as_bytes()).expect(field);
        assert_eq!((&*given.applied(), given.reason), (applied, reason), "{field}");
        assert_eq!(given.poll().map(|poll| (poll.wait.as_secs(), poll.reason)), given.wait.zip(reason), "{field}");
    }
    let nines = format!("wait={}", "9".repeat(5000));
    assert_eq!(Preference::of(nines.as_bytes()).and_then(|given| given.wait), Some(60));
    let long_token = format!("request={}", "x".repeat(65));
    let long = format!("wait=5; reason=\"{}\"", "x".repeat(40_000));
    for field in [
        "",
        ",",
        "wait",
        "wait=",
        "wait=-1",
        "wait=1e9",
        "wait=1.5",
        "wait=5\n",
        "wait=\u{B2}",
        "wait=5 seconds",
        "wait=5; =",
        "wait=\"5",
        "wait=\"5\\",
        "wait=\"5\"6",
        "wait==5",
        "=5",
        ";",
        "request=",
        "request=\"a b\"",
        "request=a/b",
        "request=a\r\nSet-Cookie: a=b",
        "wait=5, request=a b",
        &long_token,
        &long,
    ] {
        assert_eq!(Preference::of(field.as_bytes()), None, "{field}");
    }
}

#[test]
fn the_best_coding_that_is_accepted_is_chosen() {
    let best = *ContentCoding::ALL.last().expect("a coding");
    for (field, coding) in [
        ("", Identity),
        ("GZip", Gzip),
        ("x-gzip", Gzip),
        ("zstd, br, deflate, gzip", best),
        ("br, deflate", Identity),
        ("compress, gzip;q=0.001", Gzip),
        ("gzip;q=0.8, zstd;q=0.5", Gzip),
        ("gzip;q=1.0, zstd;q=1", best),
        ("gzip ; Q = 0.5 , identity ; q=0.2", Gzip),
        ("gzip;q=0.5, identity", Identity),
        ("*", best),
        ("*;q=0.1", best),
        ("*, zstd;q=0", Gzip),
        ("gzip;q=0, zstd;q=0, *", Identity),
        ("*;q=0", Identity),
        ("identity;q=0, gzip;q=0.000, zstd;q=0", Identity),
        ("gzip;q=2", Identity),
        ("gzip;q=0.0001", Identity),
        ("gzip;q=", Identity),
        ("gzip;q=1.", Gzip),
        ("gzip;level=9;q", Gzip),
        ("gzip;q=0, gzip", Gzip),
        ("gzip, gzip;q=0;q=1", Identity),
        (";q=1,\t gzip ,", Gzip),
        ("gzipped, xgzip, gzip/2", Identity),
    ] {
        assert_eq!(content_coding(Some(field.as_bytes())), coding, "{field}");
    }
    assert_eq!(content_coding(None), Identity);
    assert_eq!(best_coding(Some(b"zstd, gzip"), &[Identity, Gzip]), Gzip);
}

const REQUEST: BoundRequest<'static> = BoundRequest {
    hub: b"news",
    method: b"GET",
    host: Some(b"shop.example"),
    origin: None,
    authorization: None,
    path: b"/events",
    query: b"a=1&b=2",
    cookies: Some(b"session=ann; lang=de"),
    cookie_names: None,
    headers: &[Some(b"x"), None],
};

#[test]
fn a_digest_changes_with_each_part_of_the_request() {
    let all = [
        REQUEST,
        BoundRequest { hub: b"new", ..REQUEST },
        BoundRequest { hub: b"newsG", method: b"ET", ..REQUEST },
        BoundRequest { method: b"POST", ..REQUEST },
        BoundRequest { host: None, ..REQUEST },
        BoundRequest { host: None, origin: REQUEST.host, ..REQUEST },
        BoundRequest { origin: Some(b""), ..REQUEST },
        BoundRequest { authorization: Some(b""), ..REQUEST },
        BoundRequest { path: b"/event", ..REQUEST },
        BoundRequest { path: b"/events?a=1&b=2", query: b"", ..REQUEST },
        BoundRequest { query: b"b=2&a=1", ..REQUEST },
        BoundRequest { query: b"a=1", ..REQUEST },
        BoundRequest { query: b"a=1;b=2", ..REQUEST },
        BoundRequest { cookies: Some(b"session=bob; lang=de"), ..REQUEST },
        BoundRequest { cookies: Some(b"session=ann"), ..REQUEST },
        BoundRequest { cookies: Some(b"session=ann; lang=de; a"), ..REQUEST },
        BoundRequest { cookies: Some(b"session=ann; session=bob; lang=de"), ..REQUEST },
        BoundRequest { cookies: Some(b"session=bob; lang=de; session=ann"), ..REQUEST },
        BoundRequest { cookies: None, ..REQUEST },
        BoundRequest { headers: &[Some(b"x"), Some(b"")], ..REQUEST },
        BoundRequest { headers: &[None, Some(b"x")], ..REQUEST },
        BoundRequest { headers: &[Some(b"x")], ..REQUEST },
    ];
    let mut digests = all.map(|request| request.digest());
    digests.sort_unstable();
    assert!(digests.windows(2).all(|pair| pair[0] != pair[1]));
}

#[test]
fn a_digest_does_not_change_with_what_does_not_count() {
    for other in [
        BoundRequest { query: b"lastEventId=7&a=1&b=2&eventsource-request=0.5", ..REQUEST },
        BoundRequest { host: Some(b"\tshop.example "), headers: &[Some(b" x\t"), None], ..REQUEST },
        BoundRequest { cookies: Some(b" lang=de;session=ann ;; "), ..REQUEST },
        BoundRequest { cookies: Some(b"eventsource-ticket-x=y; session=ann; eventsource-ticket; lang=de"), ..REQUEST },
        BoundRequest { cookie_names: Some(&[b"lang", b"session", b"a"]), ..REQUEST },
    ] {
        assert_eq!(other.digest(), REQUEST.digest(), "{other:?}");
    }
    let named = BoundRequest { cookie_names: Some(&[b"session"]), ..REQUEST };
    assert_ne!(named.digest(), REQUEST.digest());
    assert_eq!(named.digest(), BoundRequest { cookies: Some(b"session=ann; lang=fr"), ..named }.digest());
    assert_ne!(named.digest(), BoundRequest { cookies: Some(b"session=ann; session=bob"), ..named }.digest());
}

#[test]
fn one_ticket_of_the_hub_and_the_path_is_taken() {
    assert_eq!(ticket_cookie(b"", b"/a"), b"eventsource-ticket-6a50dc85");
    assert_eq!(ticket_cookie(b"a.b", b"/a/b"), b"eventsource-ticket-a.b-662b7b62");
    let long = |len| format!("eventsource-ticket-a-6a50dc85={}", "A".repeat(len)).into_bytes();
    for (cookies, ticket) in [
        (&b"eventsource-ticket-a-6a50dc85=AP-_"[..], Some(&b"\0\xFF\xBF"[..])),
        (b"x=y;eventsource-ticket-a-6a50dc85=AA \t; z", Some(b"\0")),
        (b"eventsource-ticket-a-6a50dc85=AAA; eventsource-ticket-a-b=AAAA; eventsource-ticket=AAAA", Some(b"\0\0")),
        (b"eventsource-ticket-a-6a50dc85=AAAA; eventsource-ticket-a-6a50dc85=AAAA", None),
        (b"eventsource-ticket-a-6a50dc85=AAAA; eventsource-ticket-a-6a50dc85=", None),
        (b"eventsource-ticket-a-6a50dc85=", None),
        (b"eventsource-ticket-a-6a50dc85", None),
        (b"eventsource-ticket-a-6a50dc85=A", None),
        (b"eventsource-ticket-a-6a50dc85=AAAAA", None),
        (b"eventsource-ticket-a-6a50dc85=AB", None),
        (b"eventsource-ticket-a-6a50dc85=AAB", None),
        (b"eventsource-ticket-a-6a50dc85=AA==", None),
        (b"eventsource-ticket-a-6a50dc85=\"AAAA\"", None),
        (b"eventsource-ticket-a-6a50dc85=AA+/", None),
        (b"eventsource-ticket-a-6a50dc85=AA AA", None),
        (b"Eventsource-ticket-a-6a50dc85=AAAA", None),
        (b"eventsource-ticket-6a50dc85=AAAA; eventsource-ticket-a=AAAA; eventsource-ticket=AAAA", None),
        (b"eventsource-ticket-a-662b7b62=AAAA; eventsource-ticket-a-6a50dc85=AA", Some(b"\0")),
        (b"eventsource-ticket-a-6a50dc85=AA; eventsource-ticket-a-662b7b62=AAAA", Some(b"\0")),
        (b"eventsource-ticket-a-662b7b62=AAAA", None),
        (&long(4096), Some(&[0; 3072])),
        (&long(4098), None),
        (b"", None),
    ] {
        assert_eq!(ticket_of(cookies, b"a", b"/a").as_deref(), ticket, "{:?}", String::from_utf8_lossy(cookies));
    }
}

/// Bytes of which many parsers make something.
fn likely() -> impl Strategy<Value = Vec<u8>> {
    let part = prop::sample::select(vec![
        "last_event_id",
        "lastEventId",
        "eventsource-request",
        "wait",
        "request",
        "reason",
        "gzip",
        "identity",
        "q=0.5",
        "eventsource-ticket-a-6a50dc85",
        "AAAA",
        "=",
        "=",
        "&",
        ";",
        ",",
        " ",
        "\"",
        "\\",
        "%41",
        "+",
        "*",
        "7",
        "x",
    ]);
    let parts = vec(part, 0..20).prop_map(|parts| parts.concat().into_bytes());
    prop_oneof![parts, vec(any::<u8>(), 0..300)]
}

proptest! {
    #[test]
    fn any_bytes_are_read(one in likely(), other in likely()) {
        for header in [None, Some(&*other)] {
            let id = last_event_id(header, &one);
            prop_assert!(id.map_or(true, |id| (1..=1025).contains(&id.len())));
        }
        let asked_again = [&one[..], b"&eventsource-request=0.5; lastEventId=7"].concat();
        prop_assert_eq!(query_without_id(&asked_again), query_without_id(&one));
        if let Some(given) = Preference::of(&one) {
            prop_assert_eq!(Preference::of(given.applied().as_bytes()).map(|again| (again.wait, again.request)),
                Some((given.wait, given.request)));
        }
        prop_assert!(ContentCoding::ALL.contains(&content_coding(Some(&one))));
        let ticket = ticket_of(&one, &other, b"/a");
        prop_assert!(ticket.map_or(true, |ticket| !ticket.is_empty() && ticket.len() <= 3072));
        let request = BoundRequest { query: &one, cookies: Some(&other), cookie_names: Some(&[&one]), ..REQUEST };
        let again = BoundRequest { query: &asked_again, ..request };
        prop_assert_eq!(request.digest(), again.digest());
    }
}

#[test]
fn many_parts_take_no_longer_than_their_bytes() {
    let each = |part: &str| part.repeat(300_000 / part.len()).into_bytes();
    for part in
        ["&", "lastEventId=7&", "%4", "a=b; ", "eventsource-ticket-a-6a50dc85=A;", ";", ",", "wait=\"\\\"", "gzip;q=1,"]
    {
        let text = each(part);
        let request = BoundRequest { query: &text, cookies: Some(&text), cookie_names: Some(&[b"a"]), ..REQUEST };
        request.digest();
        last_event_id(None, &text);
        Preference::of(&text);
        content_coding(Some(&text));
        ticket_of(&text, b"a", b"/a");
    }
}

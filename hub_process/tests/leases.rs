//! Leases: one worker holds each, and the next one gets it when the holder resigns, leaves, is killed or misbehaves.

mod support;

use eventsource_xs::remote::Link;
use eventsource_xs::wire::{Answer, Request};
use std::time::{Duration, Instant};
use support::{Scene, DEADLINE};

fn ask(link: &mut Link, request: &Request<'_>) {
    let mut frame = Vec::new();
    request.encode(&mut frame).expect("a short request");
    link.queue_frame(frame, None);
    link.flush().expect("a connection");
}

/// Returns the next news about leases, as text; nothing if there is none within the time.
fn news(link: &mut Link, within: Duration) -> Option<String> {
    let deadline = Instant::now() + within;
    let mut found = None;
    while found.is_none() && Instant::now() < deadline {
        link.read(|answer| match answer {
            Answer::Elected { lease, is_held } => found = Some(format!("{lease} {is_held}")),
            Answer::Refused { request, failure } => found = Some(format!("{request} {:?}", failure.code)),
            _ => {}
        })
        .expect("a connection");
        std::thread::sleep(Duration::from_millis(1));
    }
    found
}

fn elect(link: &mut Link, lease: u64) -> Option<String> {
    ask(link, &Request::Elect { lease, name: b"supply" });
    news(link, DEADLINE)
}

#[test]
fn the_next_worker_gets_the_lease_however_its_holder_goes() {
    let scene = Scene::new();
    let mut links: Vec<Link> = (0..4).map(|_| scene.link()).collect();
    let answers: Vec<Option<String>> = links.iter_mut().map(|link| elect(link, 7)).collect();
    assert_eq!(answers, ["7 true", "7 false", "7 false", "7 false"].map(|text| Some(text.to_owned())));

    ask(&mut links[0], &Request::Resign { lease: 7 });
    assert_eq!(news(&mut links[1], DEADLINE).as_deref(), Some("7 true"), "its holder has resigned");
    assert_eq!(elect(&mut links[0], 8).as_deref(), Some("8 false"));

    drop(links.remove(1));
    assert_eq!(news(&mut links[1], DEADLINE).as_deref(), Some("7 true"), "its holder has left");

    ask(&mut links[1], &Request::Elect { lease: 7, name: b"supply" }); // a number that it has used
    assert_eq!(news(&mut links[2], DEADLINE).as_deref(), Some("7 true"), "its holder was cut off");
    assert_eq!(news(&mut links[0], Duration::from_millis(50)), None, "the others still wait");
}

#[test]
fn a_name_that_is_none_is_refused() {
    let scene = Scene::new();
    let mut link = scene.link();
    ask(&mut link, &Request::Elect { lease: 1, name: b"" });
    assert_eq!(news(&mut link, DEADLINE).as_deref(), Some("1 Invalid"));
    assert_eq!(elect(&mut link, 1).as_deref(), Some("1 true"), "the number is free");
}

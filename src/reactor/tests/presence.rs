//! Tests of what is reported of streams with members and wills.

use super::hub_world::*;
use super::*;
use crate::event::Unsequenced;
use crate::hub::{Announcement, MemberRequest, Presence, Retain, Statement, SubscribeRequest};

fn presence(id: &str, has_will: bool) -> Presence {
    let (channel, id) = (b"room"[..].into(), id.as_bytes().into());
    let member = MemberRequest { channel, id, ..MemberRequest::default() };
    let will = Announcement {
        channel: b"w"[..].into(),
        key: Box::default(),
        retain: Retain::No,
        event: Unsequenced::default(),
        statement: Statement::Nothing,
    };
    Presence { member: Some(Box::new(member)), will: Some(Box::new(will)).filter(|_| has_will) }
}

fn subscribe(world: &mut World, stream: usize, presence: Presence, holds: bool) {
    let request = SubscribeRequest { topics: topics(&["news"]), presence, ..Default::default() };
    subscribe_at(world, HUB, stream, request, holds);
    world.record_answers();
}

/// Takes what was reported.
fn reported(world: &mut World) -> Vec<String> {
    world.run_until_idle();
    std::mem::take(&mut world.presence).into_iter().map(|(_, report)| report).collect()
}

#[test]
fn a_stream_enters_and_leaves_once_whatever_ends_it() {
    for (reason, ending) in [
        (Reason::Application, Ending::Flush),
        (Reason::Slow, Ending::Discard),
        (Reason::Error, Ending::Discard),
        (Reason::Server, Ending::Flush),
        (Reason::Application, Ending::HandedOver { is_by_application: true }),
        (Reason::Application, Ending::HandedOver { is_by_application: false }),
    ] {
        let mut world = with_history(10);
        let stream = world.open(settings(), "");
        subscribe(&mut world, stream, presence("ann", true), false);
        assert_eq!(reported(&mut world), ["has a will", "enters ann"]);
        world.end(stream, reason, ending);
        assert_eq!(
            reported(&mut world),
            [if reason == Reason::Application && ending != (Ending::HandedOver { is_by_application: false }) {
                "leaves by the application"
            } else {
                "leaves"
            }]
        );
        world.end(stream, Reason::Error, Ending::Discard);
        assert!(reported(&mut world).is_empty());
    }
}

#[test]
fn the_decision_of_the_application_counts_though_the_client_leaves_before_it_was_sent_all() {
    for (is_own, expected) in [(true, "leaves by the application"), (false, "leaves")] {
        let mut world = with_history(10);
        let stream = world.open(settings(), "");
        subscribe(&mut world, stream, presence("ann", true), false);
        assert_eq!(reported(&mut world).len(), 2);
        world.client(stream).default_send = Some(Err(libc::EAGAIN));
        world.push(stream, b"data: unsent\n\n");
        if is_own {
            world.end(stream, Reason::Application, Ending::Flush);
        }
        assert!(reported(&mut world).is_empty());
        world.upgrade();
        world.client(stream).default_send = Some(Err(libc::EPIPE));
        world.ready(stream, Ready { hung_up: true, ..Ready::default() });
        assert_eq!(reported(&mut world), [expected]);
    }
}

#[test]
fn a_stream_whose_client_was_sent_its_finish_has_ended_by_the_application() {
    let finish = "event: finish\nid: eventsource-finished\ndata: finish\n\n";
    for (event, reason, expected) in [
        (finish.to_string(), Reason::Application, "leaves by the application"),
        (finish.replace('\n', "\r\n"), Reason::Application, "leaves by the application"),
        (format!("39\r\n{finish}\r\n"), Reason::Application, "leaves by the application"),
        (finish.replace("finished", "finished-7"), Reason::Client, "leaves"),
        ("id: 7\ndata: x\ndata: id: eventsource-finished\n\n".into(), Reason::Client, "leaves"),
    ] {
        let mut world = with_history(10);
        let stream = world.open(settings(), "");
        subscribe(&mut world, stream, presence("ann", true), false);
        assert_eq!(reported(&mut world).len(), 2);
        world.push(stream, event.as_bytes());
        world.run_until_idle();
        world.client(stream).reads.push_back(Ok(0));
        world.ready(stream, Ready { readable: true, ..Ready::default() });
        world.end(stream, Reason::Application, Ending::Flush); // the worker's close comes when the client has gone
        assert_eq!(reported(&mut world), [expected], "{event:?}");
        assert_eq!(world.records[stream].ended, Some(reason), "{event:?}");
        assert!(take_received(&mut world, stream).ends_with(&event), "{event:?}");
    }
}

#[test]
fn a_stream_that_ends_because_of_its_age_has_its_will() {
    let mut world = with_history(10);
    let stream = world.open(settings(), "");
    let access = crate::hub::Access { max_age: Some(Duration::from_secs(10)), ..Default::default() };
    let request = SubscribeRequest { presence: presence("ann", true), access, ..Default::default() };
    subscribe_to(&mut world, stream, &["news"], request);
    world.advance(Duration::from_secs(11));
    assert_eq!(reported(&mut world), ["has a will", "enters ann", "leaves"]);
}

#[test]
fn a_held_stream_enters_when_its_handler_returns() {
    let mut world = with_history(10);
    let stream = world.open(settings(), "");
    subscribe(&mut world, stream, presence("ann", true), true);
    subscribe(&mut world, stream, presence("bob", false), true);
    assert!(reported(&mut world).is_empty());
    let id = world.records[stream].id;
    world.apply(Command::BeginSubscription { stream: id });
    assert_eq!(reported(&mut world), ["has a will", "enters ann", "enters bob"]);
    subscribe(&mut world, stream, presence("cid", false), false);
    assert_eq!(reported(&mut world), ["enters cid"], "a later subscription");
    world.end(stream, Reason::Application, Ending::Flush);
    assert_eq!(reported(&mut world), ["leaves by the application"]);
}

#[test]
fn a_stream_that_ends_before_its_subscription_takes_effect_has_neither_member_nor_will() {
    for (holds, ends_first) in [(true, false), (false, true)] {
        let mut world = with_history(10);
        let stream = world.open(settings(), "");
        if ends_first {
            world.end(stream, Reason::Error, Ending::Discard);
        }
        subscribe(&mut world, stream, presence("ann", true), holds);
        world.end(stream, Reason::Error, Ending::Discard);
        assert_eq!(reported(&mut world), [""; 0]);
    }
}

#[test]
fn a_new_program_knows_who_has_entered() {
    let mut world = with_history(10);
    let (entered, held) = (world.open(settings(), ""), world.open(settings(), ""));
    subscribe(&mut world, entered, presence("ann", false), false);
    subscribe(&mut world, held, presence("bob", false), true);
    assert_eq!(reported(&mut world), ["enters ann"]);
    world.upgrade();
    let id = world.records[held].id;
    world.apply(Command::BeginSubscription { stream: id });
    world.end(entered, Reason::Error, Ending::Discard);
    assert_eq!(reported(&mut world), ["enters bob", "leaves"]);
}

//! What is sent, when, and to whom.

use super::*;

#[test]
fn a_stream_that_is_quiet_is_sent_a_comment_again_and_again() {
    let mut world = World::new();
    let stream = world.open(settings(), "head");
    world.pass(Duration::from_secs(14));
    assert_eq!(world.received(stream), "head");
    world.pass(Duration::from_secs(2));
    assert_eq!(world.received(stream), "head:\r\n\r\n");
    world.pass(Duration::from_secs(160));
    assert_eq!(world.received(stream).matches(":\r\n\r\n").count(), 11);
}

#[test]
fn a_time_without_end_is_a_time_as_any_other() {
    let mut world = World::new();
    let for_ever = Duration::MAX;
    let endless = Settings { keepalive: Some(for_ever), timeout: for_ever, retry: for_ever, ..settings() };
    let (waits, stuck) = (world.open_without_socket(endless, "head"), world.open(endless, "head"));
    let quiet = world.open(endless, "head");
    world.client(stuck).always = Some(Err(libc::EAGAIN));
    world.pass(Duration::from_secs(365 * 24 * 60 * 60));
    world.tell(Command::Finish { within: for_ever });
    world.pass(Duration::from_secs(1));
    assert_eq!([waits, stuck, quiet].map(|stream| world.accounts[stream].ended), [None, None, Some(Reason::Server)]);
}

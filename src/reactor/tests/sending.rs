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

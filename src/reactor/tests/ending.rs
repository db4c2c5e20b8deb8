//! How streams end, and what becomes of the connection.

use super::*;

#[test]
fn a_client_that_sends_without_end_does_not_hold_up_the_handing_over_of_its_stream() {
    let mut world = World::new();
    let stream = world.open(settings(), "head");
    world.client(stream).drains_for_ever = Some(1000);
    world.end(stream, Reason::Application, Ending::HandOver);
    world.settle();
    assert_eq!(world.accounts[stream].ended, Some(Reason::Application));
    assert!(world.client(stream).is_closed && !world.client(stream).is_finished);
}

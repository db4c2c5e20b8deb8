//! The end of the process: who is told what, and when it is over.

use super::*;

fn finish(world: &mut World, within: Duration) {
    world.tell(Command::Finish { within });
}

#[test]
fn a_stream_that_is_opened_at_the_end_of_the_process_is_sent_away() {
    for streams_before in 0..3 {
        let mut world = World::new();
        for _ in 0..streams_before {
            world.open(settings(), "head");
        }
        world.settle();
        finish(&mut world, Duration::from_secs(10));
        for is_over in [false, true] {
            let late = world.open(settings(), "head");
            world.settle();
            assert_eq!(world.accounts[late].ended, Some(Reason::Server), "{streams_before} {is_over}");
            assert!(world.received(late).starts_with("headretry: "));
            world.pass(Duration::from_secs(5));
        }
        assert_eq!(world.finished, 1);
    }
}

#[test]
fn a_time_that_is_up_at_once_still_sends_what_the_system_takes() {
    let mut world = World::new();
    let stream = world.open(settings(), "head");
    world.push(stream, b"event");
    finish(&mut world, Duration::ZERO);
    world.settle();
    assert!(world.received(stream).starts_with("headeventretry: "), "{}", world.received(stream));
    assert_eq!((world.accounts[stream].ended, world.finished), (Some(Reason::Server), 1));
}

#[test]
fn finishing_twice_takes_the_shorter_time_and_tells_no_client_twice() {
    for (first, second) in [(10, 2), (2, 10)] {
        let mut world = World::new();
        let (stuck, quick) = (world.open(settings(), "head"), world.open(settings(), "head"));
        world.client(stuck).always = Some(Err(libc::EAGAIN));
        finish(&mut world, Duration::from_secs(first));
        finish(&mut world, Duration::from_secs(second));
        world.pass(Duration::from_millis(1900));
        assert_eq!((world.accounts[stuck].ended, world.finished), (None, 0));
        world.pass(Duration::from_millis(200));
        assert_eq!((world.accounts[stuck].ended, world.finished), (Some(Reason::Server), 1));
        assert_eq!(world.received(quick).matches("retry").count(), 1);
    }
}

//! Tests of giving a stream to another process.

use super::*;
use crate::compression::ContentCoding;

#[test]
fn a_detached_stream_takes_its_socket_and_unsent_bytes() {
    let mut world = World::new();
    let stream = world.open(settings(), "head|");
    world.client(stream).sends.push_back(Ok(3));
    world.client(stream).default_send = Some(Err(libc::EAGAIN));
    world.push(stream, b"event");
    world.reactor.flush(world.now);
    let id = world.records[stream].id;
    let sent = world.received(stream);
    let detached = world.reactor.detach(id).expect("the stream is open");
    assert_eq!(detached.handed.socket.map(|socket| socket.0), world.records[stream].client);
    assert_eq!(sent + std::str::from_utf8(&detached.handed.unsent).expect("text"), "head|event");
    assert_eq!(detached.handed.settings, settings());
    assert_eq!(world.reactor.open_streams, 0);
    assert!(world.reactor.detach(id).is_none());
    // Deadlines and commands of the stream find nothing.
    let _ = world.reactor.take_answers();
    world.now += Duration::from_secs(100);
    world.reactor.run_due(world.now);
    world.reactor.flush(world.now);
    world.end(stream, Reason::Application, Ending::Flush);
    assert_eq!(world.reactor.take_answers().count(), 0);
}

#[test]
fn a_stream_that_ends_is_not_detached() {
    let mut world = World::new();
    let ending = world.open(settings(), "head");
    world.client(ending).default_send = Some(Err(libc::EAGAIN));
    world.end(ending, Reason::Application, Ending::Flush);
    let id = world.records[ending].id;
    assert!(world.reactor.detach(id).is_none());
}

#[test]
fn a_stream_without_a_socket_is_detached_with_its_buffer() {
    let mut world = World::new();
    let waiting = world.open_without_socket(settings(), "head|");
    world.push(waiting, b"event");
    let id = world.records[waiting].id;
    let detached = world.reactor.detach(id).expect("the stream is open");
    assert!(detached.handed.socket.is_none());
    assert_eq!(detached.handed.unsent, b"head|event");
    assert_eq!(world.reactor.open_streams, 0);
    // Nothing is left of its deadline.
    world.now += Duration::from_secs(100);
    world.reactor.run_due(world.now);
    assert_eq!(world.reactor.take_answers().count(), 0);
}

#[test]
fn a_detached_stream_with_a_coding_had_as_many_bytes_buffered_as_it_was_pushed() {
    let mut world = World::new();
    let stream = world.open_without_socket(Settings { coding: ContentCoding::Gzip, ..settings() }, "head|");
    world.push(stream, b"event");
    let id = world.records[stream].id;
    let detached = world.reactor.detach(id).expect("the stream is open");
    assert_eq!(detached.buffered_bytes, [ContentCoding::Gzip.beginning(), b"head|event"].concat().len());
    assert_eq!(detached.buffered_events, 1);
    assert!(detached.handed.unsent.len() > detached.buffered_bytes, "a few bytes do not become fewer");
}

//! Opening a stream, and attaching its socket.

use super::stream_members::EndReport;
use super::stream_record::{Deadline, StreamQueue, StreamRecord};
use super::{Io, Reactor, StreamId, StreamInit};
use crate::stream::{after, Reason, Settings, Stream};
use std::sync::Arc;
use std::time::Instant;

impl<I: Io> Reactor<I> {
    /// Opens a stream, with or without its socket. It ends at once if the process is shutting down.
    pub(super) fn open(&mut self, id: StreamId, init: StreamInit, socket: Option<I::Socket>, now: Instant) {
        let StreamInit { settings, head, content, body, is_inherited } = init;
        let mut stream = Stream::new(self.share(settings), now).with_body(body);
        stream.push_raw(head);
        stream.push_non_event(content);
        let slot = id.slot as usize;
        if slot >= self.records.len() {
            self.records.resize_with(slot + 1, || None);
        }
        self.records[slot] = Some(StreamRecord {
            stream,
            subscription: None,
            socket: None,
            serial: id.serial,
            queue: StreamQueue::None,
            is_blocked: false,
            has_ended: false,
            is_transferred: is_inherited,
            owes_end: false,
            end_report: EndReport::None,
            presence_hub: 0,
            input_bytes: 0,
            is_watched: false,
            deadline: None,
            timer: None,
        });
        self.open_streams += 1;
        match socket {
            Some(socket) => self.attach(id, socket, now),
            None => {
                if let Some(record) = self.record(id) {
                    record.deadline = Some(Box::new((after(now, settings.timeout), Deadline::Attach)));
                }
                self.arm_timer(id.slot, now);
            }
        }
        if self.is_shutting_down {
            self.end_with_retry(id, Reason::Server);
        }
    }

    /// Shares the settings with the stream that was opened last, if they are equal.
    pub(super) fn share(&mut self, settings: Settings) -> Arc<Settings> {
        match &self.last_settings {
            Some(shared) if **shared == settings => Arc::clone(shared),
            _ => Arc::clone(self.last_settings.insert(Arc::new(settings))),
        }
    }

    /// Gives a stream its socket, to which a server has written the head. The kernel has kept that, and sends it with what is
    /// buffered, in one segment.
    pub(super) fn attach_late(&mut self, id: StreamId, socket: I::Socket, now: Instant) {
        self.attach(id, socket, now);
        self.flush_stream(id.slot, now);
        if let Some((record, io)) = self.record_and_io(id) {
            record.socket.iter().for_each(|socket| io.uncork(socket));
        }
    }

    /// Gives a stream its socket. The socket is closed if the stream has ended.
    pub(super) fn attach(&mut self, id: StreamId, socket: I::Socket, now: Instant) {
        match self.record_and_io(id) {
            None => self.io.close(socket),
            Some((record, io)) => {
                let registered = io.register(&socket, id);
                record.deadline = None;
                io.set_tcp_user_timeout(&socket, None); // the server may have set one
                record.socket = Some(socket);
                if registered.is_err() {
                    // The system has no memory for one more socket. The stream is still sent what its socket takes at once.
                    self.end_with_retry(id, Reason::Error);
                }
                self.watch(id.slot, now); // another process may have sent something
                self.queue(id.slot);
                self.arm_timer(id.slot, now);
            }
        }
    }
}

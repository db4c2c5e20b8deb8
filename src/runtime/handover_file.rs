//! The file with what is handed over to another program. It is written in pieces, and its history is read one entry at a time,
//! so that neither program needs memory for all of it.

use crate::hub::{EndedPoll, Hub};
use crate::reactor::{Continuation, Handed, HubId, Io, Reactor, StreamId, ENDED_BY_UPGRADE};
use crate::wire::{Handover, Open};
use rustix::fd::{AsRawFd, OwnedFd};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, Write};
use std::time::Instant;

/// The bytes from which on a piece is written.
const PIECE: usize = 1 << 20;
/// The most bytes of an event in one message.
const EVENT_PART: usize = 4 << 20;

/// The most bytes that the client of a stream which ends now is still offered: no socket takes more at once.
const MOST_OF_CUT: usize = 8 << 20;

/// Messages in a file, and the descriptors that they name.
#[derive(Debug)]
pub struct HandoverFile {
    file: File,
    bytes: Vec<u8>,
    descriptors: Vec<i32>,
    /// The reason for which the file lacks something.
    failure: Option<io::Error>,
    /// The time from which all times in the file count. What the upgrade takes after that is known to the other program.
    pub at: Instant,
    /// The numbers of streams that continue, and of those that end.
    pub streams: (usize, usize),
}

impl HandoverFile {
    /// Begins an empty file.
    pub fn new(file: File) -> Self {
        Self { file, bytes: Vec::new(), descriptors: Vec::new(), failure: None, at: Instant::now(), streams: (0, 0) }
    }

    /// Appends a message. One that is too long fails the file.
    pub fn add(&mut self, message: &Handover<'_>) {
        if let Err(error) = message.encode(&mut self.bytes) {
            self.failure = Some(io::Error::new(io::ErrorKind::InvalidInput, error.to_string()));
        }
        if self.bytes.len() >= PIECE {
            self.write_piece();
        }
    }

    /// Returns the number of a descriptor, which stays open for the program.
    pub fn keep(&mut self, descriptor: &impl AsRawFd) -> u32 {
        self.descriptors.push(descriptor.as_raw_fd());
        descriptor.as_raw_fd() as u32
    }

    /// Returns the file, at its beginning, and the numbers of the descriptors. Fails if it could not be written.
    pub fn finish(mut self) -> io::Result<(File, Vec<i32>)> {
        self.write_piece();
        self.failure.map_or(Ok(()), Err)?;
        self.file.rewind()?;
        Ok((self.file, self.descriptors))
    }

    fn write_piece(&mut self) {
        if self.failure.is_none() {
            self.failure = self.file.write_all(&self.bytes).err();
        }
        self.bytes.clear();
    }

    /// Appends what a hub remembers: its history, unless a store has that, reservations, and the polls whose clients come back.
    pub(super) fn add_hub<I: Io>(&mut self, reactor: &Reactor<I>, id: HubId) {
        if let Some(hub) = reactor.hub(id).filter(|hub| !hub.has_store()) {
            self.add_history(hub);
        }
        let at = self.at;
        for (label, asked_at) in reactor.hub(id).into_iter().flat_map(|hub| hub.readers.reservations(at)) {
            self.add(&Handover::Reservation { label, asked_at });
        }
        for EndedPoll { until, reads, seqs, is_finished } in reactor.handed_polls(id, at) {
            self.add(&Handover::EndedPoll {
                topics: reads.topics,
                labels: reads.access.labels,
                from: *seqs.start(),
                through: *seqs.end(),
                rest: until.saturating_duration_since(at),
                is_finished,
            });
        }
    }

    fn add_history(&mut self, hub: &Hub) {
        let mut history = hub.history();
        let evicted = std::mem::take(&mut history.evicted);
        self.add(&Handover::History(history.into()));
        for (channel, through) in &evicted {
            self.add(&Handover::Evicted { channel, through: *through });
        }
        for (channel, entry) in hub.entries() {
            let parts = entry.event.bytes(crate::event::Framing::Plain).chunks(EVENT_PART);
            parts.for_each(|bytes| self.add(&Handover::EventPart { bytes }));
            self.add(&Handover::Entry {
                seq: entry.seq,
                age: self.at.saturating_duration_since(entry.at),
                channel,
                key: &entry.key,
                retain: entry.retain,
                has_custom_id: entry.has_custom_id,
            });
        }
        for (at, end) in hub.readers.end_requests().0 {
            self.add(&Handover::End { at, end: end.clone() });
        }
    }

    /// Appends a stream. One that has more in its buffer than a message may have ends.
    pub(super) fn add_stream(
        &mut self,
        id: StreamId,
        Handed { socket, settings, ref unsent, body }: Handed<&OwnedFd>,
        continuation: Continuation,
    ) {
        let (descriptor, stream) = (self.keep(socket), id.into());
        let open = Open { body, ..Open::new(stream, settings, unsent) };
        let (end, message) = match continuation {
            Continuation::Subscribed { subscription, drained_at } => {
                let drained_in = drained_at.map(|at| at.saturating_duration_since(self.at));
                (ENDED_BY_UPGRADE, Some(Handover::Stream { descriptor, open, subscription, drained_in }))
            }
            Continuation::Ending { end, labels } => (end, Some(Handover::Ending { descriptor, open, end, labels })),
            Continuation::Cut(end) => (end, None),
        };
        if message.map_or(false, |message| message.encode(&mut self.bytes).is_ok()) {
            self.streams.0 += 1;
            return;
        }
        let bytes = &unsent[..unsent.len().min(MOST_OF_CUT)];
        self.add(&Handover::Cut { descriptor, stream, end, retry: settings.retry, bytes });
        self.streams.1 += 1;
    }
}

/// The file as the other program reads it.
#[derive(Debug)]
pub struct HandedOver {
    file: File,
    /// All messages but the entries of the history.
    others: Vec<u8>,
}

impl HandedOver {
    /// Reads a file. Fails if something in it is no message.
    pub fn read(file: File) -> io::Result<Self> {
        let mut others = Vec::new();
        read_each(&file, |message, bytes| {
            if !message.is_of_entry() {
                others.extend_from_slice(bytes);
            }
        })?;
        Ok(Self { file, others })
    }

    /// Returns the number of bytes in the file.
    pub fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Returns all messages but the entries of the history.
    pub fn others(&self) -> Vec<Handover<'_>> {
        Handover::read_all(&self.others).unwrap_or_default() // they were read before
    }

    /// Calls a function with the parts of each entry of the history.
    pub fn entries(&self, mut take: impl FnMut(Handover<'_>)) -> io::Result<()> {
        read_each(&self.file, |message, _| {
            if message.is_of_entry() {
                take(message);
            }
        })
    }

    /// Returns the messages without the file, once nobody reads the entries any more.
    pub fn into_others(self) -> Vec<u8> {
        self.others
    }
}

/// Reads a file from its beginning, and calls a function with each message and its bytes, which begin with their number.
fn read_each(mut file: &File, mut take: impl FnMut(Handover<'_>, &[u8])) -> io::Result<()> {
    file.rewind()?;
    let (mut reader, mut bytes) = (BufReader::with_capacity(PIECE, file), Vec::new());
    loop {
        bytes.clear();
        (&mut reader).take(4).read_to_end(&mut bytes)?;
        if bytes.is_empty() {
            return Ok(());
        }
        let length = <[u8; 4]>::try_from(&*bytes).map_or(0, u32::from_le_bytes);
        (&mut reader).take(length.into()).read_to_end(&mut bytes)?;
        let message = Handover::read_one(bytes.get(4..).unwrap_or_default());
        take(message.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?, &bytes);
    }
}

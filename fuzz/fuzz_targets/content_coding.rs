//! Streams decode what they are sent, byte by byte, whichever windows it comes from: rounds that they join and leave, and
//! blocks that are encoded alone.
#![no_main]

use arbitrary::Arbitrary;
use decoder::Decoder;
use eventsource_xs::compression::{Alone, Body, ContentCoding, Piece, Window};
use eventsource_xs::event::Framing;
use libfuzzer_sys::fuzz_target;

#[path = "../../src/compression/tests/decoder.rs"]
mod decoder;

#[derive(Arbitrary, Debug)]
enum Step<'a> {
    /// The next event, of which each stream that is not in the round gets a batch.
    Publish(&'a [u8]),
    /// The same text so often.
    PublishLong(u8, u16),
    /// A push to one stream alone.
    Push(u8, &'a [u8]),
    BeginRound,
    Leave(u8),
}

struct Stream {
    body: Body,
    client: Decoder,
    sent: Vec<u8>,
    decoded: Vec<u8>,
}

impl Stream {
    fn send(&mut self, piece: &Piece, plain: &[u8]) {
        self.body.add(piece);
        self.receive(piece.block.bytes(Framing::Plain));
        self.sent.extend_from_slice(plain);
        assert_eq!(self.decoded, self.sent);
    }

    fn receive(&mut self, bytes: &[u8]) {
        let decoded = self.client.receive(bytes);
        self.decoded.extend(decoded);
    }
}

fn run(coding: ContentCoding, steps: &[Step<'_>]) {
    let (mut window, mut alone, mut round, mut is_new) = (Window::new(coding), Alone::default(), 0, false);
    let mut streams: Vec<Stream> = std::iter::repeat_with(|| {
        let mut client = Decoder::new(coding);
        client.receive(coding.beginning());
        Stream { body: Body::default(), client, sent: Vec::new(), decoded: Vec::new() }
    })
    .take(4)
    .collect();
    for step in steps {
        let long;
        match step {
            Step::BeginRound => {
                window.begin();
                (round, is_new) = (round % Body::MAX_ROUND + 1, true);
            }
            Step::Leave(at) => streams[usize::from(*at % 4)].body.leave(),
            Step::Push(at, plain) if !plain.is_empty() => {
                let stream = &mut streams[usize::from(*at % 4)];
                stream.body.leave();
                stream.send(&alone.encode(coding, plain), plain);
            }
            Step::Push(..) => {}
            Step::Publish(_) | Step::PublishLong(..) => {
                let plain = match step {
                    Step::Publish(plain) => *plain,
                    Step::PublishLong(byte, len) => {
                        long = vec![*byte; usize::from(*len)];
                        &long[..]
                    }
                    _ => &[],
                };
                if plain.is_empty() {
                    continue;
                }
                let (shared, single) = (window.encode(plain), alone.encode(coding, plain));
                for stream in &mut streams {
                    if is_new && round > 0 {
                        stream.body.join(round);
                    }
                    let is_in = round > 0 && stream.body.round() == Some(round);
                    if !is_in {
                        stream.body.leave();
                    }
                    stream.send(if is_in { &shared } else { &single }, plain);
                }
                is_new = false;
            }
        }
    }
    for mut stream in streams {
        let end = stream.body.end(coding);
        stream.receive(&end);
        assert_eq!(stream.decoded, stream.sent);
        assert_eq!(stream.client.has_ended, coding == ContentCoding::Gzip);
    }
}

fuzz_target!(|steps: Vec<Step<'_>>| {
    for coding in ContentCoding::ALL {
        run(*coding, &steps);
    }
});

//! Windows, and a client that decodes byte by byte.

pub(crate) mod decoder;

use super::{Alone, Body, ContentCoding, Window};
use crate::event::Framing;
use decoder::Decoder;

/// A stream of pieces as the reactor forms it.
struct CodedResponse {
    body: Body,
    client: Decoder,
    decoded: Vec<u8>,
}

impl CodedResponse {
    fn new(coding: ContentCoding) -> Self {
        let mut client = Decoder::new(coding);
        client.receive(coding.beginning());
        Self { body: Body::default(), client, decoded: Vec::new() }
    }

    fn receive(&mut self, bytes: &[u8]) {
        self.decoded.extend(self.client.receive(bytes));
    }

    fn send(&mut self, piece: &super::Piece) {
        self.body.add(piece);
        self.receive(piece.block.bytes(Framing::Plain));
    }
}

fn texts(rng: &mut fastrand::Rng, count: usize) -> Vec<Vec<u8>> {
    let row = |rng: &mut fastrand::Rng| format!("data: <td>{}</td><td>unchanged</td>\n", rng.u16(..)).into_bytes();
    (0..count).map(|_| (0..rng.usize(1..60)).flat_map(|_| row(rng)).collect()).collect()
}

#[test]
fn a_stream_decodes_each_piece_at_once_whichever_window_it_comes_from() {
    let mut rng = fastrand::Rng::with_seed(3);
    for coding in ContentCoding::ALL {
        let texts = texts(&mut rng, 40);
        let mut window = Window::new(*coding);
        let mut alone = Alone::default();
        let (mut early, mut late) = (CodedResponse::new(*coding), CodedResponse::new(*coding));
        let (mut expected, mut since_join) = (Vec::new(), false);
        early.body.join(1);
        for (at, text) in texts.iter().enumerate() {
            if at == 25 {
                // The next round: both streams are in it.
                window.begin();
                early.body.join(2);
                late.body.join(2);
                since_join = true;
            }
            let shared = window.encode(text);
            early.send(&shared);
            if since_join {
                late.send(&shared);
            } else {
                late.send(&alone.encode(*coding, text));
            }
            expected.extend_from_slice(text);
            for response in [&early, &late] {
                assert!(response.decoded == expected, "{coding:?}, piece {at}");
                assert!(!response.client.is_at_end_of_frame, "{coding:?}, piece {at}");
            }
        }
        for mut response in [early, late] {
            let end = response.body.end(*coding);
            response.receive(&end);
            assert!(response.decoded == expected);
            assert_eq!(response.client.has_ended, *coding == ContentCoding::Gzip);
            assert_eq!(response.client.is_at_end_of_frame, *coding == ContentCoding::Zstd);
        }
    }
}

#[test]
fn a_piece_alone_refers_to_nothing_before_it() {
    let text = b"data: the same text, the same text, the same text\n\n";
    for coding in ContentCoding::ALL {
        let mut alone = Alone::default();
        let first = alone.encode(*coding, text);
        let second = alone.encode(*coding, text);
        assert_eq!(first.block, second.block, "{coding:?}");
    }
}

#[test]
fn a_window_makes_repeated_text_small() {
    let text = texts(&mut fastrand::Rng::with_seed(1), 1).remove(0);
    for coding in [ContentCoding::Gzip, ContentCoding::Zstd] {
        if ContentCoding::ALL.contains(&coding) {
            let mut window = Window::new(coding);
            let first = window.encode(&text).block.len();
            let second = window.encode(&text).block.len();
            assert!(second * 5 < first, "{coding:?}: {first} bytes, then {second}");
        }
    }
}

#[test]
fn a_block_that_does_not_shrink_is_encoded_whole() {
    let mut rng = fastrand::Rng::with_seed(9);
    for coding in ContentCoding::ALL {
        for len in [1, 63, 64, 65, 5_000, 300_000] {
            let noise: Vec<u8> = std::iter::repeat_with(|| rng.u8(..)).take(len).collect();
            let mut response = CodedResponse::new(*coding);
            response.send(&Window::new(*coding).encode(&noise));
            assert!(response.decoded == noise, "{coding:?}, {len} bytes");
        }
    }
}

//! A client that decodes a response as it arrives. Tests use it, and a fuzz target.

use super::ContentCoding;
use miniz_oxide::inflate::stream::{inflate, InflateState};
use miniz_oxide::{DataFormat, MZFlush, MZStatus};
use std::fmt;

/// The header of gzip that streams begin with.
const HEADER: &[u8] = b"\x1f\x8b\x08\0\0\0\0\0\0\xff";

/// A client that decodes a response byte by byte.
pub struct Decoder {
    state: State,
    content: crc32fast::Hasher,
    /// The response has ended: gzip tells.
    pub has_ended: bool,
    /// A frame of zstd has ended, and none has begun since.
    pub is_at_end_of_frame: bool,
}

enum State {
    Identity,
    Header(usize),
    Deflate(Box<InflateState>),
    Trailer(Vec<u8>),
    #[cfg(feature = "zstd")]
    Zstd(zstd_safe::DCtx<'static>),
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder").field("has_ended", &self.has_ended).finish()
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new(ContentCoding::Identity)
    }
}

impl Decoder {
    pub fn new(coding: ContentCoding) -> Self {
        let state = match coding {
            ContentCoding::Gzip => State::Header(0),
            #[cfg(feature = "zstd")]
            ContentCoding::Zstd => State::Zstd(zstd_safe::DCtx::create()),
            _ => State::Identity,
        };
        Self { state, content: crc32fast::Hasher::new(), has_ended: false, is_at_end_of_frame: false }
    }

    /// Receives one byte. Returns what can be decoded now.
    pub fn receive_byte(&mut self, byte: u8) -> Vec<u8> {
        assert!(!self.has_ended, "a byte after the end");
        let mut decoded = Vec::new();
        match &mut self.state {
            State::Identity => decoded.push(byte),
            State::Header(at) => {
                assert_eq!(byte, HEADER[*at]);
                *at += 1;
                if *at == HEADER.len() {
                    self.state = State::Deflate(InflateState::new_boxed(DataFormat::Raw));
                }
            }
            State::Deflate(inflater) => {
                if inflate_byte(inflater, byte, &mut decoded) {
                    self.state = State::Trailer(Vec::new());
                }
            }
            State::Trailer(trailer) => {
                trailer.push(byte);
                if trailer.len() == 8 {
                    let crc = self.content.clone().finalize();
                    let expected = [crc.to_le_bytes(), (self.content.total_len() as u32).to_le_bytes()].concat();
                    assert_eq!(trailer[..], expected[..], "the trailer");
                    self.has_ended = true;
                }
            }
            #[cfg(feature = "zstd")]
            State::Zstd(context) => self.is_at_end_of_frame = decompress_byte(context, byte, &mut decoded),
        }
        self.content.update(&decoded);
        decoded
    }

    /// Receives bytes. Returns what can be decoded now.
    pub fn receive(&mut self, bytes: &[u8]) -> Vec<u8> {
        bytes.iter().flat_map(|byte| self.receive_byte(*byte)).collect()
    }
}

/// Returns true if deflate has ended.
fn inflate_byte(inflater: &mut InflateState, byte: u8, decoded: &mut Vec<u8>) -> bool {
    let (mut out, mut input) = ([0; 512], &[byte][..]);
    loop {
        let result = inflate(inflater, input, &mut out, MZFlush::None);
        input = &input[result.bytes_consumed..];
        decoded.extend_from_slice(&out[..result.bytes_written]);
        match result.status {
            Ok(MZStatus::StreamEnd) => {
                assert!(input.is_empty());
                return true;
            }
            Ok(_) if result.bytes_written == out.len() => {}
            Ok(_) | Err(miniz_oxide::MZError::Buf) => {
                assert!(input.is_empty());
                return false;
            }
            Err(error) => panic!("deflate: {error:?}"),
        }
    }
}

/// Returns true if a frame has ended.
#[cfg(feature = "zstd")]
fn decompress_byte(context: &mut zstd_safe::DCtx<'_>, byte: u8, decoded: &mut Vec<u8>) -> bool {
    let byte = [byte];
    let mut input = zstd_safe::InBuffer::around(&byte);
    loop {
        let mut out = [0; 512];
        let mut output = zstd_safe::OutBuffer::around(&mut out[..]);
        let result = context.decompress_stream(&mut output, &mut input);
        let left = result.unwrap_or_else(|code| panic!("zstd: {}", zstd_safe::get_error_name(code)));
        let written = output.pos();
        decoded.extend_from_slice(&out[..written]);
        if written < out.len() && input.pos() == 1 {
            return left == 0;
        }
    }
}

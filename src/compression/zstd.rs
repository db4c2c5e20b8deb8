//! Zstandard (RFC 8878). A response is a sequence of frames: an empty one, then one for each window.
//!
//! A frame is left open. The first block of the next window ends it, and so does the end of the response. If a frame ended
//! where a block ends, some decoders in Python (httpx, urllib3 before 2.6) would take the next block for an error: they look
//! for another frame only in bytes that have arrived together with the end of one.

use std::fmt;
use zstd_safe::zstd_sys::ZSTD_EndDirective;
use zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer, ResetDirective};

/// The header of a frame without a size, a checksum or a dictionary, with the least window (section 3.1.1.1).
pub(super) const HEADER: &[u8] = b"\x28\xb5\x2f\xfd\0\0";
/// An empty last block (section 3.1.1.2), which ends a frame.
pub(super) const LAST_BLOCK: &[u8] = &[1, 0, 0];
/// The library's own default. A higher one takes longer and saves little.
const LEVEL: i32 = 3;
/// The binary logarithm of the window's size: 1 MB. Clients accept 8 MB (RFC 9659).
const WINDOW_LOG: u32 = 20;

/// An encoder of frames.
pub(super) struct Frame {
    context: CCtx<'static>,
    is_begun: bool,
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Frame")
    }
}

impl Frame {
    pub(super) fn new() -> Self {
        let mut context = CCtx::create();
        for parameter in [CParameter::CompressionLevel(LEVEL), CParameter::WindowLog(WINDOW_LOG)] {
            let set = context.set_parameter(parameter);
            debug_assert!(set.is_ok(), "{:?}", parameter);
        }
        Self { context, is_begun: false }
    }

    pub(super) fn begin(&mut self) {
        self.is_begun = false;
        let reset = self.context.reset(ResetDirective::SessionOnly);
        debug_assert!(reset.is_ok());
    }

    /// Encodes a block and flushes it. If it is the only one of its frame, the encoder adapts to its size.
    pub(super) fn encode(&mut self, block: &[u8], is_only: bool) -> Vec<u8> {
        let mut encoded = Vec::with_capacity(block.len() / 4 + 64);
        if !std::mem::replace(&mut self.is_begun, true) {
            encoded.extend_from_slice(LAST_BLOCK); // of the frame before
        }
        if is_only {
            let set = self.context.set_pledged_src_size(Some(block.len() as u64));
            debug_assert!(set.is_ok());
        }
        let mut from = InBuffer::around(block);
        loop {
            let at = encoded.len();
            let mut to = OutBuffer::around_pos(&mut encoded, at);
            match self.context.compress_stream2(&mut to, &mut from, ZSTD_EndDirective::ZSTD_e_flush) {
                Ok(0) => return encoded,
                Ok(more) => encoded.reserve(more.max(encoded.capacity())),
                Err(code) => unreachable!("zstd: {}", zstd_safe::get_error_name(code)),
            }
        }
    }
}

//! Zstandard (RFC 8878). A response is a sequence of frames: one for each window.

use std::fmt;
use zstd_safe::zstd_sys::ZSTD_EndDirective;
use zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer, ResetDirective};

/// An empty last block (section 3.1.1.2), which ends a frame.
pub(super) const LAST_BLOCK: &[u8] = &[1, 0, 0];
/// The library's own default. A higher one takes longer and saves little.
const LEVEL: i32 = 3;
/// The binary logarithm of the window's size: 1 MB. Clients accept 8 MB (RFC 9659).
const WINDOW_LOG: u32 = 20;

/// An encoder of frames.
pub(super) struct Frame(CCtx<'static>);

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
        Self(context)
    }

    pub(super) fn begin(&mut self) {
        let reset = self.0.reset(ResetDirective::SessionOnly);
        debug_assert!(reset.is_ok());
    }

    /// Encodes a block and flushes it.
    pub(super) fn encode(&mut self, block: &[u8], closes: bool) -> Vec<u8> {
        let directive = if closes { ZSTD_EndDirective::ZSTD_e_end } else { ZSTD_EndDirective::ZSTD_e_flush };
        let mut encoded = Vec::with_capacity(block.len() / 4 + 64);
        let mut from = InBuffer::around(block);
        loop {
            let at = encoded.len();
            let mut to = OutBuffer::around_pos(&mut encoded, at);
            match self.0.compress_stream2(&mut to, &mut from, directive) {
                Ok(0) => return encoded,
                Ok(more) => encoded.reserve(more.max(encoded.capacity())),
                Err(code) => unreachable!("zstd: {}", zstd_safe::get_error_name(code)),
            }
        }
    }
}

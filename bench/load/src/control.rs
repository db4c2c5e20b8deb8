//! Commands on standard input and answers on standard output, one a line.

use std::io::{self, Read, Write};

/// The lines of standard input.
#[derive(Default)]
pub struct Commands {
    partial: Vec<u8>,
}

impl Commands {
    /// Reads the available lines. Call it when standard input is ready. Returns `None` at the end of the input.
    pub fn read(&mut self) -> io::Result<Option<Vec<String>>> {
        let mut bytes = [0; 4096];
        let count = io::stdin().lock().read(&mut bytes)?;
        self.partial.extend_from_slice(&bytes[..count]);
        let whole = self.partial.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        let text = String::from_utf8_lossy(&self.partial[..whole]).into_owned();
        self.partial.drain(..whole);
        Ok((count > 0).then(|| text.lines().map(str::to_owned).collect()))
    }
}

/// Prints one answer and flushes it.
pub fn answer(json: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{json}")?;
    out.flush()
}

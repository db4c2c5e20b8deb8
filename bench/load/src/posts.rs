//! HTTP POSTs on one persistent connection, pipelined if a window is given.

use crate::options::AnyError;
use std::io::{Read, Write};
use std::net::TcpStream;

pub struct Posts<S = TcpStream> {
    socket: S,
    head: String,
    /// The maximum number of unanswered requests.
    window: usize,
    unanswered: usize,
    /// The bytes of an incomplete answer.
    partial: Vec<u8>,
}

impl<S: Read + Write> Posts<S> {
    pub fn new(socket: S, host: &str, path: &str, window: usize) -> Self {
        let head = format!("POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: text/plain\r\nContent-Length: ");
        Self { socket, head, window: window.max(1), unanswered: 0, partial: Vec::new() }
    }

    /// Posts a body, then waits until fewer requests than the window are unanswered.
    pub fn send(&mut self, body: &[u8]) -> Result<(), AnyError> {
        let mut request = format!("{}{}\r\n\r\n", self.head, body.len()).into_bytes();
        request.extend_from_slice(body);
        self.socket.write_all(&request)?;
        self.unanswered += 1;
        self.wait(self.window - 1)
    }

    /// Waits for all answers.
    pub fn finish(&mut self) -> Result<(), AnyError> {
        self.wait(0)
    }

    fn wait(&mut self, unanswered: usize) -> Result<(), AnyError> {
        while self.unanswered > unanswered {
            if let Some(length) = answer_length(&self.partial)? {
                self.partial.drain(..length);
                self.unanswered -= 1;
                continue;
            }
            let mut bytes = [0; 16_384];
            match self.socket.read(&mut bytes)? {
                0 => return Err("the server has closed the publisher's connection".into()),
                count => self.partial.extend_from_slice(&bytes[..count]),
            }
        }
        Ok(())
    }
}

/// Returns the length of the first answer if it is complete. An answer that refuses or has no length is an error.
fn answer_length(bytes: &[u8]) -> Result<Option<usize>, AnyError> {
    let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n").map(|at| at + 4) else { return Ok(None) };
    let head = std::str::from_utf8(&bytes[..end])?.to_ascii_lowercase();
    if !head.split(' ').nth(1).is_some_and(|status| status.starts_with('2')) {
        return Err(format!("a POST was refused: {}", head.lines().next().unwrap_or("")).into());
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")).ok_or("an answer has no length")?;
    let length = end + length.trim().parse::<usize>()?;
    Ok((bytes.len() >= length).then_some(length))
}

//! The part of ZeroMQ's wire protocol (ZMTP 3.0, rfc.zeromq.org/spec/23) that a PUSH socket without security needs, to
//! publish to Pushpin. If the peer does not read, `send` blocks when the socket is full.

use crate::options::AnyError;
use std::io::{Read, Write};

const GREETING_BYTES: usize = 64;
/// The command READY with a length of one byte and the one property that the standard requires.
const READY: &[u8] = b"\x04\x1a\x05READY\x0bSocket-Type\0\0\0\x04PUSH";
const LONG: u8 = 2;

pub struct Push<S> {
    socket: S,
}

impl<S: Read + Write> Push<S> {
    /// Exchanges greetings and READY commands.
    pub fn shake_hands(mut socket: S) -> Result<Self, AnyError> {
        socket.write_all(&greeting())?;
        let mut theirs = [0; GREETING_BYTES];
        socket.read_exact(&mut theirs)?;
        if theirs[0] != 0xff || theirs[9] != 0x7f || theirs[10] < 3 || &theirs[12..17] != b"NULL\0" {
            return Err("the peer does not speak ZMTP 3 without security".into());
        }
        socket.write_all(READY)?;
        let mut command = [0; 2];
        socket.read_exact(&mut command)?;
        let mut body = vec![0; usize::from(command[1])];
        socket.read_exact(&mut body)?;
        if command[0] != 4 || !body.starts_with(b"\x05READY") {
            return Err("the ZeroMQ socket is not ready".into());
        }
        Ok(Self { socket })
    }

    /// Sends a message of one frame.
    pub fn send(&mut self, message: &[u8]) -> Result<(), AnyError> {
        Ok(self.socket.write_all(&frame(message))?)
    }
}

fn frame(message: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(message.len() + 9);
    match u8::try_from(message.len()) {
        Ok(length) => frame.extend_from_slice(&[0, length]),
        Err(_) => {
            frame.push(LONG);
            frame.extend_from_slice(&(message.len() as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(message);
    frame
}

/// Returns a greeting: signature, version 3.0, the mechanism NULL, not a server, and padding.
fn greeting() -> [u8; GREETING_BYTES] {
    let mut greeting = [0; GREETING_BYTES];
    greeting[0] = 0xff;
    greeting[8] = 1;
    greeting[9] = 0x7f;
    greeting[10] = 3;
    greeting[12..16].copy_from_slice(b"NULL");
    greeting
}

//! A connection to a Redis or a Sentinel.

use super::call_error::{CallError, Refusal};
use super::ANSWER;
use redis::{Cmd, Connection, Value};
use std::time::Duration;

/// A connection.
pub struct RedisConnection {
    connection: Connection,
    /// The URL with which it was made.
    pub url: String,
    /// The host and the port.
    pub address: String,
    timeout: Duration,
}

impl RedisConnection {
    /// Waits for an answer for so long.
    pub fn new(connection: Connection, url: &str, address: String, timeout: Duration) -> Result<Self, CallError> {
        connection.set_write_timeout(Some(ANSWER))?;
        connection.set_read_timeout(Some(timeout))?;
        Ok(Self { connection, url: url.into(), address, timeout })
    }

    /// Sets how long an answer may take.
    pub fn set_read_timeout(&mut self, timeout: Duration) -> Result<(), CallError> {
        if self.timeout != timeout {
            self.connection.set_read_timeout(Some(timeout))?;
            self.timeout = timeout;
        }
        Ok(())
    }

    /// Sends commands.
    pub fn send(&mut self, commands: &[u8]) -> Result<(), CallError> {
        Ok(self.connection.send_packed_command(commands)?)
    }

    /// Takes the answer to one command. A refusal leaves the connection usable, any other error does not: the crate's own
    /// pipelines would wait for each answer of a silent connection in turn.
    pub fn receive(&mut self) -> Result<Value, CallError> {
        match self.connection.recv_response()? {
            Value::ServerError(error) => {
                let message = format!("{} {}", error.code(), error.details().unwrap_or_default());
                Err(CallError::Refused(Refusal::new(error.code(), message.trim_end())))
            }
            value => Ok(value),
        }
    }

    /// Sends a command, and takes the answer.
    pub fn call(&mut self, command: &Cmd) -> Result<Value, CallError> {
        self.send(&command.get_packed_command())?;
        self.receive()
    }

    /// Sends commands together, and takes all answers.
    pub fn calls<const N: usize>(&mut self, commands: [&Cmd; N]) -> Result<[Result<Value, Refusal>; N], CallError> {
        let mut bytes = Vec::new();
        commands.iter().for_each(|command| command.write_packed_command(&mut bytes));
        self.send(&bytes)?;
        let mut cut = None;
        let answers = commands.map(|_| match &cut {
            Some(_) => Ok(Value::Nil),
            None => self.receive().map_or_else(
                |fault| match fault {
                    CallError::Refused(refusal) => Err(refusal),
                    fault => {
                        cut = Some(fault);
                        Ok(Value::Nil)
                    }
                },
                Ok,
            ),
        });
        cut.map_or(Ok(answers), Err)
    }
}

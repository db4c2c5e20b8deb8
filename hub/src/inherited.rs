//! The socket and the lock that a starter or systemd hands over.

use crate::arguments::Arguments;
use eventsource_xs::remote::calls::{
    adopt, begin_session, close_at_exec, duplicate, set_close_at_exec, silence, try_lock,
};
use eventsource_xs::remote::{start, Place};
use std::error::Error;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};

/// The first descriptor that systemd hands over (`sd_listen_fds`).
const FIRST_OF_SYSTEMD: i32 = 3;

/// What a process owns that serves a hub.
#[derive(Debug)]
pub struct Seat {
    pub listener: UnixListener,
    /// Locked as long as the process lives.
    _lock: OwnedFd,
    /// Whether the socket's file is removed at the end. systemd's stays: it starts the process again.
    pub removes_socket: bool,
}

/// Starts `run` in a session of its own, with the socket and the lock of this process and no other descriptor.
pub fn detach(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    begin_session()?;
    close_at_exec()?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["run", "--inherited", "--name", arguments.name.as_str()]);
    if let Some(socket) = &arguments.socket {
        command.arg("--socket").arg(socket);
    }
    command.stdin(Stdio::inherit()).stdout(Stdio::inherit()).stderr(Stdio::inherit());
    command.spawn()?;
    Ok(())
}

impl Seat {
    /// Takes the socket and the lock from the starter, the socket from systemd, or both from the file system.
    pub fn take(arguments: &Arguments, place: &Place) -> Result<Self, Box<dyn Error>> {
        if arguments.is_inherited {
            let (listener, lock) = (duplicate(0)?, duplicate(1)?);
            silence(0)?;
            silence(1)?;
            return Ok(Self { listener: listener.into(), _lock: lock, removes_socket: true });
        }
        let lock = File::options().create(true).append(true).mode(0o600).open(place.lock())?;
        if !try_lock(&lock)? {
            return Err(format!("the hub {} has a process already ({})", place.name(), place.lock().display()).into());
        }
        let of_systemd = socket_of_systemd()?;
        let removes_socket = of_systemd.is_none();
        let listener = match of_systemd {
            Some(socket) => socket,
            None => start::bind(place.socket())?,
        };
        Ok(Self { listener, _lock: lock.into(), removes_socket })
    }
}

/// Returns the socket that systemd hands to this process, if it does.
fn socket_of_systemd() -> Result<Option<UnixListener>, Box<dyn Error>> {
    let number = |name| std::env::var(name).ok().and_then(|value| value.parse::<u32>().ok());
    if number("LISTEN_PID") != Some(std::process::id()) {
        return Ok(None);
    }
    if number("LISTEN_FDS") != Some(1) {
        return Err("systemd must hand over one socket".into());
    }
    set_close_at_exec(FIRST_OF_SYSTEMD)?;
    Ok(Some(adopt(FIRST_OF_SYSTEMD)?.into()))
}

//! Where HTTP clients connect: a Unix socket, or an address with a port.

use eventsource_xs::remote::calls::connect_at_once;
use rustix::fs::{chmod, Mode};
use rustix::net::listen;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

/// The number of connections that may wait to be accepted, if the kernel allows so many: all clients of a proxy return at once.
const BACKLOG: i32 = 4096;

const UNIX: &str = "unix:";

/// An address of HTTP clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    Unix(PathBuf),
    Tcp(SocketAddr),
}

impl Endpoint {
    /// Reads where streams are served: a proxy on this machine connects there.
    pub fn of_streams(text: &str) -> Result<Self, String> {
        let endpoint = match text.strip_prefix(UNIX) {
            Some(path) => Some(Self::Unix(path.into())).filter(|_| path.starts_with('/')),
            None => text.parse().ok().filter(|address: &SocketAddr| address.ip().is_loopback()).map(Self::Tcp),
        };
        endpoint.ok_or_else(|| {
            format!("--http must be unix:/PATH, or an address of this machine alone with a port, such as 127.0.0.1:8080, not {text}")
        })
    }

    /// Listens. A socket's file that nobody listens at is replaced.
    pub fn listen(&self) -> io::Result<OwnedFd> {
        let listener = self.bind()?;
        listen(&listener, BACKLOG)?; // instead of the 128 of the standard library
        Ok(listener)
    }

    /// Returns false if a proxy finds nothing there: the socket's file was removed.
    pub fn is_there(&self) -> bool {
        match self {
            Self::Tcp(_) => true,
            Self::Unix(path) => path.symlink_metadata().is_ok(),
        }
    }

    fn bind(&self) -> io::Result<OwnedFd> {
        match self {
            Self::Tcp(address) => Ok(TcpListener::bind(address)?.into()),
            Self::Unix(path) => {
                let is_left = std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket())
                    && connect_at_once(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
                if is_left {
                    std::fs::remove_file(path)?;
                }
                let listener = UnixListener::bind(path)?;
                // The proxy is another user. Whoever comes here is asked for a ticket, as behind the proxy.
                chmod(path, Mode::from_raw_mode(0o666))?;
                Ok(listener.into())
            }
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(out, "{UNIX}{}", path.display()),
            Self::Tcp(address) => address.fmt(out),
        }
    }
}

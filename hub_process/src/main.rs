//! `eventsource-hub`: the hub process. The commands for hubs are those of `eventsource`, in Perl.
//!
//! The command line, and what the process has from the start:
//!
//! - `arguments`, `commands`: the command line; the commands other than `run`
//! - `inherited`: the socket and the lock that a starter or systemd hands over
//! - `protocol`: the version of the protocol that this process speaks
//! - `process_log`: the log, and why a command fails, on standard error
//!
//! The parts of the wire thread, each with its own state:
//!
//! - `listening`: the sockets that listen; how many descriptors there may be, and for what
//! - `http`: the clients that this process answers itself: those with a ticket, and monitors
//! - `peers`: who is connected
//! - `streams`, `ids_ahead`: the streams that workers have handed over; how long those wait whose clients are ahead of the hub
//! - `leases`: which worker holds which lease
//! - `settings`: whose settings count
//! - `served_hub`, `stored_hub`, `store`: the hub that this process serves, from its begin to its end; one whose events a store
//!   keeps; what keeps them beyond the life of this process
//! - `operator_log`, `log_pauses`, `read_channels`: what is logged once, or again after a pause, and what is counted; which
//!   channels were read
//! - `lifetime`: when the process has nothing to do any more
//! - `new_program`: continuing as another program
//! - `server`: the loop, and what messages do; the reactor of the library writes the streams, in a thread of its own
//!
//! The wire thread is the main thread. It decodes the workers' requests, calls the library's handles, as its boundary to Perl
//! does, and sends the responses. It never waits for a worker or a client.

#![forbid(unsafe_code)]

mod arguments;
mod commands;
mod http;
mod ids_ahead;
mod inherited;
mod leases;
mod lifetime;
mod listening;
mod log_pauses;
mod new_program;
mod operator_log;
mod peers;
mod process_log;
mod protocol;
mod read_channels;
mod served_hub;
mod server;
mod settings;
mod store;
mod stored_hub;
mod streams;

use arguments::{Arguments, Subcommand};
use rustix::fs::Mode;
use rustix::process::umask;
use std::process::ExitCode;

fn main() -> ExitCode {
    // The files of a hub are their owner's to read and write, whatever the umask of who has started this process.
    let inherited = umask(Mode::RWXU | Mode::RWXG | Mode::RWXO);
    umask(inherited - Mode::RWXU);
    let arguments = match Arguments::parse(std::env::args_os().skip(1)) {
        Ok(arguments) => arguments,
        Err(message) => {
            process_log::print_failure(&format!("{message}\n{}", arguments::USAGE));
            return ExitCode::from(2);
        }
    };
    let result = match arguments.command {
        Subcommand::Help => commands::print(arguments::USAGE),
        Subcommand::Version => {
            commands::print(&format!("eventsource-hub {}, protocol {}", env!("CARGO_PKG_VERSION"), protocol::version()))
        }
        Subcommand::Run => server::run(arguments),
        Subcommand::Start => inherited::detach(&arguments),
        Subcommand::Upgrade => commands::upgrade(&arguments),
        Subcommand::CheckState { version } => commands::check_state(version),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            process_log::print_failure(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

//! `eventsource-hub`: the hub process. The commands for hubs are those of `eventsource`, in Perl.
//!
//! - `ahead`: how long streams wait whose clients are ahead of the hub
//! - `arguments`: the command line
//! - `commands`: the commands other than `run`
//! - `inherited`: the socket and the lock that a starter or systemd hands over
//! - `leases`: which worker holds which lease
//! - `lifetime`: when the process has nothing to do any more
//! - `metrics_listener`: answers a monitor over HTTP
//! - `messages`: the log, and what commands say on standard error
//! - `worker`: the connection of one worker
//! - `run_options`: what the process was started with
//! - `served`, `stored`: the hub of this process; a hub whose events a store keeps
//! - `store`: what keeps the hub's events beyond the life of this process
//! - `publishing`: what a publish is for every kind of hub
//! - `protocol`: the version of the protocol that this process speaks
//! - `streams`: the streams that workers have handed over
//! - `upgrade`: continuing as another program
//! - `watch`: what an operator must know, in the log
//! - `server`: the loop that serves workers; the reactor of the library writes the streams, in a thread of its own
//!
//! The wire thread is the main thread. It decodes the workers' requests, calls the library's handles, as its boundary to Perl
//! does, and sends the answers. It never waits for a worker or a client.

#![forbid(unsafe_code)]

mod arguments;
mod commands;
mod hub;
mod inherited;
mod leases;
mod lifetime;
mod messages;
mod metrics_listener;
mod new_program;
mod peer;
mod protocol;
mod publishing;
mod run_options;
mod server;
mod store;
mod stored_hub;
mod streams;
mod streams_ahead;
mod watch;

use arguments::{Arguments, Command};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = match Arguments::parse(std::env::args_os().skip(1)) {
        Ok(arguments) => arguments,
        Err(message) => {
            messages::complain(&format!("{message}\n{}", arguments::USAGE));
            return ExitCode::from(2);
        }
    };
    let result = match &arguments.command {
        Command::Help => commands::print(arguments::USAGE),
        Command::Version => {
            commands::print(&format!("eventsource-hub {}, protocol {}", env!("CARGO_PKG_VERSION"), protocol::version()))
        }
        Command::Run => server::run(&arguments),
        Command::Start => inherited::detach(&arguments),
        Command::Upgrade => commands::upgrade(&arguments),
        Command::CheckState { version } => commands::check_state(*version),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            messages::complain(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

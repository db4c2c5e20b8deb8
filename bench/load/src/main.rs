//! The load for the benchmarks of streams (`bench/streams/run`, `bench/peers/run`).
//!
//! `load client` opens thousands of event streams in one thread, checks what comes and how long it took. `load floor`
//! is a server that can do no less: it writes the same events to as many clients and nothing else, so what it costs is
//! what ratios are taken against. `load publisher` publishes to a server from outside. `load returning` is for a test,
//! `t/hub/million.t`: its clients hang up and come back, and miss nothing. All are told what to do by lines on their
//! standard input, answer with a line of JSON each, and end with their input, all but the publisher after `--seconds` at
//! the latest.
//!
//! - [`options`]: the command line
//! - [`control`]: commands in, answers out
//! - [`ready`]: epoll, and who is ready
//! - [`clock`]: nanoseconds that all processes of this machine share
//! - [`response`]: the head of a response, and its body out of its chunks
//! - [`event`]: events out of a body: their number, and when they were due and pushed
//! - [`tally`]: what came and how late, and the [`histogram`] of that
//! - [`plan`]: rounds that are to be pushed, and when
//! - [`posts`] and [`zmtp`]: how a publisher speaks to its server
//! - [`client`], [`floor`], [`publisher`] and [`returning`]: the programs

#![forbid(unsafe_code)]

mod client;
mod clock;
mod control;
mod event;
mod floor;
mod histogram;
mod options;
mod plan;
mod posts;
mod publisher;
mod ready;
mod response;
mod returning;
mod tally;
mod zmtp;

use options::Options;
use std::process::ExitCode;

const USAGE: &str = "usage: load client --port PORT --streams N [--path /events] [--idle-readers K] [--at-once 64]
                   [--receive-buffer BYTES] [--number id|data] [--seconds 600]
       load floor [--max-buffered BYTES] [--seconds 600]
       load publisher --port PORT [--way post|zmq] [--path /publish] [--unanswered 1]
       load returning --port PORT --streams N [--path /events] [--cut-bytes 20000] [--seed 1] [--seconds 600]";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let program = arguments.next();
    let done = Options::parse(arguments).and_then(|options| match program.as_deref() {
        Some("client") => client::run(&options),
        Some("floor") => floor::run(&options),
        Some("returning") => returning::run(&options),
        Some("publisher") => publisher::run(&options),
        _ => Err(USAGE.into()),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            eprintln!("load: {trouble}");
            ExitCode::FAILURE
        }
    }
}

//! The programs that put load on the servers of `bench/streams`, `bench/connect` and `bench/peers`.
//!
//! - `load client` opens thousands of event streams in one thread, checks the events and measures their delay.
//! - `load floor` is a server that only writes the same events to as many clients. Other servers' costs are given as ratios
//!   of its cost.
//! - `load publisher` publishes to a server from another process.
//! - `load returning` checks servers: its clients disconnect and reconnect, and judge what each of them receives. For
//!   `bench/storm` and the test `xt/hub/million.t`.
//!
//! Each program reads commands from its standard input, one a line, answers each with a line of JSON, and exits at the end
//! of its input. All but the publisher exit after `--seconds` at the latest.
//!
//! - [`options`]: the command line
//! - [`control`]: commands and answers
//! - [`ready`] waits with epoll
//! - [`clock`]: nanoseconds of a clock that all processes of the machine share
//! - [`response`]: the head of a response, and the body without its chunks
//! - [`event`]: the events of a body
//! - [`tally`]: counts and delays of received events, with a [`histogram`]
//! - [`judge`]: what a client receives over all its connections, and what is wrong with it
//! - [`plan`]: the rounds to push and their times
//! - [`posts`] and [`zmtp`]: the protocols of publishers
//! - [`client`], [`floor`], [`publisher`] and [`returning`]: the programs

#![forbid(unsafe_code)]

mod client;
mod clock;
mod control;
mod event;
mod floor;
mod histogram;
mod judge;
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
                   [--receive-buffer BYTES] [--number id|data] [--closes 0|1] [--seconds 600]
       load floor [--max-buffered BYTES] [--seconds 600]
       load publisher --port PORT [--way post|alone|zmq] [--path /publish] [--unanswered 1]
       load returning --port PORT --streams N [--path /events] [--gap gap] [--open 0|1] [--cut-bytes 0] [--at-once N]
                      [--from 1] [--seed 1] [--seconds 600]";

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
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

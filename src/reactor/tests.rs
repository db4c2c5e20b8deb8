//! Tests of the reactor with scripted clients and a scripted clock: no sockets, no waiting.

mod detaching;
mod ending;
mod handing_over;
mod held;
mod hub_client;
mod hub_model;
mod hub_naive;
mod hub_steps;
mod hub_world;
mod hubs;
mod limits;
mod model;
mod polls;
mod presence;
mod sending;
mod shutdown;
mod socket_errors;
mod state_model;
mod subscriptions;
mod withdrawing;
mod world;

use super::sending::MAX_BLOCKS;
use super::*;
use crate::stream::{Discarded, Framing, LineEnd};
use bytes::Bytes;
use std::io::{self, IoSlice};
use std::time::Duration;
use world::{settings, World};

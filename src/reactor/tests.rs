//! The reactor among clients that do as they are told, at a time that passes as it is told: no sockets, no clock.

mod ending;
mod hub_client;
mod hub_model;
mod hub_naive;
mod hub_steps;
mod model;
mod sending;
mod shutdown;
mod subscriptions;
mod world;

use super::*;
use crate::stream::Framing;
use world::{settings, World};

//! The reactor among clients that do as they are told, at a time that passes as it is told: no sockets, no clock.

mod ending;
mod finishing;
mod following;
mod model;
mod sending;
mod world;

use super::*;
use crate::stream::Framing;
use world::{settings, World};

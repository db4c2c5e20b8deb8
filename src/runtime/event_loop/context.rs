//! The parts of the event loop that what it forwards to hub processes works on.

use super::sockets::Sockets;
use super::stream_table::StreamTable;
use crate::reactor::Reactor;
use crate::runtime::reactor_handle::ReactorHandle;

/// The parts of the event loop that the connections to hub processes work on.
pub(crate) struct Context<'a> {
    pub(crate) reactor: &'a mut Reactor<Sockets>,
    pub(crate) streams: &'a mut StreamTable,
    pub(crate) handle: &'a ReactorHandle,
}

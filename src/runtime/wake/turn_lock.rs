//! The two locks that keep forks out of the reactor's turns.
//!
//! A mutex is not fair: a busy reactor would take a single one again and again while a fork waits. A turn holds the first one
//! only until it has the second one. So a fork finds the first one free, and keeps it: no other turn begins, and the fork waits
//! for the one that runs.

use super::sync::{lock, Mutex, MutexGuard};

/// A fork holds both, and takes them in this order.
#[derive(Debug)]
pub struct TurnLock {
    pub next: Mutex<()>,
    pub running: Mutex<()>,
}

impl TurnLock {
    /// Begins a turn, after a fork or another turn. While the guard exists no fork begins.
    pub fn lock_turn(&self) -> MutexGuard<'_, ()> {
        let _next = lock(&self.next);
        lock(&self.running)
    }
}

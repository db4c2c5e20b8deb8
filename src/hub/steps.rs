//! Counts the steps of searches, so that tests can bound them without a clock. Outside of tests it costs nothing.

/// Counts steps.
#[cfg(not(test))]
pub(super) fn count(_: usize) {}

#[cfg(test)]
pub(crate) use counted::{count, of};

#[cfg(test)]
mod counted {
    use std::cell::Cell;

    thread_local!(static STEPS: Cell<usize> = const { Cell::new(0) });

    pub(crate) fn count(steps: usize) {
        STEPS.with(|all| all.set(all.get() + steps));
    }

    /// Returns the steps that an action of this thread takes.
    pub(crate) fn of<T>(action: impl FnOnce() -> T) -> usize {
        let before = STEPS.with(Cell::get);
        action();
        STEPS.with(Cell::get) - before
    }
}

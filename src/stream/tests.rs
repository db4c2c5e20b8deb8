//! The stream compared with a naive one.

//! Has `waker.rs` and `notifier.rs` take loom's atomics, locks and condition variables for the standard library's.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-check-cfg=cfg(loom)");
    println!("cargo:rustc-cfg=loom");
}

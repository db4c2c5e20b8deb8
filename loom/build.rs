//! Has `src/runtime/wake/sync.rs` use loom's atomics, locks and condition variables instead of the standard library's.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-check-cfg=cfg(loom)");
    println!("cargo:rustc-cfg=loom");
}

//! Compiles perl.c, which embeds a perl for the target `boundary`, with the flags of that perl.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    #[cfg(feature = "boundary")]
    compile();
}

#[cfg(feature = "boundary")]
fn compile() {
    println!("cargo:rerun-if-changed=perl.c");
    let script = r#"use Config; use Text::ParseWords; print "$_\n" for shellwords($Config{ccflags}), "-I$Config{archlibexp}/CORE""#;
    let output = std::process::Command::new("perl").args(["-e", script]).output();
    let flags = String::from_utf8(output.expect("perl runs").stdout).expect("perl prints its flags as text");
    let mut build = cc::Build::new();
    for flag in flags.lines() {
        build.flag(flag);
    }
    build.file("perl.c").compile("embedded_perl");
    // All targets have the library with its boundary, so that it is compiled once.
    println!("cargo:rustc-link-arg-bins=-lperl");
}

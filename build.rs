//! Compiles the Perl boundary: `src/xs/eventsource.xs` and what it includes, translated by the ExtUtils::ParseXS of the target
//! perl.
//!
//! The environment variable `PERL` names the target perl (default: `perl`), whose headers and compiler flags are used. The
//! library is not linked against perl: the interpreter that loads it provides the symbols.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    #[cfg(feature = "xs")]
    xs::compile();
}

#[cfg(feature = "xs")]
mod xs {
    use std::path::{Path, PathBuf};
    use std::process::Command;
    use std::{env, fs};

    const SOURCES: &str = "src/xs";
    const VERSION_FROM: &str = "perl/EventSource/XS.pm";

    pub(super) fn compile() {
        println!("cargo:rerun-if-env-changed=PERL");
        for entry in fs::read_dir(SOURCES).expect(SOURCES) {
            let file = entry.expect(SOURCES).path();
            if file.extension().map_or(false, |kind| kind == "xs" || kind == "h") {
                println!("cargo:rerun-if-changed={}", file.display());
            }
        }
        println!("cargo:rerun-if-changed={VERSION_FROM}");

        let perl = Perl::find();
        println!("cargo:rerun-if-changed={}", perl.headers.join("config.h").display());
        if perl.is_multiplicity {
            println!("cargo:rustc-cfg=perl_multiplicity");
        }
        if env::var("CARGO_CFG_TARGET_VENDOR").as_deref() == Ok("apple") {
            println!("cargo:rustc-cdylib-link-arg=-Wl,-undefined,dynamic_lookup");
        } else {
            // DynaLoader may unload the library while the reactor's thread still runs its code.
            println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
        }
        perl.cc(&perl.translate()).compile("eventsource_boundary");
    }

    /// The target perl and its build configuration.
    struct Perl {
        program: String,
        cc: String,
        headers: PathBuf,
        is_multiplicity: bool,
        version: String,
        ccflags: Vec<String>,
    }

    impl Perl {
        fn find() -> Self {
            let program = env::var("PERL").unwrap_or_else(|_| "perl".into());
            let version_from = fs::canonicalize(VERSION_FROM).expect(VERSION_FROM);
            let script = r#"
                use strict; use warnings; use Config; use ExtUtils::MM; use Text::ParseWords qw(shellwords);
                print join "\n", $Config{cc}, "$Config{archlibexp}/CORE", $Config{usemultiplicity} ? 1 : 0,
                    MM->parse_version($ARGV[0]), shellwords($Config{ccflags});
            "#;
            let printed = run(Command::new(&program).arg("-e").arg(script).arg(version_from));
            let facts: Vec<&str> = printed.lines().collect();
            Self {
                cc: facts[0].into(),
                headers: facts[1].into(),
                is_multiplicity: facts[2] == "1",
                version: facts[3].into(),
                ccflags: facts[4..].iter().map(|&flag| flag.into()).collect(),
                program,
            }
        }

        /// Translates XS to C. `cc` renames the boot function.
        fn translate(&self) -> PathBuf {
            let out = Path::new(&env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("eventsource.c");
            let script = r#"
                use strict; use warnings; use ExtUtils::ParseXS;
                my $parser = ExtUtils::ParseXS->new;
                $parser->process_file(filename => $ARGV[0], output => $ARGV[1], prototypes => 0, linenumbers => 1);
                exit($parser->report_error_count ? 1 : 0);
            "#;
            let xs = fs::canonicalize(SOURCES).expect(SOURCES).join("eventsource.xs");
            run(Command::new(&self.program).arg("-e").arg(script).arg(xs).arg(&out));
            out
        }

        fn cc(&self, source: &Path) -> cc::Build {
            let mut build = cc::Build::new();
            if env::var_os("CC").is_none() {
                // The cc crate splits values such as "ccache gcc" and "cc -m32" only if they come from the environment.
                env::set_var("CC", &self.cc);
            }
            for flag in &self.ccflags {
                build.flag(flag);
            }
            if env::var("CARGO_CFG_SANITIZE").as_deref() == Ok("address") {
                build.flag("-fsanitize=address").flag("-fno-omit-frame-pointer").flag("-g");
                if env::var_os("CARGO_CFG_FUZZING").is_some() {
                    build.flag_if_supported("-fsanitize=fuzzer-no-link"); // clang: the fuzzer sees the coverage of C
                }
            }
            let folder = source.parent().map_or_else(Default::default, Path::to_string_lossy);
            let without_folder = format!("-ffile-prefix-map={folder}=."); // perl keeps the name of the file
            build
                .file(source)
                .flag_if_supported(without_folder.as_str())
                .include(&self.headers)
                .include(SOURCES)
                // A macro that this perl lacks fails the build instead of the loading of the library.
                .flag("-Werror=implicit-function-declaration")
                // cargo exports no C symbol from a cdylib. boot_EventSource__XS is a Rust function that calls esx_boot.
                .define("boot_EventSource__XS", "esx_boot")
                .define("VERSION", &*format!("\"{}\"", self.version))
                .define("XS_VERSION", &*format!("\"{}\"", self.version));
            build
        }
    }

    fn run(command: &mut Command) -> String {
        let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("perl prints its configuration as text")
    }
}

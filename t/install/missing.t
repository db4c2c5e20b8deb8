# If something is missing, Makefile.PL says in three lines what, and how to install it, exits with 0 and writes no Makefile.

use lib 't/lib';
use Testing;
use Cwd                 qw(abs_path);
use Testing::Developer  qw(needs_command);
use Testing::SourceTree qw(slurp write_file);

needs_command($_) for qw(cargo rustc);

my $tree = Testing::SourceTree->new;
my $fake = $tree->fresh('fake');

# A program that prints this and ends with that status.
sub program {
    my ($name, $prints, $status) = @_;
    write_file("$fake/$name", "#!/bin/sh\necho '$prints'\nexit $status\n");
    chmod 0755, "$fake/$name";
    return "$fake/$name";
}

# A perl whose headers are not installed: the folder in its Config does not exist.
sub without_headers {
    write_file("$fake/WithoutHeaders.pm", "use Config; (tied %Config)->{archlibexp} = '/nonexistent'; 1;\n");
    return (PERL5LIB => $fake, PERL5OPT => '-MWithoutHeaders');
}

my @MISSING = (
    ['cargo',                     {CARGO => undef, PATH => '/nonexistent'}, qr/cargo 1\.63 or newer/],
    ['cargo, by the name given',  {CARGO => '/nonexistent/cargo'},          qr/cargo 1\.63 or newer/],
    ['a toolchain behind rustup', {CARGO => program('rustup', 'error: no default toolchain', 1)}, qr/cargo 1\.63/],
    [
        'a cargo that is new enough',
        {CARGO => program('cargo-1.62', 'cargo 1.62.1 (a748cf5a3 2022-06-08)', 0)},
        qr/is 1\.62\./
    ],
    ['a cargo of another decade',  {CARGO => program('cargo-0.9', 'cargo 0.9.0', 0)},   qr/is 0\.9\./],
    ['rustc',                      {RUSTC => '/nonexistent/rustc'},                     qr/rustc 1\.63 or newer/],
    ['a rustc that is new enough', {RUSTC => program('rustc-1.48', 'rustc 1.48.0', 0)}, qr/rustc.* is 1\.48\./],
    ['the compiler', {CC => '/nonexistent/cc -m32'}, qr{C compiler.*/nonexistent/cc}, 'gcc libc6-dev', 'CC=clang'],
    [
        'the compiler, and with a cargo that is too old for eventsource-hub',
        {CARGO => program('cargo-1.64', 'cargo 1.64.0', 0), CC => '/nonexistent/cc'},
        qr{C compiler.*/nonexistent/cc},
        'gcc libc6-dev', 'CC=clang'
    ],
    ["perl's headers", {without_headers()}, qr{headers in /nonexistent/CORE}, 'libperl-dev', 'perl-devel'],
);

for my $case (@MISSING) {
    my ($what, $environment, $says, $packages, $elsewhere) = (@$case, qw(cargo rustup));
    subtest "Makefile.PL without $what" => sub {
        open my $to, '>', $tree->folder . '/Makefile' or die "Makefile: $!\n";
        close $to;
        my $result = $tree->run($environment, abs_path($^X), 'Makefile.PL');
        is $result->{status}, 0, 'Makefile.PL exits with 0';
        my @lines = split /\n/, $result->{output};
        is @lines, 3, 'Makefile.PL prints three lines';
        like $lines[0], qr/\AEventSource-XS cannot be built here: it needs .+\.\z/,  'the first says why';
        like $lines[0], $says,                                                       'the first names what is missing';
        like $lines[1], qr/\AOn Debian and Ubuntu: apt-get install \Q$packages\E\z/, 'the second names the packages';
        like $lines[2], qr/\AElsewhere: .*\Q$elsewhere\E/,                           'the third says how elsewhere';
        ok !-e $tree->folder . '/Makefile', 'Makefile.PL leaves no Makefile';
    };
}

my @ENOUGH = (
    [
        "Debian 12's cargo",
        {CARGO => program('cargo-1.65', 'cargo 1.65.0', 0), RUSTC => program('rustc-1.63', 'rustc 1.63.0', 0)}
    ],
    ['a cargo of the future', {CARGO => program('cargo-2', 'cargo 2.0.0-nightly (abc 2030-01-01)', 0)}],
);
for my $case (@ENOUGH) {
    my ($what, $environment) = @$case;
    unlink $tree->folder . '/Makefile';
    like $tree->must($environment, $^X, 'Makefile.PL'), qr/Writing Makefile for EventSource::XS/, "$what is enough";
    ok -e $tree->folder . '/Makefile', 'Makefile.PL writes a Makefile';
}

subtest 'the Rust that Makefile.PL asks for is the one that Cargo.toml names' => sub {
    my ($cargo) = slurp('Cargo.toml')  =~ /^rust-version = "([\d.]+)"/m;
    my ($perl)  = slurp('Makefile.PL') =~ /^my \$RUST = '([\d.]+)'/m;
    is $perl, $cargo, 'both name the same version';
};

done_testing;

# Makefile.PL and make: building, building again, installing, cleaning.

use lib 't/lib';
use Testing;
use Config;
use Testing::Developer  qw(needs_command);
use File::Find          qw(find);
use File::Path          qw(remove_tree);
use IPC::Open2          qw(open2);
use Testing::SourceTree qw(slurp write_file);

needs_command($_) for qw(cargo make);

my $LOADS = 'use EventSource::XS qw(format_event); print format_event(data => 7) eq "data: 7\n\n" ? "loaded" : "wrong"';

# Without eventsource-hub, which cpanm.t and vendor.t build.
my $tree = Testing::SourceTree->new;
remove_tree($tree->folder . '/hub_process');
my $library = $tree->folder . "/blib/arch/auto/EventSource/XS/XS.$Config{dlext}";
my @before  = $tree->files;
my $real    = $ENV{CARGO} // 'cargo';

# A cargo during which somebody saves a source.
my $saved = $tree->folder . '/src/hub/mod.rs';
my $cargo = write_file($tree->fresh('during') . '/cargo', qq{#!/bin/sh\n"$real" "\$\@" && touch '$saved'\n});
chmod 0755, $cargo or die "$cargo: $!\n";

subtest 'perl Makefile.PL && make -j4 builds a library that loads' => sub {
    $tree->must($^X, 'Makefile.PL');
    like $tree->must({CARGO => $cargo}, 'make', '-j4'), qr{script/build}, 'make builds the library';
    ok -e $library, 'the library is where XSLoader looks';
    is $tree->must($^X, '-Iblib/lib', '-Iblib/arch', '-e', $LOADS), 'loaded', 'the library loads';
};

subtest 'a second make builds what was saved while the first one ran' => sub {
    like $tree->must('make', '-n'), qr{script/build}, 'make builds the library again';
    utime((stat "$saved")[8], 1, $saved) or die "$saved: $!\n";
};

subtest 'a second make builds nothing if nothing was saved' => sub {
    unlike $tree->must('make'), qr{script/build|cargo}, 'make runs neither script/build nor cargo';
};

subtest 'make after a change of an included XS file reports its mistake at its line' => sub {
    my $source = $tree->folder . '/src/xs/descriptor.xs';
    my $code   = slurp($source);
    my $broken = $code =~ s/(_duplicate\(int number\)\n  CODE:\n)/$1    esx_mistake();\n/r;
    isnt $broken, $code, 'the file has an XSUB to change';
    my $number = 1 + (substr($broken, 0, index $broken, 'esx_mistake') =~ tr/\n//);
    write_file($source, $broken);
    my $made = $tree->run('make');
    isnt $made->{status}, 0, 'make fails';
    like $made->{output}, qr{src/xs/descriptor[.]xs:$number:\d+: error: .*esx_mistake},
        'the compiler names the file and the line';
    write_file($source, $code);
};

subtest 'make after a change of a Rust source does not harm a process that uses the old library' => sub {
    my $running =
        'use EventSource::XS qw(format_event); $| = 1; print "up\n"; <STDIN>; print format_event(data => "on")';
    my $pid = open2(my $said, my $say, $^X, (map { '-I' . $tree->folder . "/blib/$_" } qw(lib arch)), '-e', $running);
    is scalar(<$said>), "up\n", 'a process has loaded the library';

    my $inode  = (stat $library)[1];
    my $added  = $tree->folder . '/src/xs/added.rs';
    my $source = $tree->folder . '/src/xs/mod.rs';     # where unsafe code is allowed
    write_file($source, slurp($source) . "\nmod added;\n");
    write_file($added,  "//! Added by a test.\n#[no_mangle]\npub static ESX_TEST_TOUCHED: [u8; 20000] = [1; 20000];\n");
    like $tree->must('make'), qr{script/build}, 'make sees the change';
    isnt + (stat $library)[1], $inode, 'the new library is a new file';

    print {$say} "\n";
    close $say;
    is join('', <$said>), "data: on\n\n", 'the process still uses the old library';
    waitpid $pid, 0;
    is $?,                                                          0,        'the process exits with 0';
    is $tree->must($^X, '-Iblib/lib', '-Iblib/arch', '-e', $LOADS), 'loaded', 'the new library loads';
};

subtest 'make knows a source that is newer than its Makefile' => sub {
    my $added = $tree->folder . '/src/xs/added.rs';
    unlike $tree->must('make', '-n'), qr{script/build}, 'make builds nothing if nothing was saved';
    utime undef, undef, $added or die "$added: $!\n";
    like $tree->must('make', '-n'), qr{script/build}, 'make builds after a change of it';
    my $source = $tree->folder . '/src/xs/mod.rs';
    write_file($source, slurp($source) =~ s/\nmod added;\n//r);
    unlink $added;
    like $tree->must('make'),   qr{script/build}, 'make builds without it';
    unlike $tree->must('make'), qr{script/build}, 'and a second make builds nothing';
};

subtest 'make fails if the files are others than those that Makefile.PL has found, and says what to do' => sub {
    my @files  = qw(perl/EventSource/Added.pm share/outbox/added.sql t/format/added.t);
    my $remedy = qr/perl Makefile[.]PL, and make again[.]$/m;
    write_file($tree->folder . "/$_", "1;\n") for @files;
    my $made = $tree->run('make', '-j4');
    isnt $made->{status}, 0, 'make fails with new files';
    like $made->{output}, qr/^\Q$_\E is new since Makefile[.]PL ran[.]$/m, "it names $_" for @files;
    like $made->{output}, qr/^Run $remedy/m,                               'it names the remedy';
    $tree->must($^X, 'Makefile.PL');
    $tree->must('make');
    ok -e $tree->folder . '/blib/lib/EventSource/Added.pm', 'after that, make copies the module';
    unlink $tree->folder . "/$_" for @files;
    $made = $tree->run('make');
    isnt $made->{status}, 0, 'make fails if they are removed';
    like $made->{output}, qr/^\Q$_\E is gone since Makefile[.]PL ran[.]$/m, "it names $_" for @files;
    like $made->{output}, qr/^Run make clean, $remedy/m, 'it names the remedy, with which blib loses them';
    $tree->must('make', 'clean');
    $tree->must($^X,    'Makefile.PL');
    $tree->must('make');
};

subtest 'make install needs no cargo, stays in DESTDIR and what it installs works' => sub {
    my $root      = $tree->fresh('destdir');
    my $installed = $tree->must({CARGO => '/nonexistent', CC => '/nonexistent'}, 'make', 'install', "DESTDIR=$root");
    unlike $installed, qr{script/build}, 'make install builds nothing';
    my @files;
    find(sub { push @files, substr $File::Find::name, length $root if -f }, $root);
    my ($place) = map { m{^(.*)/EventSource/XS\.pm$} } @files;
    is $place, $Config{installsitearch}, "modules are installed in the architecture's site_perl";
    is_deeply [grep { /\.pm$/ } sort @files],
        [sort map { s{^perl/}{$place/}r } grep { m{^perl/.*\.pm$} } $tree->files], 'every module is installed';
    ok scalar(grep { m{/bin/eventsource$} } @files),     'the command is installed';
    ok scalar(grep { m{/man1/eventsource[.]1} } @files), 'and so is its manual';
    is_deeply [grep { m{/auto/.*/XS\.} } @files], ["$place/auto/EventSource/XS/XS.$Config{dlext}"],
        'the library is installed';
    is_deeply [sort map { m{^\Q$place\E/auto/share/dist/EventSource-XS/(.*)} ? $1 : () } @files],
        [sort 'copyright', map { m{^share/(.*)} && $1 !~ m{^src/} ? $1 : () } $tree->files],
        'the script of browsers, and the licences of all crates, are installed';
    like $tree->must(
        $^X, "-I$root$place",
        qw(-MEventSource::Hub -e),
        'print EventSource::Hub->script_app->({REQUEST_METHOD => "GET"})->[2][0]'
        ),
        qr/\bexport\{[\w\$]+ as Parser,[\w\$]+ as connect\};/, 'and script_app serves it';
    is $tree->must($^X, "-I$root$place", '-e', $LOADS . '; print " from $INC{q(EventSource/XS.pm)}"'),
        "loaded from $root$place/EventSource/XS.pm", 'the installed module loads';
};

subtest 'no path of this machine is in what is built' => sub {
    my $into = $tree->fresh('without_paths');
    $tree->must({CARGO_ENCODED_RUSTFLAGS => undef}, $^X, 'script/build', $into, 'library');
    my $bytes = slurp("$into/XS.$Config{dlext}");
    my $home  = $ENV{CARGO_HOME} // "$ENV{HOME}/.cargo";
    is index($bytes, $_), -1, "not $_" for $tree->folder, $home;
    cmp_ok index($bytes, '/memchr-'), '>', 0, 'but the crate of a panic is named';
};

subtest 'make clean and make realclean restore the folder' => sub {
    $tree->must('make', 'clean');
    ok !-e $tree->folder . "/$_", "$_ is removed by make clean" for qw(blib Makefile pm_to_blib);
    $tree->must($^X,    'Makefile.PL');
    $tree->must('make', 'manifest');
    $tree->must('make', 'realclean');
    is_deeply [$tree->files], \@before, 'the folder has the files that it had before';
};

done_testing;

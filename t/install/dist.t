# The tarball has everything for building, testing and reading, and nothing else.

use lib 't/lib';
use Testing;
use Testing::Developer  qw(needs_command);
use File::Basename      qw(dirname);
use File::Path          qw(make_path);
use Testing::SourceTree qw(slurp);

needs_command($_) for qw(cargo make tar gzip);

my $tree = Testing::SourceTree->new;
my @ours = $tree->files;

# Files that are left where somebody has worked.
my @JUNK = qw(
    .ci/token .git/config .perltidyrc EventSource-XS-0.001.tar.gz MANIFEST.bak blib/x.pm fuzz/corpus/parse/1 node_modules/a/b.js
    perl/EventSource/XS.pm.bak perl/EventSource/XS.pm~ src/.lib.rs.swp src/lib.rs.rej t/browser/node_modules/a/b.js
    target/release/x.so xt/of_mine.t
);
for my $junk (grep { !-e $tree->folder . "/$_" } @JUNK) {
    my $file = $tree->folder . "/$junk";
    make_path(dirname($file));
    open my $to, '>', $file or die "$file: $!\n";
    close $to;
}

# A MANIFEST of an earlier run, which must be replaced.
open my $stale, '>', $tree->folder . '/MANIFEST' or die "MANIFEST: $!\n";
print {$stale} "Makefile.PL\nt/that_is_gone.t\n";
close $stale;

$tree->must($^X,    'Makefile.PL');
$tree->must('make', 'dist');
my ($tarball) = grep { !/0\.001/ } glob $tree->folder . '/EventSource-XS-*.tar.gz';
ok $tarball, 'make dist creates a tarball' or BAIL_OUT('no tarball');
my $unpacked = $tree->unpacked($tarball, 'unpacked');
my %packed   = map { $_ => 1 } $unpacked->files;

subtest 'the tarball has every file that is needed' => sub {
    ok $packed{$_}, "$_ is in the tarball"
        for qw(Cargo.lock Cargo.toml LICENSE MANIFEST META.json META.yml Makefile.PL SECURITY.md build.rs
        script/build);
    ok $packed{$_}, "$_ is in the tarball" for grep { m{^(?:src|bin|perl|t|benches|examples|script)/} } @ours;
};

subtest 'the tarball has no other file' => sub {
    my %known = map { $_ => 1 } @ours, qw(MANIFEST META.json META.yml);
    is_deeply [grep { !$known{$_} } sort keys %packed],           [], 'every file belongs to the distribution';
    is_deeply [grep { m{^(?:[.]|xt/|fuzz/)} } sort keys %packed], [], 'no file is for a checkout only';
};

subtest 'the manuals in the tarball have the files that they quote' => sub {
    for my $name (qw(Cookbook Deployment Migration)) {
        my ($packed, $ours) = map { slurp($_->folder . "/perl/EventSource/$name.pod") } $unpacked, $tree;
        unlike $packed, qr{^    # examples/}m, "$name: no name of a file stands in its place";
        like $ours,     qr{^    # examples/}m, "$name: the one in the checkout is as it was";
    }
};

subtest 'the unpacked tarball builds and loads' => sub {
    my $said = $unpacked->must($^X, 'Makefile.PL');
    like $said,   qr/Writing Makefile/, 'Makefile.PL writes a Makefile';
    unlike $said, qr/missing|warning/i, 'Makefile.PL reports no missing file';
    $unpacked->must('make');
    my ($version) = $tarball =~ /-([0-9.]+)[.]tar/;
    is $unpacked->must($^X, qw(-Iblib/lib -Iblib/arch -MEventSource::XS -e), 'print EventSource::XS->VERSION'),
        $version,
        'the module has the version of the tarball';
};

# Simulates a user's machine that has only the dependencies of Makefile.PL, none that only the project's tests use.
subtest 'make disttest passes with the module\'s own dependencies alone' => sub {
    my $modules = $tree->fresh('hidden_modules');
    open my $to, '>', "$modules/HideOthers.pm" or die "HideOthers.pm: $!\n";
    print {$to} <<'HIDE';
my $others = qr{^(?:AnyEvent|Cpanel/JSON/XS|EV|Feersum|IO/Async|JSON/XS|Mojo|Net/SSLeay|PPI|Perl/|Plack/Middleware/Deflater|Starlet|Starman|Test/LeakTrace|Test/Pod|Twiggy)\b};
unshift @INC, sub { die "$_[1] is not here\n" if $_[1] =~ $others; return };
1;
HIDE
    close $to;
    my $said = $tree->must({PERL5LIB => $modules, PERL5OPT => '-MHideOthers'}, 'make', 'disttest');
    like $said,   qr/^Result: PASS/m, 'make disttest passes';
    unlike $said, qr{^t/install/}m,   'make disttest leaves out the tests of the installation';
};

done_testing;

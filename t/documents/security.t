# SECURITY.md: the files that it names exist, and each promise names a test.

use lib 't/lib';
use Testing;
use Testing::SourceTree qw(slurp);

my $security = slurp('SECURITY.md', ':encoding(UTF-8)');

# Paths of the repository between backticks: in one of these folders, or a file at the top.
my @FOLDERS = qw(bench examples fuzz hub_process loom perl script sim src t tests xt);
my $folders = join '|', @FOLDERS;
my @named   = $security =~ m{`((?:$folders)/[\w./-]+|Makefile\.PL|[A-Z]+\.md)`}g;

# A release tarball has no fuzz targets, hub process, loom models and xt; a checkout has.
sub is_left_out {
    my ($folder) = $_[0] =~ m{\A(fuzz|hub_process|loom|sim|xt)/};
    return defined $folder && !-d $folder;
}

cmp_ok scalar @named, '>=', 50, 'SECURITY.md names at least fifty files';
my %seen;
for my $file (grep { !$seen{$_}++ } @named) {
SKIP: {
        skip "$file is not in the tarball", 1 if is_left_out($file);
        ok -e $file, "$file exists";
    }
}

# A test of t or of a crate: script/test runs it.
my $RUNS = qr{`(?:t|tests|src|hub_process/(?:src|tests))/[\w./]+[.](?:t|rs)`};

subtest 'each promise names a test' => sub {
    my @sections = split /^Promised:\n/m, $security;
    shift @sections;
    cmp_ok scalar @sections, '>=', 4, 'SECURITY.md has at least four sections of promises';
    for my $section (@sections) {
        my ($promises) = $section =~ /\A(.*?)^(?:Not promised|#)/ms;
        my @untested = grep { !/\bTests?[:,].*$RUNS|`script\/demo`/s } split /^- /m,
            $promises =~ s/\A\s+//r =~ s/\A- //r;
        is_deeply \@untested, [], 'each promise of the section names a test that script/test runs';
    }
};

done_testing;

# The code for users runs on Perl 5.14: it has no syntax of a later version, and the boundary uses no later function.

use lib 't/lib';
use Testing;
use Devel::PPPort       ();
use File::Temp          ();
use Testing::Developer  qw(needs_module);
use Testing::SourceTree qw(distribution_files slurp);

needs_module('Perl::MinimumVersion');

my $OLDEST = version->parse('v5.14.0');

# Newer syntax that Perl::MinimumVersion does not detect.
my @NEWER = (
    ['a postfix dereference (5.20)',     qr/->\s*(?:[\@%&\$*][*]|\$\#[*]|[\@%]\s*[\[{])/],
    ['a slice with its keys (5.20)',     qr/(?:^|[^\w\s)\]}\$\@%&])\s*%\$?\w+\s*[\[{]/m],
    ['an indented here-document (5.26)', qr/<<~/],
);

sub code_of {
    my $document = PPI::Document->new(shift);
    $document->prune($_) for qw(PPI::Token::Pod PPI::Token::Comment PPI::Token::End PPI::Token::Regexp::Match);
    return $document->serialize;
}

for my $file (grep { m{^perl/.*\.pm$|^Makefile\.PL$|^script/(?:build|quote)$} } distribution_files()) {
    my $needed = Perl::MinimumVersion->new($file)->minimum_version;
    cmp_ok $needed, '<=', $OLDEST, "$file runs on $OLDEST";
    my $code = code_of($file);
    is_deeply [map { $_->[0] } grep { $code =~ $_->[1] } @NEWER], [], "$file has no syntax of a later perl";
}

# ppport.h knows since when perl has a function. One that is newer has a substitute in eventsource.xs.
subtest 'the boundary to Perl uses what Perl 5.14 has' => sub {
    my $header = File::Temp->new(SUFFIX => '.h');
    Devel::PPPort::WriteFile("$header") or die "$header: not written\n";
    my @files = grep { m{^src/xs/.*[.](?:h|xs)$} } distribution_files();
    my $said  = qx{$^X $header --compat-version=5.14.0 --nochanges @files 2>&1};
    is scalar(() = $said =~ /^=== Analyzing /gm), scalar @files, 'ppport.h has read all files' or diag $said;
    my %newer       = map { $_ => 1 } $said =~ /^[*]+ WARNING: Uses (\w+), which may not be portable below perl/gm;
    my %substituted = map { $_ => 1 } slurp('src/xs/eventsource.xs') =~ /^#ifndef (\w+)\n#  define \1\b/gm;
    is_deeply [sort keys %newer], [sort keys %substituted], 'each newer function has a substitute, and no other';
};

like slurp('Makefile.PL'), qr/MIN_PERL_VERSION\s*=>\s*'5\.014'/, 'Makefile.PL requires Perl 5.14';

done_testing;

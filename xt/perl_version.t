# The code for users runs on Perl 5.14: it has no syntax of a later version.

use lib 't/lib';
use Testing;
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

for my $file (grep { m{^perl/.*\.pm$|^Makefile\.PL$|^script/build-(?:hub|library)$} } distribution_files()) {
    my $needed = Perl::MinimumVersion->new($file)->minimum_version;
    cmp_ok $needed, '<=', $OLDEST, "$file runs on $OLDEST";
    my $code = code_of($file);
    is_deeply [map { $_->[0] } grep { $code =~ $_->[1] } @NEWER], [], "$file has no syntax of a later perl";
}

like slurp('Makefile.PL'), qr/MIN_PERL_VERSION\s*=>\s*'5\.014'/, 'Makefile.PL requires Perl 5.14';

done_testing;

# What users run is Perl 5.14: no syntax of a later one.

use strict;
use warnings;

use lib 't/lib';
use Testing::Developer qw(needs_module);
use Test::More;
use Testing::SourceTree qw(distribution_files slurp);

needs_module('Perl::MinimumVersion');

my $LEAST = version->parse('v5.14.0');

# What Perl::MinimumVersion does not know and no `use feature` announces.
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

for my $file (grep { m{^perl/.*\.pm$|^Makefile\.PL$|^script/build-library$} } distribution_files()) {
    my $needed = Perl::MinimumVersion->new($file)->minimum_version;
    cmp_ok $needed, '<=', $LEAST, "$file runs on $LEAST";
    my $code = code_of($file);
    is_deeply [map { $_->[0] } grep { $code =~ $_->[1] } @NEWER], [], 'and none of its code is newer';
}

like slurp('Makefile.PL'), qr/MIN_PERL_VERSION\s*=>\s*'5\.014'/, 'Makefile.PL asks for it';

done_testing;

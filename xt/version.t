# One version for all: every module's, Cargo.toml's and that of the newest entry in Changes.

use strict;
use warnings;

use lib 't/lib';
use ExtUtils::MakeMaker ();
use Test::More;
use Testing::SourceTree qw(distribution_files slurp);

my $version = MM->parse_version('perl/EventSource/XS.pm');
like $version, qr/\A\d+\.\d{3}\z/, 'EventSource::XS has a version of three decimals, which order themselves';

for my $file (grep { m{^perl/.*\.pm$} } distribution_files()) {
    is(MM->parse_version($file), $version, "$file has it too");
}

my ($crate) = slurp('Cargo.toml') =~ /^version = "([^"]+)"/m;
is $crate =~ s/\.\d+\z//r, $version, 'Cargo.toml has it, and a third part of its own';

SKIP: {
    skip 'there is no Changes', 1 if !-e 'Changes';
    like slurp('Changes'), qr/^(?:#+ *|v?)?\[?\Q$version\E\b/m, 'Changes has an entry for it';
}

done_testing;

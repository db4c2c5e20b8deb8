# The modules that users load, Cargo.toml and the newest entry in Changes have the same version.

use lib 't/lib';
use Testing;
use ExtUtils::MakeMaker ();
use Testing::SourceTree qw(distribution_files slurp);

my $version = MM->parse_version('perl/EventSource/XS.pm');
like $version, qr/\A\d+\.\d{3}\z/, 'EventSource::XS has a version with three decimals';

for my $file (grep { m{^perl/.*\.pm$} } distribution_files()) {
    next if $file =~ m{/XS/} && slurp($file) !~ /our \$VERSION/;
    is(MM->parse_version($file), $version, "$file has the version of EventSource::XS");
}

my ($crate) = slurp('Cargo.toml') =~ /^version = "([^"]+)"/m;
is $crate =~ s/\.\d+\z//r, $version, 'Cargo.toml has the version, with a third part of its own';

SKIP: {
    skip 'the tarball has no hub process', 1 if !-e 'hub_process/Cargo.toml';
    my ($program) = slurp('hub_process/Cargo.toml') =~ /^version = "([^"]+)"/m;
    is $program, $crate, 'eventsource-hub has the version of the crate';
}

SKIP: {
    skip 'the tarball has no Changes', 1 if !-e 'Changes';
    like slurp('Changes'), qr/^(?:#+ *|v?)?\[?\Q$version\E\b/m, 'Changes has an entry for the version';
}

done_testing;

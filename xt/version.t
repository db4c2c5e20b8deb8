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

# The numbers that decide which releases work together: where each stands, and how Changes calls it.
my @NUMBERS = (
    ['src/wire/hello.rs',                      qr/^pub const VERSION: u16 = (\d+);/m,   'Protocol of a hub process'],
    ['src/saved.rs',                           qr/^pub const VERSION: u32 = (\d+);/m,   'saved state'],
    ['hub_process/src/store/file/database.rs', qr/^const FORMAT: i64 = (\d+);/m,        'format of a file'],
    ['hub_process/src/store/redis/epoch.rs',   qr/^const LAYOUT: &\[u8\] = b"(\d+)";/m, 'layout in Redis'],
);

SKIP: {
    skip 'the tarball has no Changes or no hub process', 1 if !-e 'Changes' || !-e 'hub_process/Cargo.toml';
    my $manual = slurp('perl/EventSource/Deployment.pod');
    my ($newest) = slurp('Changes') =~ /^  Compatibility\n  - (.*)$/m;
    for (@NUMBERS) {
        my ($file, $pattern, $name) = @$_;
        my ($number) = slurp($file) =~ $pattern or fail("$file has a number");
        like $newest // '', qr/\b\Q$name $number\E\b/,                "Changes: $name";
        like $manual,       qr/^    \Q\l$name\E.{0,20}? +$number  /m, "EventSource::Deployment: $name";
    }
}

done_testing;

# EventSource::XS has the version. All other files that name one have the same; script/release version sets them.

use lib 't/lib';
use Testing;
use ExtUtils::MakeMaker ();
use Testing::SourceTree qw(distribution_files slurp);

my $version = MM->parse_version('perl/EventSource/XS.pm');
like $version, qr/\A\d+\.\d{3}\z/, 'EventSource::XS has a version with three decimals';

my @files = distribution_files();
for my $file (grep { m{^perl/.*\.pm$} } @files) {
    next if $file =~ m{/XS/} && slurp($file) !~ /our \$VERSION/;
    is(MM->parse_version($file), $version, "$file has the version of EventSource::XS");
}

# In versions of cargo and npm 1.002 is 1.2.0.
my $crate = join '.', map({ $_ + 0 } split /[.]/, $version), 0;
for my $file (grep { -e } qw(Cargo.toml hub_process/Cargo.toml)) {
    my ($found) = slurp($file) =~ /^version = "([^"]+)"/m;
    is $found, $crate, "$file has the version";
}
my ($of_npm) = slurp('share/package.json') =~ /^  "version": "([^"]+)"/m;
is $of_npm, $crate, 'share/package.json has the version';
for my $file (grep { m{(?:^|/)Cargo\.lock$} } @files) {
    my $text = slurp($file);
    while ($text =~ /^name = "(eventsource-(?:xs|hub))"\nversion = "([^"]+)"/mg) {
        is $2, $crate, "$file has the version of $1";
    }
}

SKIP: {
    skip 'the tarball has no Changes', 1 if !-e 'Changes';
    my ($newest) = slurp('Changes') =~ /^(\d\S*)/m;
    is $newest, $version, 'the newest entry of Changes is for the version';
}

SKIP: {
    skip 'there is no package for Debian', 1 if !-e 'debian/changelog';
    my ($newest) = slurp('debian/changelog') =~ /\A\S+ \(([^)-]+)-\d+\)/;
    is $newest, $version, 'the newest entry of debian/changelog is for the version';
}

# The numbers that decide which releases work together: where each stands, and how Changes calls it.
my @NUMBERS = (
    ['src/wire/first_messages.rs',             qr/^pub const VERSION: u16 = (\d+);/m,  'Protocol of a hub process'],
    ['src/wire/handover.rs',                   qr/^pub const HANDOVER: u32 = (\d+);/m, 'handover of an upgrade'],
    ['hub_process/src/store/file/database.rs', qr/^const FORMAT: i64 = (\d+);/m,       'format of a file'],
    ['hub_process/src/store/redis/epoch.rs',   qr/^const LAYOUT: &str = "(\d+)";/m,    'layout in Redis'],
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

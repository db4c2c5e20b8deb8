package Testing::Others;
use Testing;

# Runs the tests of a folder of t again, on the servers or in the browsers that they leave out there (Testing::Server->names,
# Testing::Browser->names).
#
#   again('t/attack', 'servers');
#   again('t/browser', 'browsers', 't/browser/tabs_leave.t');    # but for this file

use Exporter qw(import);
use Testing::Browser;
use Testing::Server;
use Testing::SideBySide qw(side_by_side);
use Testing::SourceTree qw(slurp);

our @EXPORT_OK = qw(again);

# For each kind: the environment variable that names them, and what the tests contain that use them.
my %KIND = (
    servers =>
        ['EVENTSOURCE_XS_SERVERS', 'Testing::Server', qr/Testing::Server->(?:names|tested)|Server .*\bon_each_server/],
    browsers => ['EVENTSOURCE_XS_BROWSERS', 'Testing::Browser', qr/Testing::Browser->names/],
);

# The servers or browsers, if not those that are left out.
our @NAMES;

# Some of these tests run several cases at once.
my $AT_ONCE = 2;

sub again {
    my ($folder, $kind, @but) = @_;
    my %is_left_out = map { ($_ => 1) } @but;
    my ($variable, $class, $uses) = @{$KIND{$kind}};
    local $ENV{$variable}                    = join ',', @NAMES ? @NAMES : $class->others;
    local $Testing::SideBySide::AT_ONCE      = $AT_ONCE;
    local $Testing::SideBySide::MAY_BE_EMPTY = 1;          # a test of Starman only
    side_by_side(map { [$_ => $_] } grep { !$is_left_out{$_} && slurp($_) =~ $uses } glob "$folder/*.t");
    done_testing;
    return;
}

1;

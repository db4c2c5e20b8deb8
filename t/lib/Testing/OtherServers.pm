package Testing::OtherServers;
use Testing;

# Runs the tests of a folder of t that start servers again, on the servers that they leave out (Testing::Server->names).
#
#   again('t/attack');

use Exporter            qw(import);
use Testing::SideBySide qw(side_by_side);
use Testing::Server;
use Testing::SourceTree qw(slurp);

our @EXPORT_OK = qw(again);

# Some of these tests run several cases at once.
my $AT_ONCE = 2;

sub again {
    my $folder = shift;
    local $ENV{EVENTSOURCE_XS_SERVERS}  = join ',', Testing::Server->others;
    local $Testing::SideBySide::AT_ONCE = $AT_ONCE;
    side_by_side(map { [$_ => $_] }
            grep { slurp($_) =~ /Testing::Server->(?:names|tested)|use Testing::\w+Server .*on_each_server/ }
            glob "$folder/*.t");
    done_testing;
    return;
}

1;

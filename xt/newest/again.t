# The tests of frameworks, servers, hubs and native streams, with the newest libraries and on every server that they know.

use lib 't/lib';
use Testing;
use Testing::Newest;
use Testing::Others     qw(again);
use Testing::SideBySide qw(side_by_side);
use Testing::Server;

Testing::Newest->show(qw(Plack Starman Feersum Mojolicious Dancer2));

@Testing::Others::NAMES = Testing::Server->native;

subtest frameworks => sub {
    local $ENV{EVENTSOURCE_XS_SERVERS}  = join ',', @Testing::Others::NAMES;
    local $Testing::SideBySide::AT_ONCE = 2;
    side_by_side(map { [$_ => $_] } glob 't/frameworks/*.t');
    done_testing;
};
for my $folder (qw(t/servers t/hub t/native)) {
    subtest $folder => sub { again($folder, 'servers') };
}

done_testing;

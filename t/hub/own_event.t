# A handler subscribes its stream to a named hub, and publishes then: its client receives that, also where
# the stream gets its socket after the handler has returned, as on Feersum.

use lib 't/lib';
use Testing qw(named_hubs);
use Testing::Client;
use Testing::Server;
use Testing::Subscriber qw(blocks);

my $STREAMS = 5;

my $folder = new_folder;

for my $name (@ARGV ? @ARGV : qw(Feersum Twiggy Starman)) {
    subtest $name => sub {
        my $server =
            Testing::Server->start($name, 't/data/hub_own_event.psgi', env => {HUB_SOCKET => "$folder/$name.sock"});
        for (1 .. $STREAMS) {
            my $client = Testing::Client->get($server->port, '/');
            ok $client->read_until(qr/^data: after the push\r?$/m), 'the last event arrives';
            my @data = grep { length } map { $_->{data} // () } blocks($client->text);
            is_deeply [sort @data], ['after the push', 'of the handler', 'pushed'], 'each event arrives once';
        }
    };
}

done_testing;

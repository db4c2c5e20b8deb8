# The information that ids reveal. The application's ids reveal nothing. Positions reveal how much was
# published to the whole hub, unless they are opaque. An invented id replays no more than the history of the subscribed
# channels.

use lib 't/lib';
use Testing qw(native Server=Starman);
use Testing::Client;
use Testing::Subscriber qw(blocks events wait_for_events);
use Testing::HubServer  qw(path);

# Returns the first blocks of a client that sends an id, when one block and that many events have arrived.
sub first_blocks {
    my ($server, $id, $count, %query) = @_;
    my $client = Testing::Client->stream($server->port, path('/hub', %query), headers => ['Last-Event-ID' => $id]);
    my @blocks = wait_for_events($client, $count);
    $client->leave;
    return @blocks;
}

for my $name (Testing::Server->names) {
    subtest $name => sub {
        my $server = Testing::HubServer->start($name);
        my $epoch  = $server->stats->{epoch};
        $server->ask('/event', channel => 'public',        data => 1, id => 'order-1');
        $server->ask('/event', channel => 'private/alice', data => 2, id => 'order-2');
        $server->ask('/event', channel => 'private/alice', data => 3, id => 'order-3');
        $server->ask('/event', channel => 'public',        data => 4, id => 'order-3');
        for my $topics ([channels => 'public'], [patterns => 'public/*'], [channels => 'public,other']) {
            my @unknown = first_blocks($server, 'order-9', 1, @$topics);
            is_deeply [first_blocks($server, $_, 1, @$topics)], \@unknown,
                "@$topics: $_, which channels have, is answered as an unknown one"
                for map { "order-$_" } 1 .. 3;
        }

        # The first position of an epoch, which anyone can guess.
        is_deeply [map { $_->{data} } events_after($server, "$epoch-0", 2, channels => 'public')], [1, 4],
            'an invented position replays only the history of the subscribed channels';
    };
}

sub events_after {
    my @arguments = @_;
    return grep { defined $_->{data} } first_blocks(@arguments);
}

subtest 'opaque ids reveal and replay no more than other ids' => sub {
    my $server = Testing::HubServer->start('Starman', settings => {opaque_ids => 1});
    my $epoch  = $server->stats->{epoch};
    my @ids    = $server->publish(channel => 'a,b', count => 200);
    is scalar(grep { /\A\Q$epoch\E-[0-9a-v]{34}\z/ } @ids), 200, 'every opaque id has the epoch and 34 characters';
    my %seen;
    is scalar(grep { !$seen{$_}++ } @ids), 200, 'opaque ids are unique';
    my $client = $server->stream('/hub', channels => 'a', id => $ids[100]);
    my @blocks = wait_for_events($client, 49);
    is $blocks[0]{id}, $ids[100], 'a resumed stream begins with the id of the client';
    is_deeply [map { $_->{id} } @blocks[1 .. 49]], [@ids[grep { $_ > 100 && !($_ % 2) } 0 .. 199]],
        'a resumed stream continues with the later events';
    my ($late) = first_blocks($server, $ids[199], 0, channels => 'a');
    is $late->{id}, $ids[199], 'an opaque id of another channel is a position';

    my @invented = (0, 1, 200, '0' x 26, '0' x 34, 'z' x 34);
    for my $id (map({ "$epoch-$_" } @invented), substr $ids[3], 0, -1) {
        my @unknown = first_blocks($server, $id, 1, channels => 'a');
        is $unknown[1]{data},           '{"reason":"unknown"}', "$id causes a gap with the reason unknown";
        is scalar(events_in(@unknown)), 1,                      "$id replays no history";
    }
};

sub events_in {
    return grep { defined $_->{data} } @_;
}

done_testing;

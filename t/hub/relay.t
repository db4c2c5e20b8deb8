# A stream of a hub on the writer of a server with an event loop: pushed and published events take the same way, so no event
# ends up inside another.

use lib 't/lib';
use Testing             qw(native);
use Testing::Subscriber qw(events);
use Testing::HubServer;
use Testing::NumberedEvents ();
use Testing::SlowReader;
use Time::HiRes qw(sleep);

my ($COUNT, $BYTES) = (300, 20_000);    # more than the sockets buffer

for my $name ('Twiggy', 'Feersum') {
    subtest $name => sub {
        my $server = Testing::HubServer->start(
            $name,
            native   => 0,
            settings => {keep_history => {events => $COUNT, bytes => 2 * $COUNT * $BYTES}}
        );
        my $slow = $server->stream('/held', name => 's', channels => 'a', class => 'Testing::SlowReader');
        my @ids  = $server->publish(channel => 'a', count => $COUNT, bytes => $BYTES);
        $server->ask('/push', name => 's', data => "own $_") for 1 .. 3;

        # The client reads nothing for several keepalives (0.3 s), which must not end up inside an event.
        sleep 1.5;
        my $last = $server->ask('/event', channel => 'a', data => 'last');
        ok $slow->read_until(qr/^data: last\r\nid: .+\r\n\r\n/m), 'a slow client receives the last event when it reads';
        my @events = events($slow->body);
        my @own    = grep { $_->{data} =~ /\Aown/ } @events;
        is_deeply [map { $_->{data} } @own], ['own 1', 'own 2', 'own 3'],
            'a slow client receives all pushed events in order';
        my @others = grep { $_->{data} !~ /\Aown/ } @events;
        is_deeply [map { $_->{id} } @others], [@ids, $last], 'a slow client receives all published events in order';
        my @broken = grep {
            my ($number) = $others[$_]{data} =~ /\A([0-9]+)/;
            $others[$_]{data} ne Testing::NumberedEvents::numbered($_ + 1, $BYTES)->{data}
        } 0 .. $COUNT - 1;
        is scalar @broken, 0, 'no published event is broken';
        $server->publish(channel => 'a', from => 1, bytes => $BYTES, count => 50);
        $server->ask('/close', name => 's');
        ok $slow->read_all, 'close ends a relayed stream';
        is scalar(events($slow->body)), $COUNT + 1 + 3 + 50, 'all events published before close arrive';
        $server->stats_ok(sub { ($_->{why}{s} // '') eq 'application' && !$_->{streams_all}{open} },
            'on_close has the reason application');
    };
}

done_testing;

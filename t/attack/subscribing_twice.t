# A client resumes, and its handler subscribes to one channel after the other. No id may cover events that the client was
# not sent: a client that is cut off after any block must receive the rest.

use lib 't/lib';
use Testing qw(native Server=Starman);
use Testing::Client;
use Testing::Subscriber qw(events wait_for_events);
use Testing::HubServer  qw(path);

my $PAUSE = 0.2;    # seconds between two calls, in which an early event would be sent

# The number in a block's id.
sub seq { return $_[0]{id} =~ /-([0-9]+)\z/ ? $1 : die "no number in $_[0]{id}\n" }

# Gets a stream whose handler subscribes twice, after some of what was published.
sub twice {
    my ($server, $id, %query) = @_;
    my $client = Testing::Client->get(
        $server->port,
        path('/twice', name => 'x', channels => 'a,b', pause => $PAUSE, %query),
        headers => [defined $id ? ('Last-Event-ID' => $id) : ()]
    );
    return $client;
}

for my $setup ((map { [$_, undef] } Testing::Server->names),
    map { [$_, 0] } Testing::Server->tested(qw(Twiggy Feersum))) {
    my ($name, $native) = @$setup;
    subtest $name . (defined $native ? ", on the server's writer" : '') => sub {
        my $server = Testing::HubServer->start($name, defined $native ? (native => $native) : ());
        my @ids    = $server->publish(channel => 'a,b', count => 10);

        my $client = twice($server, $ids[2]);
        my @blocks = wait_for_events($client, 7 + 6);
        is seq(shift @blocks), 3, 'the stream begins with the position of the client';
        is_deeply [map { seq($_) } @blocks], [4 .. 16], 'all events of both channels arrive, each once, in order';
        $client->leave;

        # A client resumes after its last block.
        my $back = twice($server, $blocks[4]{id}, pause => 0);
        is_deeply [map { seq($_) } (wait_for_events($back, 14))[1 .. 14]], [9 .. 22],
            'a client that was cut off receives the rest';
        $back->leave;

        my $pushed = twice($server, $ids[2], push => 1, more => 1, channels => 'b,a');
        my @pushed = wait_for_events($pushed, 25 + 1);
        my ($at)   = grep { ($pushed[$_]{data} || '') eq 'pushed' } 0 .. $#pushed;
        is seq($pushed[0]), 3, 'the position arrives before the pushed event' or diag explain \@pushed;
        ok defined $at && $at > 0, 'the pushed event arrives before the handler returns';
        my @numbers = map { seq($_) } grep { defined $_->{id} && defined $_->{data} } @pushed;
        is_deeply \@numbers, [4 .. 28], 'every event arrives once, in order';
        $pushed->leave;
    };
}

done_testing;

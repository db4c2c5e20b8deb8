# The streams of other implementations, through a proxy that cuts them: better-sse on Node, and axum.

use lib qw(t/lib bench/peers/lib bench/streams/lib);
use Testing;
use EventSource::Client;
use Peer;
use Testing::CuttableProxy;
use Testing::ControlledProcess qw(output_of);
use Testing::Developer         qw(needs);
use Testing::Node              qw(packages_missing);

my $EVENTS = 20;

# Reads events of a peer until one with that id has come, as data.
sub ids_of {
    my ($client, $last) = @_;
    my @ids;
    while (!@ids || $ids[-1] != $last) {
        my $event = $client->next(10) or last;
        push @ids, $event->{id};
    }
    return \@ids;
}

for my $name ('better-sse', 'axum') {
    subtest $name => sub {
        needs(packages_missing('bench/peers/better-sse')) if $name eq 'better-sse';
        my $class   = Peer->class_of($name);
        my $install = $class->install_with;
        output_of(@$install) if $class->missing;
        needs($class->missing);
        my $peer  = Peer->start($name, room => 1000);
        my $proxy = Testing::CuttableProxy->start($peer->port);
        my @errors;
        my $client = EventSource::Client->new(
            url      => $proxy->url('/events'),
            retry    => 1,
            on_error => sub { push @errors, $_[1]->code }
        );
        is $client->next(1), undef, 'a stream without an event yet' while $client->state ne 'open' && !@errors;
        $peer->push(rounds => $EVENTS, interval => 0, bytes => 100);
        is_deeply ids_of($client, $EVENTS), [1 .. $EVENTS], 'each event comes once';
        $proxy->cut('reset');
        is $client->next(0.1), undef, 'no event comes' while !@errors;
        is_deeply [@errors, $client->state], ['unavailable', 'connecting'], 'a cut is an error';
        wait_until(sub { $client->next(0.1); $client->state eq 'open' });
        $peer->push(rounds => $EVENTS, interval => 0, bytes => 100);
        is_deeply ids_of($client, 2 * $EVENTS), [$EVENTS + 1 .. 2 * $EVENTS], 'it has connected again';
        $client->close;
        $peer->stop;
    };
}

done_testing;

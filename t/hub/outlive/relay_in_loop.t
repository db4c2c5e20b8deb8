# Streams behind a filter of the body on servers with an event loop. The server sends what a handler has pushed when its client
# reads. A process takes the stream over when that is done, and the hub is there. Until then the worker serves others, and
# buffers nothing of the hub.

use lib 't/lib';
use Testing          qw(Outlive=Twiggy);
use Testing::Process qw(descriptors_of memory_of);
use Testing::SlowReader;
use Testing::Subscriber qw(events);

my $MEMORY = 60;    # megabytes; 5 clients are published 80 MB each

sub has_relays {
    my ($self, $count) = @_;
    return wait_until($DEADLINE, sub { $self->relays == $count });
}

sub has_subscribers {
    my ($self, $count) = @_;
    return wait_until($DEADLINE, sub { $self->hub->subscribers('news') == $count });
}

# The numbers of pushed and the texts of published events.
sub received {
    my $client = shift;
    return [map { /\A([0-9]+) x/ ? $1 : $_ } grep { length && $_ ne 'more' } map { $_->{data} } events($client->text)];
}

# Publishes events, and more until the filter has let them through.
sub publishes {
    my ($self, $client, @data) = @_;
    my $hub = $self->hub;
    my ($last) = reverse map { $hub->publish(news => $_) } @data;
    return wait_until($DEADLINE,
        sub { $hub->publish(news => 'more'); return $client->read_until(qr/^id: \Q$last\E\r?\n\r?\n/m, 0.2) });
}

for my $name (Testing::Server->tested('Twiggy', 'Feersum')) {
    subtest $name => sub {
        my $self = Testing::Outlive->start($name, workers => 1, env => {HUB_AUTOSTART => 0});
        my $port = $self->{server}->port;
        my (undef, $pid) = $self->ask('/plain');

        my $client = Testing::Client->get($port, '/late?3');
        ok $client->read_until(qr/^data: 2/m), "a stream begins while the hub process is away";
        $self->start_hub(60);
        ok has_subscribers($self, 1),           'it is subscribed when the process is there';
        ok publishes($self, $client, 'a', 'b'), 'its client reads';
        ok has_relays($self, 1),                'a process has taken it';
        is_deeply received($client), [1 .. 3, 'a', 'b'], 'it has everything once and in order';
        $client->leave;
        ok has_subscribers($self, 0), 'it leaves';

        my $slow = Testing::SlowReader->get($port, '/late?200');
        ok has_subscribers($self, 1), 'a client is subscribed that reads nothing';
        is + ($self->ask('/plain'))[0], 'plain', 'the server answers others';
        is $self->relays,               0, 'no process takes the stream before the server has sent what was pushed';
        ok publishes($self, $slow, 'a', 'b'), 'the client reads';
        is_deeply received($slow), [1 .. 200, 'a', 'b'], 'it has everything once and in order';
        ok has_relays($self, 1), 'a process has taken the stream';
        $slow->leave;
        ok has_subscribers($self, 0), 'it leaves';
        unlike $self->{server}->log, qr/occupies its worker/, 'no process has failed';

        my ($descriptors, $memory) = (descriptors_of($pid), (memory_of($pid))[1]);
        my @never = map { Testing::SlowReader->get($port, '/pushed?50') } 1 .. 5;
        ok has_subscribers($self, 5), 'clients that never read are subscribed';
        my $hub = $self->hub;
        $hub->publish(news => 'x' x 100_000) for 1 .. 800;
        ok has_subscribers($self, 0), 'the hub ends their streams';
        ok wait_until($DEADLINE, sub { $self->ask('/plain'); descriptors_of($pid) <= $descriptors }),
            'the server has closed their connections';
        cmp_ok + (memory_of($pid))[1] - $memory, '<', $MEMORY,
            'it has buffered what was pushed, and nothing that was published';
        $_->leave for @never;

        my $unread = Testing::SlowReader->get($port, '/unread?50');
        ok has_subscribers($self, 1), 'a client that never reads is subscribed to a quiet hub';
        ok has_subscribers($self, 0), 'its stream ends';
        ok wait_until($DEADLINE, sub { my ($reasons) = $self->ask("/reasons?$pid"); $reasons =~ /timeout/ }),
            'the reason is the timeout';
        ok wait_until($DEADLINE, sub { $self->ask('/plain'); descriptors_of($pid) <= $descriptors }),
            'the server has closed its connection';
        $unread->leave;
        $self->end;
    };
}

done_testing;

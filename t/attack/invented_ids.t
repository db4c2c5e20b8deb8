# Attack: a client invents an id. It must receive no more than the history of the channels that it may subscribe to.

use lib 't/lib';
use Testing qw(native);
use EventSource::Hub;
use Testing::Subscriber;

my $BEYOND = 12;    # events, more than the history of a channel holds

# A hub whose channels open and secret have more events than their history holds.
sub hub {
    my $hub = EventSource::Hub->new(history => {events => 5}, @_);
    for my $number (1 .. $BEYOND) { $hub->publish($_ => "$_ $number") for qw(open secret) }
    return $hub;
}

# Returns the data of what a client receives up to an event that is published now.
sub received {
    my ($hub, %option) = @_;
    my $subscriber = Testing::Subscriber->open($hub, 'open', {%option});
    $hub->publish(open => 'end');
    my @data;
    $subscriber->client->read_until(qr/^data: end\n(?:.+\n)*\n/m) or fail 'the last event arrives';
    return [map { $_->{data} } grep { defined $_->{data} } Testing::Subscriber::blocks($subscriber->client->text)];
}

subtest 'the first id of an epoch gives what start oldest gives, and a gap' => sub {
    my $hub    = hub();
    my $oldest = received($hub, start => 'oldest');
    is_deeply $oldest, [(map { "open $_" } 8 .. 12), 'end'], 'start oldest gives the history';
    my $fresh    = hub();
    my $invented = received($fresh, last_event_id => $fresh->epoch . '-0');
    is_deeply $invented, ['{"reason":"evicted"}', @$oldest], 'the id gives the same after a gap';
};

subtest 'an invented id never gives more than the history' => sub {
    for my $position ('-1', '-9', '--1', '-00', '-0-18446744073709551615') {
        my $hub = hub();
        my $got = received($hub, last_event_id => $hub->epoch . $position);
        is_deeply [grep { /\Aopen/ } @$got], [
            grep {
                my $seen = $_;
                grep { $_ eq $seen } @$got
            } map { "open $_" } 8 .. 12
            ],
            "$position: only the history of the channel";
        is_deeply [grep { /secret/ } @$got], [], "$position: nothing of another channel";
    }
};

done_testing;

# EventSource::XS->stats counts streams, events and bytes exactly.

use lib 't/lib';
use Testing qw(native);
use EventSource::XS;
use Testing::StreamPair;

my $HEAD = 71;    # bytes of the head that StreamPair sends

my %ZERO = (
    buffered => 0,
    bytes    => 0,
    closed   => {map { ($_ => 0) } qw(client slow timeout error server application)},
    events   => 0,
    lost     => 0,
    native   => 0,
    open     => 0,
    opened   => 0,
    refused  => 0,
);

# All but the counts that depend on the machine.
sub counted {
    my $stats = EventSource::XS->stats;
    delete @$stats{qw(wakeups longest_delay)};
    return $stats;
}

# Waits until the counts have grown by this since the last call, and makes a test of it.
my $before = \%ZERO;

sub counts_ok {
    my ($what, %more) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my %closed =
        (%{$before->{closed}}, map { ($_ => $before->{closed}{$_} + $more{closed}{$_}) } keys %{$more{closed}});
    my %expected = (%$before, map { ($_ => $before->{$_} + $more{$_}) } grep { $_ ne 'closed' } keys %more);
    $expected{closed} = \%closed;
    my $is_so = sub { eq_hash(counted(), \%expected) };
    wait_until($is_so);
    is_deeply counted(), \%expected, $what;
    $before = counted();
    return;
}

is_deeply counted(), \%ZERO, 'all is zero before there is a stream';

my ($stream, $client) = Testing::StreamPair->open;
ok $client->read_head, 'the head arrives';
counts_ok('an open stream is counted', open => 1, native => 1, opened => 1, bytes => $HEAD);

$stream->write("data: $_\n\n") for 1 .. 9;
ok $client->read_until(qr/data: 9\n\n/), 'nine events arrive';
counts_ok('nine events are counted', events => 9, bytes => 9 * 9);

$stream->write('');
counts_ok('an empty write is not counted');

ok $stream->write('x' x (16 * 1_048_576)), 'an event larger than max_buffered is accepted if nothing is buffered';
ok wait_until(sub { EventSource::XS->stats->{bytes} > $before->{bytes} }), 'a part of the large event is sent';
my $stats = EventSource::XS->stats;
is $stats->{buffered} + $stats->{bytes} - $before->{bytes}, 16 * 1_048_576, 'the rest of the large event is buffered';
is $stats->{buffered}, $stream->buffered, 'buffered of the stream equals that of the process';
ok !$stream->write("data: too much\n\n"),                 'a further event is refused';
ok wait_until(sub { !EventSource::XS->stats->{native} }), 'the refused event ends the stream';
$stats = EventSource::XS->stats;
is $stats->{buffered},     0, 'no byte is buffered after the end';
is $stats->{lost},         1, 'the large event is lost';
is $stats->{closed}{slow}, 1, 'the stream counts as closed for slow';
is $stream->buffered,      0, 'buffered of the ended stream is 0';
$before = counted();

for my $end (
    [client      => sub { $_[1]->leave }],
    [application => sub { $_[0]->close }],
    [error       => sub { $_[0]->close('error') }]
) {
    my ($why,  $act)    = @$end;
    my ($next, $reader) = Testing::StreamPair->open;
    $reader->read_head;
    $act->($next, $reader);
    counts_ok("an end by $why is counted", opened => 1, bytes => $HEAD, closed => {$why => 1});
}

my ($first, $one)  = Testing::StreamPair->open;
my ($extra, $many) = Testing::StreamPair->open(max_streams => 1);
ok $many->read_all, 'a stream beyond max_streams ends';
my $told = length $many->body;
counts_ok 'a stream beyond max_streams counts as refused',
    open    => 1,
    native  => 1,
    opened  => 2,
    refused => 1,
    bytes   => 2 * $HEAD + $told,
    closed  => {server => 1};

my ($patient, $stalled) = Testing::StreamPair->open(timeout => 0.2);
$patient->write('x' x (16 * 1_048_576));
ok wait_until(sub { EventSource::XS->stats->{closed}{timeout} == 1 }),
    'a stream whose client reads nothing counts as closed by timeout';
is(EventSource::XS->stats->{lost}, $before->{lost} + 1, 'the event of the timed-out stream is lost');
ok(EventSource::XS->stats->{wakeups},           'wakeups of the reactor are counted');
ok(EventSource::XS->stats->{longest_delay} > 0, 'the longest delay of the reactor is measured');

done_testing;

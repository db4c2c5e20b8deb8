# What EventSource::XS->stats counts is what has happened.

use strict;
use warnings;

use lib 't/lib';
use Testing::Deadline qw(wait_until);
use EventSource::XS;
use Test::More;
BEGIN { plan skip_all => 'there is no native writer on this system' if !EventSource::XS->can('_next_end') }
use Testing::StreamPair;

my $DEADLINE = 10;    # seconds; for what should happen at once
my $HEAD     = 71;    # bytes of the head that StreamPair sends

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

# What has been counted since the last call, when it comes to this.
my $before = \%ZERO;

sub counts_ok {
    my ($what, %more) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my %closed =
        (%{$before->{closed}}, map { ($_ => $before->{closed}{$_} + $more{closed}{$_}) } keys %{$more{closed}});
    my %expected = (%$before, map { ($_ => $before->{$_} + $more{$_}) } grep { $_ ne 'closed' } keys %more);
    $expected{closed} = \%closed;
    my $is_so = sub { eq_hash(counted(), \%expected) };
    wait_until($DEADLINE, $is_so);
    is_deeply counted(), \%expected, $what;
    $before = counted();
    return;
}

is_deeply counted(), \%ZERO, 'all is zero before there is a stream';

my ($stream, $client) = Testing::StreamPair->open;
ok $client->read_head, 'a head';
counts_ok('an open stream', open => 1, native => 1, opened => 1, bytes => $HEAD);

$stream->write("data: $_\n\n") for 1 .. 9;
ok $client->read_until(qr/data: 9\n\n/), 'nine events';
counts_ok('nine events', events => 9, bytes => 9 * 9);

$stream->write('');
counts_ok('an empty write is none');

ok $stream->write('x' x (16 * 1_048_576)), 'an event that is larger than what may wait, alone';
ok wait_until($DEADLINE, sub { EventSource::XS->stats->{bytes} > $before->{bytes} }), 'of which some is sent';
my $stats = EventSource::XS->stats;
is $stats->{buffered} + $stats->{bytes} - $before->{bytes}, 16 * 1_048_576,    'the rest waits';
is $stats->{buffered},                                      $stream->buffered, 'on this stream';
ok !$stream->write("data: too much\n\n"),                            'one more is too much';
ok wait_until($DEADLINE, sub { !EventSource::XS->stats->{native} }), 'and ends it';
$stats = EventSource::XS->stats;
is $stats->{buffered},     0, 'nothing waits';
is $stats->{lost},         1, 'one event is lost';
is $stats->{closed}{slow}, 1, 'for being slow';
is $stream->buffered,      0, 'nor on this stream';
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
    counts_ok("an end by $why", opened => 1, bytes => $HEAD, closed => {$why => 1});
}

my ($first, $one)  = Testing::StreamPair->open;
my ($extra, $many) = Testing::StreamPair->open(max_streams => 1);
ok $many->read_all, 'one too many is ended';
my $told = length $many->body;
counts_ok(
    'one too many is refused',
    open    => 1,
    native  => 1,
    opened  => 2,
    refused => 1,
    bytes   => 2 * $HEAD + $told,
    closed  => {server => 1}
);

my ($patient, $stalled) = Testing::StreamPair->open(timeout => 0.2);
$patient->write('x' x (16 * 1_048_576));
ok wait_until($DEADLINE, sub { EventSource::XS->stats->{closed}{timeout} == 1 }), 'one that takes nothing is timed out';
is(EventSource::XS->stats->{lost}, $before->{lost} + 1, 'and what it was sent is lost');
ok(EventSource::XS->stats->{wakeups},           'the thread was woken');
ok(EventSource::XS->stats->{longest_delay} > 0, 'and was busy for a time');

done_testing;

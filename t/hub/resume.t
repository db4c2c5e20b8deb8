# The resume point of a stream for each kind of last event ID, valid or not.

use lib 't/lib';
use Testing qw(native);
use EventSource::Hub;
use Testing::Subscriber qw(blocks events);
use Testing::HubServer;
use Test::EventSource;

my $hub = EventSource::Hub->new(keep_history => {events => 3});
my $e   = $hub->epoch;
my $all = EventSource::Hub->new;
$hub->publish(a => "a$_")                            for 1 .. 5;    # 1 to 5, of which 3 to 5 are retained
$hub->publish(b => {id => "mine $_", data => "b$_"}) for 1 .. 2;    # 6 and 7
$hub->publish(c => 'c1');                                           # 8, of a channel without subscribers

# The last event ID of a client, the reason of the gap that it receives, if any, and the events of a and b that it
# receives. An id of the application says no epoch.
my @ALL  = qw(a3 a4 a5 b1 b2);
my $MOST = '18446744073709551615';
my @IDS  = (
    ['no id'                                                       => undef,            undef],
    ['an empty id'                                                 => '',               undef],
    ['the newest id'                                               => "$e-8",           undef],
    ['the newest id of its channels'                               => "$e-7",           undef],
    ['the id before that'                                          => "$e-6",           undef, 'b2'],
    ['an id of the application'                                    => 'mine 1',         'unknown'],
    ['the last id of the other channel'                            => "$e-5",           undef,     qw(b1 b2)],
    ['the last evicted id'                                         => "$e-2",           undef,     @ALL],
    ['an id before the last evicted one'                           => "$e-1",           'evicted', @ALL],
    ['the first position'                                          => "$e-0",           'evicted', @ALL],
    ['a position that reports the gap'                             => "$e-1-2",         undef,     @ALL],
    ['a position that reports a gap of all events'                 => "$e-1-8",         undef,     @ALL],
    ['a position that reports a gap of more events than there are' => "$e-1-$MOST",     undef,     @ALL],
    ['a position that asks for a gap'                              => "$e-5-0",         'unknown', qw(b1 b2)],
    ['an id ahead of the newest'     => "$e-9",                                         'unknown'],
    ['an id far ahead of the newest' => "$e-$MOST",                                     'unknown'],
    ['an id above 64 bits'           => "$e-18446744073709551616",                      'unknown'],
    ['an id of 1,000 digits'         => "$e-" . '9' x 1_000,                            'unknown'],
    ['a negative number'             => "$e--1",                                        'unknown'],
    ['a number with a sign'          => "$e-+1",                                        'unknown'],
    ['a fraction'                    => "$e-1.5",                                       'unknown'],
    ['a hexadecimal one'             => "$e-0x1",                                       'unknown'],
    ['digits of another script'      => "$e-\x{0661}",                                  'unknown'],
    ['an epoch and a dash'           => "$e-",                                          'unknown'],
    ['an epoch alone'                => $e,                                             'unknown'],
    ['three numbers'                 => "$e-1-2-3",                                     'unknown'],
    ['an id with a space at its end' => "$e-1 ",                                        'unknown'],
    ['another epoch'                 => '00000000-1',                                   'unknown'],
    ['the id of another hub'         => $all->epoch . '-0',                             'unknown'],
    ['an epoch in capitals'          => "\U$e-1",                                       'unknown'],
    ['a number alone'                => '1',                                            'unknown'],
    ['0'                             => '0',                                            'unknown'],
    ['a word'                        => 'mine',                                         'unknown'],
    ['a star'                        => '*',                                            'unknown'],
    ['bytes that are not UTF-8'      => "\xFF\xFE\x80",                                 'unknown'],
    ['control characters'            => join('', map { chr } 1 .. 9, 11, 12, 14 .. 31), 'unknown'],
    ['characters'                    => "\x{1F600}",                                    'unknown'],
    ['a megabyte'                    => 'x' x 1_048_576,                                'unknown'],
    ['lines'                         => "$e-1\n\ndata: x\n\n",                          'unknown'],
);

sub begun { return Testing::Subscriber->open($hub, 'a', 'b', {defined $_[0] ? (last_event_id => $_[0]) : ()}) }

# The reasons of the gaps among blocks.
sub told {
    return map { $_->{data} =~ /\A\{"reason":"(\w+)"\}\z/ ? $1 : $_->{data} } grep { ($_->{event} // '') eq 'gap' } @_;
}

sub data {
    return map { $_->{data} } grep { defined $_->{data} && !defined $_->{event} } @_;
}

my $gaps = 0;
for my $row (@IDS) {
    my ($what, $id, $gap, @data) = @$row;
    subtest "after $what" => sub {
        my @blocks = begun($id)->close;
        like $blocks[0]{id}, qr/\A$e-[0-9]+(?:-[0-9]+)?\z/, 'the stream begins with its position';
        is_deeply [keys %{$blocks[0]}], ['id'], 'the first block is a position';
        is_deeply [told(@blocks)], [defined $gap ? $gap : ()],
            defined $gap ? 'the stream has one gap' : 'the stream has no gap';
        is_deeply [data(@blocks)], \@data, 'the stream has the missed events';
        is_deeply [map { defined $_->{data} ? 1 : () } @blocks], [map { 1 } @data, defined $gap ? 1 : ()],
            'the stream has no other events';
        $gaps += defined $gap;

  # The connection breaks after each of the blocks in turn. The id of the hub follows one of the application in the same
  # bytes.
        for my $break (grep { $blocks[$_ - 1]{id} !~ /\Amine/ } 1 .. @blocks) {
            my @first = @blocks[0 .. $break - 1];
            my @rest  = begun($first[-1]{id})->close;
            my @both  = (@first, @rest);
            is_deeply [data(@both)], \@data, "a stream that breaks after block $break loses and repeats no event";
            is_deeply [told(@both)], [defined $gap ? $gap : ()],
                "a stream that breaks after block $break has its gap once";
            $gaps += () = told(@rest);
        }
    };
}
is $hub->stats->{gaps}, $gaps, 'the hub counts all gaps';

subtest 'start says where a stream without an id begins' => sub {
    for my $row (['latest'], ['oldest', qw(a3 a4 a5 b1 b2)], [-1, 'b2'], [-3, qw(a5 b1 b2)],
        [-100, qw(a3 a4 a5 b1 b2)],) {
        my ($start, @data) = @$row;
        my @blocks = Testing::Subscriber->open($hub, 'a', 'b', {start => $start})->close;
        is_deeply [data(@blocks)], \@data, "a stream with start => '$start' has the events of the history from there";
        is_deeply [told(@blocks)], [],     'a stream without an id has no gap';
    }
    my $some = EventSource::Hub->new(start => -3);
    $some->publish($_ % 2 ? 'a' : 'b', $_) for 1 .. 10;
    is_deeply [Testing::Subscriber->open($some, 'a', 'b')->data(3)], [8 .. 10],
        'a negative start counts the events of all channels of a stream together';
    is_deeply [Testing::Subscriber->open($some, 'a')->data(3)], [5, 7, 9],
        'a negative start counts the events of a single channel';
    is_deeply [Testing::Subscriber->open($some, 'a', 'b', {start => -100})->data(10)], [1 .. 10],
        'a negative start above the history gives the whole history';
    is_deeply [Testing::Subscriber->open($some, EventSource::Hub->pattern('*'), 'a', {start => -2})->data(2)], [9, 10],
        'a negative start counts an event of two topics once';
    my $after = Testing::Subscriber->open($some, 'a', 'b', {start => -100, after => $some->epoch . '-9'});
    is_deeply [$after->data(1)], [10], 'an id has precedence over start';
    $after =
        Testing::Subscriber->open($some, 'a',
        {after => undef, start => 'latest', last_event_id => $some->epoch . '-0'});
    $some->publish(a => 11);
    is_deeply [$after->data(1)], [11], 'the option after has precedence over the id of the client';
};

subtest 'a stream subscribes to channels one after the other' => sub {
    my $later = EventSource::Hub->new;
    $later->publish($_ => "$_ 1") for 'a', 'b', 'c';
    my $subscriber = Testing::Subscriber->open($later, 'a', {last_event_id => $later->epoch . '-0'});
    is_deeply [$subscriber->data(1)], ['a 1'], 'the first channel resumes after the id of the client';
    $later->subscribe($subscriber->conn, 'b');
    $later->publish($_ => "$_ 2") for 'c', 'b', 'a';
    is_deeply [$subscriber->data(3)], ['a 1', 'b 2', 'a 2'], 'a later channel begins with the next event';
    is $subscriber->last_id, $later->epoch . '-6', 'one id is the position in all channels';
    my $again = Testing::Subscriber->open($later, 'a', 'b', {last_event_id => $later->epoch . '-1'});
    is_deeply [$again->data(3)], ['b 1', 'b 2', 'a 2'],
        'a client that comes back has all of the channels of its new stream';
};

subtest 'a last event ID in the header or in the query' => sub {
    my $server = Testing::HubServer->start('HTTP::Server::PSGI');
    my @given  = $server->publish(channel => 'a', count => 5);
    $server->ask('/event', channel => 'a', id => "gr\xC3\xBCn & 1%", data => 'named');
    $server->publish(channel => 'a', from => 7);
    my $ends = 0;
    for my $row (
        ['the header'                               => {id                => $given[4]},          2],
        ['the header, with one of the application'  => {id                => "gr\xC3\xBCn & 1%"}, 0, 'unknown'],
        ['last_event_id'                            => {last_event_id     => $given[3]},          3],
        ['lastEventId'                              => {lastEventId       => $given[3]},          3],
        ['evs_last_event_id'                        => {evs_last_event_id => $given[3]},          3],
        ['one with special characters'              => {lastEventId       => "gr\xC3\xBCn & 1%"}, 0, 'unknown'],
        ['the header before the query'              => {id            => $given[4], lastEventId       => $given[0]}, 2],
        ['the query, if the header is empty'        => {id            => '',        lastEventId       => $given[4]}, 2],
        ['the first of the query that is not empty' => {last_event_id => '',        evs_last_event_id => $given[4]}, 2],
        ['neither, if both are empty'               => {id            => '',        lastEventId       => ''},        0],
        ['bytes that are not UTF-8 in the query'    => {lastEventId   => "\xFF\xFE"},  0, 'unknown'],
        ['bytes that are not UTF-8 in the header'   => {id            => "\xFF\xFE"},  0, 'unknown'],
        ['a long one'                               => {id            => 'x' x 8_000}, 0, 'unknown'],
        ['one of spaces'                            => {lastEventId   => '  '},        0, 'unknown'],
    ) {
        my ($what, $asks, $count, $gap) = @$row;
        my $end    = 'end' . ++$ends;
        my $client = $server->stream('/hub', channels => "a,$end", %$asks);
        $server->ask('/event', channel => $end, data => "end of $what");
        ok $client->read_until(qr/^data: end of \Q$what\E\n(?:id: .*\n)?\n/m), $what;
        my @blocks = blocks($client->text);
        is_deeply [told(@blocks)], [$gap ? $gap : ()],
            $gap ? "$what: the stream has a gap" : "$what: the stream has no gap";
        my @data = grep { !/\Aend/ } data(@blocks);
        is scalar @data, $count, "$what: the stream has $count events" or diag explain \@blocks;
    }
    is $server->stats->{resumed}, 13, 'the hub counts the streams with an id as resumed';
};

# A page that is rendered first takes the id, then its data, and its stream begins after the id.
for my $kind ('in one process', 'with opaque ids', Testing->has_named_hubs ? 'named' : ()) {
    my %setting = (keep_history => {events => 2}, $kind =~ /opaque/ ? (opaque_ids => 1) : ());
    my $hub     = $kind eq 'named' ? Test::EventSource->private_hub(%setting) : EventSource::Hub->new(%setting);
    my $es      = Test::EventSource->new(app => $hub->to_app(channels => sub { return qw(a b) }, position => 'none'));
    for my $before ([], [qw(a b a b a b c)]) {
        my $name = "$kind, " . (@$before ? 'after evicted events' : 'before the first event');
        $hub->publish($_ => 'old') for @$before;
        my $id = $hub->last_id;
        $hub->publish($_ => "new $_") for qw(b a);
        my $stream = $es->get('/', headers => ['Last-Event-ID' => $id]);
        is_deeply [map { $stream->next_event->{data} } 1, 2], ['new b', 'new a'],
            "$name: last_id is the place to begin";
        $hub->publish(a => 'end');
        is $stream->next_event->{data}, 'end', "$name: and nothing else follows";
    }
}

done_testing;

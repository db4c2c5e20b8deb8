# Where a stream goes on, by what its client says that it has received; whatever that is.

use strict;
use warnings;

use lib 't/lib';
use EventSource::XS;
use Test::More;
BEGIN { plan skip_all => 'there are no hubs on this system' if !EventSource::XS->can('_next_end') }
use Testing::Deadline qw(wait_until);
use EventSource::Hub;
use Testing::Subscriber qw(blocks events wait_for_events);
use Testing::HubServer  qw(path);

my $hub = EventSource::Hub->new(history => {events => 3});
my $e   = $hub->epoch;
my $all = EventSource::Hub->new;
$hub->publish(a => "a$_")                            for 1 .. 5;    # places 1 to 5, of which 3 to 5 are left
$hub->publish(b => {id => "mine $_", data => "b$_"}) for 1 .. 2;    # 6 and 7
$hub->publish(c => 'c1');                                           # 8, of a channel that nobody of these follows

# What a client has said, whether it is told of a gap and which, and what it gets of a and b.
my @ALL  = qw(a3 a4 a5 b1 b2);
my $MOST = '18446744073709551615';
my @IDS  = (
    ['nothing'                       => undef,                                          undef],
    ['an empty id'                   => '',                                             undef],
    ['the newest'                    => "$e-8",                                         undef],
    ['the newest of what it follows' => "$e-7",                                         undef],
    ['one before'                    => "$e-6",                                         undef, 'b2'],
    ['one that the application gave' => 'mine 1',                                       undef, 'b2'],
    ['the last of these'             => 'mine 2',                                       undef],
    ['the last before the other'     => "$e-5",                                         undef,       qw(b1 b2)],
    ['the last that is forgotten'    => "$e-2",                                         undef,       @ALL],
    ['one before that'               => "$e-1",                                         'forgotten', @ALL],
    ['the first position'            => "$e-0",                                         'forgotten', @ALL],
    ['one that was told of it'       => "$e-1-2",                                       undef,       @ALL],
    ['one that was told of all'      => "$e-1-8",                                       undef,       @ALL],
    ['one that was told of more'     => "$e-1-$MOST",                                   undef,       @ALL],
    ['one to be told'                => "$e-5-0",                                       'unknown',   qw(b1 b2)],
    ['one ahead'                     => "$e-9",                                         'unknown'],
    ['one far ahead'                 => "$e-$MOST",                                     'unknown'],
    ['one beyond numbers'            => "$e-18446744073709551616",                      'unknown'],
    ['a long number'                 => "$e-" . '9' x 1_000,                            'unknown'],
    ['a negative one'                => "$e--1",                                        'unknown'],
    ['a signed one'                  => "$e-+1",                                        'unknown'],
    ['a fraction'                    => "$e-1.5",                                       'unknown'],
    ['a hexadecimal one'             => "$e-0x1",                                       'unknown'],
    ['digits of another script'      => "$e-\x{0661}",                                  'unknown'],
    ['no number'                     => "$e-",                                          'unknown'],
    ['an epoch alone'                => $e,                                             'unknown'],
    ['three numbers'                 => "$e-1-2-3",                                     'unknown'],
    ['a space behind'                => "$e-1 ",                                        'unknown'],
    ['another epoch'                 => '00000000-1',                                   'unknown'],
    ['the id of another hub'         => $all->epoch . '-0',                             'unknown'],
    ['an epoch in capitals'          => "\U$e-1",                                       'unknown'],
    ['a number alone'                => '1',                                            'unknown'],
    ['0'                             => '0',                                            'unknown'],
    ['a word'                        => 'mine',                                         'unknown'],
    ['a star'                        => '*',                                            'unknown'],
    ['bytes that are no UTF-8'       => "\xFF\xFE\x80",                                 'unknown'],
    ['control characters'            => join('', map { chr } 1 .. 9, 11, 12, 14 .. 31), 'unknown'],
    ['characters'                    => "\x{1F600}",                                    'unknown'],
    ['a megabyte'                    => 'x' x 1_048_576,                                'unknown'],
    ['lines'                         => "$e-1\n\ndata: x\n\n",                          'unknown'],
);

# All that comes of what was published until now.
sub all_of {
    my $follower = shift;
    $hub->unsubscribe($follower->conn);
    $follower->conn->push('end');
    $follower->client->read_until(qr/^data: end\r\n\r\n/m) or fail 'it comes to its end';
    return grep { ($_->{data} // '') ne 'end' } blocks($follower->client->text);
}

sub begun { return Testing::Subscriber->open($hub, 'a', 'b', {defined $_[0] ? (last_event_id => $_[0]) : ()}) }

# The reasons of gaps, and the events.
sub told {
    return map { $_->{data} =~ /\A\{"reason":"(\w+)"\}\z/ ? $1 : $_->{data} } grep { ($_->{event} // '') eq 'gap' } @_;
}

sub data {
    return map { $_->{data} } grep { defined $_->{data} && !defined $_->{event} } @_;
}

my $gaps  = 0;
my $moved = 0;
for my $row (@IDS) {
    my ($what, $id, $gap, @data) = @$row;
    subtest "after $what" => sub {
        my @blocks = all_of(begun($id));
        like $blocks[0]{id}, qr/\A$e-[0-9]+(?:-[0-9]+)?\z/, 'it begins with its position';
        is_deeply [keys %{$blocks[0]}], ['id'],                'and nothing else';
        is_deeply [told(@blocks)], [defined $gap ? $gap : ()], defined $gap ? 'is told of a gap' : 'is told of none';
        is_deeply [data(@blocks)], \@data,                     'and gets what it has missed';
        is_deeply [map { defined $_->{data} ? 1 : () } @blocks], [map { 1 } @data, defined $gap ? 1 : ()],
            'and nothing else';
        $gaps += defined $gap;

        # Wherever its connection breaks, it misses nothing, gets nothing twice, and is told once.
        for my $break (1 .. @blocks) {
            my @first = @blocks[0 .. $break - 1];
            my @rest  = all_of(begun($first[-1]{id}));
            my @both  = (@first, @rest);
            is_deeply [data(@both)], \@data,                     "a break after block $break loses nothing";
            is_deeply [told(@both)], [defined $gap ? $gap : ()], 'and it is told once';
            $gaps += () = told(@rest);
        }
    };
}
is $hub->stats->{gaps}, $gaps, 'gaps are counted';

subtest 'where a stream begins' => sub {
    for my $row (['newest'], ['oldest', qw(a3 a4 a5 b1 b2)], [-1, 'b2'], [-3, qw(a5 b1 b2)],
        [-100, qw(a3 a4 a5 b1 b2)],) {
        my ($start, @data) = @$row;
        my @blocks = all_of(Testing::Subscriber->open($hub, 'a', 'b', {start => $start}));
        is_deeply [data(@blocks)], \@data, "with start => '$start'";
        is_deeply [told(@blocks)], [],     'who was never here has missed nothing';
    }
    my $some = EventSource::Hub->new(start => -3);
    $some->publish($_ % 2 ? 'a' : 'b', $_) for 1 .. 10;
    is_deeply [Testing::Subscriber->open($some, 'a', 'b')->data(3)], [8 .. 10], 'the last of all channels together';
    is_deeply [Testing::Subscriber->open($some, 'a')->data(3)], [5, 7, 9], 'or of the one';
    is_deeply [Testing::Subscriber->open($some, 'a', 'b', {start => -100})->data(10)], [1 .. 10],
        'or as many as there are';
    is_deeply [Testing::Subscriber->open($some, EventSource::Hub->pattern('*'), 'a', {start => -2})->data(2)], [9, 10],
        'each once';
    my $after = Testing::Subscriber->open($some, 'a', 'b', {start => -100, after => $some->epoch . '-9'});
    is_deeply [$after->data(1)], [10], 'an id counts more';
    $after =
        Testing::Subscriber->open($some, 'a',
        {after => undef, start => 'newest', last_event_id => $some->epoch . '-0'});
    $some->publish(a => 11);
    is_deeply [$after->data(1)], [11], 'options count more than what the client has said';
};

subtest 'a channel that is followed later' => sub {
    my $later = EventSource::Hub->new;
    $later->publish($_ => "$_ 1") for 'a', 'b', 'c';
    my $follower = Testing::Subscriber->open($later, 'a', {last_event_id => $later->epoch . '-0'});
    is_deeply [$follower->data(1)], ['a 1'], 'it resumes one';
    $later->subscribe($follower->conn, 'b');
    is_deeply [$follower->data(2)], ['a 1', 'b 1'], 'then the other';
    $later->subscribe($follower->conn, 'c', {after => undef});
    $later->publish($_ => "$_ 2") for 'c', 'b', 'a';
    is_deeply [$follower->data(5)], ['a 1', 'b 1', 'c 2', 'b 2', 'a 2'], 'and one from now on';
    is $follower->last_id, $later->epoch . '-6', 'one id is its place in all';
};

subtest 'a server' => sub {
    my $server = Testing::HubServer->start('HTTP::Server::PSGI');
    my @given  = $server->publish(channel => 'a', count => 5);
    my $named  = $server->ask('/event', channel => 'a', id => "gr\xC3\xBCn & 1%", data => 'named');
    $server->publish(channel => 'a', from => 7);
    my $ends = 0;
    for my $row (
        ['the header'                               => {id                => $given[4]},          2],
        ['the header, as bytes of UTF-8'            => {id                => "gr\xC3\xBCn & 1%"}, 1],
        ['last_event_id'                            => {last_event_id     => $given[3]},          3],
        ['lastEventId'                              => {lastEventId       => $given[3]},          3],
        ['evs_last_event_id'                        => {evs_last_event_id => $given[3]},          3],
        ['one with special characters'              => {lastEventId       => "gr\xC3\xBCn & 1%"}, 1],
        ['the header before the query'              => {id => $given[4], lastEventId => $given[0]},           2],
        ['the query, if the header is empty'        => {id => '', lastEventId => $given[4]},                  2],
        ['the first of the query that is not empty' => {last_event_id => '', evs_last_event_id => $given[4]}, 2],
        ['neither, if both are empty'               => {id => '', lastEventId => ''},                         0],
        ['bytes that are no UTF-8 in the query'     => {lastEventId => "\xFF\xFE"},  0, 'unknown'],
        ['bytes that are no UTF-8 in the header'    => {id          => "\xFF\xFE"},  0, 'unknown'],
        ['a long one'                               => {id          => 'x' x 8_000}, 0, 'unknown'],
        ['one of spaces'                            => {lastEventId => '  '},        0, 'unknown'],
    ) {
        my ($what, $asks, $count, $gap) = @$row;
        my $end    = 'end' . ++$ends;
        my $client = $server->stream('/hub', channels => "a,$end", %$asks);
        $server->ask('/event', channel => $end, data => "end of $what");
        ok $client->read_until(qr/^data: end of \Q$what\E\n(?:id: .*\n)?\n/m), $what;
        my @blocks = blocks($client->text);
        is_deeply [told(@blocks)], [$gap ? $gap : ()], $gap ? 'tells of a gap' : 'tells of none';
        my @data = grep { !/\Aend/ } data(@blocks);
        is scalar @data, $count, "and $count events" or diag explain \@blocks;
        $client->leave;
    }
    is $server->stats->{resumed}, 13, 'those that said something count as resumed';
    $server->stop;
};

done_testing;

# Streams of to_app that begin in each channel as the channel says: with its last events, its state, or with new ones. On
# servers that block and in event loops, on native streams and on the server's writer, for hubs of the process and named ones.

use lib 't/lib';
use Testing qw(native);
use EventSource::Hub;
use EventSource::Hub::Process;
use Test::EventSource;
use Testing::Client;
use Testing::Fork qw(fork_child);
use Testing::Server;
use Testing::Subscriber qw(blocks wait_for_events);

Testing->need('named_hubs');

my $DEADLINE = 20;    # seconds
my $ROUNDS   = 30;
my $test     = $$;

# The blocks that a client has received, when it has so many events: positions as "position", gaps with their reason, and data.
sub seen {
    my ($client, $count) = @_;
    return [
        map {
                  !defined $_->{data}                    ? (defined $_->{id} ? 'position' : ())
                : $_->{data} =~ /"reason":"(\w+)"/       ? "gap $1"
                : $_->{event} && $_->{event} eq 'forget' ? "forget $_->{data}"
                : $_->{data}
        } wait_for_events($client, $count)
    ];
}

# The id that a client would come back with.
sub last_id {
    my @ids = grep { defined } map { $_->{id} } blocks(shift->text);
    return $ids[-1];
}

for my $row (['Twiggy', qw(local named)], ['Starman', 'named']) {
    my ($name, @kinds) = @$row;
    next if Testing::Server->missing($name);
    my $folder = new_folder;
    my %env    = (HUB_FOLDER => "$folder", HUB_LOCAL => $name eq 'Twiggy', EVENTSOURCE_XS_DEBUG => 1);
    my $server = Testing::Server->start($name, 't/data/channel_start.psgi', workers => 3, env => \%env);
    for my $kind (@kinds) {
        my $publish = sub { return $server->ask("/$kind/publish", channel => $_[0], data => $_[1], @_[2 .. $#_]) };
        for my $native (qw(native writer)) {
            my $open = sub {
                my ($path, $id) = @_;
                return Testing::Client->get($server->port, "/$kind/$native/$path",
                    headers => [defined $id ? ('Last-Event-ID' => $id) : ()]);
            };
            my $leaves = sub {
                $_[0]->leave;
                ok wait_until($DEADLINE, sub { $server->ask("/$kind/subscribers", channel => 'plain') == 0 }),
                    'it has left';
            };
            subtest "$name, a hub that is $kind, on the $native" => sub {
                $publish->(room          => "room $_") for 1 .. 3;
                $publish->(plain         => 'plain 1');
                $publish->(people        => "$_->[0] $_->[1]", key => $_->[0]) for ['ann', 1], ['bob', 1], ['ann', 2];
                $publish->('more/people' => 'eve 1', key => 'eve');

                my $client = $open->('stream');
                is_deeply [sort @{seen($client, 5)}[0 .. 4]], [sort 'room 2', 'room 3', 'bob 1', 'ann 2', 'eve 1'],
                    'the last events of one, the state of others, nothing of the third';
                ok $client->read_until(qr/^event: position\n.*?\n\n/ms), 'the state is complete' or diag $client->text;
                $publish->(room   => 'room 4');
                $publish->(plain  => 'plain 2');
                $publish->(people => 'bob 2', key => 'bob');
                my $all = seen($client, 8);
                is_deeply [@$all[-3 .. -1]], ['room 4', 'plain 2', 'bob 2'], 'then comes what is published, in order';
                is grep({ $_ eq 'position' } @$all), 1, 'there was one position';
                my $id = last_id($client);
                $leaves->($client);

                $publish->(people => 'ann 3', key => 'ann');
                $server->ask("/$kind/forget", channel => 'people', key => 'bob');
                $publish->(room  => 'room 5');
                $publish->(plain => 'plain 3');
                $client = $open->('stream', $id);
                is_deeply [grep { $_ ne 'position' } @{seen($client, 4)}], ['ann 3', 'forget bob', 'room 5', 'plain 3'],
                    'a client that comes back receives what it has missed of all, once and in order';
                $id = last_id($client);
                $leaves->($client);

                $publish->(room   => "room $_") for 6 .. 11;
                $publish->(people => 'bob 3', key => 'bob');
                $client = $open->('stream', $id);
                my @gap = grep { $_ ne 'position' } @{seen($client, 8)};
                is shift @gap, 'gap evicted', 'one that has missed too much of one channel receives a gap';
                is_deeply [sort @gap], [sort 'ann 3', 'bob 3', 'eve 1', map { "room $_" } 8 .. 11],
                    'then the state of the others, and what is left of that one';
                $leaves->($client);

                $client = $open->('stream', 'of-no-hub-1');
                my @unknown = grep { $_ ne 'position' } @{seen($client, 6)};
                is shift @unknown, 'gap unknown', 'an id of no hub: a gap';
                is_deeply [sort @unknown], [sort 'ann 3', 'bob 3', 'eve 1', 'room 10', 'room 11'],
                    'then as a client without an id';
                $leaves->($client);
                $server->ask("/$kind/forget", channel => 'people', key => $_) for qw(ann bob);

                $client = $open->('member');
                seen($client, 3);
                my $here = "here//$kind/$native/member";
                ok wait_until($DEADLINE, sub { $server->ask("/$kind/members", channel => $here) == 1 }),
                    'it has its member';
                my $second = $open->('member');
                $second->read_head;
                is $second->status,                               429, 'and counts once for its limit';
                is $server->ask("/$kind/end", label => 'reader'), 1,   'the label is that of one stream';
                ok $client->read_all, 'which ends';
                ok wait_until($DEADLINE, sub { $server->ask("/$kind/members", channel => $here) == 0 }),
                    'the member leaves';
            };
        }
        subtest "$name, a hub that is $kind, while a channel that no stream reads evicts its events" => sub {
            my $noise = fork_child sub {
                my $to      = shift;
                my $process = $kind eq 'named'
                    && EventSource::Hub::Process->connect(name => 'shop', socket => "$folder/shop");
                for (my $count = 0; getppid == $test; $count++) {
                    $process ? $process->publish(noise => 'x') : $publish->(noise => 'x');
                    syswrite $to, '.' if $count == 1;    # the history is full
                }
            }, sub { POSIX::_exit(0) };
            sysread $noise->{from}, my $began, 1_000;
            is $began, '.', 'its history is full';
            my %seen;
            for my $round (1 .. $ROUNDS) {
                my $id;
                for my $what ('new: ', 'again: ') {
                    my @header = defined $id ? ('Last-Event-ID' => $id) : ();
                    my $client = Testing::Client->get($server->port, "/$kind/native/stream", headers => \@header);
                    $client->read_until(qr/^event: position\n.*?\n\n/ms);    # the state is complete
                    $seen{join ' ', $what, sort grep { $_ ne 'position' } @{seen($client, 0)}}++;
                    $id = last_id($client);
                }
            }
            kill KILL => $noise->{pid};
            my $all = join ' ', 'new: ', sort 'room 10', 'room 11', 'eve 1';
            is_deeply \%seen, {$all => $ROUNDS, 'again: ' => $ROUNDS}, 'each stream begins whole, and without a gap';
            waitpid $noise->{pid}, 0;
        };
    }
    $server->stop;
    my %is_so = (native => qr{/native/stream: native stream}, writer => qr{/writer/stream: on the server's writer});
    like $server->log, $is_so{$_}, "there were streams on the $_" for sort keys %is_so;
}

subtest 'a channel that two elements name' => sub {
    for my $row (
        ['the first says where it begins', [['a', {start => -1}],       ['a', {start => 'oldest'}]],         '3'],
        ['whatever the second says',       [['a', {start => 'oldest'}], ['a', {start => -1}]],               '1 2 3'],
        ['a name before a pattern', [['a', {start => -1}], [EventSource::Hub->pattern('*'), {start => -2}]], '3'],
        ['a pattern before a name', [[EventSource::Hub->pattern('*'), {start => -1}], ['a', {start => 'oldest'}]], '3'],
        [
            'two patterns',
            [[EventSource::Hub->pattern('a*'), {start => 'latest'}], [EventSource::Hub->pattern('*'), {start => -3}]],
            ''
        ],
        [
            'a channel that has no start, after a pattern',
            ['b', [EventSource::Hub->pattern('*'), {start => -1}], 'a'],
            '3'
        ],
        ['a channel that has no start, between others', [['b', {start => -9}], 'a', ['a', {start => -1}]], ''],
        ['a pattern that begins with the state', ['a', [EventSource::Hub->pattern('*'), {start => 'state'}]], ''],
    ) {
        my ($what, $channels, $first) = @$row;
        my $hub = EventSource::Hub->new;
        my $es  = Test::EventSource->new(app => $hub->to_app(channels => sub { return @$channels }));
        $hub->publish(a => {data => $_, key => $_, retain => 1}) for 1 .. 3;
        my $stream = $es->get('/');
        $hub->publish(a => 'new');
        my @seen;
        do { push @seen, $stream->next_event->{data} } until $seen[-1] eq 'new';
        is join(' ', grep { length } @seen), join(' ', grep { length } $first, 'new'), $what;
    }
};

done_testing;

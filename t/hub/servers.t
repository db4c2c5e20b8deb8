# A hub keeps its contract on every server: on native streams, on the server's writer, and behind a filter of the body.

use strict;
use warnings;

use lib 't/lib';
use Testing::Developer qw(needs only_developers);
use Testing::Deadline  qw(wait_until);
use Testing::Client;
use EventSource::XS;
use Testing::Subscriber qw(blocks events wait_for_events);
use Testing::HubServer  qw(path);
use Testing::Server;
use Test::More;
BEGIN { plan skip_all => 'there are no hubs on this system' if !EventSource::XS->can('_next_end') }

only_developers();

my $DEADLINE = 10;    # seconds; for what should happen at once

my @SERVERS = ('HTTP::Server::PSGI', 'Starman', 'Starlet', 'Twiggy', 'Feersum', 'uWSGI');

# What each row does with a run: {server}, {path} of its streams, {name}, {is_native}, {epoch}. A row that has a need is left out
# where that is not met: `others`, that the server answers while a stream lives; `leaving`, that a client's leaving is seen;
# `alone`, that it does not.
my @CONTRACT = (
    ['a stream begins with its position, and goes on live' => \&is_live, 'others'],
    ['it is ended by its client'                          => \&is_left, 'others', 'leaving'],
    ['several channels have one order and one id'         => \&has_one_id],
    ['a gap is told'                                      => \&tells_of_gaps],
    ['patterns'                                           => \&has_patterns, 'others'],
    ['where it starts'                                    => \&starts],
    ['replay meets live events under load'                => \&replays_under_load, 'others'],
    ['keepalives are positions'                           => \&keeps_alive],
    ['a handler subscribes, pushes, unsubscribes, closes' => \&is_handled, 'others', 'leaving'],
    ['a stream that the application let go of stays'      => \&is_dropped, 'others', 'leaving'],
    ['large events come whole'                            => \&comes_whole],
    ['answers instead of streams'                         => \&answers],
    ['follow serves until the client leaves'              => \&is_served,     'alone'],
    ['a served stream lives by signals'                   => \&hears_signals, 'alone'],
    ['the server serves on, and holds nothing'            => \&serves_on,     'leaving'],
    ['the hub drains'                                     => \&drains],
);

sub stream {
    my ($run, %query) = @_;
    my $path = delete $query{path} || $run->{path};
    return $run->{server}->stream($path, %query);
}

sub is_live {
    my $run    = shift;
    my $client = stream($run, channels => 'a,b');
    is $client->status,                 200,                                'it is answered';
    is $client->header('Content-Type'), 'text/event-stream; charset=UTF-8', 'with a stream';
    my @ids    = $run->{server}->publish(channel => 'a,b,c', count => 6);
    my @blocks = wait_for_events($client, 4);
    like $blocks[0]{id}, qr/\A$run->{epoch}-[0-9]+\z/, 'its position is first';
    is_deeply [map { $_->{id} } @blocks[1 .. 4]], [@ids[0, 1, 3, 4]], 'then its channels, with their ids';
    is scalar @blocks,                          5, 'and nothing else';
    is $run->{server}->stats->{subscribers}{a}, 1, 'it counts as a subscriber';
    $client->leave;
    return;
}

sub is_left {
    my $run = shift;
    my @two = map { stream($run, channels => 'a') } 1, 2;
    is $run->{server}->stats->{subscribers}{a}, 2, 'two are there';
    $two[0]->leave;
    $run->{server}->stats_ok(sub { $_->{subscribers}{a} == 1 }, 'one leaves, and is not counted any more');
    $run->{server}->publish(channel => 'a', from => 100);
    ok $two[1]->read_until(qr/^data: 100\./m), 'the other goes on';
    $two[1]->leave(reset => 1);
    $run->{server}->stats_ok(sub { $_->{streams} == 0 }, 'and resets');
    return;
}

# What was published in advance.
sub published { my ($run, @more) = @_; return $run->{server}->publish(channel => 'x,y,z', count => 9, @more) }

sub has_one_id {
    my $run    = shift;
    my @ids    = published($run);
    my $client = stream($run, channels => 'x,y', id => $ids[2]);
    my @blocks = wait_for_events($client, 4);
    is_deeply [map { $_->{id} } @blocks],                           [@ids[2, 3, 4, 6, 7]], 'one id resumes two';
    is_deeply [map { $_->{data} =~ /\A([0-9]+)/ } @blocks[1 .. 4]], [4, 5, 7, 8],          'in the order of all';
    $client->leave;
    $client = stream($run, channels => 'z,y', id => $blocks[3]{id});
    @blocks = wait_for_events($client, 2);
    is_deeply [map { $_->{id} } @blocks], [@ids[6, 7, 8]], 'and any others';
    $client->leave;
    return;
}

sub tells_of_gaps {
    my $run = shift;
    published($run, count => 700);
    my $client = stream($run, channels => 'x', id => "$run->{epoch}-0");
    my @blocks = wait_for_events($client, 1);
    is_deeply [map { $_->{event} } grep { defined $_->{data} } @blocks[0 .. 1]], ['gap'],
        'what is forgotten is a gap, first';
    is $blocks[1]{data}, '{"reason":"forgotten"}', 'for that reason';
    $client->leave;
    $client = stream($run, channels => 'x', id => 'nonsense');
    @blocks = wait_for_events($client, 1);
    is_deeply [map { $_->{data} } grep { defined $_->{data} } @blocks], ['{"reason":"unknown"}'],
        'nonsense another, without all history';
    $client->leave;
    return;
}

sub has_patterns {
    my $run    = shift;
    my $client = stream($run, channels => 'n*', patterns => 'p*,**end');
    my @ids    = $run->{server}->publish(channel => 'p1,n,n*,p2,p,the-end', count => 6);
    my @blocks = wait_for_events($client, 5);
    is_deeply [map { $_->{id} } @blocks[1 .. 5]], [sort { $a cmp $b } @ids[0, 2 .. 5]],
        'a pattern is one, a name is none';
    $client->leave;
    return;
}

sub starts {
    my $run    = shift;
    my ($last) = reverse published($run);
    my $client = stream($run, channels => 'z', path => '/oldest');
    my @blocks = wait_for_events($client, 10);
    is $blocks[0]{retry} >= 5 && $blocks[0]{retry} <= 6 ? 'jittered' : $blocks[0]{retry}, 'jittered',
        'retry is before all';
    like $client->body, qr/\A: {2,}/, 'but for the preamble';
    is $client->header('X-Of'), 'hub', 'headers are there';
    like $blocks[1]{id}, qr/\A$run->{epoch}-0-[0-9]+\z/, 'it begins at the beginning';
    is scalar(grep { ($_->{event} // '') eq 'gap' } @blocks), 0, 'which is no gap';
    is_deeply [(map { $_->{id} // () } @blocks[1 .. $#blocks])[-1]], [$last], 'and comes to the newest';
    $client->leave;
    return;
}

sub replays_under_load {
    my $run    = shift;
    my $server = $run->{server};
    my @ids    = $server->publish(channel => 'l,m', count => 100, from => 1);
    my @clients;
    for my $portion (1 .. 10) {
        push @clients, stream($run, channels => 'l,m', id => $ids[9]) if $portion <= 5;
        push @ids,     $server->publish(channel => 'l,m', count => 20, from => 81 + 20 * $portion);
    }
    for my $client (@clients) {
        my @blocks = wait_for_events($client, 290);
        is_deeply [map { $_->{id} } grep { defined $_->{data} } @blocks], [@ids[10 .. 299]],
            'each gets all, once, in order';
    }
    $_->leave for @clients;
    return;
}

sub keeps_alive {
    my $run    = shift;
    my $client = stream($run, channels => 'quiet', path => '/oldest');
    $client->read_until(qr/(?:^id: [^\n]+\n\n.*){3}/ms);
    my @blocks = grep { !defined $_->{retry} } blocks($client->text);
    cmp_ok @blocks + 0, '>=', 3, 'they come';
    is_deeply [map { join ',', keys %$_ } @blocks], [map { 'id' } @blocks], 'and are nothing but ids';
    like $blocks[-1]{id}, qr/\A$run->{epoch}-[0-9]+\z/, 'of the newest place';
    $client->leave;
    return;
}

sub is_handled {
    my $run    = shift;
    my $server = $run->{server};
    my $client = $server->stream($run->{held}, name => 'h', channels => 'a', before => 1);
    is $server->stats->{held}{h}{native}, $run->{is_native}, 'its kind';
    $server->ask('/push', name => 'h', data => "own $_") for 1, 2;
    $server->publish(channel => 'a', from => 1);
    wait_for_events($client, 4);
    is $server->ask('/subscribe', name => 'h', channels => 'b'), 1, 'it may follow more';
    $server->publish(channel => 'a,b', from => 2, count => 2);
    wait_for_events($client, 6);
    $server->ask('/unsubscribe', name => 'h', channels => 'a');
    $server->publish(channel => 'a,b', from => 4, count => 2);
    wait_for_events($client, 7);
    $server->ask('/push', name => 'h', data => 'own 3');
    $server->publish(channel => 'b', from => 6);
    $server->ask('/close', name => 'h');
    ok $client->read_all, 'it ends when it is closed';
    ok $client->complete, 'complete' if $client->header('Transfer-Encoding');
    is_deeply [map { $_->{data} =~ s/\..*//r } events($client->text)],
        ['before', 'own 1', 'own 2', 1, 2, 3, 5, 'own 3', 6],
        'with all that was pushed and published, and that it followed';
    $server->stats_ok(sub { ($_->{why}{h} // '') eq 'application' }, 'on_close is told why');
    my $leaves = $server->stream($run->{held}, name => 'l', channels => 'a');
    $leaves->leave;
    $server->stats_ok(sub { ($_->{why}{l} // '') eq 'client' }, 'or that the client left');
    return;
}

sub is_dropped {
    my $run    = shift;
    my $client = $run->{server}->stream($run->{held}, name => 'd', channels => 'a', dropped => 1);
    $run->{server}->publish(channel => 'a', from => 7);
    ok $client->read_until(qr/^data: 7/m), 'the hub holds it';
    $client->leave;
    $run->{server}->stats_ok(sub { $_->{streams} == 0 }, 'until its client leaves');
    return;
}

sub comes_whole {
    my $run    = shift;
    my @ids    = $run->{server}->publish(channel => 'large', count => 5, bytes => 300_000);
    my $client = stream($run, channels => 'large', id => "$run->{epoch}-0");
    my @blocks = grep { defined $_->{data} && !defined $_->{event} } wait_for_events($client, 5);
    is_deeply [map { length $_->{data} } @blocks], [(300_000) x 5], 'five of them';
    is_deeply [map { $_->{id} } @blocks],          \@ids,           'in order';
    $client->leave;
    return;
}

sub answers {
    my $run  = shift;
    my $port = $run->{server}->port;
    for my $row (
        ['returns', 403, qr/\Ano\z/],
        ['delays',  503, qr/\Alater\z/],
        ['nothing', 404, qr/no such stream/],
        ['croaks',  500, qr//],
        ['empty',   500, qr//],
    ) {
        my ($path, $status, $body) = @$row;
        my $client = Testing::Client->get($port, "/to/$path", http => '1.0');
        $client->read_all;
        my $got = $client->status || 'none';
        $got = 500 if $got eq 'none' && $status == 500;    # some servers just close
        is $got, $status, "what $path";
        like $client->body, $body, 'its body';
    }
    my $client = Testing::Client->get(
        $port, '/hub',
        method  => 'POST',
        headers => ['Content-Length' => 0, Connection => 'close']
    );
    $client->read_all;
    is $client->status, 405, 'POST is not allowed';
    $client = Testing::Client->get($port, path('/to/literal', channel => 'x' x 1_025), http => '1.0');
    $client->read_all;
    isnt $client->status || 500, 200, 'a name that is too long is refused before the stream begins';
    return if $run->{is_alone};
    $client = stream($run, path => '/to/literal', channel => '*');
    my @ids    = $run->{server}->publish(channel => 'a,*', count => 2);
    my @blocks = wait_for_events($client, 1);
    is_deeply [map { $_->{id} } grep { defined $_->{data} } @blocks], [$ids[1]], 'a name from a request is no pattern';
    $client->leave;
    return;
}

sub is_served {
    my $run    = shift;
    my $server = $run->{server};
    my ($id)   = $server->publish(channel => 'f', count => 1);
    for my $path ($run->{path} eq '/hub' ? ('/hub', '/held') : $run->{path}) {
        for my $leaves ([], [reset => 1]) {
            my $client = $server->stream(
                $path,
                name     => 'f',
                channels => 'f',
                follow   => 1,
                $path eq '/hub' ? () : (after => "$run->{epoch}-0"),
                id => "$run->{epoch}-0"
            );
            ok $client->read_until(qr/^id: \Q$id\E\n/m), "$path replays";
            ok !$client->ended,                          'and stays';
            $client->leave(@$leaves);
            is $server->ask('/plain'), 'plain', 'when the client has left the worker is free';
        }
    }
    $server->stats_ok(sub { !$_->{streams} && ($run->{path} ne '/hub' || ($_->{why}{f} // '') eq 'client') },
        'and on_close is told');
    return;
}

sub hears_signals {
    my $run    = shift;
    my $server = $run->{server};
    my $pid    = $server->stats->{pid};
    my $client = stream($run, channels => 'a');
    for my $number (1 .. 3) {
        kill IO => $pid;
        ok $client->read_until(qr/^data: signal $number\n/m), "a signal's handler publishes";
    }
    is_deeply [map { $_->{data} } events($client->text)], [map { "signal $_" } 1 .. 3], 'each once, in order';
    $client->leave;
    return;
}

sub serves_on {
    my $run    = shift;
    my $count  = $run->{is_alone} ? 3 : 20;    # there it takes a second until a leaving is seen
    my $server = $run->{server};
    my $lives  = sub {
        my $client = stream($run, channels => 'a');
        $client->leave;
        $server->stats_ok(sub { !$_->{streams} && !$_->{streams_all}{open} }, 'a stream lives and ends');
    };
    $lives->();
    my $pid         = $server->stats->{pid};
    my $descriptors = sub { scalar(() = glob "/proc/$pid/fd/*") };
    my $before      = $descriptors->();
    $lives->() for 1 .. $count;
    ok wait_until($DEADLINE, sub { $descriptors->() <= $before + 1 }), 'and leaves no descriptor'
        or diag $before, ' ', $descriptors->();
    is $server->ask('/plain'), 'plain', 'the server serves';
    return;
}

sub drains {
    my $run    = shift;
    my $server = $run->{server};
    my $pid    = $server->stats->{pid};
    my $client = stream($run, channels => 'a');
    if ($run->{is_alone}) { kill VTALRM => $pid }
    else                  { $server->ask('/drain', seconds => 0) }
    ok $client->read_all, 'its stream ends';
    my @blocks = blocks($client->text);
    ok $blocks[-1]{retry} >= 2_000 && $blocks[-1]{retry} <= 4_000, 'and is told when to come back'
        or diag explain \@blocks;
    my $late = Testing::Client->get($server->port, path($run->{path}, channels => 'a'));
    ok $late->read_all, 'one that comes later too';
    is $late->status, 200, 'with 200, so that it comes back';
    like $late->text, qr/\Aretry: [0-9]+\r?\n\r?\n\z/, 'and nothing but that';
    is $server->stats->{streams}, 0, 'there are none';
    return;
}

sub run {
    my ($name, $way, %option) = @_;
    my $path      = delete $option{path} || '/hub';
    my $is_loop   = $name =~ /Twiggy|Feersum/;
    my $is_native = $path eq '/hub' && !exists $option{native} ? 1 : 0;
    subtest "$name, $way" => sub {
        needs(Testing::Server->missing($name));
        my $server =
            Testing::HubServer->start($name, %option, settings => {history => {events => 200, bytes => 4_000_000}});
        my $run = {
            server    => $server,
            name      => $name,
            path      => $path,
            is_native => $is_native,
            epoch     => $server->stats->{epoch}
        };
        $run->{held}     = $path eq '/hub' ? '/held' : '/filtered-held';
        $run->{is_alone} = !$is_loop && !$is_native;
        my %meets = (
            others  => !$run->{is_alone},
            alone   => $run->{is_alone},
            leaving => !($name eq 'Feersum' && $path eq '/filtered'),
        );
        for my $row (@CONTRACT) {
            my ($sentence, $check, @needs) = @$row;
            next if grep { !$meets{$_} } @needs;
            subtest $sentence => sub { $check->($run) };
        }
        $server->stop;
    };
    return;
}

for my $name (@ARGV ? @ARGV : @SERVERS) {
    run($name, 'native');
    run($name, 'on its writer', native => 0);
    run($name, 'filtered',      path   => '/filtered');
}

done_testing;

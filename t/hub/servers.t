# The contract of a hub on every server: with native streams, on the server's writer, and behind a filter of the body.

use lib 't/lib';
use Testing         qw(native);
use Testing::Checks qw(check run_checks);
use Testing::Client;
use Testing::Process    qw(descriptors_of);
use Testing::Subscriber qw(blocks events wait_for_events);
use Testing::HubServer  qw(path);
use Testing::Server;
use Testing::SideBySide qw(run_each);

# A run is a hash of server, path, name, is_native, epoch and held. A server meets `others` when it answers while a stream
# lives, `leaving` when it notices that a client leaves, and `alone` when it does not meet `others`.
sub stream {
    my ($run, %query) = @_;
    my $path = delete $query{path} || $run->{path};
    return $run->{server}->stream($path, %query);
}

check 'a stream begins with its position and receives new events', others => sub {
    my $run    = shift;
    my $client = stream($run, channels => 'a,b');
    is $client->status,                 200,                                'the status of a stream is 200';
    is $client->header('Content-Type'), 'text/event-stream; charset=UTF-8', 'the type of a stream is text/event-stream';
    my @ids    = $run->{server}->publish(channel => 'a,b,c', count => 6);
    my @blocks = wait_for_events($client, 4);
    like $blocks[0]{id}, qr/\A$run->{epoch}-[0-9]+\z/, 'the first block is the position';
    is_deeply [map { $_->{id} } @blocks[1 .. 4]], [@ids[0, 1, 3, 4]],
        'the events of the channels arrive with their ids';
    is scalar @blocks,                          5, 'no event of another channel arrives';
    is $run->{server}->stats->{subscribers}{a}, 1, 'the stream is counted as a subscriber';
};

check 'a client that leaves ends its stream', others => leaving => sub {
    my $run = shift;
    my @two = map { stream($run, channels => 'a') } 1, 2;
    is $run->{server}->stats->{subscribers}{a}, 2, 'two streams are counted as subscribers';
    $two[0]->leave;
    $run->{server}->stats_ok(sub { $_->{subscribers}{a} == 1 }, 'a stream whose client has left is not counted');
    $run->{server}->publish(channel => 'a', from => 100);
    ok $two[1]->read_until(qr/^data: 100\./m), 'the other stream receives an event';
    $two[1]->leave(reset => 1);
    $run->{server}
        ->stats_ok(sub { $_->{streams} == 0 }, 'a stream whose client has reset its connection is not counted');
};

# Publishes nine events to three channels, and returns their ids.
sub published { my ($run, @more) = @_; return $run->{server}->publish(channel => 'x,y,z', count => 9, @more) }

check 'several channels have one order and one id' => sub {
    my $run    = shift;
    my @ids    = published($run);
    my $client = stream($run, channels => 'x,y', id => $ids[2]);
    my @blocks = wait_for_events($client, 4);
    is_deeply [map { $_->{id} } @blocks], [@ids[2, 3, 4, 6, 7]], 'one id resumes two channels';
    is_deeply [map { $_->{data} =~ /\A([0-9]+)/ } @blocks[1 .. 4]], [4, 5, 7, 8],
        'the events of two channels arrive in the order of all events';
    $client->leave;
    $client = stream($run, channels => 'z,y', id => $blocks[3]{id});
    @blocks = wait_for_events($client, 2);
    is_deeply [map { $_->{id} } @blocks], [@ids[6, 7, 8]], 'the same id resumes other channels';
};

check 'evicted events and unknown ids give a gap' => sub {
    my $run = shift;
    published($run, count => 700);
    my $client = stream($run, channels => 'x', id => "$run->{epoch}-0");
    my @blocks = wait_for_events($client, 1);
    is_deeply [map { $_->{event} } grep { defined $_->{data} } @blocks[0 .. 1]], ['gap'],
        'a client that missed evicted events receives a gap first';
    is $blocks[1]{data}, '{"reason":"evicted"}', 'the reason of a gap of evicted events is evicted';
    $client->leave;
    $client = stream($run, channels => 'x', id => 'nonsense');
    @blocks = wait_for_events($client, 1);
    is_deeply [map { $_->{data} } grep { defined $_->{data} } @blocks], ['{"reason":"unknown"}'],
        'an unknown id gives a gap with the reason unknown, without the history';
};

check 'a pattern matches channels, a name with a star does not', others => sub {
    my $run    = shift;
    my $client = stream($run, channels => 'n*', patterns => 'p*,**end');
    my @ids    = $run->{server}->publish(channel => 'p1,n,n*,p2,p,the-end', count => 6);
    my @blocks = wait_for_events($client, 5);
    is_deeply [map { $_->{id} } @blocks[1 .. 5]], [sort { $a cmp $b } @ids[0, 2 .. 5]],
        'the events of the patterns and of the literal name arrive';
};

check 'the attributes of an application shape its streams' => sub {
    my $run    = shift;
    my ($last) = reverse published($run);
    my $client = stream($run, channels => 'z', path => '/oldest');
    my @blocks = wait_for_events($client, 10);
    is $blocks[0]{retry} >= 5 && $blocks[0]{retry} <= 6 ? 'jittered' : $blocks[0]{retry}, 'jittered',
        'the first block has the jittered retry';
    like $client->body, qr/\A: {2046}\n:\nkeepalive: 0[.]3\nevent: position\nretry: [56]\ndata: \nid: /,
        'the preamble and the keepalive come before the first block, which is the position with the retry';
    is $client->header('X-Of'), 'hub', 'the response has the headers of the application';
    like $blocks[0]{id}, qr/\A$run->{epoch}-0-[0-9]+\z/,
        'the position with start oldest is the beginning of the history';
    is scalar(grep { ($_->{event} // '') eq 'gap' } @blocks), 0, 'start oldest gives no gap';
    is_deeply [(map { $_->{id} // () } @blocks[1 .. $#blocks])[-1]], [$last], 'start oldest gives the whole history';
};

check 'replay and new events join without loss under load', others => sub {
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
            'each stream receives every event once, in order';
    }
    $_->leave for @clients;
};

check 'keepalives are comments, or positions that have advanced' => sub {
    my $run    = shift;
    my $client = stream($run, channels => 'quiet', path => '/oldest');
    ok $client->read_until(qr/^id: [^\n]+\n\n:\n:\n/m), 'a quiet stream receives comments without a blank line';
    if (!$run->{is_alone}) {
        my $newest = $run->{server}->ask('/event', channel => 'other', data => 'of another channel');
        ok $client->read_until(qr/^:\nevent: position\ndata: \nid: \Q$newest\E\n\n:\n/m),
            'a quiet stream receives its position when that has advanced, once';
    }
};

check 'a handler subscribes, pushes and closes', others => leaving => sub {
    my $run    = shift;
    my $server = $run->{server};
    my $client = $server->stream($run->{held}, name => 'h', channels => 'a', before => 1);
    is $server->stats->{held}{h}{native}, $run->{is_native}, 'the stream is of the expected kind';
    $server->ask('/push', name => 'h', data => "own $_") for 1, 2;
    $server->publish(channel => 'a', from => 1);
    wait_for_events($client, 4);
    $server->publish(channel => 'b', from => 2);
    like $server->ask('/subscribe', name => 'h', channels => 'b', start => 'oldest'),
        qr/\AEventSource::Hub: start is for a stream that has not begun/,
        'a later subscription with a start is refused';
    is $server->ask('/subscribe', name => 'h', channels => 'b'), 1, 'a later subscription succeeds';
    $server->publish(channel => 'a,b', from => 3, count => 2);
    wait_for_events($client, 6);
    $server->ask('/push', name => 'h', data => 'own 3');
    $server->publish(channel => 'b', from => 5);
    $server->ask('/close', name => 'h');
    ok $client->read_all, 'close ends the stream';
    ok $client->complete, 'the chunked response is complete' if $client->header('Transfer-Encoding');
    is_deeply [map { $_->{data} =~ s/\..*//r } events($client->text)],
        ['before', 'own 1', 'own 2', 1, 3, 4, 'own 3', 5],
        'the stream has all pushed events and those of its channels';
    $server->stats_ok(sub { ($_->{why}{h} // '') eq 'application' }, 'on_close has the reason application after close');
    my $leaves = $server->stream($run->{held}, name => 'l', channels => 'a');
    $leaves->leave;
    $server->stats_ok(sub { ($_->{why}{l} // '') eq 'client' }, 'on_close has the reason client after the client left');
};

check 'a stream whose connection was released stays open', others => leaving => sub {
    my $run    = shift;
    my $client = $run->{server}->stream($run->{held}, name => 'd', channels => 'a', dropped => 1);
    $run->{server}->publish(channel => 'a', from => 7);
    ok $client->read_until(qr/^data: 7/m), 'a stream whose connection was released receives an event';
    $client->leave;
    $run->{server}->stats_ok(sub { $_->{streams} == 0 }, 'the stream is not counted when its client has left');
};

check 'large events arrive whole' => sub {
    my $run    = shift;
    my @ids    = $run->{server}->publish(channel => 'large', count => 5, bytes => 300_000);
    my $client = stream($run, channels => 'large', id => "$run->{epoch}-0");
    my @blocks = grep { defined $_->{data} && !defined $_->{event} } wait_for_events($client, 5);
    is_deeply [map { length $_->{data} } @blocks], [(300_000) x 5], 'five large events arrive whole';
    is_deeply [map { $_->{id} } @blocks],          \@ids,           'large events arrive in order';
};

check 'a callback of channels may refuse a request' => sub {
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
        $got = 500 if $got eq 'none' && $status == 500;    # some servers only close the connection
        is $got, $status, "$path: the status of the response";
        like $client->body, $body, "$path: the body of the response";
    }
    is(Testing::Client->post($port, '/hub', '')->status, 405, 'a POST is a 405');
    my $client = Testing::Client->ask($port, path('/to/literal', channel => 'x' x 1_025));
    isnt $client->status || 500, 200, 'a name that is too long is refused before the stream begins';
    return if $run->{is_alone};
    $client = stream($run, path => '/to/literal', channel => '*');
    my @ids    = $run->{server}->publish(channel => 'a,*', count => 2);
    my @blocks = wait_for_events($client, 1);
    is_deeply [map { $_->{id} } grep { defined $_->{data} } @blocks], [$ids[1]],
        'a star in a name from a request is not a pattern';
};

check 'a poll ends as soon as its client has something new' => sub {
    my $run    = shift;
    my $server = $run->{server};
    my $begin  = sub {
        my ($prefer, $id) = @_;
        my @id = defined $id ? ('Last-Event-ID' => $id) : ();
        return Testing::Client->get(
            $server->port,
            path($run->{path}, channels => 'p'),
            headers => [Prefer => $prefer, @id]
        );
    };
    my $answer = sub {
        my $poll = $begin->(@_);
        $poll->read_all;
        return $poll;
    };
    my $poll = $answer->('wait=20; reason=mute, request=one');
    is $poll->status,                       200,                    'the status of a poll is 200';
    is $poll->header('Preference-Applied'), 'wait=20, request=one', 'its head says what was applied, with the token';
    is $poll->header('Incremental'),        undef,                  'it may be held back until it ends';
    like join(', ', $poll->header('Vary')), qr/\bPrefer\b/, 'it varies by what the client prefers';
    ok $poll->complete, 'the response of a poll is complete' if $poll->header('Transfer-Encoding');
    my ($id) = map { $_->{id} // () } blocks($poll->text);
    like $id, qr/\A$run->{epoch}-/, 'a new client is answered with its position at once';

    for my $prefer ('wait=0', 'wait=1') {
        is_deeply [map { $_->{id} // () } blocks($answer->($prefer, $id)->text)], [$id],
            "$prefer: a client that has everything receives no more";
    }
    my @ids = $server->publish(channel => 'p,q', count => 4);
    is_deeply [map { $_->{id} // () } blocks($answer->('wait=20', $id)->text)], [$id, @ids[0, 2]],
        'a client that lacks something receives it at once';
    if (!$run->{is_alone}) {
        my $waits = $begin->('wait=20', $ids[2]);
        $server->stats_ok(sub { $_->{polls}{waiting} == 1 }, 'a poll waits for an event');
        my ($event) = $server->publish(channel => 'p', count => 1);
        ok $waits->read_all, 'which ends it';
        is_deeply [map { $_->{id} // () } blocks($waits->text)], [$ids[2], $event], 'that event is its last one';
    }
    my $stream = stream($run, channels => 'p');
    is $stream->header('Incremental'), '?1', 'a stream is to be forwarded incrementally';
    like $stream->header('Cache-Control'), qr/, no-transform\z/, 'nobody is to compress it on the way';
    is $stream->header('Preference-Applied'), undef, 'nothing was asked of it';
};

check 'serve returns when the client leaves', alone => sub {
    my $run    = shift;
    my $server = $run->{server};
    my ($id)   = $server->publish(channel => 'f', count => 1);
    for my $path ($run->{path} eq '/hub' ? ('/hub', '/held') : $run->{path}) {
        for my $leaves ([], [reset => 1]) {
            my $client = $server->stream(
                $path,
                name     => 'f',
                channels => 'f',
                serve    => 1,
                $path eq '/hub' ? () : (after => "$run->{epoch}-0"),
                id => "$run->{epoch}-0"
            );
            ok $client->read_until(qr/^id: \Q$id\E\r?\n/m), "$path: a served stream replays an event";
            ok !$client->ended,                             '$path: a served stream stays open after replay';
            $client->leave(@$leaves);
            is $server->ask('/plain'), 'plain', 'the worker is free when the client has left';
        }
    }
    $server->stats_ok(sub { !$_->{streams} && ($run->{path} ne '/hub' || ($_->{why}{f} // '') eq 'client') },
        'on_close has the reason client after the client left');
};

check 'a handler of signals publishes while a stream is served', alone => sub {
    my $run    = shift;
    my $server = $run->{server};
    my $pid    = $server->stats->{pid};
    my $client = stream($run, channels => 'a');
    for my $number (1 .. 3) {
        kill IO => $pid;
        ok $client->read_until(qr/^data: signal $number\n/m), "an event of a handler of signals arrives";
    }
    is_deeply [map { $_->{data} } events($client->text)], [map { "signal $_" } 1 .. 3],
        'events of a handler of signals arrive once, in order';
};

check 'ended streams leave a working server without descriptors', leaving => sub {
    my $run    = shift;
    my $count  = $run->{is_alone} ? 3 : 20;    # there it takes a second to notice that a client left
    my $server = $run->{server};
    my $lives  = sub {
        my $client = stream($run, channels => 'a');
        $client->leave;
        $server->stats_ok(sub { !$_->{streams} && !$_->{streams_all}{open} },
            'a stream has ended when its client has left');
    };
    $lives->();
    my $pid    = $server->stats->{pid};
    my $before = descriptors_of($pid);
    $lives->() for 1 .. $count;
    ok wait_until(sub { descriptors_of($pid) <= $before + 1 }), 'ended streams leave no descriptor open'
        or diag $before, ' ', descriptors_of($pid);
    is $server->ask('/plain'), 'plain', 'the server answers a plain request';
};

check 'a hub that drains ends its streams' => sub {
    my $run    = shift;
    my $server = $run->{server};
    my $pid    = $server->stats->{pid};
    my $client = stream($run, channels => 'a');
    if ($run->{is_alone}) { kill VTALRM => $pid }
    else                  { $server->ask('/drain', seconds => 0) }
    ok $client->read_all, 'drain ends the stream';
    my @blocks = blocks($client->text);
    ok $blocks[-1]{retry} >= 2_000 && $blocks[-1]{retry} <= 4_000, 'the drained stream receives a retry'
        or diag explain \@blocks;
    my $late = Testing::Client->get($server->port, path($run->{path}, channels => 'a'));
    ok $late->read_all, 'a stream that begins after drain ends';
    is $late->status, 200, 'a stream that begins after drain has the status 200';
    like $late->text, qr{\Akeepalive: 15\nretry: [0-9]+\n\z},
        'a stream that begins after drain receives nothing but a retry';
    is $server->stats->{streams}, 0, 'the hub counts no stream after drain';
};

sub run {
    my ($name, $way, %option) = @_;
    my $path      = delete $option{path} || '/hub';
    my $is_loop   = $name =~ /Twiggy|Feersum/;
    my $is_native = $path eq '/hub' && !exists $option{native} ? 1 : 0;
    subtest "$name, $way" => sub {
        my $server =
            Testing::HubServer->start($name, %option,
            settings => {keep_history => {events => 200, bytes => 4_000_000}});
        my $run = {
            server    => $server,
            name      => $name,
            path      => $path,
            is_native => $is_native,
            epoch     => $server->stats->{epoch}
        };
        $run->{held}     = $path eq '/hub' ? '/held' : '/filtered-held';
        $run->{is_alone} = !$is_loop && !$is_native;
        my @leaving = $name eq 'Feersum' && $path eq '/filtered' ? () : 'leaving';
        run_checks($run, $run->{is_alone} ? 'alone' : 'others', @leaving);
    };
    return;
}

run_each [Testing::Server->names] => sub {
    my $name = shift;
    run($name, 'native');
    run($name, 'on its writer', native => 0);
    run($name, 'filtered',      path   => '/filtered');
};

done_testing;

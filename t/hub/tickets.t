# Tickets: a client comes back without the application being asked, and is never given what the application has not allowed for
# this request. In one process, and with a named hub.

use lib 't/lib';
use Testing qw(native named_hubs);
use EventSource::Hub;
use File::Temp ();
use Test::EventSource;

# The rights of each user, and how often the application was asked.
my (%topics, $asked);

sub user_of { return ($_[0]{HTTP_COOKIE} || '') =~ /(?:\A|; )session=([a-z]+)/ ? $1 : 'nobody' }

sub app {
    my ($hub, %option) = @_;
    return $hub->to_app(
        channels => sub { $asked++; return @{$topics{user_of($_[0])} || []} },
        label    => sub { return 'user/' . user_of($_[0]) },
        ticket   => 60,
        %option
    );
}

# The Cookie of the next request of a client: its session, and the ticket of a response.
sub cookies {
    my ($stream, @more) = @_;
    my ($ticket) = ($stream->header('Set-Cookie') || '') =~ /\A([^;]+)/;
    return join '; ', @more, defined $ticket ? $ticket : ();
}

# Makes a request, and returns the stream and how often the application was asked.
sub stream_and_asked {
    my ($es, $cookies, $path, @headers) = @_;
    $asked = 0;
    my $stream = $es->get($path || '/events', headers => [defined $cookies ? (Cookie => $cookies) : (), @headers]);
    return ($stream, $asked);
}

sub asked { return (stream_and_asked(@_))[1] }

for my $kind ('in one process', 'named') {
    my %setting = (position => 'id', start => 'oldest');
    my $hub     = $kind eq 'named' ? Test::EventSource->private_hub(%setting) : EventSource::Hub->new(%setting);
    my $es      = Test::EventSource->new(app => app($hub));
    my $name    = $kind eq 'named' ? 'eventsource-ticket-test' : 'eventsource-ticket';
    %topics = (ann => ['news', 'ann'], bob => ['news']);

    subtest "$kind: a client comes back" => sub {
        my ($first, $count) = stream_and_asked($es, 'session=ann');
        is $count, 1, 'the application is asked for the first stream';
        my $header = $first->header('Set-Cookie');
        like $header,
            qr{\A\Q$name\E-[0-9a-f]{8}=[A-Za-z0-9_-]{100,600}; Path=/events; Max-Age=60; HttpOnly; SameSite=Strict; Priority=Low\z},
            'it has a ticket';
        my $id = $hub->publish(ann => 'one');
        $first->like_event({id => $id, data => 'one'});
        $first->close;
        my $cookies = cookies($first, 'session=ann');
        $id = $hub->publish(ann => 'meanwhile');
        (my $again, $count) = stream_and_asked($es, $cookies, '/events', 'Last-Event-ID' => $first->last_event_id);
        is $count,                              0,                                   'and not for the next one';
        is $again->status,                      200,                                 'which is a stream';
        is $again->header('Set-Cookie'),        undef,                               'without a ticket of its own';
        is $again->header('EventSource-Owner'), $first->header('EventSource-Owner'), 'of the same owner';
        $again->like_event({id => $id, data => 'meanwhile'}, 'it has missed nothing');
        $hub->publish(news => 'two');
        $again->like_event('two', 'it has all its channels');
        is asked($es, $cookies, '/events?lastEventId=7'), 0, 'nor with an id in the query';
        is asked($es, $cookies, '/events?eventsource-request=0.5'), 0,
            'nor with the token that a page adds for a cache';
        is asked($es, "z=1; $cookies"), 1, 'with another cookie the application is asked';
        my $stats = $hub->stats->{tickets};
        is_deeply $stats,
            {issued => 2, accepted => 3, expired => 0, limited => 0, too_large => 0, unknown => 1, withdrawn => 0},
            'all is counted';
    };

    subtest "$kind: polls" => sub {
        my ($poll, $count) = stream_and_asked($es, 'session=ann', '/events', Prefer => 'wait=0');
        is_deeply [$count, $poll->header('Preference-Applied')], [1, 'wait=0'], 'a poll asks the application';
        my $cookies = cookies($poll, 'session=ann');
        ok $es->wait_for(sub { $poll->has_ended }), 'it is answered';
        1 while $poll->next_event;
        my $id = $hub->publish(ann => 'for a poll');
        ($poll, $count) =
            stream_and_asked($es, $cookies, '/events', Prefer => 'wait=0', 'Last-Event-ID' => $poll->last_event_id);
        is_deeply [$count, $poll->header('Preference-Applied')], [0, 'wait=0'], 'and the next one does not';
        $poll->like_event({id => $id, data => 'for a poll'});
        ok $es->wait_for(sub { $poll->has_ended }), 'it is answered, too';
        my ($stream) = stream_and_asked($es, $cookies);
        is $stream->header('Preference-Applied'), undef, 'a stream by the ticket of a poll is a stream';
        $hub->publish(ann => 'for a stream');
        1 until $stream->next_event->{data} eq 'for a stream';
        $hub->publish(ann => 'another');
        $stream->like_event('another', 'it stays open');
    };

    subtest "$kind: streams at nested paths" => sub {
        my %stream = map { ($_ => (stream_and_asked($es, 'session=ann', $_))[0]) } '/events', '/events/news',
            '/events/';
        my @tickets = map { cookies($stream{$_}) } sort keys %stream;
        for my $cookies (join('; ', 'session=ann', @tickets), join '; ', reverse(@tickets), 'session=ann') {
            is asked($es, $cookies, $_), 0, "a client comes back to $_ with the tickets of all" for sort keys %stream;
        }
        my $unknown = $hub->stats->{tickets}{unknown};
        is asked($es, "session=ann; $tickets[0]", '/events/news'), 1, 'the ticket of another path is none of this one';
        is $hub->stats->{tickets}{unknown},                        $unknown, 'and not a refused one';
    };

    subtest "$kind: another request" => sub {
        my ($stream) = stream_and_asked($es, 'session=ann', '/events?a=1', Origin => 'https://shop.example');
        my ($ticket, @same) = (cookies($stream), '/events?a=1', Origin => 'https://shop.example');
        my $cookies = cookies($stream, 'session=ann');
        is asked($es, $cookies,               @same), 0, 'the same request';
        is asked($es, "$ticket; session=ann", @same), 0, 'with its cookies in another order';
        for (
            ['another user',        cookies($stream, 'session=bob'), @same],
            ['a user who left',     $ticket,                         @same],
            ['another path',        $cookies,                 '/event?a=1',  @same[1, 2]],
            ['another query',       $cookies,                 '/events?a=2', @same[1, 2]],
            ['no query',            $cookies,                 '/events',     @same[1, 2]],
            ['another origin',      $cookies,                 '/events?a=1', Origin => 'https://evil.example'],
            ['no origin',           $cookies,                 '/events?a=1'],
            ['another host',        $cookies,                 @same, Host          => 'other.example'],
            ['a password',          $cookies,                 @same, Authorization => 'Basic eDp5'],
            ['two tickets',         "$cookies; $ticket",      @same],
            ['half a ticket',       substr($cookies, 0, -50), @same],
            ['more than a ticket',  "${cookies}AAAA",         @same],
            ['a forged ticket',     $cookies =~ s/=[^=]+\z/'=' . 'A' x 200/er,  @same],
            ['an empty ticket',     $cookies =~ s/=[^=]+\z/=/r,                 @same],
            ['a huge ticket',       $cookies =~ s/=[^=]+\z/'=' . 'A' x 6000/er, @same],
            ['a ticket as another', $cookies =~ s/\Q$name\E/$name-x/r,          @same],
            ['a quoted ticket',     $cookies =~ s/=([^=]+)\z/="$1"/r,           @same],
        ) {
            my ($what, @request) = @$_;
            is asked($es, @request), 1, $what;
        }
        for my $at (0 .. 20) {
            my $forged = $cookies;
            substr($forged, -10 * $at - 2, 1) =~ tr/A-Za-z0-9_-/B-ZAb-za1-90_-/;
            is asked($es, $forged, @same), $forged eq $cookies ? 0 : 1, "a character is another: $at";
        }
        $asked = 0;
        my $head = $es->request('HEAD', '/events?a=1', headers => [Cookie => $cookies, @same[1, 2]]);
        is $asked,                      1,     'HEAD asks the application';
        is $head->header('Set-Cookie'), undef, 'and gets no ticket';
        $asked = 0;
        my $content = $es->get('/events?a=1', content => 'b=2', headers => [Cookie => $cookies, @same[1, 2]]);
        is_deeply [$asked, $content->header('Set-Cookie')], [1, undef], 'content asks it, too';
    };

    subtest "$kind: another application of the hub" => sub {
        my ($stream) = stream_and_asked($es, 'session=ann');
        my $cookies = cookies($stream, 'session=ann');
        is asked(Test::EventSource->new(app => app($hub)), $cookies), 0, 'with the same settings';
        for (
            [max_age         => 100],
            [position        => 'none'],
            [start           => 'latest'],
            [max_streams_per => [sub { 'x' }, 7]],
            [ticket          => 61],
            [ticket          => {seconds => 60, cookies => ['session']}],
            [ticket          => undef]
        ) {
            my $other = Test::EventSource->new(app => app($hub, @$_));
            is asked($other, $cookies), 1, "with another $_->[0]";
        }
        my $apart      = EventSource::Hub->new(%setting);
        my $similar    = Test::EventSource->new(app => app($apart));
        my ($of_other) = stream_and_asked($similar, 'session=ann');
        is asked($similar, cookies($of_other, 'session=ann')), 0, 'a hub that is like this one knows its own tickets';
        is asked($similar, $cookies =~ s/\Q$name\E-/eventsource-ticket-/r), 1, 'and no other ones';
    };

    subtest "$kind: a right is withdrawn" => sub {
        for (
            [{label  => 'user/ann'},              1],
            [{label  => 'user/bob'},              0],
            [{topics => 'ann'},                   1],
            [{topics => 'bob'},                   0],
            [{topics => $hub->pattern('a*')},     1],
            [{label  => 'user/ann', finish => 1}, 1],
        ) {
            my ($end, $expected) = @$_;
            my ($stream) = stream_and_asked($es, 'session=ann');
            my $cookies  = cookies($stream, 'session=ann');
            my ($second) = stream_and_asked($es, $cookies);
            $hub->end(%$end);
            is asked($es, $cookies), $expected, "the application is asked after @{[%$end]}" for 1 .. 2;
            if ($expected) {
                $second->ended_ok('a stream by ticket ends') if $second->can('ended_ok');
                local $topics{ann} = [];
                my ($refused) = stream_and_asked($es, $cookies);
                is $refused->status, 404, 'and its answer counts';
            }
        }
        my ($stream) = stream_and_asked($es, 'session=ann');
        is asked($es, cookies($stream, 'session=ann')), 0, 'a ticket that was issued later opens';
    };

    subtest "$kind: a ticket ends" => sub {
        for my $option ([ticket => 0.4], [max_age => 0.4]) {
            my $short    = Test::EventSource->new(app => app($hub, @$option));
            my ($stream) = stream_and_asked($short, 'session=ann');
            my $cookies  = cookies($stream, 'session=ann');
            my ($by_ticket, $count) = stream_and_asked($short, $cookies);
            is $count, 0, "$option->[0]: the client comes back in time";
            ok $short->wait_for(sub { !$by_ticket->is_open }), 'its stream ends with the ticket';
            is asked($short, $cookies), 1, 'and the application is asked';
            ok $stream->is_open, 'the first stream continues' if $option->[0] eq 'ticket';
        }
        ok $hub->stats->{tickets}{expired} >= 2, 'that is counted';
    };

    subtest "$kind: the cookie" => sub {
        my $header = sub {
            my ($path, %env) = @_;
            my %application = map { $_ => delete $env{$_} } grep { /\A[a-z]+\z/ } keys %env;
            my $es          = Test::EventSource->new(app => app($hub, %application), env => \%env);
            return (stream_and_asked($es, 'session=ann', $path))[0]->header('Set-Cookie');
        };
        like $header->('/a%20b/c?d', 'psgi.url_scheme' => 'https'),
            qr{; Path=/a%20b/c; Max-Age=60; HttpOnly; SameSite=Strict; Priority=Low; Secure\z}, 'of a path, by https';
        like $header->('/a', HTTP_X_FORWARDED_PROTO => $_->[0]), $_->[1], "behind a proxy that is asked by $_->[0]"
            for ['https', qr/; Secure\z/], ['HTTPS, http', qr/; Secure\z/], ['http, https', qr/; Priority=Low\z/];
        like $header->('/', ticket => 0.5), qr{; Path=/; Max-Age=1;}, 'of the shortest path';
        is $header->('/a;b'),               undef, 'no cookie can have this path';
        is $header->('/' . 'x' x 1024),     undef, 'nor such a long one';
        is $header->('/', ticket => undef), undef, 'without the option there is none';
        like $header->('/' . 'x' x 1023), qr/x; Max-Age/, 'a path as long as it may be';
        my @warnings;
        local $SIG{__WARN__} = sub { push @warnings, @_ };
        my @lengths = map {
            local $topics{ann} = [map { "channel/$_/" . 'x' x 20 } 1 .. $_];
            length($header->('/events') || '');
        } 1 .. 100;
        my ($most) = sort { $b <=> $a } @lengths;
        ok $most > 1950 && $most <= 2048, "a cookie has at most 2,048 bytes, this one $most";
        is $lengths[99],                                        0,                        'then there is none';
        is scalar(grep { /larger than 2048 bytes/ } @warnings), $kind eq 'named' ? 0 : 1, 'the log says so once';
        ok $hub->stats->{tickets}{too_large} > 10, 'and they are counted';
    };

    subtest "$kind: limits, members and channels with options" => sub {
        my $limited = Test::EventSource->new(
            app => app(
                $hub,
                channels => sub {
                    $asked++;
                    return ('news', ['deep', {start => -2, max_streams_per => [sub { 'deep' }, 3]}]);
                },
                member =>
                    sub { return {id => user_of($_[0]), channel => 'people', json => {n => 1}, leave_after => 0} },
                max_streams_per => [\&user_of, 2],
            )
        );
        $hub->publish(deep => $_) for 1 .. 5;
        my ($stream) = stream_and_asked($limited, 'session=ann');
        my $cookies = cookies($stream, 'session=ann');
        $stream->close;
        ok $limited->wait_for(sub { !$hub->members('people') }), 'the member leaves';
        my @finished = ('/events', 'Last-Event-ID' => 'eventsource-finished');
        is_deeply [map { ref ? $_->status : $_ } stream_and_asked($limited, $cookies, @finished)], [204, 1],
            'a client that has finished asks it, and takes no place'
            for 1 .. 2;
        my ($by_ticket, $count) = stream_and_asked($limited, $cookies);
        is $count, 0, 'the application is not asked';
        is_deeply [map { $_->{id} } $hub->members('people')], ['ann'], 'the member joins by a ticket';
        $hub->update_member(people => 'ann', {json => {n => 2}});
        my @data   = map { $by_ticket->next_event->{data} } 1 .. 2;
        my $second = (stream_and_asked($limited, $cookies))[0];
        is $second->status,                         200, 'a second stream may begin';
        is + ($hub->members('people'))[0]{json}{n}, 2,   'which changes nothing of what was said of the member since';
        my ($third, $third_count) = stream_and_asked($limited, $cookies);
        is_deeply [$third->status, $third_count], [429, 1], 'a third one is refused by the application';
        $second->close;
        ok $limited->wait_for(sub { (stream_and_asked($limited, $cookies))[1] == 0 }, 5), 'until one has left';
        $_->close for $by_ticket, $stream;
        ok $limited->wait_for(sub { !$hub->members('people') }), 'all leave';
        (my $poll, $count) = stream_and_asked($limited, $cookies, '/events', Prefer => 'wait=0');
        is $count, 0, 'a poll by the ticket';
        ok $limited->wait_for(sub { $poll->has_ended }), 'is answered';
        is_deeply [map { $_->{id} } $hub->members('people')], ['ann'], 'with its member, who stays for the next one';
    };

    subtest "$kind: the hub process does not answer" => sub {
        plan skip_all => 'there is none' if $kind ne 'named';
        my ($stream) = stream_and_asked($es, 'session=ann');
        my $cookies  = cookies($stream, 'session=ann');
        my $pid      = $hub->stats->{process}{pid};
        my @warnings;
        local $SIG{__WARN__} = sub { push @warnings, @_ };
        kill STOP => $pid;
        my ($waiting, $count) = stream_and_asked($es, $cookies);
        is_deeply [$count, $waiting->status, $waiting->header('Set-Cookie')], [1, 200, undef],
            'the application is asked, and the stream has no ticket';
        kill CONT => $pid;
        $hub->publish(ann => 'it answers again');
        1 until $waiting->next_event->{data} eq 'it answers again';
        is asked($es, $cookies), 0, 'then the ticket opens';
        is_deeply \@warnings, [], 'nothing is said of its size';
    };

    subtest "$kind: middleware around the application" => sub {
        my @calls;
        my $session = sub {
            my $app = shift;
            return sub {
                my $env = shift;
                push @calls, 'session';
                return $app->({%$env, REMOTE_USER => 'x', HTTP_COOKIE => 'session=ann', 'psgix.session' => {}});
            };
        };
        my %option = (ticket => {seconds => 60, around => $session, cookies => ['id'], headers => ['X-User']});
        my $around = Test::EventSource->new(app => app($hub, %option));
        my ($stream, $count) = stream_and_asked($around, 'id=1; other=2', '/events', 'X-User' => 'ann');
        is_deeply [\@calls, $count, $stream->status], [['session'], 1, 200], 'it runs if the application is asked';
        my $ticket = cookies($stream);
        @calls = ();
        is asked($around, "$ticket; id=1; other=3", '/events', 'X-User' => 'ann'), 0, 'a cookie that does not count';
        is_deeply \@calls, [], 'and not otherwise';
        is asked($around, "$ticket; id=2", '/events', 'X-User' => 'ann'), 1, 'a cookie that counts';
        is asked($around, "$ticket; id=1", '/events', 'X-User' => 'bob'), 1, 'a header that counts';
        is asked($around, "$ticket; id=1"),                               1, 'without the header';
        is scalar @calls,                                                 3, 'then it runs, too';
        my $head = $around->request('HEAD', '/events');
        is_deeply [scalar @calls, $head->code, scalar $head->header('Set-Cookie')], [4, 200, undef], 'for HEAD, too';
    };
}

subtest 'workers of a server that blocks, with native streams and without' => sub {
    plan skip_all => 'needs Starman' if !Test::EventSource->has_server('Starman');
    my $hub  = Test::EventSource->private_hub(name => 'workers');
    my $psgi = File::Temp->new(SUFFIX => '.psgi');
    print {$psgi} <<'APP';
use EventSource::Hub;
use Plack::Builder;
my $hub = EventSource::Hub->new(name => 'workers');
sub app {
    return $hub->to_app(channels => sub { warn "$$ is asked\n"; return ('news', ['more', {start => -1}]) }, ticket => 600, @_);
}
builder {
    mount '/native' => app();
    mount '/relay'  => app(native => 0);
};
APP
    $psgi->flush;
    my $workers = Test::EventSource->new(app => "$psgi", server => 'Starman', workers => 3);
    for my $path ('/native', '/relay') {
        $hub->publish(more => 'before');
        my $stream = $workers->get($path);
        $stream->like_event('before', "$path: a stream");
        my $cookies = cookies($stream);
        my $before  = () = $workers->log =~ /is asked/g;
        for (1 .. 6) {
            my $again = $workers->get($path, headers => [Cookie => $cookies]);
            $again->like_event('before', 'another one, perhaps of another worker');
            $hub->publish(news => 'later');
            $again->like_event('later', 'has all channels');
            $again->close;
        }
        is scalar(() = $workers->log =~ /is asked/g), $before, 'no worker has asked the application';
    }
    unlike $workers->log, qr/ends a worker/, 'no worker says that its streams end with it: the hub process has them';
};

done_testing;

# Test::EventSource with the application in the process of the test.

use lib 't/lib';
use Testing;
use Testing::Developer qw(has_module);
use EventSource::XS;
use Plack::App::EventSource;
use POSIX ();
use Test::EventSource;
use Time::HiRes qw(ITIMER_REAL alarm setitimer sleep time);

# An application that keeps its connections, so that the test can push to them.
my @kept;

sub keeping {
    my %option = @_;
    my $app = Plack::App::EventSource->new(characters => 1, handler_cb => sub { push @kept, $_[0] }, %option)->to_app;
    return Test::EventSource->new(app => $app, timeout => 5);
}

# A plain PSGI application.
sub plain {
    my ($code, %option) = @_;
    my $app = sub {
        my $env = shift;
        return sub { $code->($_[0]->([200, ['Content-Type', 'text/event-stream']]), $env) };
    };
    return Test::EventSource->new(app => $app, timeout => 5, %option);
}

for my $native (1, 0) {
    subtest $native ? 'native streams' : q(streams on the server's writer) => sub {
        @kept = ();
        my $es     = keeping(native => $native);
        my $stream = $es->get('/events');
        is $stream->status,                 200,                                'the response has the status 200';
        is $stream->header('Content-Type'), 'text/event-stream; charset=UTF-8', 'the content type is text/event-stream';
        is !!$kept[0]->is_native,           !!$native, 'the stream is of the kind that was asked for';
        ok $stream->is_open, 'the stream is open after the handler has returned';
        is $stream->next_event(0.05), undef, 'no event is received before a push';

        $kept[0]->push({id => 7, event => 'tick', data => "ein\nÜber"});
        is_deeply $stream->next_event, {id => 7, event => 'tick', data => "ein\nÜber"},
            'an event that the test pushes is received';
        $kept[0]->push($_) for 1 .. 5;
        is_deeply [map { $_->{data} } $stream->events(3)], [1, 2, 3], 'events returns no more events than asked for';
        is_deeply [map { $_->{data} } $stream->events(2)], [4, 5],    'events returns the remaining events';
        is_deeply [map { $_->{data} } $stream->events(9, 0.05)], [],  'events returns nothing after the timeout';
        is $stream->last_event_id, 7, 'the last event ID is kept by events without an ID';
        like $stream->raw, qr/^event: tick\r\n/m, 'raw has the received bytes';

        for my $row (
            [raw           => {comment => 'later'}, qr/^:.*later/m],
            [last_event_id => {id      => 8},       qr/^8$/],
            [retry         => {retry   => 1234},    qr/^1234$/],
        ) {
            my ($method, $pushed, $expected) = @$row;
            $kept[0]->push($pushed);
            ok $es->wait_for(sub { ($stream->$method // '') =~ $expected }), "a test can wait for $method";
        }

        my @told;
        $kept[0]->on_close(sub { push @told, $_[1] });
        $kept[0]->close;
        ok $es->wait_for(sub { $stream->is_complete }), 'a stream that the application closes is complete';
        ok $stream->has_ended,                          'and has ended';
        ok $es->wait_for(sub { @told }),                'on_close is called while the test waits';
        is_deeply \@told, ['application'], 'on_close receives the reason application';

        my $second = $es->get('/events');
        $kept[1]->on_close(sub { push @told, $_[1] });
        $second->close;
        ok !$second->is_open, 'the stream is not open after the test has closed it';
        ok $es->wait_for(sub { $kept[1]->push('x'); @told == 2 }),
            'on_close is called after the test has closed the stream';
        is $told[1], 'client', 'the reason is client';
    };
}

subtest 'two open streams and other requests between' => sub {
    my @streams;
    my $app = sub {
        my $env = shift;
        return [405, ['Content-Type', 'text/plain'], [$env->{REQUEST_METHOD}]] if $env->{PATH_INFO} ne '/publish';
        my $text = do { local $/; readline $env->{'psgi.input'} };
        $_->push($text) for @streams;
        return [200, ['Content-Type', 'text/plain'],
            [join ' ', map { $env->{$_} // '' } qw(CONTENT_TYPE QUERY_STRING)]];
    };
    my $events = Plack::App::EventSource->new(handler_cb => sub { push @streams, $_[0] })->to_app;
    my $es =
        Test::EventSource->new(app => sub { $_[0]{PATH_INFO} eq '/events' ? $events->($_[0]) : $app->($_[0]) });
    my @got      = map { $es->get('/events') } 1, 2;
    my $response = $es->post('/publish?q=1', content => 'hello', headers => ['Content-Type', 'text/x']);
    is $response->code,    200,          'a POST is answered with 200';
    is $response->content, 'text/x q=1', 'the query and the content type were sent';
    $_->like_event('hello') for @got;
    is $es->request('DELETE', '/x')->content, 'DELETE', 'a request may have any method';
    like $es->post('/publish', json => {a => 1})->content, qr{\Aapplication/json}, 'json is sent with its content type';
    $_->like_event({json => {a => 1}}) for @got;
    like $es->post('/publish', form => [a => 'b c'])->content, qr{\Aapplication/x-www-form-urlencoded},
        'form is sent with its content type';
    $_->like_event('a=b+c') for @got;
    my $large = 'x' x 1_000_000;
    $es->post('/publish', content => $large);
    $_->like_event($large, 'an event of 1 MB is received') for @got;
    is $es->post('/events')->code,                405, 'an error status is returned';
    is $es->request('HEAD', '/nowhere')->content, '',  'a response to HEAD has no content';
};

subtest 'a stream in answer to a POST' => sub {
    my $es = plain sub {
        my ($writer, $env) = @_;
        my $asked = do { local $/; readline $env->{'psgi.input'} };
        $writer->write("data: $env->{REQUEST_METHOD} $asked\n\n");
        $writer->close;
    };
    my $stream = $es->stream('POST', '/chat', json => {ask => 'why'});
    $stream->like_event('POST {"ask":"why"}');
    $stream->ends_ok;
};

subtest 'reconnect resumes after the last event that the test has taken' => sub {
    my $app = Plack::App::EventSource->new(
        characters => 1,
        handler_cb => sub {
            my $conn = shift;
            my $from = $conn->last_event_id;
            $conn->push({retry => 1234}) if !defined $from;
            $conn->push({id    => "é$_", data => $_}) for map { $_ + (defined $from ? $from =~ s/\D//gr : 0) } 1 .. 3;
            $conn->close;
        }
    )->to_app;
    my $stream = Test::EventSource->new(app => $app)->get('/');
    $stream->like_event({data => 1, id => 'é1'});
    is $stream->last_event_id, 'é1',    'last_event_id is that of the last event taken, not received';
    is $stream->retry,         1234,    'retry is the reconnection time';
    is $stream->reconnect,     $stream, 'reconnect returns the stream';
    is $stream->last_event_id, 'é1',    'reconnect keeps the last event ID';
    is $stream->retry,         1234,    'reconnect keeps the reconnection time';
    $stream->like_event({data => 2, id => 'é2'}, 'the event after the last ID is received');
    $stream->events(2);
    $stream->reconnect->like_event({data => 5}, 'a second reconnect resumes after the last event too');

    $stream = Test::EventSource->new(app => $app)->get('/', last_event_id => 'é41');
    $stream->like_event({data => 42}, 'last_event_id of get is sent with the first request');
};

subtest 'a block with an ID and no data sets the last event ID' => sub {
    my $es =
        plain(sub { $_[0]->write("id: p\n\ndata: " . ($_[1]{HTTP_LAST_EVENT_ID} // 'none') . "\n\n: c\n\nid: q\n\n") });
    my $stream = $es->get('/');
    is $stream->last_event_id, 'p', 'the ID before the first event counts';
    $stream->like_event({data => 'none', id => 'p'});
    is $stream->last_event_id, 'q',  'the ID after the event counts when the event is taken';
    is $stream->next_comment,  ' c', 'next_comment returns the comment';
    $stream->reconnect->like_event('q');
};

subtest 'the loaded event loop runs while the test waits' => sub {
    my %loop = (
        'AnyEvent'        => 'my $t; $t = AnyEvent->timer(after => 0.1, cb => sub { undef $t; $later->() })',
        'EV'              => 'my $t; $t = EV::timer(0.1, 0, sub { undef $t; $later->() })',
        'Mojo::IOLoop'    => 'Mojo::IOLoop->timer(0.1 => $later)',
        'IO::Async::Loop' => 'IO::Async::Loop->new->watch_time(after => 0.1, code => $later)',
    );
    for my $loop (sort keys %loop) {
    SKIP: {
            skip "$loop is not installed", 1 if !has_module($loop);
            my $text = <<"TEST" =~ s/LOOP/$loop/gr =~ s/TIMER/$loop{$loop}/r;
                use strict; use warnings; use LOOP; use Test::EventSource; use Plack::App::EventSource;
                use Test::More tests => 6;
                for my \$native (1, 0) {
                    my \@told;
                    my \$app = Plack::App::EventSource->new(native => \$native, handler_cb => sub {
                        my \$conn = shift;
                        \$conn->on_close(sub { push \@told, 'told' });
                        my \$later = sub { \$conn->push('later'); \$conn->close };
                        TIMER;
                    })->to_app;
                    my \$es = Test::EventSource->new(app => \$app);
                    my \$stream = \$es->get('/');
                    \$stream->like_event('later');
                    \$stream->ends_ok;
                    ok \$es->wait_for(sub { \@told });
                }
TEST
            open my $run, '-|', $^X, '-Mblib', '-e', $text or die $!;
            my $said = do { local $/; readline $run };
            ok close $run, $loop or diag $said;
        }
    }
};

subtest 'an application that answers later' => sub {
    my $respond;
    my $es = Test::EventSource->new(
        app => sub {
            sub { $respond = shift }
        },
        timeout => 0.2
    );
    ok !eval { $es->get('/'); 1 }, 'get dies if there is no answer in time';
    is $@, "Test::EventSource: GET /: it was not answered in 0.2 seconds at ${\__FILE__} line ${\(__LINE__ - 1)}.\n",
        "the error names the timeout and the caller's line";
    EventSource::XS->later(sub { $respond->([200, [], ['late']]) });
    is $es->get('/')->content, 'late', 'an answer in time is returned';
};

subtest 'a handler that does not return is interrupted' => sub {
    my @diag;
    no warnings 'redefine';
    local *Test::Builder::diag = sub { push @diag, @_[1 .. $#_] };
    my $line;
    my %application = (
        'of a Plack::App::EventSource' => Test::EventSource->new(
            app => Plack::App::EventSource->new(
                handler_cb => sub {
                    my $conn   = shift;
                    my $number = 0;
                    $line = __LINE__ + 1;
                    while (1) { $conn->push(++$number); sleep 0.001 }
                }
            )->to_app
        ),
        'that writes' => plain(
            sub {
                my $number = 0;
                $line = __LINE__ + 1;
                while (1) { $_[0]->write('data: ' . ++$number . "\n\n"); sleep 0.001 }
            }
        ),
        'that catches what interrupts it' => plain(
            sub {
                my $number = 0;
                for (1 .. 2) {
                    eval {
                        $line = __LINE__ + 1;
                        while (1) { $_[0]->write('data: ' . ++$number . "\n\n"); sleep 0.001 }
                    }
                }
            }
        ),
    );
    for my $what (sort keys %application) {
        my $es = $application{$what};
        @diag = ();
        my $stream = $es->get('/', timeout => 0.3);
        $stream->like_event($_) for 1 .. 3;
        ok $stream->has_ended,    'the stream of the interrupted handler has ended';
        ok !$stream->is_complete, 'the stream of the interrupted handler is not complete';
        is $diag[0],
            "Test::EventSource: GET /: its handler was interrupted after 0.3 seconds, at ${\__FILE__} line $line",
            "the diagnostic names the time and the handler's line";
        @diag   = ();
        $stream = $es->get('/', cut_after => 0.2);
        $stream->like_event(1);
        is "@diag", '', 'cut_after suppresses the diagnostic';
    }
    my ($es) = values %application;
    ok $es->wait_for(sub { !EventSource::XS->stats->{native} }), 'no native stream is open at the end';
};

# Most interruptions happen while the client reads what the socket does not hold.
subtest 'a handler that is interrupted while its client reads loses nothing' => sub {
    my $es   = plain(sub { my $number = 0; $_[0]->write('data: ' . ++$number . "\n\n") while 1 });
    my $read = 0;
    for (1 .. 200) {
        my $stream  = eval { $es->get('/', cut_after => 0.02) } or next;     # it may not have come so far
        my @numbers = map { $_->{data} } $stream->events(1_000_000, 0.01);
        is $stream->status, 200, 'the response has the status 200';
        is_deeply \@numbers, [1 .. @numbers], 'the events received are consecutive';
        last if @numbers && ++$read == 20;
    }
    is $read, 20, 'enough interruptions were observed';
};

subtest 'a handler that is interrupted before it has answered' => sub {
    my $line;
    my $es = Test::EventSource->new(
        app => sub {
            $line = __LINE__ + 1;
            while (1) { sleep 0.001 }
        },
        timeout => 0.2
    );
    ok !eval { $es->get('/'); 1 }, 'get dies if the handler has not answered';
    like $@, qr/: GET \/: its handler was interrupted after 0.2 seconds, at \Q${\__FILE__}\E line $line at /,
        'the error names the interruption';
};

subtest q(an alarm of the test's rings after the request) => sub {
    my $es = plain(sub { sleep 0.05; $_[0]->close });
    my @rung;
    local $SIG{ALRM} = sub { push @rung, 'rung' };
    alarm 600;
    $es->get('/');
    ok alarm(0), "an alarm of the test's is still set after the request";
    is "@rung", '', 'an alarm that is not due has not rung';
    for my $seconds (0.1, 0.01) {
        @rung = ();
        alarm $seconds;
        $es->get('/');
        ok $es->wait_for(sub { @rung }), 'an alarm rings when it is due, or at the end';
        is "@rung", 'rung', 'the alarm has rung once';
    }
    setitimer(ITIMER_REAL, 0.01, 0.02);
    $es->get('/');
    ok $es->wait_for(sub { @rung > 2 }), 'an alarm with an interval rings repeatedly';
    alarm 0;
};

subtest 'an application that forks' => sub {
    for my $native (1, 0) {
        my ($child, $line, @told);
        @kept = ();
        pipe my $ended, my $lives or die "pipe: $!";
        my $es = keeping(
            native     => $native,
            handler_cb => sub {
                push @kept, $_[0];
                $_[0]->on_close(sub { push @told, $_[1] });
                defined($child = fork) or die "fork: $!";
                return if $child;
                close $lives;
                readline $ended;
                POSIX::_exit(0);
            },
        );
        my $stream = $es->get('/');
        $kept[0]->push('hello');
        $stream->like_event('hello', 'the stream is open after the application has forked');
        $stream->close;
        ok $es->wait_for(sub { $kept[0]->push('x'); @told }),
            'on_close is called though the child holds the connection';
        is_deeply \@told, ['client'], 'the reason is client';
        is waitpid($child, POSIX::WNOHANG), 0, 'the child is still running';
        close $lives;
        waitpid $child, 0;
    }

    @kept = ();
    my $es     = keeping();
    my $stream = $es->get('/');
    defined(my $child = fork) or die "fork: $!";
    if (!$child) {
        $stream->close;
        undef $stream;
        POSIX::_exit(0);
    }
    waitpid $child, 0;
    $kept[0]->push('still there');
    $stream->like_event('still there', 'a child of the test that closes its copy does not end the stream');
};

subtest "a burst of events that is larger than the socket's buffer" => sub {
    my $es     = plain(sub { $_[0]->write("data: $_ " . 'x' x 1000 . "\n\n") for 1 .. 3000; $_[0]->close });
    my $stream = $es->get('/');
    my @events = $stream->events(3000);
    is scalar @events, 3000, 'all events are received';
    like $events[-1]{data}, qr/\A3000 x/, 'the last event is complete';
    $stream->ends_ok;
};

subtest 'an application that dies before, in and after its answer' => sub {
    my $es       = Test::EventSource->new(app => sub { die "oops\n" });
    my $response = $es->post('/');
    is $response->code,       500, 'a request to an application that dies is answered with 500';
    is $es->get('/')->status, 500, 'a stream of an application that dies has the status 500';
    like $es->log, qr/\Aoops\n/, 'the exception is in the log';

    $es = Test::EventSource->new(
        app => sub {
            sub { die "later\n" }
        }
    );
    ok !eval { $es->get('/'); 1 }, 'get dies if the responder dies';
    my $at = "${\__FILE__} line ${\(__LINE__ - 1)}";
    is $@, "Test::EventSource: GET /: the connection ended without an answer at $at.
The server printed:
later
", 'the error says that there is no answer and shows the log';

    $es = plain(sub { $_[0]->write("data: 1\n\ndata: 2\n"); die "amid\n" });
    my $stream = $es->get('/');
    $stream->like_event(1);
    ok $stream->has_ended, 'the stream ends if the responder dies after the head';
    is $es->log, "amid\n", 'the exception of the responder is in the log';

    $es     = keeping(handler_cb => sub { $_[0]->push('first'); die "handler\n" });
    $stream = $es->get('/');
    $stream->like_event('first');
    ok $stream->has_ended,    'the stream ends if the handler dies';
    ok !$stream->is_complete, 'the stream of a handler that dies is cut off';
    is $es->log, "Plack::App::EventSource: the handler died: handler\n", 'the exception of the handler is in the log';
};

subtest 'the environment is that of a server and a browser' => sub {
    my %seen;
    my $app = sub {
        %seen = (%{$_[0]}, is_socket => defined getsockname $_[0]{'psgix.io'});
        [200, ['Content-Type', 'text/plain'], ['ok']];
    };
    my $es =
        Test::EventSource->new(app => $app, headers => ['X-One' => 1, 'Accept' => 'a/b'], env => {REMOTE_USER => 'me'});
    my $stream = $es->get('/a%20b?c=d', headers => ['X-Two' => 2, 'X-Two' => 3], last_event_id => 'ü');
    my %want   = (
        PATH_INFO           => '/a b',
        QUERY_STRING        => 'c=d',
        SERVER_PROTOCOL     => 'HTTP/1.1',
        HTTP_HOST           => 'localhost',
        HTTP_ACCEPT         => 'a/b',
        HTTP_CACHE_CONTROL  => 'no-cache',
        HTTP_X_ONE          => 1,
        HTTP_X_TWO          => '2, 3',
        HTTP_LAST_EVENT_ID  => "\xC3\xBC",
        REMOTE_ADDR         => '127.0.0.1',
        REMOTE_USER         => 'me',
        'psgi.streaming'    => 1,
        'psgi.nonblocking'  => 1,
        'psgi.multiprocess' => '',
    );
    is_deeply {
        map { ($_ => $seen{$_}) } keys %want
    }, \%want, 'the environment has the expected values';
    ok $seen{is_socket}, 'psgix.io is a socket';
    is $stream->next_event, undef, 'a response that is not an event stream has no events';
    is $stream->content,    'ok',  'a response that is not an event stream has content';
    $es->get('/', http => '1.0');
    is $seen{SERVER_PROTOCOL}, 'HTTP/1.0', 'HTTP/1.0';

    @kept = ();
    my $blocking = Test::EventSource->new(
        app => Plack::App::EventSource->new(handler_cb => sub { $_[0]->push('x') })->to_app,
        env => {'psgi.nonblocking' => 0},
    )->get('/');
    $blocking->like_event('x');
    $blocking->ends_ok(5, 'without psgi.nonblocking a stream ends with its connection');
};

subtest 'an application in a file' => sub {
    my $stream = Test::EventSource->new(app => 't/data/contract.psgi')->get('/one');
    $stream->like_event({data => 'foo'});
    $stream->ends_ok;
};

done_testing;

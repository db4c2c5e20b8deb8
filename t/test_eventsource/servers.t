# Test::EventSource with real servers. They end with the test.

use lib 't/lib';
use Testing;
use Testing::Developer qw(needs);
use File::Temp         ();
use Plack::App::EventSource;
use POSIX ();
use Test::EventSource;
use Testing::Server  qw(subtest_once);
use Testing::Process qw(processes_of_group);
use Time::HiRes      qw(ITIMER_REAL setitimer);

my @kept;
my $events = Plack::App::EventSource->new(
    handler_cb => sub {
        my ($conn, $env) = @_;
        my $from = $conn->last_event_id || 0;
        $conn->push({id => $_, event => 'number', data => $_}) for $from + 1 .. $from + 3;
        $conn->close if $env->{QUERY_STRING} eq 'close';
        push @kept, $conn;
    }
)->to_app;

my $app = sub {
    my $env = shift;
    return $events->($env) if $env->{PATH_INFO} eq '/events';
    return [200, ['Content-Type', 'text/plain'], [$$]] if $env->{PATH_INFO} eq '/pid';
    return [200, ['Content-Type', 'text/plain'], [join ' ', map { $env->{$_} // '' } qw(REQUEST_METHOD OF_TEST)]];
};

for my $server (Testing::Server->tested('HTTP::Server::PSGI', qw(Starman Starlet Twiggy Feersum))) {
    subtest $server => sub {
        needs(Test::EventSource->has_server($server) ? undef : "$server is not installed");
        my %workers = $server =~ /Starman|Starlet|Feersum/ ? (workers => 2) : ();
        my $es      = Test::EventSource->new(app => $app, server => $server, %workers);
        isnt $es->pid, $$, 'the server is another process';
        like $es->url('/x'), qr{\Ahttp://127\.0\.0\.1:[0-9]+/x\z}, 'url has the port';
        my $stream = $es->get('/events?close');
        is $stream->status, 200, 'the response has the status 200';
        $stream->like_event({event => 'number', data => $_, id => $_}) for 1 .. 3;
        $stream->ends_ok;
        my $held = $es->get('/events', http => '1.0');
        is scalar $held->events(3), 3, 'three events are received over HTTP/1.0';
        ok $held->is_open, 'the stream is open';
        $held->no_event(0.1);
        $held->reconnect->like_event({data => 4}, 'the client resumes after the last ID');
        is $es->post('/x', content => 'abc')->content, 'POST ', 'a POST is answered while a stream is open';

        if (%workers) {
            my %pids;
            wait_until(10, sub { $pids{$es->request(GET => '/pid')->content}++; keys %pids == 2 });
            is scalar keys %pids, 2, 'the server has two workers';
        }
        my $group = $es->pid;
        ok scalar processes_of_group($group), "the server's processes run before stop";
        $es->stop;
        is_deeply [processes_of_group($group)], [], 'no process of the server runs after stop';
        ok $held->has_ended,                 'the stream has ended after stop';
        ok !eval { $es->get('/events'); 1 }, 'get dies while the server is stopped';
        like $@, qr/no connection to http:.* line ${\(__LINE__ - 1)}\.$/,
            "the error says that there is no connection, at the caller's line";
        my $url = $es->url;
        $es->start;
        is $es->url, $url, 'the server is started again at the same url';
        $held->reconnect->like_event({data => 5}, 'the client resumes at the restarted server');
        $group = $es->pid;
        undef $es;
        ok scalar processes_of_group($group), 'a stream keeps its server running';
        undef $held;
        undef $stream;
        is_deeply [processes_of_group($group)], [], 'the server ends with its last stream';
    };
}

subtest_once 'a stream that cannot reconnect has ended and reconnects later' => sub {
    my $es     = Test::EventSource->new(app => $app, server => 'HTTP::Server::PSGI', timeout => 60);
    my $stream = $es->get('/events');
    $stream->like_event({data => 1});
    $es->stop;
    for my $time ('once', 'twice') {
        ok !eval { $stream->reconnect; 1 }, "reconnect dies, $time";
        ok !$stream->is_open,               'the stream is not open';
        ok $stream->has_ended,              'the stream has ended';
        ok !$stream->is_complete,           'the stream is not complete';
        is_deeply [$stream->status, $stream->response, $stream->header('Content-Type'), $stream->headers->as_string],
            [undef, undef, undef, ''], 'the stream has neither status nor headers';
        is_deeply [$stream->content, $stream->next_event, $stream->next_comment], ['', undef, undef],
            'the stream has neither content nor events';
        is $stream->last_event_id, 1, 'the last event ID is kept';
    }
    my @diag;
    {
        no warnings 'redefine';
        local *Test::Builder::ok   = sub { return $_[1] };
        local *Test::Builder::diag = sub { push @diag, $_[1]; return };
        ok !$stream->like_event('x') && !$stream->ends_ok && $stream->no_event,
            'tests of the stream fail, except no_event';
    }
    is_deeply \@diag,
        [
        'No event received: the response is not an event stream.',
        'GET /events, not answered, was cut off. Received 0 bytes:',
        'It was cut off.',
        'GET /events, not answered, was cut off. Received 0 bytes:',
        ],
        'the diagnostics say why';
    $es->start;
    $stream->reconnect->like_event({data => 2}, 'the stream reconnects when the server runs again');
};

subtest_once q(an alarm of the test's that dies while it reads loses nothing) => sub {
    my @numbers = 1 .. 30_000;
    my $body    = join '', map { "data: $_\n\n" } @numbers;
    pipe my $wait, my $go or die "pipe: $!";
    my $server = sub {
        return sub {
            my $writer = $_[0]->([200, ['Content-Type', 'text/event-stream']]);
            sysread $wait, my $byte, 1;
            $writer->write($body);
            $writer->close;
        };
    };
    my $stream = Test::EventSource->new(app => $server, server => 'HTTP::Server::PSGI')->get('/');
    syswrite $go, 'x';
    my ($is_reading, $ended, $alarms) = (0, 0, 0);
    local $SIG{ALRM} = sub { die "alarm\n" if $is_reading };
    until ($ended) {
        eval {
            $is_reading = 1;
            setitimer(ITIMER_REAL, 0.003);
            $ended      = $stream->has_ended;
            $is_reading = 0;
            1;
        } or $alarms++;
        $is_reading = 0;
    }
    setitimer(ITIMER_REAL, 0);
    ok $alarms,               'the alarm has interrupted a wait';
    ok $stream->raw eq $body, 'the whole body is received';
    is_deeply [map { $_->{data} } $stream->events(40_000)], \@numbers, 'all events are received';
};

subtest_once 'a server that sends faster than the test reads' => sub {
    my $server = sub {
        return sub {
            my $writer = $_[0]->([200, ['Content-Type', 'text/event-stream']]);
            my $events = "data: 1\n\n" x 1000;
            1 while eval { $writer->write($events); 1 };
        };
    };
    my $stream = Test::EventSource->new(app => $server, server => 'HTTP::Server::PSGI')->get('/');
    $stream->like_event(1);
    ok !$stream->has_ended(0.1), 'has_ended returns at its timeout';
    ok $stream->is_open,         'is_open returns';
};

subtest_once 'an application in a file, with env and server_args' => sub {
    my $file = File::Temp->new(SUFFIX => '.psgi');
    print {$file}
        'warn "loaded\n"; sub { [200, ["Content-Type", "text/plain"], ["$ENV{OF_TEST} $ENV{PLACK_ENV} $$"]] }';
    close $file;
    my $es = Test::EventSource->new(
        app         => $file->filename,
        server      => 'HTTP::Server::PSGI',
        env         => {OF_TEST => 'x'},
        server_args => ['-E', 'special'],
    );
    is $es->post('/')->content, 'x special ' . $es->pid, 'the application runs with its environment and arguments';
    is $es->log,                "loaded\n",              'the log has what the server prints';
};

subtest_once 'processes that a server has forked end with it' => sub {
    my $file = File::Temp->new(SUFFIX => '.psgi');
    print {$file}
        'my $ready; pipe $ready, my $told; if (!fork) { $SIG{TERM} = "IGNORE"; close $told; sleep 60; exit } '
        . 'close $told; readline $ready; sub { [200, [], ["x"]] }';
    close $file;
    my $es    = Test::EventSource->new(app => $file->filename, server => 'HTTP::Server::PSGI');
    my $group = $es->pid;
    is scalar processes_of_group($group), 2, 'the server and its child run';
    undef $es;
    is_deeply [processes_of_group($group)], [], 'the child that ignores TERM ends with the server';
};

subtest_once 'a server that does not start makes new die' => sub {
    my $file = File::Temp->new(SUFFIX => '.psgi');
    print {$file} 'die "no way\n"';
    close $file;
    ok !eval { Test::EventSource->new(app => $file->filename, server => 'HTTP::Server::PSGI'); 1 }, 'new dies';
    my $line = __LINE__ - 1;
    like $@, qr/\ATest::EventSource: HTTP::Server::PSGI ended at [^\n]* line $line\.\nIt printed:\n.*no way/s,
        'the diagnostics say why';
};

subtest_once 'a server that is running already is used by its url' => sub {
    my $es    = Test::EventSource->new(app => $app, server => 'HTTP::Server::PSGI');
    my $other = Test::EventSource->new(url => $es->url . '/');
    $other->get('/events')->like_event('1');
    is $other->post('/x')->content, 'POST ', "a request to the other object's server is answered";
    is $other->pid,                 undef,   'pid is undef for a url';
};

subtest_once 'an application that dies on a server' => sub {
    my $es     = Test::EventSource->new(app => sub { die "oops\n" }, server => 'HTTP::Server::PSGI');
    my $stream = $es->get('/');
    is $stream->status,     500,   'the stream has the status 500';
    is $stream->next_event, undef, 'the response has no events';
    like $es->log, qr/oops/, 'the exception is in the log';
};

subtest_once 'a child of the test neither keeps nor ends its server' => sub {
    my $es = Test::EventSource->new(app => $app, server => 'HTTP::Server::PSGI');
    defined(my $child = fork) or die "fork: $!";
    if (!$child) {
        sleep 600;
        POSIX::_exit(0);
    }
    my $group = $es->pid;
    undef $es;
    is waitpid($child, POSIX::WNOHANG), 0, 'the child still runs when the server has ended';
    is_deeply [processes_of_group($group)], [], 'no process of the server runs';
    kill KILL => $child;
    waitpid $child, 0;
    my $other = Test::EventSource->new(app => $app, server => 'HTTP::Server::PSGI');
    defined($child = fork) or die "fork: $!";

    if (!$child) {
        undef $other;
        POSIX::_exit(0);
    }
    waitpid $child, 0;
    is $other->post('/x')->content, 'POST ', 'the server still answers after a child has freed its object';
};

my $folder = File::Temp->newdir;

# A test that runs as a program of its own. It prints the ids of its servers' processes and then runs the given code.
sub test_that {
    my ($does) = @_;
    my $code = <<"TEST";
        use Test::EventSource; use Plack::App::EventSource; use Test::More;
        my \$app = Plack::App::EventSource->new(handler_cb => sub { push \@main::kept, \$_[0]; \$_[0]->push('x') })->to_app;
        my \$es = Test::EventSource->new(app => \$app, server => 'Starman', workers => 2);
        my \$other = Test::EventSource->new(app => \$app, server => 'HTTP::Server::PSGI');
        my \$stream = \$es->get('/');
        \$stream->next_event;
        print STDERR \$es->pid, ' ', \$other->pid, "\\n";
        $does;
TEST
    my $pid = open my $said, '-|';
    defined $pid or die "fork: $!";
    if (!$pid) {
        open STDERR, '>&', \*STDOUT;
        $ENV{TMPDIR} = $folder;
        exec $^X, '-Mblib', '-e', $code;
    }
    my ($first, $second) = map { /\A([0-9]+) ([0-9]+)$/ ? ($1, $2) : () } scalar readline $said;
    return ($pid, $said, $first, $second);
}

subtest_once 'servers end with a test that ends abnormally' => sub {
    needs(Test::EventSource->has_server('Starman') ? undef : 'Starman is not installed');
    for my $case (
        ['dies'        => 'die qq(oops\n)'],
        ['exits'       => 'exit 3'],
        ['is killed'   => 'sleep 60', 'KILL'],
        ['is ended'    => 'sleep 60', 'TERM'],
        ['is replaced' => 'exec qw(true)'],
        ['fails'       => 'fail; done_testing'],
    ) {
        my ($what, $does, $signal) = @$case;
        my ($pid,  $said, @groups) = test_that($does);
        ok $groups[1], "the servers of a test that $what run" or next;
        kill $signal => $pid if $signal;
        eventually_ok 10, "the servers of a test that $what have ended" => sub {
            !map { processes_of_group($_) } @groups;
        };
        close $said;
    }
};

subtest_once 'servers do not hold connections of the test' => sub {
    my @kept;
    my $es =
        Test::EventSource->new(app => Plack::App::EventSource->new(handler_cb => sub { push @kept, $_[0] })->to_app);
    my @streams = map { $es->get('/') } 1 .. 2;
    my @why;
    $kept[0]->on_close(sub { push @why, $_[1] });
    my $server = Test::EventSource->new(app => $app, server => 'HTTP::Server::PSGI');
    $streams[0]->close;
    ok $es->wait_for(sub { @why }), 'on_close is called when the test closes a stream';
    $kept[1]->close;
    ok $streams[1]->has_ended, 'the test sees the end of a stream that the application closes';
};

done_testing;

# max_streams_per: the streams of a key are bounded before their responses begin, over all workers of a named hub, whatever
# becomes of clients, workers and the hub process.

use lib 't/lib';
use Testing qw(native named_hubs);
use Testing::Client;
use Testing::ControlledProcess qw(output_of);
use Testing::Process           qw(is_running);
use Testing::Server;
use EventSource::Hub;
use EventSource::Hub::Process;
use Plack::App::EventSource::PubSub;
use Test::EventSource;

my $LONG = 'k' x 300;

for my $kind ('in one process', 'named') {
    my %setting = (max_streams_per => [sub { return $_[0]{QUERY_STRING} || undef }, 2]);
    my $hub     = $kind eq 'named' ? Test::EventSource->private_hub(%setting) : EventSource::Hub->new(%setting);
    my %app     = (channels => sub { return 'news' }, origins => 'https://shop.example');
    my $es      = Test::EventSource->new(app => $hub->to_app(%app));
    my @open;    # a stream leaves when nothing holds it
    my $status = sub { my $es = shift; push @open, $es->get(@_); return $open[-1]->status };

    subtest "$kind: the response of a stream too many" => sub {
        my @streams = map { $es->get('/?ann') } 1 .. 2;
        my $refused = $es->get('/?ann', headers => [Origin => 'https://shop.example']);
        is $refused->status,                                429,                         'its status';
        is $refused->header('Content-Type'),                'text/plain; charset=UTF-8', 'its type';
        is $refused->header('Cache-Control'),               'no-store',                  'it is not stored';
        is $refused->header('Access-Control-Allow-Origin'), 'https://shop.example', 'a page of the origin may read it';
        is $refused->header('Access-Control-Expose-Headers'),    'Retry-After',     'and when to come back';
        is $streams[0]->header('Access-Control-Expose-Headers'), undef,             'a stream exposes nothing';
        is $es->get('/?ann', headers => [Origin => 'https://evil.example'])->header('Access-Control-Expose-Headers'),
            undef,
            'a page of another origin reads nothing';
        like $refused->header('Retry-After'), qr/\A(?:[12][0-9]|30)\z/,                     'when to come back';
        like $refused->content,               qr/\AThere are 2 streams of this .+more\n\z/, 'why';
        is $hub->stats->{limited}, 2, 'it is counted';
        is $status->($es, '/?bob'), 200, 'another key has streams of its own';
        is $status->($es, '/'),     200, 'a request without a key has no limit' for 1 .. 3;
        $streams[0]->close;
        ok $es->wait_for(sub { $hub->stats->{streams} == 5 }), 'one of six leaves';
        is $status->($es, '/?ann'), 200, 'another one may come';
        is $status->($es, '/?ann'), 429, 'but no more';
        my $again = Test::EventSource->new(app => $hub->to_app(%app, max_streams_per => [sub { return 'ann' }, 3]));
        is $status->($again, '/'), 200,
            'another application of the hub counts the same streams, up to a limit of its own';
        is $status->($again, '/'), 429, 'and no more';
        is $again->get('/', headers => ['Last-Event-ID' => 'eventsource-finished'])->status, 204,
            'a client that has finished is not asked to come back';
        my $without = Test::EventSource->new(app => $hub->to_app(%app, max_streams_per => undef));
        is $without->get('/?ann')->status, 200, 'an application can be without limit';
    };

    subtest "$kind: keys of any characters and length" => sub {
        my @keys = ("\x{263A}", "\xE9", 'Ã©', "\0", '', $LONG, "${LONG}k");
        my $key;
        my $app     = $hub->to_app(%app, max_streams_per => [sub { return $key }, 1]);
        my $any     = Test::EventSource->new(app => $app);
        my @streams = map { $key = $_; $any->get('/') } @keys;
        is join(' ', map { $_->status } @streams),                     join(' ', (200) x @keys), 'they differ';
        is join(' ', map { $key = $_; $any->get('/')->status } @keys), join(' ', (429) x @keys), 'each is found again';
    };

    subtest "$kind: a callback that fails" => sub {
        for my $code (sub { die "no key\n" }, sub { return [] }) {
            my $failing = Test::EventSource->new(app => $hub->to_app(%app, max_streams_per => [$code, 1]));
            is $failing->get('/')->status, 500, 'the request fails';
        }
    };

    subtest "$kind: a stream whose subscription fails" => sub {
        my $one = Test::EventSource->new(app => $hub->to_app(%app, max_streams_per => [sub { return 'tim' }, 1]));
        {
            no warnings 'redefine';
            local *EventSource::Hub::subscribe_groups = sub { die "no memory\n" };
            is $status->($one, '/'), 200, 'begins, and ends';
        }
        is $status->($one, '/'), 200, 'its place is free';
        is $status->($one, '/'), 429, 'for one other';
    };

    subtest "$kind: nodes" => sub {
        my %option  = (max_streams_per => [sub { return 'node' }, 1], origins => '*');
        my $nodes   = Plack::App::EventSource::PubSub->new(hub => $hub, %option);
        my $es      = Test::EventSource->new(app => $nodes->to_app);
        my @streams = map { $es->get('/news', headers => [Origin => 'https://shop.example']) } 1 .. 2;
        my @status  = map { $_->status } @streams;
        is "@status", '200 429', 'the attribute of PubSub';
        is $streams[1]->header('Access-Control-Expose-Headers'), 'Retry-After',
            'a page of another origin reads when to come back';
    };

    subtest "$kind: by channel" => sub {
        my $user     = sub { return (split /[+]/, $_[0]{QUERY_STRING})[0] || undef };
        my $channels = sub {
            my @names = grep { defined } (split /[+]/, $_[0]{QUERY_STRING})[1 .. 2];
            return ('news', map { [$_, {max_streams_per => [$user, 1]}] } @names);
        };
        my $page = Test::EventSource->new(app => $hub->to_app(channels => $channels, max_streams_per => undef));
        is $status->($page, '/?eve+a'), 200, 'a channel may have one stream of each key';
        my $of_eve = $open[-1];
        is $status->($page, '/?eve+a'),   429, 'another one is refused';
        is $status->($page, '/?dan+a'),   200, 'another key has its own';
        is $status->($page, '/?eve+b'),   200, 'another channel, too';
        is $status->($page, '/?dan+c+a'), 429, 'each channel of a stream counts';
        is $status->($page, '/?dan+c'),   200, 'a stream that one limit refuses has no place of another';
        is $status->($page, '/?+a'),      200, 'a request without a key has no limit' for 1, 2;
        is $status->($page, '/?eve'),     200, 'nor has a stream without such a channel';
        $of_eve->close;
        ok $es->wait_for(sub { $status->($page, '/?eve+a') == 200 }), 'when its stream has left, another one may come';

        my $both = Test::EventSource->new(
            app => $hub->to_app(channels => $channels, max_streams_per => [sub { return 'all streams' }, 1]));
        is $status->($both, '/?zoe+a'), 200, 'a stream that counts twice';
        is $status->($both, '/?zoe+b'), 429, 'the limit of the application counts beside';

        my $same = sub {
            return map {
                ['twice', {max_streams_per => [sub { return 'joe' }, 2]}]
            } 1, 2;
        };
        my $twice = Test::EventSource->new(app => $hub->to_app(channels => $same, max_streams_per => undef));
        is join(' ', map { $status->($twice, '/') } 1 .. 3), '200 200 429', 'a limit that is named twice counts once';

        my $one = sub {
            [$_[0], {max_streams_per => [sub { return 'kim' }, 1]}]
        };
        my @app = map {
            my $topic = $_;
            Test::EventSource->new(app => $hub->to_app(channels => sub { $one->($topic) }, max_streams_per => undef))
        } 'a*', EventSource::Hub->pattern('a*');
        is join(' ', map { $status->($_, '/') } @app, @app), '200 200 429 429',
            'a pattern is not the channel of its text';
    };

    subtest "$kind: labels" => sub {
        my @labels = map { "label$_" } 1 .. 64;
        my $es     = Test::EventSource->new(
            app => $hub->to_app(%app, label => sub { return @labels }, max_streams_per => [sub { return 'l' }, 1]));
        my $stream = $es->get('/');
        ok $es->wait_for(sub { $stream->raw =~ /^id: /m }), 'a stream that is counted may have 64 labels';
        ok !eval { $hub->end(label => "\0=l") },            'a stream cannot be ended by its key';
        is $hub->end(label => 'label64'), 1, 'it ends by its label';
    };
}

subtest 'a hub process that cannot be reached' => sub {
    my $folder = new_folder;
    my $hub    = EventSource::Hub->new(
        name            => 'test',
        socket          => "$folder/hub.sock",
        autostart       => 0,
        publish_timeout => 1,
        max_streams_per => [sub { return 'ann' }, 1]
    );
    local $SIG{__WARN__} = sub { };
    my $es      = Test::EventSource->new(app => $hub->to_app(channels => sub { return 'news' }));
    my @streams = map { $es->get('/') } 1 .. 3;
    is join(' ', map { $_->status } @streams), '200 200 200', 'streams begin without limit';
};

subtest 'a place that is given back while the hub process is stopped' => sub {
    my $hub     = Test::EventSource->private_hub(max_streams_per => [sub { return $_[0]{QUERY_STRING} }, 1]);
    my $app     = $hub->to_app(channels => sub { return 'news' });
    my $pid     = $hub->stats->{process}{pid};
    my $refuses = sub {
        my $response = $app->(@_);
        kill 'STOP', $pid;
        $app->({%{$_[0]}, QUERY_STRING => 'bob'});    # from here on the worker knows that it is away
        undef $response;
        kill 'CONT', $pid;
        return [403, [], []];
    };
    is(Test::EventSource->new(app => $refuses)->get('/?ann')->status, 403, 'a middleware refuses the stream');
    my $es = Test::EventSource->new(app => $app);
    ok $es->wait_for(
        sub {
            eval { $hub->stats }
        }
        ),
        'the hub process continues';
    my @streams = map { $es->get('/?ann') } 1 .. 2;
    is join(' ', map { $_->status } @streams), '200 429', 'there is one place again';
};

Testing::Server->require_or_skip_all('Starman');

# Opens so many streams of a key at once, and returns those that may stay. The others are refused.
sub at_once {
    my ($port, $key, $count) = @_;
    my @clients = map { Testing::Client->get($port, "/?$key") } 1 .. $count;
    my @open;
    for my $client (@clients) {
        $client->read_head;
        if ($client->status == 200) { push @open, $client }
        else                        { is $client->status, 429, 'refused' if $client->status != 429 }
    }
    return @open;
}

sub status_of { my $client = Testing::Client->get(@_); $client->read_head; return $client }

subtest 'a named hub on Starman with four workers' => sub {
    my $folder = new_folder;
    my $socket = "$folder/hub.sock";
    my $server = Testing::Server->start(
        'Starman', 't/data/limits.psgi',
        workers => 4,
        env     => {HUB_SOCKET => $socket, HUB_LIMIT => 20}
    );
    my $port    = $server->port;
    my $first   = Testing::Client->stream($port, '/');                                        # the hub process runs
    my $hub     = EventSource::Hub->new(name => 'test', socket => $socket, autostart => 0);
    my $streams = sub {
        my $count = shift;
        return wait_until($DEADLINE, sub { $hub->stats->{streams} == $count });
    };
    $first->leave;
    ok $streams->(0), 'a stream without a key has left';
    my @open = at_once($port, 'ann', 60);
    is scalar @open, 20, 'of 60 streams at once 20 begin';
    my $is_full = sub {
        my $what = shift;
        return is status_of($port, '/?ann')->status, 429, $what;
    };
    ok $streams->(20), 'they are subscribed';
    $is_full->('the next one is refused');
    my ($left) = splice @open, 3, 1;
    $left->leave;
    ok $streams->(19), 'one leaves';
    push @open, status_of($port, '/?ann');
    is $open[-1]->status, 200, 'one may come';
    ok $streams->(20), 'it is there';
    $is_full->('and no more');

    my $worker = $open[0]->header('X-Worker');
    kill 'KILL', $worker;
    ok wait_until($DEADLINE, sub { !is_running($worker) }), 'a worker is killed';
    is $hub->stats->{streams}, 20, 'its streams stay';
    $is_full->('and count');

    my $before  = $hub->stats->{process};
    my $limited = $hub->stats->{limited};
    kill 'STOP', $before->{pid};
    my @late = at_once($port, 'eve', 60);
    is scalar @late, 60, 'while the hub process does not answer, all streams begin';
    kill 'CONT', $before->{pid};
    ok wait_until($DEADLINE, sub { $hub->stats->{limited} == $limited + 40 }), 'when it answers again, 40 of them end';
    is $hub->stats->{streams}, 40, 'and 20 stay';
    $hub->publish(news => 'now');
    my @ended = grep { !$_->read_until(qr/^data: now$/m) } @late;
    is scalar(grep { $_->ended && $_->text =~ /^retry: [1-3][0-9]{4}$/m } @ended), 40,
        'their clients are told to come back later';
    $_->leave for @late;
    ok $streams->(20), 'the others have left';

    my @upgrade = (EventSource::Hub::Process->program, 'upgrade', '--name', 'test', '--socket', $socket);
    is((output_of(@upgrade))[0], 0, 'the hub process is upgraded');
    is $hub->stats->{streams}, 20, 'the streams stay';
    $is_full->('and count');

    kill 'KILL', $before->{pid};
    is scalar(grep { $_->read_all } @open), 20, 'the streams end with the hub process that is killed';
    my @again;
    eventually_ok $DEADLINE, 'another one counts the streams that come back' => sub {
        push @again, at_once($port, 'ann', 1);
        eval { $hub->stats->{streams} }
    };
    @again = (@again, at_once($port, 'ann', 30));
    ok wait_until($DEADLINE, sub { $hub->stats->{streams} >= 20 }), 'all places are taken';
    $is_full->('then it is full again');
    $_->leave for @again;
};

# A page that is reloaded quickly leaves before its stream is subscribed. If its place were kept for a while, each of these
# would wait for that.
for my $name (Testing::Server->names) {
    my $folder = new_folder;
    my %env    = (HUB_SOCKET => "$folder/hub.sock", HUB_LIMIT => 1);
    my $server = Testing::Server->start($name, 't/data/limits.psgi', workers => 2, env => \%env);
    my $port   = $server->port;
    Testing::Client->stream($port, '/')->leave;    # the hub process runs
    my $came = 0;
    wait_until $DEADLINE, sub {
        Testing::Client->get($port, '/?ann')->leave(reset => $came % 2);
        my $client = status_of($port, '/?ann');
        $came++ if $client->status == 200;
        $client->leave;
        return $came == 20;
    };
    is $came, 20, "$name: clients that leave before they are subscribed leave no place behind";
}

done_testing;

# EventSource::Hub->end and max_age: whoever may not read any more reads nothing that is published then. In one process, and
# with a named hub.

use lib 't/lib';
use Testing qw(native);
use EventSource::Hub;
use Plack::App::EventSource;
use Test::EventSource;

my $FINISHED = 'eventsource-finished';

# An application whose streams have the labels and topics of their queries. `*` stands in a pattern.
sub app {
    my ($hub, %option) = @_;
    my $asked = $option{asked} || sub { };
    return $hub->to_app(
        channels => sub {
            my %query = map { split /=/, $_, 2 } split /&/, $_[0]{QUERY_STRING};
            $asked->(\%query);
            return map { /\*/ ? $hub->pattern($_) : $_ } split /,/, $query{topics};
        },
        label => sub { return $_[0]{QUERY_STRING} =~ /label=([^&]+)/ ? split(/,/, $1) : undef },
        %{$option{app} || {}},
    );
}

sub stream {
    my ($es, $topics, $labels, %option) = @_;
    my $stream = $es->get("/?topics=$topics" . ($labels ? "&label=$labels" : ''), %option);
    $es->wait_for(sub { $stream->raw =~ /^id: /m });
    return $stream;
}

my $round = 0;

# The names of those streams that receive an event of a channel now. The others have ended.
sub readers {
    my ($es, $hub, $channel, %streams) = @_;
    my $data = 'to readers ' . ++$round;
    $hub->publish($channel => $data);
    my %reads;
    $es->wait_for(
        sub {
            for my $name (keys %streams) {
                my $is_open = $streams{$name}->is_open;
                $reads{$name} = index($streams{$name}->raw, $data) >= 0 ? 1 : $is_open ? undef : 0;
            }
            return !grep { !defined } values %reads;
        }
    ) or diag explain \%reads;
    return join ' ', sort grep { $reads{$_} } keys %reads;
}

sub ends_with_retry_ok {
    my ($stream, $what) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    $stream->ends_ok(undef, "$what: the stream ends");
    like $stream->raw, qr/^retry: [0-9]+\n(?:(?:data: ?\n)?(?:id: .*\n)?\n)?\z/m, "$what: its client is sent a retry";
    return;
}

# A stream whose user lost the right between its request and its subscription.
sub withdrawn_ok {
    my ($stream, $hub) = @_;
    ends_with_retry_ok($stream, 'the right was withdrawn before it subscribed');
    $hub->publish(a => 'secret');
    unlike $stream->raw, qr/secret/, 'it is sent nothing';
    $stream->reconnect;
    $hub->publish(a => 'open');
    $stream->like_event('open', 'the next request is a new one') while $stream->is_open && $stream->raw !~ /open/;
    return is $hub->end(label => 'user/7'), 1, 'it can be ended, too';
}

my %BOUNDS = (keep_history => {bytes => 1 << 24}, keep_total_history => {bytes => 1 << 24}, retry => 1);
for my $kind ('in one process', Testing->has_named_hubs ? 'named' : ()) {
    my $hub =
        $kind eq 'named' ? Test::EventSource->private_hub(name => 'test', %BOUNDS) : EventSource::Hub->new(%BOUNDS);
    my $es = Test::EventSource->new(app => app($hub));

    subtest "$kind: labels" => sub {
        my %stream = (
            seven => stream($es, 'a', 'user/7'),
            both  => stream($es, 'a', 'user/7,session/1'),
            eight => stream($es, 'a', 'user/8'),
            none  => stream($es, 'a'),
        );
        is readers($es, $hub, 'a', %stream), 'both eight none seven', 'all read';
        is $hub->end(label => 'session/1'),  1,                       'a label of one stream';
        ends_with_retry_ok($stream{both}, 'a stream with two labels');
        is readers($es, $hub, 'a', %stream),                      'eight none seven', 'the others read on';
        is $hub->end(label => ['user/7', 'user/9', 'session/1']), 1, 'labels, of which two have no stream';
        is $hub->end(label => 'user/7'),                          0, 'once more ends none';
        is readers($es, $hub, 'a', %stream), 'eight none',           'the streams without these labels read on';
        my ($last) = reverse grep { /\S/ } split /^/, $stream{seven}->raw;
        my $id     = $hub->publish(a => 'meanwhile');
        $stream{seven}->events(99, 0.01);
        $stream{seven}->reconnect;
        my ($missed) = reverse $stream{seven}->events(2, 5);
        is $missed->{id}, $id,                          'a client that may come back has missed nothing' or diag $last;
        is $hub->end(label => ['user/7', 'user/8']), 2, 'several';
        is $hub->end(topics => 'a'),                 1, 'the rest';
        is $hub->stats->{streams},                   0, 'the hub counts none';
    };

    subtest "$kind: topics" => sub {
        my %stream = (
            map { ($_->[0] => stream($es, $_->[1])) } ['name', 'o/1'],
            ['two',  'news,o/2'],
            ['star', 'o/*'],
            ['all',  '**'],
            ['deep', 'o/*/x'],
            ['news', 'news']
        );
        is $hub->end(topics => ['o/1']), 3, 'a channel means those that read it by name or by pattern';
        delete @stream{qw(name star all)};
        my $deep = delete $stream{deep};
        is readers($es, $hub, 'news', %stream),         'news two', 'others read on';
        is $hub->end(topics => [$hub->pattern('o/*')]), 1, 'a pattern means those with a channel that it matches';
        ends_with_retry_ok($stream{two}, 'a stream with another channel beside it');
        is $hub->end(topics => [$hub->pattern('o/1/*'), 'none']), 1, 'and those with a pattern that meets it';
        $deep->ends_ok(undef, 'it ends');
        is readers($es, $hub, 'news', %stream),           'news', 'another one reads on';
        is $hub->end(topics => 'o/1', label => 'user/1'), 0,      'nobody is left';
        my $literal = stream($es, 'news');
        is $hub->end(topics => '*'),    0, 'a name with a star is not a pattern';
        is $hub->end(topics => 'news'), 2, 'one topic as a string';
    };

    subtest "$kind: finish" => sub {
        my $stream = stream($es, 'a', 'user/7');
        $hub->publish(a => 'good bye');
        is $hub->end(label => 'user/7', finish => 1), 1, 'one stream';
        $stream->like_event('good bye', 'what was published before is sent');
        $stream->like_event({event => 'finish', data => 'finish', id => $FINISHED}, 'then the end for good');
        $stream->ends_ok(undef, 'it ends');
        is $stream->reconnect->status, 204, 'its client is told to stay away';
    };

    subtest "$kind: a request whose application was asked before" => sub {
        my $ends = 1;
        my $late = Test::EventSource->new(
            app => app($hub, asked => sub { $hub->end(label => 'user/7') if $ends-- == 1; return }));
        my $stream = $late->get('/?topics=a&label=user/7');
        withdrawn_ok($stream, $hub);
    };

    subtest "$kind: a handler that has begun before" => sub {
        my $ends    = 1;
        my $handler = sub {
            my $conn = shift;
            $hub->end(label => 'user/7') if $ends-- == 1;
            $hub->subscribe($conn, 'a', {label => 'user/7'});
        };
        my $late =
            Test::EventSource->new(
            app => Plack::App::EventSource->new(line_end => 'lf', handler_cb => $handler)->to_app);
        my $stream = $late->get('/');
        withdrawn_ok($stream, $hub);
    };

    subtest "$kind: a stream that subscribes to more" => sub {
        my $conn;
        my $handler = sub { $conn = shift; $hub->subscribe($conn, 'a') };
        my $begun =
            Test::EventSource->new(
            app => Plack::App::EventSource->new(line_end => 'lf', handler_cb => $handler)->to_app);
        my $stream = stream($begun, '');
        is $hub->end(topics => 'b'), 0, 'nobody reads the channel';
        $hub->subscribe($conn, 'b');
        $hub->publish(b => 'more');
        $stream->like_event('more', 'its application decides anew');
        is $hub->end(topics => 'a'), 1, 'it is one stream';
        undef $conn;
    };

    subtest "$kind: a client that does not read" => sub {
        my $slow  = stream($es, 'a', 'user/7');
        my $large = 'x' x 500_000;
        $hub->publish(a => "$_ $large") for 1 .. 10;
        is $hub->end(label => 'user/7'), 1, 'its stream ends';
        $hub->publish(a => 'secret');
        ends_with_retry_ok($slow, 'when it reads');
        unlike $slow->raw, qr/secret/,          'it has nothing that was published then';
        unlike $slow->raw, qr/^data: 10 x+\n/m, 'nor what was not sent before';
        is $hub->stats->{streams}, 0, 'the hub has no stream';
    };

    subtest "$kind: max_age" => sub {
        my $aging  = Test::EventSource->new(app => app($hub, app => {max_age => 0.2}));
        my $stream = stream($aging, 'a');
        my $other  = stream($es,    'a');
        ends_with_retry_ok($stream, 'a stream that is old enough');
        ok $other->is_open, 'one without max_age is open';
        my $id = $hub->publish(a => 'meanwhile');
        $stream->reconnect;
        $stream->like_event({id => $id}, 'its client has missed nothing');
        is $hub->end(topics => 'a'), 2, 'both end';
    };
}

subtest 'a label that is too long fails its request' => sub {
    my $es = Test::EventSource->new(app => app(EventSource::Hub->new));
    is $es->get('/?topics=a&label=' . 'x' x 300)->status, 500, 'the status';
};

done_testing;

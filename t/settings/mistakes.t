# The same mistakes in every constructor, and mistakes in events: each exception or warning names the field, the remedy and
# the line of the application.

use lib 't/lib';
use Testing qw(native);
use B       ();
use EventSource::Client;
use EventSource::Hub;
use EventSource::Hub::Lease;
use EventSource::Parser;
use EventSource::Server;
use EventSource::XS qw(format_event);
use HTTP::ServerEvent;
use Hash::Util qw(lock_hashref_recurse);
use Plack::App::EventSource;
use Plack::App::EventSource::PubSub;
use Plack::App::URLMap;
use Plack::Builder qw(builder enable);
use Plack::Middleware::EventSource;
use Test::EventSource;
use Testing::StreamPair;

package My::Number {
    use overload '0+' => sub { 5 }, fallback => 1;
}

# A stream that takes everything.
package My::Stream {
    sub new             { return bless {}, shift }
    sub drop            { return }
    sub is_native       { return !!0 }
    sub keep_attributes { return }
    sub write           { return !!1 }
}

# An iterator, which a server that blocks cannot read.
package My::Endless {
    sub new  { return bless {}, shift }
    sub next { return 1 }
}

my $hub      = EventSource::Hub->new(per_process => 1);
my @channels = (channels => sub { return 'news' });

my ($handler, $nothing,    $a_hash) = (sub { $_[0]->push('x') }, sub { return }, sub { return {} });
my ($app,     $connection, $pubsub) = map { "Plack::App::EventSource$_" } '', '::Connection', '::PubSub';
my ($hubs,    $parser,     $server) = map { "EventSource::$_" } qw(Hub Parser Server);
my $test = 'Test::EventSource';
my $conn = Plack::App::EventSource::Connection->new(stream => My::Stream->new);
my ($stream, @clients) = Testing::StreamPair->open;
my $real = Plack::App::EventSource::Connection->new(stream => $stream);
my ($ours, $subscribed) = map {
    (my $opened, $clients[@clients]) = Testing::StreamPair->open(is_loop => $_);
    Plack::App::EventSource::Connection->new(stream => $opened);
} 0, 1;
my $bare   = Plack::App::EventSource::Connection->new(push_cb => sub { }, close_cb => sub { });
my $shows  = EventSource::Hub->new(per_process => 1, show_channel => 'data');
my $tester = Test::EventSource->new(app => Plack::App::EventSource->new(handler_cb => $handler)->to_app);
my @held;
my $hanging = Test::EventSource->new(
    app => sub {
        sub { push @held, shift->([200, []]) }
    }
);
open my $closed, '<', $0 or die $!;
close $closed;
open my $memory, '<', \'text' or die $!;

my $nested    = sub { return ('a', ['b']) };
my $GET       = {REQUEST_METHOD => 'GET', 'psgi.streaming' => 1};
my $SINGLE    = 'HTTP::Server::PSGI';
my $NO_FIELDS = 'format_event takes a hash reference, or names and values in pairs';
my $named     = EventSource::Hub->new(name => 'away', autostart => 0);
my @MONITOR   = (allow => ['127.0.0.1'], token => 'x' x 16);

# Each constructor, given more arguments. Its line is that of its sub.
my %MAKE = (
    'Plack::App::EventSource->new' => sub {
        Plack::App::EventSource->new(handler_cb => sub { }, @_);
    },
    'EventSource::Hub->new'    => sub { EventSource::Hub->new(@_) },
    'Lease->new'               => sub { EventSource::Hub::Lease->new(hub => $named, name => 'x', @_) },
    'Hub->new, named'          => sub { EventSource::Hub->new(name => 'a', @_) },
    'admin_app'                => sub { $hub->admin_app(@MONITOR, @_) },
    'metrics_app'              => sub { $hub->metrics_app(@MONITOR, @_) },
    '$hub->to_app'             => sub { $hub->to_app(@channels, @_) },
    'PubSub->new'              => sub { Plack::App::EventSource::PubSub->new(hub => $hub, @_) },
    'EventSource::Server->new' => sub { EventSource::Server->new(@_) },
    'Test::EventSource->new'   => sub {
        Test::EventSource->new(app => sub { }, @_);
    },
    'EventSource::Parser->new' => sub { EventSource::Parser->new(@_) },
    'EventSource::Client->new' => sub { EventSource::Client->new(url => 'http://127.0.0.1/', @_) },
    'tap'                      => sub {
        EventSource::Server->new->out_supply->tap(sub { }, @_);
    },
);

my @OF_STREAMS   = ('Plack::App::EventSource->new', 'EventSource::Hub->new', '$hub->to_app', 'PubSub->new');
my @WITH_SERVER  = (@OF_STREAMS,  'EventSource::Server->new');
my @WITH_HEADERS = (@WITH_SERVER, 'Test::EventSource->new', 'EventSource::Client->new');
my $MEANT        = 'did you mean json => ...?';
my $STRING       = 'must be a string, not a reference to';
my $ORIGINS      = q(origins must be origins such as 'https://example.com', '*', or a code reference);

# Rows of @MISTAKES: each of these values of a name, with the text of the exception, is given to these constructors.
sub wrong {
    my ($constructors, $name, $text, @values) = @_;
    return map { [[$name => $_], $text, ref $constructors ? @$constructors : $constructors] } @values;
}

my $APP        = 'Plack::App::EventSource->new';
my $CLIENT     = 'EventSource::Client->new';
my $HUB        = 'EventSource::Hub->new';
my $NAMED      = 'Hub->new, named';
my $PUBSUB     = 'PubSub->new';
my $TO_APP     = '$hub->to_app';
my @OF_MONITOR = qw(admin_app metrics_app);
my $SERVER     = 'EventSource::Server->new';

sub wrong_channel { return wrong($HUB,   per_channel => @_) }
sub wrong_store   { return wrong($NAMED, store       => @_) }

my $CONNECTION = 'takes a Plack::App::EventSource::Connection that has a stream';
my $LIMIT      = qr/\Amax_streams_per must be an array of a code reference, which returns the key of a request/;
my $LINE       = 'must be one line that is not empty';
my $PATTERN    = 'a pattern must be a string that is not empty';
my $SETTINGS   = 'per_channel must be names or patterns and their settings, in a hash or in an array of pairs';
my $UNDECIDED  = qr/_app needs allow, an array of addresses, together with token; or code as allow[.] .* proxy\z/;
my $OF_HISTORY = {keep_history => {events => 1}};
my $IN_PAIRS   = 'headers must be an array of names and values, in pairs';
my $NO_METHOD  = 'but may only have DELETE, GET, PATCH, POST, PUT, QUERY';
my $NO_METHODS = q(methods must be an array of names, such as ['GET', 'POST']);
my $NO_RETRY   = 'retry must be a whole number of milliseconds, or two of them';
my $NO_START   = q(start must be 'latest', 'oldest', 'state' or a number of events, such as -10);

my $REDIS = 'redis://127.0.0.1:6379/0';
my $PATH  = 'must be the path of a file, not empty and without a NUL';

# Wrong URLs of a Redis. No message shows a password.
my @URLS = (
    [qr/\Aredis must be a URL, such as redis:/, 'localhost:6379'],
    [qr{\Aredis must begin with redis://, rediss://, redis-sentinel://}, 'http://:geheim@h', 'redis+unix:///x'],
    [
        qr/\Aredis must be a URL without spaces/, 'redis://:geheim @h',
        "redis://:geheim\n\@h",                   "redis://:geheim\x{100}\@h"
    ],
    [qr/\Aredis must not have [?] or #; .* settings are beside redis/, 'redis://:geheim@h/0?replicas=1'],
    [qr/\Aredis must not have [?] or #/,                               'redis://:gehe#im@h'],
    [qr/\Aredis has more than one @; encode it .* as %40/,             'redis://:gehe@im@h'],
    [qr/\Aredis must have host and port: \S+; encode/,                 'redis://u:gehe:im@h'],
    [
        qr/\Aredis must have host and port/, 'redis://:gehe/im@h',
        'redis://',                          'redis://:geheim@',
        'redis://h:port',                    'redis://h/shop',
        'redis://a:1,b:2'
    ],
    [qr/\Aredis has a % without two hexadecimal digits; encode it .* as %25/, 'redis://:gehe%im@h'],
    [qr/\Aredis has a user without a password: write USER:PASSWORD@/,         'redis://geheim@h'],
    [qr/\Aredis has a port above 65535 or 0\z/, 'redis://h:70000', 'redis-sentinel://a:1,b:0/m'],
    [qr/\Aredis must have hosts with ports and the name of the master/, 'redis-sentinel://a:1,b:2'],
    [qr/\Aredis must have hosts with ports/, 'redis-sentinel://a,b/m', 'redis-sentinel://:geheim@a:1/'],
);

# Rows: what is given, the text of the exception, and the constructors. Its field is an unknown name in the text, else the first
# name, or none if there is no value.
my @MISTAKES = (
    wrong(\@WITH_HEADERS, headers => $IN_PAIRS,                                      {}, 'X-A', ['X-A']),
    wrong(\@WITH_HEADERS, headers => 'the value of X-A in headers is undefined',     ['X-A', undef]),
    wrong(\@WITH_HEADERS, headers => 'the value of X-A in headers must be one line', ['X-A', "a\r\nb"]),
    wrong(
        \@WITH_HEADERS,
        headers => 'the value of X-A in headers must be a string, not a reference to ARRAY',
        ['X-A', [1]]
    ),
    wrong(\@WITH_HEADERS, headers => 'name 0 of headers is undefined', [undef, 1]),
    wrong(
        \@WITH_HEADERS,
        headers => qr/name 0 of headers must be the name of a header, such as 'X-Name', not 'X A'\z/,
        ['X A', 1]
    ),
    wrong(\@OF_STREAMS,                       keepalive => 'keepalive must be a number of seconds',   'soon', "1\n"),
    wrong(\@WITH_SERVER,                      timeout   => 'timeout must not be 0',                   0,      '0.0'),
    wrong(\@WITH_SERVER,                      native    => q(native must be 'auto', 'quiet', 0 or 1), 'no',   ''),
    wrong(\@WITH_SERVER,                      retry     => $NO_RETRY,                                 -1),
    wrong([grep { $_ ne $APP } @WITH_SERVER], start     => $NO_START,                                 'first'),

    wrong($APP, timeout      => 'timeout must be a number of seconds', [5]),
    wrong($APP, linger       => 'linger must be a number of seconds',  'x', -1),
    wrong($APP, retry        => $NO_RETRY,                                                  [1000], '1.5', "1\n", ''),
    wrong($APP, retry        => 'retry must have the smaller number first',                 [5000, 1000]),
    wrong($APP, on_full      => q(on_full must be 'block', 'disconnect' or 'drop_oldest'),  'drop',      "block\n"),
    wrong($APP, on_gone      => q(on_gone must be undef or 'unwind'),                       'die',       sub { }),
    wrong($APP, spawn        => 'spawn must be 0, 1 or a hash of options',                  2,           [1]),
    wrong($APP, max_buffered => 'max_buffered must be a whole number from 1',               '4M',        '1e6'),
    wrong($APP, max_streams  => 'max_streams must be a whole number from 1',                'unlimited', 1.5),
    wrong($APP, preamble     => 'preamble must be a number of bytes from 3 to 65536, or 0', 'yes',       2, 65_537),
    wrong($APP, line_end     => q(line_end must be 'crlf' or 'lf'),                         'cr'),
    wrong($APP, methods      => $NO_METHODS,                                                'POST', [], {POST => 1}),
    wrong($APP, methods => q(methods has 'post': names of methods are in capitals, write 'POST'),   ['GET', 'post']),
    wrong($APP, methods => q(methods has 'Query': names of methods are in capitals, write 'QUERY'), ['Query']),
    (
        map { wrong($APP, methods => "methods has '$_', $NO_METHOD", ['GET', $_]) }
            qw(HEAD OPTIONS CONNECT TRACE UPDATE),
        'GET,POST',
        "POST\n"
    ),
    wrong($APP, methods => "methods has 'undef', $NO_METHOD", [undef]),
    wrong($APP, origins => $ORIGINS, 'example.com', {}, ['https://a/'], [undef]),

    wrong(
        $CLIENT,
        url => 'url must be an absolute URL of http or https',
        undef, '', '/events', 'ftp://127.0.0.1/', 'http:///'
    ),
    wrong($CLIENT, url     => 'url has a port that is not one of 1 to 65535',          'http://h:99999/'),
    wrong($CLIENT, url     => 'url names no host',                                     'http://h:port/'),
    wrong($CLIENT, timeout => 'timeout must be a number of seconds',                   'soon', -1),
    wrong($CLIENT, retry   => 'retry must be a whole number of milliseconds from 0',   '1s'),
    wrong($CLIENT, content => 'content has a character above U+00FF; encode it first', "\x{263A}"),
    [[json => {}, content => ''], 'json and content are two ways to give the content', $CLIENT],
    wrong($CLIENT, last_event_id  => 'last_event_id must be one line that is not empty', "a\nb"),
    wrong($CLIENT, on_error       => 'on_error must be a code reference',                'warn'),
    wrong($CLIENT, via            => 'via is for a client with on_event',                'AnyEvent::HTTP'),
    wrong($CLIENT, method         => qr/\Amethod must be a method such as 'GET'/, 'get', "GET /\r\nX", 'HEAD', []),
    wrong($CLIENT, retry_statuses => 'retry_statuses must be an array of HTTP statuses',                    503),
    wrong($CLIENT, retry_statuses => 'an element of retry_statuses must be a whole number from 400 to 599', [200]),
    wrong($CLIENT, on_events      => qr/unknown option 'on_events'; did you mean on_event\?/,               sub { }),
    wrong($CLIENT, max_event      => 'max_event must be a whole number from 1 to 999999999999999',          'x'),
    wrong('EventSource::Parser->new', max_event  => 'max_event must be a whole number of bytes from 1 on',  'x'),
    wrong($APP,                       handler_cb => 'handler_cb must be a code reference',                  'main'),
    wrong('$hub->to_app',             channels   => qr/\Ato_app takes channels, a code reference: /,        ['news']),
    wrong('Lease->new',       onchange  => qr/unknown setting 'onchange'; did you mean on_change\? \(known: /, sub { }),
    wrong('tap',              done      => 'done must be a code reference',                                    'x'),
    wrong($SERVER,            supply    => 'supply must be code, an object with tap or next, or a filehandle', 'x'),
    wrong([$PUBSUB, $SERVER], hub       => 'hub must be an EventSource::Hub',                                  {}),
    wrong($PUBSUB,            hub       => 'hub must be an EventSource::Hub',    undef, 'EventSource', bless {}, 'Hub'),
    wrong($PUBSUB,            authorize => 'authorize must be a code reference', 1,     'yes', []),
    wrong($PUBSUB,            nodes     => 'nodes must be a reference to an array, a hash or code', 'news', \'news'),
    wrong(
        $PUBSUB,
        max_body => 'max_body must be a whole number of bytes from 1 to 999999999999999',
        0, -1, '1.5', '1k', '', "1\n", []
    ),
    wrong(
        $PUBSUB,
        http_host => 'http_host must be the name of a host, or several',
        '', 'a b', 'http://a', 'a/b', [undef], ['a', ''], "a\n", {}
    ),
    wrong(
        $PUBSUB,
        origins => $ORIGINS,
        '', 'example.com', 'https://', 'https://a/', 'https://a/b', 'null', "https://a\n", [undef], ['*', ''], {}
    ),
    wrong($PUBSUB, prefix   => 'prefix must be a string of less than 1024 bytes', [], 'x' x 1024, 'ö' x 512),
    wrong($PUBSUB, preamble => 'preamble must be a number of bytes from 3 to 65536, or 0', 1),
    wrong(
        $PUBSUB,
        authorise =>
            "unknown attribute 'authorise'; did you mean authorize? (known: authorize, compress, headers, http_host, hub, keepalive, linger, max_body, "
            . 'max_streams, max_streams_per, native, nodes, origins, position, preamble, prefix, retry, start, timeout)',
        sub { 1 }
    ),

    wrong($HUB, keep_history => 'keep_history must be a hash of bounds, such as {events => 100}', 100),
    wrong($HUB, keep_history => 'seconds of keep_history must be a number of seconds',      {seconds => '1h'}),
    wrong($HUB, keep_history => qr/\Aevents of keep_history must be a whole number from 0/, {events  => -1}),
    wrong($HUB, keep_history => qr/\Abytes of keep_history must be a whole number/,         {bytes   => '9' x 16}),
    wrong($HUB, keep_history => q(unknown bound 'count' of keep_history (known: bytes, events, seconds)), {count => 5}),
    wrong($HUB, keep_history => qr/\Aunknown bound 'event' of keep_history; did you mean events[?] /,     {event => 5}),
    wrong($HUB, keep_total_history => qr/\Aunknown bound 'hours' of keep_total_history/,           {hours   => 1}),
    wrong($HUB, keep_total_history => 'seconds of keep_total_history must be a number of seconds', {seconds => 'x'}),
    wrong($HUB, keep_state         => qr/\Aunknown bound 'events' of keep_state/,                  {events  => 1}),
    wrong($HUB,   keep_state       => qr/\Akeep_state must be a hash of bounds/,                   7),
    wrong($HUB,   keep_total_state => qr/\Akeys of keep_total_state must be/,                      {keys => -1}),
    wrong($HUB,   history          => qr/unknown setting 'history'; did you mean keep_history[?]/, {}),
    wrong($HUB,   name             => qr/\Aname must be 1 to 64 letters, digits, _, - and [.],/,   'my shop'),
    wrong($HUB,   name             => "name $STRING ARRAY",                                        []),
    wrong($HUB,   grace            => 'grace is for a named hub: give it a name, too',             5),
    wrong($NAMED, grace            => 'grace must be a number of seconds',                         'long'),
    wrong($NAMED, publish_timeout  => 'publish_timeout must be a number of seconds above 0',       0),
    wrong($NAMED, socket           => qr/\Asocket must be an absolute path without a NUL, such/,   'hub.sock'),
    wrong($HUB,   on_slow          => q(on_slow must be 'disconnect', 'gap' or 'latest'),          'drop'),
    wrong($HUB,   gap_event        => "gap_event $STRING ARRAY",                                   []),
    wrong($HUB,   gap_event        => "gap_event $LINE",                                           '', "gap\n", "a\nb"),
    wrong($HUB,   gap_data         => "gap_data $STRING ARRAY",                                    []),
    wrong(
        $HUB,
        gap_data => "gap_data must return the data of the event, not undef, for the reason 'evicted'",
        $nothing
    ),
    wrong($HUB, gap_data       => "what gap_data returns $STRING HASH",                               $a_hash),
    wrong($HUB, show_channel   => q(show_channel must be 'event' or 'data'),                          1),
    wrong($HUB, position       => "position must be 'event', 'id' or 'none'",                         'often'),
    wrong($HUB, position_event => "position_event $LINE",                                             ''),
    wrong($HUB, position_event => "position_event must not be 'gap', the name of the event for gaps", 'gap'),
    (
        map {
            wrong(
                $HUB,
                $_ => "$_ must not be 'eventsource-hub', the type in which the hub speaks for itself",
                'eventsource-hub'
            )
        } qw(gap_event position_event)
    ),
    wrong($HUB, max_age         => 'max_age must be a number of seconds',              'x'),
    wrong($HUB, max_topics      => qr/\Amax_topics must be a whole number from 1 to /, 0),
    wrong($HUB, start           => qr/\Astart must be/, 10, '-0', "-1\n"),
    wrong($HUB, retry           => $NO_RETRY,           [1, 2, 3]),
    wrong($HUB, max_streams_per => $LIMIT,              20, [$handler], [undef, 5]),
    wrong($HUB, max_streams_per => 'the first element of max_streams_per must be a code reference', ['x',      5]),
    wrong($HUB, max_streams_per => qr/\Athe second element of max_streams_per must be a number/,    [$handler, undef]),
    wrong($HUB, max_streams_per => qr/\Athe number of max_streams_per must be a whole number from 1/, [$handler, 0]),
    wrong_channel($SETTINGS,                                                      'news', ['news'], $nothing),
    wrong_channel(qr/\Athe settings of per_channel 'a' must be a hash/,           {a => undef}),
    wrong_channel(qr/\Akeep_history of per_channel 'a' must be a hash of bounds/, {a => {keep_history => 5}}),
    wrong_channel(
        qr/\Aevents of keep_history of per_channel 'u\/\*' must be a whole number from 0/,
        {'u/*' => {keep_history => {events => -1}}}
    ),
    wrong_channel(
        q(seconds of keep_history of per_channel 'u/*' must be a number of seconds),
        {'u/*' => {keep_history => {seconds => 'x'}}}
    ),
    wrong_channel(
        qr/\Akeys of keep_state of per_channel 'u\/\*' must be a whole number/,
        {'u/*' => {keep_state => {keys => 1.5}}}
    ),
    wrong_channel(
        q(on_slow of per_channel 'u/*' must be 'disconnect', 'gap' or 'latest'),
        {'u/*' => {on_slow => 'wait'}}
    ),
    wrong_channel('per_channel has at most 100 names and patterns', {map { ($_ => $OF_HISTORY) } 1 .. 101}),
    wrong_channel(
        qr/\Aper_channel has a pattern object as the key of a hash: give its text/,
        {$hubs->pattern('u/*') => $OF_HISTORY}
    ),
    wrong_channel(
        qr/\Aunknown bound 'event' of keep_history of per_channel 'a%s'; did you mean events/,
        {'a%s' => {keep_history => {event => 5}}}
    ),
    wrong_channel(
        qr/\Aunknown setting 'keep_histories' of per_channel 'a%d'; did you mean keep_history\?/,
        {'a%d' => {keep_histories => {}}}
    ),
    (
        map { wrong($HUB, $_ => "$_ is an option of to_app, not a setting of new", 'x') }
            qw(channels label methods ticket)
    ),
    wrong($TO_APP,      keep_history    => 'keep_history is a setting of new, not an option of to_app', {}),
    wrong($TO_APP,      label           => 'label must be a code reference',                            'user/7'),
    wrong($TO_APP,      max_age         => 'max_age must be a number of seconds',                       -1),
    wrong($TO_APP,      max_streams_per => $LIMIT,                                        {}, [$handler, 5, 5]),
    wrong($TO_APP,      max_streams_per => qr/\Athe number of max_streams_per must be a/, [$handler, '1e3']),
    wrong($TO_APP,      methods         => $NO_METHODS,                                   'POST'),
    wrong($TO_APP,      origins         => $ORIGINS,                                      'x'),
    wrong($TO_APP,      position        => "position must be 'event', 'id' or 'none'",    'x'),
    wrong($TO_APP,      ticket          => 'ticket must be a number of seconds above 0',  0, -1, 'x', []),
    wrong($TO_APP,      ticket => 'ticket must be a number of seconds up to 3600, or a hash with seconds', 3601, {}),
    wrong($TO_APP,      ticket => 'cookies of ticket must be an array of names', {seconds => 60, cookies => 'x'}),
    wrong($TO_APP,      ticket => 'headers of ticket must be an array of names', {seconds => 60, headers => [undef]}),
    wrong($TO_APP,      ticket => 'around of ticket must be a code reference',   {seconds => 60, around  => 1}),
    wrong($TO_APP,      ticket => qr/\Aunknown field 'path' of ticket/,          {seconds => 60, path    => '/'}),
    wrong(\@OF_MONITOR, allow  => 'allow must be an array of addresses',         '127.0.0.1'),
    wrong(\@OF_MONITOR, allow  => qr/\Aallow takes addresses/, ['localhost'], ['10.0.0.0/33'], ['::ffff:10.0.0.0/120']),
    wrong(\@OF_MONITOR, allow  => $UNDECIDED,                  undef),
    wrong(\@OF_MONITOR, token  => $UNDECIDED,                  undef),
    wrong(
        \@OF_MONITOR,
        token => qr/\Atoken must be at least 16 characters/,
        '',
        'x' x 15,
        "\xE9" x 16,
        'a token with blanks'
    ),
    wrong(\@OF_MONITOR,  hosts     => 'hosts must be an array of names',                    'x'),
    wrong(\@OF_MONITOR,  hosts     => qr/\Ahosts takes names without ports/,                ['app:80'], [undef]),
    wrong('admin_app',   channels  => qr/\Aunknown option 'channels' of admin_app/,         []),
    wrong('metrics_app', channels  => 'channels must be an array of channels and patterns', 'news'),
    wrong('metrics_app', channels  => 'a channel must be a string that is not empty',       ['']),
    wrong('metrics_app', channels  => qr/\Achannels must be at most 100/,                   [('news') x 101]),
    wrong('metrics_app', chanels   => qr/\Aunknown option 'chanels' of metrics_app; did you mean channels/, ['news']),
    wrong('Lease->new',  hub       => 'hub must be a named EventSource::Hub',              undef, $hub),
    wrong('Lease->new',  name      => 'name must be a string of 1 to 1200 bytes in UTF-8', undef, '', 'x' x 1201),
    wrong('Lease->new',  name      => "name $STRING ARRAY",                                []),
    wrong('Lease->new',  on_change => 'on_change must be a code reference',                'x', undef),
    wrong(
        $SERVER,
        supply => 'supply must be code, an object with tap or next, or a filehandle',
        [1],
        EventSource::Server->new
    ),
    wrong($SERVER, supply              => qr/a filehandle that is not open/,                                $closed),
    wrong($SERVER, keepalive           => 'keepalive must be 0 or 1; keepalive_interval takes the seconds', 30),
    wrong($SERVER, keepalive_intervall => qr/did you mean keepalive_interval\?/,                            5),
    wrong($SERVER, on_slow             => qr/\Aon_slow must be/,                                            'wait'),
    wrong($SERVER, channel             => q(a channel's name must not be empty),                            ''),
    wrong($SERVER, channel             => "a channel's name $STRING ARRAY",                                 []),
    wrong($SERVER, channel             => 'channel must be a name, not a pattern', $hubs->pattern('*')),

    # Stores
    wrong($HUB,    store => 'store is for a named hub: give it a name, too',   {file => 'x'}),
    wrong($SERVER, store => qr/store is for a named hub: give it a name, too/, {file => 'x'}),
    wrong_store(
        q(store must be 'memory', {file => ...} or {redis => ...}),
        'disk', ['memory'], {}, 'file:/var/x.db', 'redis://:geheim@h'
    ),
    wrong_store(
        'store needs file or redis, which says where it is',
        {sync                => 'event'},
        {fil                 => 'x'},
        {'redis://:geheim@h' => 1}
    ),
    wrong_store('redis is not for a store in a file, but for one in Redis',            {file => 'x', redis => $REDIS}),
    wrong_store('unknown setting of store; known: file, sync',                         {file => 'x', snyc  => 'event'}),
    wrong_store(qr/\Aunknown setting of store; known: redis, ca, cert, key, prefix, /, {redis => $REDIS, replica => 1}),
    wrong_store("file $PATH",                                                          {file  => ''}, {file => "a\0"}),
    wrong_store("file of store $STRING ARRAY",                                         {file  => []}),
    wrong_store('file must be the path of a file; / is a folder',                      {file  => '/'}),
    wrong_store('file must be the path of a file; x/ is a folder',                     {file  => 'x/'}),
    wrong_store('file must be the path of a file, without file:',                      {file  => 'file:///x'}),
    wrong_store(q(file ':memory:' is not a file; the store in memory is 'memory'),     {file  => ':memory:'}),
    wrong_store(
        q(sync of store must be 'never', 'second' or 'event'),
        {file => 'x',                sync => 'always'},
        {file => "\xFF\xFE/\x{100}", sync => 'x'}
    ),
    wrong_store('replicas is not for a store in a file, but for one in Redis', {file  => 'x', replicas => 1}),
    wrong_store("redis of store $STRING ARRAY",                                {redis => []}),
    wrong_store('sync is not for a store in Redis, but for one in a file',     {redis => $REDIS, sync     => 'event'}),
    wrong_store('replicas of store must be a whole number from 0 to 100',      {redis => $REDIS, replicas => -1}),
    wrong_store(
        'prefix must be 1 to 64 letters, digits, _, -, . and :, without spaces and braces',
        map { {redis => $REDIS, prefix => $_} } ('', 'a b', '{a}', 'a*', "a\n", 'x' x 65)
    ),
    wrong_store(qr{\Aca, .+, is for TLS: begin the URL with rediss://}, {redis => $REDIS,       ca   => '/x'}),
    wrong_store("ca $PATH",                                             {redis => 'rediss://h', ca   => ''}),
    wrong_store('cert needs its key, too: give the path as key',        {redis => 'rediss://h', cert => '/x'}),
    wrong_store('key needs its cert, too: give the path as cert',       {redis => 'rediss://h', key  => '/x'}),
    wrong_store(
        qr/\Asentinel_login is for Sentinels: begin the URL/,
        {redis => 'redis://h', sentinel_login => ':geheim'}
    ),
    wrong_store(
        qr/\Asentinel_login must be USER:PASSWORD, or :PASSWORD/,
        map { {redis => 'redis-sentinel://h:1/m', sentinel_login => $_} }
            ('', 'geheim', 'u:', 'u:gehe:im', 'u:gehe im', 'u:gehe@im', 'u:gehe%im', "u:geheim\n", "u:geheim\x{100}")
    ),
    (
        map {
            my ($text, @urls) = @$_;
            wrong_store($text, map { {redis => $_} } @urls)
        } @URLS
    ),

    # Names. An odd number of arguments has no field.
    wrong(
        ['EventSource::Hub->new', '$hub->to_app', $PUBSUB, $SERVER],
        keepalve => qr/unknown \w+ 'keepalve'(?: of to_app)?; did you mean keepalive\? \(known: /,
        1
    ),
    wrong('Test::EventSource->new', heders => qr/unknown option 'heders'; did you mean headers\? \(known: /, []),
    wrong(
        'EventSource::Parser->new',
        maxevent => q(unknown option 'maxevent'; did you mean max_event? (known: max_event)),
        1
    ),
    wrong('tap', quiet => q(unknown option 'quiet' of tap; did you mean quit? (known: done, quit)),      sub { }),
    wrong([grep { $_ ne $APP } sort keys %MAKE], xyzzy => qr/unknown \w+ 'xyzzy'(?: of \w+)? \(known: /, 1),
    [['keepalive'], qr/takes \w+, as names and values or in a hash\z/, sort keys %MAKE],
);

sub line_of { return B::svref_2object($_[0])->START->line }

# Tests an exception: its code and its field, its text after the module, and that its place is the line of the call. The code
# is `invalid`, unless the field stands in an array behind another one. Returns the exception.
sub croaks_ok {
    my ($what, $code, $field, $text, @arguments) = @_;
    (my $expected, $field) = ref $field eq 'ARRAY' ? @$field : ('invalid', $field);
    my $error;
    subtest $what => sub {
        my @warnings;
        local $SIG{__WARN__} = sub { push @warnings, @_ };
        ok !eval { $code->(@arguments); 1 }, 'it dies' or return;
        $error = $@;
        isa_ok $error, 'EventSource::Error' or return diag $error;
        is $error->code, $expected, "the code is $expected";
        ref $field ? like $error->field, $field, 'the field' : is $error->field, $field, 'the field';
        my $message = $error->message =~ s/\A[\w:]+: //r;
        ref $text ? like $message, $text, 'the message' : is $message, $text, 'the message';
        is_deeply [$error->file, $error->line], [__FILE__, line_of($code)], 'the place is that of the call';
        is_deeply \@warnings,                   [],                         'there is no warning';
        unlike $error, qr/gehe/, 'no part of a password is shown';
    };
    return $error;
}

sub shown {
    return join ', ', map { defined $_ ? ref $_ || $_ =~ s/[\r\n]/~/gr : 'undef' } @_;
}

my $own_lines = 0;

# A sub of a line that no other has: a warning comes once for each line.
sub at_own_line {
    my $code = shift;
    my $line = ++$own_lines;
    return eval qq(#line $line "own lines"\nsub { $code }) || die $@;    ## no critic (ProhibitStringyEval)
}

# Tests that something is accepted with one warning for the line of the call. t/plack/original.t and t/server_event/original.t
# compare the results with the originals.
sub warns_ok {
    my ($what, $code, $text, @arguments) = @_;
    subtest "$what: a warning" => sub {
        my $start = B::svref_2object($code)->START;
        my $place = $start->file . ' line ' . $start->line;
        my @warnings;
        local $SIG{__WARN__} = sub { push @warnings, @_ };
        ok eval { $code->(@arguments) for 1 .. 2; 1 }, 'it lives' or diag $@;
        is scalar @warnings, 1, 'there is one warning' or diag @warnings;
        my ($message) = "@warnings" =~ /\A[\w:]+: (.*) at \Q$place\E\.\n\z/s;
        ref $text ? like $message, $text, 'the message and the line' : is $message, $text, 'the message and the line';
    };
    return;
}

# The drop-in warns of what its original accepts, except of line breaks.
my $has_named = Testing->has_named_hubs;
for my $row (@MISTAKES) {
    my ($given, $text, @constructors) = @$row;
    @constructors = grep { $_ ne $NAMED } @constructors if !$has_named;
    my $field       = @$given % 2 ? undef : $text =~ /unknown \w+ '(\w+)'/ ? $1 : $given->[0];
    my $is_accepted = !defined $field || $field   =~ /\A(?:handler_cb|headers)\z/ && $text !~ /one line/;
    for my $constructor (@constructors) {
        my $what = "$constructor, " . shown(@$given);
        if ($is_accepted && $constructor eq $APP) {
            warns_ok($what, at_own_line("$APP(handler_cb => sub { }, \@_)"), $text, @$given);
        }
        else { croaks_ok($what, $MAKE{$constructor}, $field, $text, @$given) }
        if (defined $field && ($constructor eq $PUBSUB || $constructor eq $APP && !$is_accepted)) {
            my $component = $MAKE{$constructor}->();
            $component->{$given->[0]} = $given->[1];
            croaks_ok("$what, set later", sub { $component->to_app }, $field, $text);
        }
    }
}

# Events. format_event and publish croak for an unknown field, the drop-ins warn.
sub pushed { return EventSource::XS::_push_bytes(0, @_) =~ s/\r\n/|/gr }

my %TAKE = (
    'format_event' => sub { format_event($_[0]) },
    'publish'      => sub { $hub->publish(news => $_[0]) },
    'push'         => sub { EventSource::XS::_push_bytes(0, $_[0]) },
    'emit'         => sub { EventSource::Server->new->emit($_[0]) },
    'as_string'    => sub { HTTP::ServerEvent->as_string(%{$_[0]}) },
    'show_channel' => sub { EventSource::Hub->new(per_process => 1, show_channel => 'data')->publish(news => $_[0]) },
);

my @FORMATS = qw(emit format_event publish);

for my $row (
    [{data    => {a => 1}},              'data', "data $STRING HASH; $MEANT",         @FORMATS, 'show_channel'],
    [{data    => \'text'},               'data', "data $STRING SCALAR; $MEANT",       @FORMATS, 'show_channel'],
    [{data    => sub { }},               'data', "data $STRING CODE; $MEANT",         @FORMATS],
    [{data    => bless {}, 'My::Class'}, 'data', "data $STRING My::Class; $MEANT",    @FORMATS],
    [{data    => ['a', []]}, 'data',    "each element of data $STRING ARRAY; $MEANT", @FORMATS, 'show_channel'],
    [{id      => [1]},       'id',      "id $STRING ARRAY; a structure goes into json => ...",     @FORMATS],
    [{comment => {}},        'comment', "comment $STRING HASH; a structure goes into json => ...", @FORMATS],
    [{event   => {}},        'event',   "event $STRING HASH; a structure goes into json => ...",   @FORMATS],
    [{retry   => {}},        'retry',   "retry $STRING HASH; a structure goes into json => ...",   @FORMATS],
    [{data    => 1, json  => 1}, 'json',  'data and json exclude each other', @FORMATS, 'push', 'show_channel'],
    [{json    => 1, bytes => 1}, 'bytes', 'json is made of characters, bytes does not go with it', @FORMATS, 'push'],
    [{evnet   => 'x'}, 'evnet',  q(unknown field 'evnet'; did you mean event?), qw(emit format_event publish)],
    [{ke      => 'x'}, 'ke',     q(unknown field 'ke'; did you mean key?),      qw(emit publish)],
    [{colour  => 'x'}, 'colour', q(unknown field 'colour'),                     qw(emit format_event publish)],
) {
    my ($event, $field, $text, @functions) = @$row;
    my ($name) = %$event;
    croaks_ok("$_, $name", $TAKE{$_}, $field, $text, $event) for @functions;
}

# The drop-ins send a reference as perl shows it.
for my $row (
    ['push({data => $_[0]})',      'push: data is a reference to HASH',                        {a => 1}],
    ['push({data => $_[0]})',      'push: each element of data is a reference to HASH',        ['a', {}]],
    ['push({id => $_[0]})',        'push: id is a reference to ARRAY',                         [1]],
    ['push({comment => $_[0]})',   'push: comment is a reference to HASH',                     {}],
    ['push("a", $_[0])',           'push: data is a reference to CODE',                        sub { }],
    ['push("a", $_[0])',           'push: data is a reference to My::Class',                   bless {}, 'My::Class'],
    ['as_string(data => $_[0])',   'as_string: data is a reference to HASH',                   {}],
    ['as_string(data => [$_[0]])', 'as_string: each element of data is a reference to SCALAR', \1],
    ['as_string(retry => $_[0])',  'as_string: retry is a reference to My::Class',             bless [], 'My::Class'],
) {
    my ($call, $text, $value) = @$row;
    my $code = $call =~ /\Apush\((.*)\)/ ? "EventSource::XS::_push_bytes(0, $1)" : "HTTP::ServerEvent->$call";
    my $hint = $call =~ /\Apush/         ? 'did you mean json => ...?' : 'encode it first, as JSON for example';
    warns_ok("$call, " . ref $value,
        at_own_line($code), "$text, and is sent as text such as HASH(0x...); $hint", $value);
}

# The calls of @CALLS, given more arguments. The line of an exception is that of the sub.
my %CALL = (
    'conn->push'                 => sub { $conn->push(@_) },
    'drain'                      => sub { $hub->drain(@_) },
    'emit'                       => sub { $server->new->emit(@_) },
    'end'                        => sub { $hub->end(@_) },
    'feed'                       => sub { $parser->new->feed(@_) },
    'finish'                     => sub { $conn->finish(@_) },
    'forget'                     => sub { $hub->forget(@_) },
    'format_event'               => sub { format_event(@_) },
    'get'                        => sub { $tester->get(@_) },
    'Hub->new'                   => sub { $hubs->new(@_) },
    'Hub->new, named'            => sub { $hubs->new(name => 'a', @_) },
    'pattern'                    => sub { $hub->pattern(@_) },
    'post'                       => sub { $tester->post('/', @_) },
    'publish'                    => sub { $hub->publish(news => @_) },
    'publish to'                 => sub { $hub->publish(@_) },
    'publish, with show_channel' => sub { $shows->publish(news => @_) },
    'seal_ticket'                => sub { $hub->seal_ticket([{topics => ['a']}], {@_}) },
    'serve'                      => sub { $hub->serve(@_) },
    'Server->new'                => sub { $server->new(@_) },
    'spawn'                      => sub { $ours->spawn(@_) },
    'subscribe'                  => sub { $hub->subscribe(@_) },
    'subscribers'                => sub { $hub->subscribers(@_) },
    'Test::EventSource->new'     => sub { $test->new(@_) },
    'to_app'                     => sub { $hub->to_app(@_) },
    'wait'                       => sub { $ours->wait(@_) },
);

$shows->subscribe($subscribed, 'news');

# A call, the field of the exception, its text, and lists of arguments.
my @CALLS = (
    ['Hub->new', undef, 'new takes settings, as names and values or in a hash', ['news']],
    ['Hub->new, named', socket => qr/\Asocket has at most 107 bytes/, [socket => '/tmp/' . 'x' x 110, autostart => 0]],

    ['Hub->new', pattern => $PATTERN, [per_channel => {'' => $OF_HISTORY}], [per_channel => [undef, $OF_HISTORY]]],

    # Its applications
    ['to_app', channels => qr/\Ato_app takes channels, a code reference: \$hub->to_app\(/, []],
    ['to_app', undef, 'to_app takes options, as names and values or in a hash', ['news']],
    ['to_app', channel => qr/unknown option 'channel' of to_app; did you mean channels\?/, [channel => 'news']],
    [
        'seal_ticket',
        asked_at => qr/\Aasked_at must be a whole number/,
        map { [asked_at => $_] } 'now', -1, 1.5, '9' x 30
    ],

    # Publishing
    ['publish to', channel => q(a channel's name must be a string that is not empty), [undef,                   'x']],
    ['publish to', channel => "a channel's name $STRING ARRAY",                       [[],                      'x']],
    ['publish to', channel => "a channel's name $STRING My::Class",                   [(bless {}, 'My::Class'), 'x']],
    ['publish',    data    => 'publish takes data, or a hash of fields, not undef',   [undef]],
    ['publish',    undef, 'an event needs one of event, id, retry, data, json, comment; undef leaves one out', [{}]],
    ['publish',    message => q(unknown field 'message'; did you mean data?), [{message => 'x'}]],
    ['publish',    type    => q(unknown field 'type'; did you mean event?),   [{type    => 'x', data => 1}]],
    ['publish',    key     => "key $STRING ARRAY",                            [{key     => [],  data => 1}]],
    ['publish',    id    => q(id must not be empty: it would reset the client's last event ID), [{id    => ''}]],
    ['publish',    retry => 'retry must be a whole number of milliseconds, in ASCII digits',    [{retry => '5s'}]],
    ['publish',    json  => qr/\Ajson: \S/,                                                     [{json  => $handler}]],
    [
        'publish',
        event => "event must not be the name of the hub's event for positions: choose another, or set position_event",
        [{event => 'position'}]
    ],
    [
        'publish',
        options => 'publish takes its options as a hash, such as {wait => 0, once => $key}',
        ['x', 'now'], ['x', [wait => 0]]
    ],
    ['publish', waits => q(unknown option 'waits' of publish; known: once, wait), ['x', {waits => 0}]],
    ['publish', once  => "once $STRING ARRAY",                                    ['x', {once  => []}]],
    ['publish', once  => 'once must have 1 to 256 bytes in UTF-8', ['x', {once => ''}], ['x', {once => '☺' x 86}]],
    ['publish', undef, qr/\Ausage: /, ['x', {}, 1]],
    ['publish, with show_channel', json => qr/\Ajson: \S/,                   [{json => \*STDIN}]],
    ['publish, with show_channel', data => 'element 0 of data is undefined', [[undef]]],
    ['publish, with show_channel', key  => "key $STRING ARRAY",              [{key => [], retain => 1, data => 1}]],
    ['forget',                     key  => "key $STRING ARRAY",              [a => []]],

    # Streams of a hub
    ['subscribe',   channels   => 'there is no channel to subscribe to',                [$real], [$real, {after => 1}]],
    ['subscribe',   channel    => 'a channel must be a string or a pattern, not undef', [$real, undef]],
    ['subscribe',   channel    => q(a channel's name must not be empty),                [$real, 'a', '']],
    ['subscribe',   channel    => "a channel's name $STRING ARRAY",                     [$real, ['a']]],
    ['subscribe',   channel    => "a channel's name $STRING HASH",                      [$real, {after => 1}, 'a']],
    ['subscribe',   channel    => q(a channel's name must have at most 1024 bytes in UTF-8), [$real, 'é' x 513]],
    ['subscribe',   channels   => qr/\A./,                                                   [$real, 0 .. 1_000]],
    ['subscribe',   since      => qr/\Aunknown option 'since'/,                 [$real, 'a', {since => 1}]],
    ['subscribe',   start      => qr/\Astart must be/,                          [$real, 'a', {start => 'now'}]],
    ['subscribe',   after      => "after $STRING ARRAY",                        [$real, 'a', {after => []}]],
    ['subscribe',   connection => "subscribe $CONNECTION",                      ['news'], [$stream, 'a'], [$bare, 'a']],
    ['serve',       channels   => 'there is no channel to subscribe to',        [$real]],
    ['serve',       since      => qr/\Aunknown option 'since'/,                 [$real, 'a', {since => 1}]],
    ['serve',       connection => "subscribe $CONNECTION",                      [{}, 'a']],
    ['pattern',     pattern    => $PATTERN,                                     [], [''], [qr/news/]],
    ['pattern',     pattern    => qr/\Aa pattern must have at most 1024 bytes/, ['☺' x 342]],
    ['drain',       seconds    => 'drain takes a number of seconds',            [], [-1], ['soon']],
    ['end',         label      => qr/\Aend takes the streams to end: label/,    [], [label => undef], [label => []]],
    ['end',         label   => qr/\Aa label must be a string of 1 to 256 bytes/, [label => ''], [label => 'x' x 257]],
    ['end',         label   => "a label $STRING HASH",                                     [label  => {}]],
    ['end',         label   => 'there may be at most 64 labels',                           [label  => [1 .. 65]]],
    ['end',         topics  => 'end takes at most 1000 topics',                            [topics => [1 .. 1001]]],
    ['end',         channel => q(a channel's name must not be empty),                      [topics => ['']]],
    ['end',         labels  => qr/\Aunknown option 'labels' of end; did you mean label\?/, [labels => 'a']],
    ['subscribers', channel => "a channel's name $STRING ARRAY",                           [['news']]],
    ['subscribers', channel => q(a channel's name must not be empty),                      ['']],
    ['subscribers', channel => qr/\Aa channel's name must have at most 1024 bytes/,        ['x' x 1_025]],

    # EventSource::Server
    ['Server->new', undef, 'new takes options, as names and values or in a hash', ['x']],
    [
        'Server->new',
        keepalive_interval => 'keepalive_interval must be a number of seconds above 0',
        [keepalive_interval => 0], ['keepalive-frequency' => 'x']
    ],
    ['Server->new', channel => 'channel must be given with hub', [hub => $hub]],
    [
        'Server->new',
        keep_history => 'keep_history must be set on the hub itself if hub is given',
        [hub => $hub, channel => 'a', keep_history => {}]
    ],
    ['emit', type => qr/\Atype and event are one field/, [{type => 'a', event => 'b'}]],
    ['emit', undef, qr/not undef\z/, [undef]],
    ['emit', msg  => q(unknown field 'msg'; did you mean data?), [{msg  => 'x'}]],
    ['emit', json => qr/\Ajson: \S/,                             [{json => $handler}]],

    # A connection
    ['conn->push', json  => 'data and json exclude each other',    [{data  => 1, json => 1}]],
    ['conn->push', json  => qr/\Ajson: \S/,                        [{json  => $handler}]],
    ['conn->push', data  => 'data must be valid UTF-8',            [{data  => "\xFF", bytes => 1}]],
    ['conn->push', id    => 'id must not contain a line break',    [{id    => "a\nb"}]],
    ['conn->push', event => 'event must not contain NUL',          [{event => "\0"}]],
    ['conn->push', retry => 'retry must not contain a line break', [{retry => "1\r"}]],
    ['finish',     id    => "unknown field 'id' of finish (known: data, event, retry)", [id => 7]],
    ['finish',     undef, 'finish takes fields of an event, as names and values or in a hash', ['x']],
    ['finish',     event => 'event must not contain a line break', [event => "a\nb"]],
    [
        'wait',
        handle => 'wait takes an open handle with a descriptor, or undef',
        map { [$_] } $closed, $memory, 'no_handle', {}, 0
    ],
    ['wait',  seconds      => 'seconds must be a number of seconds',        [undef, -1], [undef, 'x']],
    ['spawn', callback     => 'spawn takes a code reference',               [],          ['code']],
    ['spawn', grace        => 'grace must be a number of seconds',          [$handler, grace        => -1]],
    ['spawn', max_children => 'max_children must be a whole number from 1', [$handler, max_children => 0]],
    [
        'spawn',
        max_childs => qr/\Aunknown option 'max_childs' of spawn; did you mean max_children\?/,
        [$handler, max_childs => 1]
    ],

    # format_event, the parser
    ['format_event', undef, 'an event needs one of event, id, retry, data, json, comment; undef leaves one out', []],
    ['format_event', undef, $NO_FIELDS, ['text']],
    [
        'format_event',                                                qr/\AHASH/,
        qr/\Aformat_event takes names and values, or a hash .+ 'HASH/, [{data => 1}, {id => 2}]
    ],
    ['format_event', json  => qr/\Ajson: \S/,                                              [json => $handler]],
    ['format_event', name  => q(unknown field 'name'; did you mean event?),                [name => 'x']],
    ['format_event', bytes => 'bytes is set, but a string holds a character above U+00FF', [data => '☺', bytes => 1]],
    ['feed',         bytes => 'feed takes a string of bytes, not undef',                      [undef]],
    ['feed',         bytes => 'feed takes a string of bytes, not a reference to GLOB',        [\*STDIN]],
    ['feed',         bytes => 'feed takes bytes, this string holds a character above U+00FF', ['☺']],

    # Test::EventSource
    ['Test::EventSource->new', app => 'either app or url has to be given', [], [app => $handler, url => 'http://x/']],
    ['Test::EventSource->new', app => '/nowhere: No such file or directory',           [app => '/nowhere']],
    ['Test::EventSource->new', app => 'app must be an application or the path of one', [app => {}]],
    [
        'Test::EventSource->new',
        workers => 'workers is for a server that is started here',
        [app => $handler, workers => 2]
    ],
    [
        'Test::EventSource->new',
        workers => "$SINGLE has one process, workers cannot be set",
        [app => $handler, server => $SINGLE, workers => 2]
    ],
    [
        'Test::EventSource->new',
        server => 'server is for a server that is started here',
        [url => 'http://x/', server => 'Starman']
    ],
    [
        'Test::EventSource->new',
        [unsupported => 'server'],
        'the server No::Such is not installed',
        [app => $handler, server => 'No::Such']
    ],
    ['Test::EventSource->new', url => q(url must begin with http://, not 'ftp://x/'), [url => 'ftp://x/']],
    ['Test::EventSource->new', env => 'env must be a hash',                           [app => $handler, env => []]],
    [
        'Test::EventSource->new',
        timeout => 'timeout must be a number of seconds above 0',
        [app => $handler, timeout => 0]
    ],
    ['get',  timeout       => 'timeout must be a number of seconds above 0', ['/', timeout => 0]],
    ['get',  http          => 'http must be 1.0 or 1.1',                     ['/', http    => 2]],
    ['get',  path          => 'a path must begin with /', ['events']],
    ['get',  header        => qr/did you mean headers\?/, ['/', header        => []]],
    ['get',  last_event_id => "last_event_id $LINE",      ['/', last_event_id => "a\nb"]],
    ['post', form => 'only one of content, form and json can be sent, not content form', [content => 'x', form => []]],
    ['post', form    => 'form must be a hash or an array of names and values',           [form    => 'a=1']],
    ['post', content => 'content must be bytes: encode it first',                        [content => '☺']],
    ['post', content => "content $STRING HASH; $MEANT",                                  [content => {}]],
    ['post', json    => qr/\Ajson: \S/,                                                  [json    => $handler]],
);
for my $row (@CALLS) {
    my ($call, $field, $text, @lists) = @$row;
    croaks_ok("$call, " . shown(@$_), $CALL{$call}, $field, $text, @$_) for @lists;
}

# Other calls, the field, and the text.
for my $row (
    [sub { $hubs->to_app }, undef, 'to_app is a method of an object: EventSource::Hub->new(...)->to_app(...)'],
    [sub { $hubs->publish(a => 'x') }, undef, 'this is not a hub; make one with EventSource::Hub->new'],
    [sub { $hubs->admin_app },         undef, qr/\Aadmin_app is a method of an object: /],
    [
        sub { $hubs->script_app(clasic => 1) },
        clasic => qr/\Aunknown option 'clasic' of script_app; did you mean classic\?/
    ],
    [sub { $hub->openmetrics('') },                     channels => 'a channel must be a string that is not empty'],
    [sub { $hub->to_app(channels => $nested)->($GET) }, channels => qr/\Achannels must return a list, not a reference/],
    [sub { $pubsub->new->to_app },                      hub      => 'hub must be an EventSource::Hub'],
    [sub { $pubsub->new($hub) }, undef, 'new takes attributes, as names and values or in a hash'],
    [sub { $pubsub->to_app },    undef, qr/\Ato_app is a method of an object: /],
    [sub { $server->new(supply => My::Endless->new)->call($GET) }, [unsupported => 'supply'], qr/\A./],
    [sub { EventSource::Server->emit('x') }, undef, 'emit is a method of an object: EventSource::Server->new(...)'],
    [sub { $server->new->out_supply->tap },  undef, 'tap takes code'],
    [sub { $conn->on_close },                callback => 'on_close takes a code reference'],
    [sub { $connection->new->push('x') },    push_cb  => 'there is no push_cb: give it to new, next to close_cb'],
    [
        sub { $connection->new(push_cb => $handler)->close },
        close_cb => 'there is no close_cb: give it to new, next to push_cb'
    ],
    [sub { $real->wait(undef, 0) },  [state => undef], 'wait would stop the event loop: call it in a spawned handler'],
    [sub { $bare->wait(undef, 0) },  [state => undef], 'wait needs a stream'],
    [sub { $bare->spawn($handler) }, [state => undef], qr/not native/],
    [sub { $subscribed->spawn($handler) },                                   [state => undef], qr/subscribed to a hub/],
    [sub { $bare->on_close($handler) },                                      [state => undef], qr/\A./],
    [sub { $app->new(native => 1, handler_cb => $handler)->to_app->($GET) }, [unsupported => 'native'], qr/\A./],
    [sub { EventSource::XS->format_event(data => 1) }, undef, qr/\Aformat_event is a function, not a method: /],
    [sub { EventSource::XS->later('x') }, code => 'code must be a code reference'],
    [sub { $parser->new(max => 5) },      max  => q(unknown option 'max'; did you mean max_event? (known: max_event))],
    [sub { EventSource::Parser->feed('x') }, undef, 'this is not a parser; make one with EventSource::Parser->new'],
    [sub { $tester->get('/')->like_event({name => 'x'}) }, name => qr/\A./],
    [sub { $tester->stop },        [state => undef], 'stop is for a server that was started here'],
    [sub { $tester->wait_for(1) }, condition => 'condition must be a code reference'],
    [sub { $test->new(url => 'http://127.0.0.1:1/')->get('/') }, [unavailable => undef], qr/\A./],
    [sub { $hanging->get('/')->content(0.05) },                  [timeout     => undef], qr/\A./],
) {
    my ($code, $field, $text) = @$row;
    croaks_ok('line ' . line_of($code), $code, $field, $text);
}
is_deeply [@{$hub->stats}{qw(streams channels published)}], [0, 0, 0], 'no call that throws has an effect';

# What the original accepts, if only until a request.
my $PAIRS = 'as names and values or in a hash';
for my $row (
    [sub { $app->new($handler) },                 "new takes attributes, $PAIRS"],
    [sub { $app->new([handler_cb => $handler]) }, "new takes attributes, $PAIRS"],
    [sub { $app->new(undef, 1) },                 "new takes attributes, $PAIRS"],
    [
        sub { $app->new(headers => ['X-A: 1', '']) },
        q(name 0 of headers must be the name of a header, such as 'X-Name', not 'X-A: 1')
    ],
    [
        sub { $app->new(headers => ['X-A' => '☺']) },
        'the value of X-A in headers has a character above U+00FF; encode it first'
    ],
    [sub { $app->new->to_app }, 'there is no handler_cb: give new a code reference, which is called with each stream'],
    [sub { $app->to_app },      'to_app is a method of an object: Plack::App::EventSource->new(...)->to_app'],
    [sub { Plack::App::EventSource::Connection->new('push_cb') },      "new takes attributes, $PAIRS"],
    [sub { Plack::App::EventSource::Connection->new(push_cb => 'x') }, 'push_cb must be a code reference'],
) {
    warns_ok("line ${\line_of($row->[0])}", @$row);
}

# Plack makes code of a component that is mounted without to_app, at a request.
sub mounted {
    my $map = Plack::App::URLMap->new;
    $map->map('/' => shift);
    return $map->to_app->({REQUEST_METHOD => 'GET', PATH_INFO => '/', SCRIPT_NAME => ''});
}
croaks_ok 'a component without handler_cb is mounted',
    sub { mounted($app->new) },
    'handler_cb', qr/\Athere is no handler/;

subtest 'push takes what publish takes' => sub {
    is pushed({json    => {a => [1]}}), 'data: {"a":[1]}||',            'json';
    is pushed({json    => undef}),      'data: null||',                 'json that is undef';
    is pushed({json    => "\xC3\xA9"}), "data: \"\xC3\x83\xC2\xA9\"||", 'strings of json are characters';
    is pushed({comment => 'x'}),        ': x|',                         'a comment alone';
    is pushed({data    => 1, id => 2, event => 3, retry => 4, comment => 5}), ': 5|event: 3|id: 2|data: 1|retry: 4||',
        'all fields: the comment comes before those of the original';
    is pushed({data => "\xC3\xA9", bytes => 1}), "data: \xC3\xA9||", 'bytes';
    is pushed({data => ['a', "b\nc"]}, ['d']), 'data: a|data: b|data: c|data: d||',
        'lines of data, in a field and as a message';
    is pushed({json  => 1}, 'x', {comment => 2}), 'data: 1|data: x|: 2||', 'several messages are one event';
    is pushed({bytes => 1}),                      '||',                    'bytes alone are not a field';
    is pushed({data  => bless [], 'My::Number'}), 'data: 5||',             'an object that is overloaded as a number';
    is EventSource::XS::_push_bytes(1, {data => "\xC3\xA9", bytes => 1}, "\xC3\xA9"),
        "data: \xC3\xA9\r\ndata: \xC3\x83\xC2\xA9\r\n\r\n", 'bytes hold for their own message only';
    ok !eval { pushed('x', {data => "\xE9", bytes => 1}); 1 }, 'bytes that are not UTF-8 are refused';
    like $@, qr/data must be valid UTF-8/, 'the error of such bytes says so';
};

# Warnings.
sub warnings_of {
    my @warnings;
    local $SIG{__WARN__} = sub { push @warnings, @_ };
    $_->() for @_;
    return @warnings;
}

subtest 'the drop-ins warn of unknown fields, once for each line' => sub {
    for my $case (
        [
            push => sub { EventSource::XS::_push_bytes(0, {data => 1, evnet => 2, colour => 3}) },
            q(unknown fields 'colour', 'evnet' (did you mean event?))
        ],
        [
            as_string => sub { HTTP::ServerEvent->as_string(data => 1, rety => 5) },
            "unknown field 'rety' (did you mean retry?)"
        ],
        [as_string => sub { HTTP::ServerEvent->as_string(json => 1) }, q(unknown field 'json')],
        [push      => sub { $conn->push({type => 1, data => 2}) },     "unknown field 'type' (did you mean event?)"],
    ) {
        my ($function, $code, $what) = @$case;
        my $place = __FILE__ . ' line ' . line_of($code);
        is_deeply [warnings_of(($code) x 3)], ["EventSource::XS: $function ignores the $what at $place.\n"],
            "$function: $what";
    }
    my @other = warnings_of(sub { EventSource::XS::_push_bytes(0, {evnet => 1}) },
        sub { EventSource::XS::_push_bytes(0, {evnet => 1}) });
    is scalar @other, 2, 'each other line has a warning of its own';
    is_deeply [warnings_of(sub { pushed({data => 1, event => 2}, 'x', [1]) })], [], 'known fields have none';
};

subtest 'push warns of names and values that are not in a hash, once for each line' => sub {
    my $code  = sub { $conn->push(event => 'tick', data => 1) };
    my $place = __FILE__ . ' line ' . line_of($code);
    is_deeply [warnings_of(($code) x 3)],
        [
        "EventSource::XS: push takes messages, and 'event' is one of them; did you mean push({event => ...})? at $place.\n"
        ],
        'the warning shows what to write';
    is_deeply [warnings_of(sub { pushed('data') }, sub { pushed('a', 'data') }, sub { pushed('data', 'b', 'c') })], [],
        'other strings have none';
    my @warnings = warnings_of(sub { is pushed(data => 'x'), 'data: data|data: x||', 'both are sent as messages' });
    is scalar @warnings, 1, 'an event with a warning';
};

subtest 'Plack::App::EventSource warns of unknown attributes, once for each line' => sub {

    package My::Events {
        our @ISA = ('Plack::App::EventSource');
        sub room { return $_[0]{room} }
    }
    my $make = sub {
        Plack::App::EventSource->new(keepalve => 1, xyzzy => 2, _own => 3, handler_cb => sub { });
    };
    is_deeply [warnings_of(($make) x 3)],
        [     "Plack::App::EventSource: unknown attributes 'keepalve' (did you mean keepalive?), 'xyzzy' at "
            . __FILE__
            . ' line '
            . line_of($make) . ".\n"
        ], 'each unknown one is named, and the line of new';
    is_deeply [
        warnings_of(
            sub {
                My::Events->new(room => 1, theme => 2, handler_cb => sub { });
            }
        )
        ],
        [],
        'a subclass may have attributes of its own';
    my $typo = sub {
        My::Events->new(room => 1, handler_bc => sub { });
    };
    is_deeply [warnings_of($typo)],
        [     "Plack::App::EventSource: unknown attribute 'handler_bc' (did you mean handler_cb?) at "
            . __FILE__
            . ' line '
            . line_of($typo) . ".\n"
        ], 'a misspelt attribute of a subclass is named';
    my $callbacks = sub {
        Plack::App::EventSource::Connection->new(push_cb => sub { }, close_db => sub { });
    };
    is scalar(my ($one) = warnings_of($callbacks)), 1, 'a connection on callbacks warns as well';
    like $one, qr/unknown attribute 'close_db' \(did you mean close_cb\?\) at \Q${\__FILE__}\E line/,
        'with the nearest name';
};

subtest 'Plack::Middleware::EventSource warns of unknown attributes, once for each line' => sub {
    my $app  = sub { [200, [], ['x']] };
    my $wrap = sub { Plack::Middleware::EventSource->wrap($app, notify_singal => undef) };
    my $make = sub {
        builder { enable 'EventSource', notify_singal => undef, xyzzy => 1; $app }
    };
    my $what = "Plack::Middleware::EventSource: unknown attribute";
    my $hint = q('notify_singal' (did you mean notify_signal?));
    for my $case ([wrap => $wrap, "$what $hint"], [builder => $make, "${what}s $hint, 'xyzzy'"]) {
        my ($way, $code, $text) = @$case;
        my $place = __FILE__ . ' line ' . line_of($code);
        is_deeply [warnings_of(($code) x 2)], ["$text at $place.\n"], "$way: the nearest name, and the line";
    }
    is_deeply [warnings_of(sub { Plack::Middleware::EventSource->wrap($app, notify_signal => undef) })], [],
        'a known attribute has none';
    for my $code (
        sub { Plack::Middleware::EventSource->wrap($app, notify_signal => 'TERM') },
        sub {
            builder { enable 'EventSource', notify_signal => 'TERM'; $app }
        },
    ) {
        croaks_ok('a wrong signal', $code, 'signal', qr/\Anotify_signal takes the name of a signal/);
    }
};

subtest 'the plugin of Mojolicious warns of settings, for it has none' => sub {
    plan skip_all => 'Mojolicious is not installed' if !eval { require Mojolicious::Lite; 1 };

    package My::Lite {
        Mojolicious::Lite->import;
    }

    package My::Site {
        our @ISA = ('Mojolicious');
        sub startup { return $_[0]{code}->($_[0]) }
    }
    my $name = 'EventSource::Framework::Mojolicious';
    my $lite = sub { My::Lite::plugin($name, keepalive => 30, hub => $hub) };
    my $full = sub { $_[0]->plugin($name => {keepalive => 30, hub => $hub}) };
    for my $case (['Mojolicious::Lite', $lite, $lite], ['a class', sub { My::Site->new(code => $full) }, $full]) {
        my ($kind, $make, $code) = @$case;
        is_deeply [warnings_of($make)],
            [
            "$name: the plugin has no settings, and ignores 'hub', 'keepalive'; the helpers events and event_source have at "
                . __FILE__
                . ' line '
                . line_of($code) . ".\n"
            ], "$kind: each is named, and the line of the application";
    }
    is_deeply [warnings_of(sub { My::Lite::plugin($name) })], [], 'without settings there is no warning';
};

# What shows only at a request names the line where the application was made.
subtest 'wrong channels name the line of to_app' => sub {
    my $list =
        'channels must return a list, not a reference to an array of names. An array of it has channels and, last, their'
        . " options: ['room/7', {start => -50}]";
    for my $case (
        ['an array of names'                  => ['news', 'sport'], 'channels', $list],
        ['an array of names that are numbers' => ['101',  '102'],   'channels', $list],
        ['an empty array'                     => [], 'channels', $list],
        [
            'options alone' => [{start => -50}],
            'channels', 'an array of channels has options, but no channel before them'
        ],
        [
            'an unknown option' => ['news', {strat => -50}],
            'strat', q(unknown option 'strat' of a channel; did you mean start? (known: max_streams_per, start))
        ],
        [
            'a wrong limit' => ['news', {max_streams_per => 5}],
            'max_streams_per',
            'max_streams_per must be an array of a code reference, which returns the key of a request, and of a number of streams'
        ],
        [
            'a wrong start' => ['news', {start => 50}],
            'start', q(start must be 'latest', 'oldest', 'state' or a number of events, such as -10)
        ],
        [
            'undef with options' => [undef, {start => -50}],
            'channel', 'a channel must be a string or a pattern, not undef'
        ],
        ['an object'     => (bless {}, 'My::Class'), 'channel', "a channel's name $STRING My::Class"],
        ['a hash'        => {},                      'channel', "a channel's name $STRING HASH"],
        ['undef'         => undef,                   'channel', 'a channel must be a string or a pattern, not undef'],
        ['an empty name' => '',                      'channel', q(a channel's name must not be empty)],
    ) {
        my ($what, $returned, $field, $text) = @$case;
        my $make = sub {
            $hub->to_app(channels => sub { return $returned });
        };
        my $app = $make->();
        ok !eval { $app->({REQUEST_METHOD => 'GET'}); 1 }, "$what: the request dies";
        is "$@", "EventSource::Hub: $text at ${\__FILE__} line ${\line_of($make)}.\n",
            "$what: the message and the line of to_app";
        is $@->field, $field, "$what: the field";
    }
    my $app = $hub->to_app(channels => sub { return [403, [], ['no']] });
    is_deeply $app->({REQUEST_METHOD => 'GET'}), [403, [], ['no']], 'a response is not an array of names';
};

subtest 'a wrong number of arguments shows the usage in Perl' => sub {
    for my $case (
        [
            'EventSource::Hub: usage: $hub->publish($channel, $event), where $event is a string, or a hash such as {data => ...}',
            sub { $hub->publish('news') }
        ],
        ['EventSource::Parser: usage: $parser->feed($bytes)',  sub { EventSource::Parser->new->feed }],
        ['EventSource::Parser: usage: $parser->last_event_id', sub { EventSource::Parser::last_event_id() }],
        [
            'Plack::App::EventSource::Connection: usage: $conn->push(@messages)',
            sub { Plack::App::EventSource::Connection::push() }
        ],
    ) {
        my ($message, $code) = @$case;
        ok !eval { $code->(); 1 }, "$message: it dies";
        is "$@", "$message at ${\__FILE__} line ${\line_of($code)}.\n", "$message: the message and the line";
    }
};

# lock_hash, Const::Fast: a look-up of a name that is not there dies.
subtest 'settings in restricted hashes are taken' => sub {
    my $locked = sub {
        my %hash = @_;
        lock_hashref_recurse(\%hash);
        return \%hash;
    };
    my $hub = EventSource::Hub->new(
        $locked->(
            per_process        => 1,
            keep_history       => {events => 3},
            keep_state         => {keys   => 3},
            keep_total_history => {events => 3},
            per_channel        => {a      => {keep_history => {events => 3}}},
            show_channel       => 'event',
        )
    );
    my $es = Test::EventSource->new(
        app => $hub->to_app(
            $locked->(
                channels => sub { ['m', $locked->(start => -3)] },
                member   => sub { $locked->(id => 'ann', channel => 'm', json => {n => 1}, join => {event => 'here'}) },
            )
        )
    );
    my $stream = $es->get('/');
    ok wait_until(sub { $hub->members_count('m') }), 'a stream with a member' or diag $es->log;
    is_deeply $es->log, '', 'without a line in the log';
    ok $hub->publish(m => $locked->(data => 'x'), $locked->(once => 'o')), 'an event';
    $hub->update_member(m => 'ann', $locked->(json => {n => 2}));
    is + ($hub->members('m'))[0]{json}{n}, 2, 'a member';
    ok +Plack::App::EventSource->new(handler_cb => sub { }, spawn => $locked->(grace => 1))->to_app, 'spawn';

    if ($has_named) {
        ok +EventSource::Hub->new(name => 'locked', store => $locked->(file => '/nowhere/hub.db')), 'a store';
    }
};

done_testing;

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
use Plack::App::EventSource;
use Plack::App::EventSource::PubSub;
use Plack::App::URLMap;
use Plack::Builder qw(builder enable);
use Plack::Middleware::EventSource;
use Test::EventSource;
use Testing::StreamPair;

{

    package My::Number;
    use overload '0+' => sub { 5 }, fallback => 1;
}

# A stream that takes everything.
{

    package My::Stream;
    sub new             { return bless {}, shift }
    sub drop            { return }
    sub is_native       { return !!0 }
    sub keep_attributes { return }
    sub write           { return !!1 }
}

# An iterator, which a server that blocks cannot read.
{

    package My::Endless;
    sub new  { return bless {}, shift }
    sub next { return 1 }
}

my $hub      = EventSource::Hub->new(per_process => 1);
my @channels = (channels => sub { return 'news' });

# Each constructor, given more arguments. Its line is that of its sub.
my %MAKE = (
    'Plack::App::EventSource->new' => sub {
        Plack::App::EventSource->new(handler_cb => sub { }, @_);
    },
    'EventSource::Hub->new'    => sub { EventSource::Hub->new(@_) },
    'Lease->new'               => sub { EventSource::Hub::Lease->new(@_) },
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
my $ORIGINS      = q(origins must be origins such as 'https://example.com', '*', or a code reference);

# What is given, the text of the exception, and the constructors. Its field is the first name, or none if there is no value.
my @MISTAKES = (
    [[headers => {}],                'headers must be an array of names and values, in pairs', @WITH_HEADERS],
    [[headers => 'X-A'],             'headers must be an array of names and values, in pairs', @WITH_HEADERS],
    [[headers => ['X-A']],           'headers must be an array of names and values, in pairs', @WITH_HEADERS],
    [[headers => ['X-A', undef]],    'the value of X-A in headers is undefined',               @WITH_HEADERS],
    [[headers => ['X-A', "a\r\nb"]], 'the value of X-A in headers must be one line',           @WITH_HEADERS],
    [
        [headers => ['X-A', [1]]], 'the value of X-A in headers must be a string, not a reference to ARRAY',
        @WITH_HEADERS
    ],
    [[headers => [undef, 1]], 'name 0 of headers is undefined', @WITH_HEADERS],
    [
        [headers => ['X A', 1]],
        qr/name 0 of headers must be the name of a header, such as 'X-Name', not 'X A'\z/,
        @WITH_HEADERS
    ],
    [[keepalive => 'soon'], 'keepalive must be a number of seconds',                        @OF_STREAMS],
    [[timeout   => 0],      'timeout must not be 0',                                        @WITH_SERVER],
    [[native    => 'no'],   q(native must be 'auto', 'quiet', 0 or 1),                      @WITH_SERVER],
    [[retry     => -1],     'retry must be a whole number of milliseconds, or two of them', @WITH_SERVER],
    [
        [start => 'first'],
        q(start must be 'latest', 'oldest', 'state' or a number of events, such as -10),
        grep { $_ ne 'Plack::App::EventSource->new' } @WITH_SERVER
    ],
    (
        map { [[url => $_], 'url must be an absolute URL of http or https', 'EventSource::Client->new'] } undef,
        '', '/events', 'ftp://127.0.0.1/', 'http:///'
    ),
    [[url     => 'http://h:99999/'], 'url has a port that is not one of 1 to 65535',        'EventSource::Client->new'],
    [[url     => 'http://h:port/'],  'url names no host',                                   'EventSource::Client->new'],
    [[timeout => 'soon'],            'timeout must be a number of seconds',                 'EventSource::Client->new'],
    [[timeout => -1],                'timeout must be a number of seconds',                 'EventSource::Client->new'],
    [[retry   => '1s'],              'retry must be a whole number of milliseconds from 0', 'EventSource::Client->new'],
    [[content => "\x{263A}"], 'content has a character above U+00FF; encode it first',      'EventSource::Client->new'],
    [[json    => {}, content => ''], 'json and content are two ways to give the content',   'EventSource::Client->new'],
    [[last_event_id => "a\nb"],      'last_event_id must be one line that is not empty',    'EventSource::Client->new'],
    [[on_error      => 'warn'],      'on_error must be a code reference',                   'EventSource::Client->new'],
    [[via           => 'AnyEvent::HTTP'], 'via is for a client with on_event',              'EventSource::Client->new'],
    (
        map { [[method => $_], qr/\Amethod must be a method such as 'GET'/, 'EventSource::Client->new'] } 'get',
        "GET /\r\nX", 'HEAD', []
    ),
    [[retry_statuses => 503], 'retry_statuses must be an array of HTTP statuses', 'EventSource::Client->new'],
    [
        [retry_statuses => [200]],
        'an element of retry_statuses must be a whole number from 400 to 599',
        'EventSource::Client->new'
    ],
    [[on_events  => sub { }],  qr/unknown option 'on_events'; did you mean on_event\?/, 'EventSource::Client->new'],
    [[handler_cb => 'main'],   'handler_cb must be a code reference',                   'Plack::App::EventSource->new'],
    [[channels   => ['news']], 'to_app takes channels, a code reference',               '$hub->to_app'],
    [[max_event  => 'x'],      'max_event must be a whole number of bytes from 1 on',   'EventSource::Parser->new'],
    [[max_event  => 'x'],     'max_event must be a whole number from 1 to 999999999999999', 'EventSource::Client->new'],
    [[onchange   => sub { }], qr/unknown setting 'onchange'; did you mean on_change\? \(known: /, 'Lease->new'],
    [[done       => 'x'],     'done must be a code reference',                                    'tap'],
    [[supply => 'x'], 'supply must be code, an object with tap or next, or a filehandle', 'EventSource::Server->new'],
    [[hub    => {}],  'hub must be an EventSource::Hub', 'PubSub->new', 'EventSource::Server->new'],
    (map { [[hub => $_], 'hub must be an EventSource::Hub', 'PubSub->new'] } undef, 'EventSource', bless {}, 'Hub'),
    (map { [[authorize => $_], 'authorize must be a code reference', 'PubSub->new'] } 1, 'yes',    []),
    (map { [[nodes => $_], 'nodes must be a reference to an array, a hash or code', 'PubSub->new'] } 'news', \'news'),
    (
        map { [[max_body => $_], 'max_body must be a whole number of bytes from 1 to 999999999999999', 'PubSub->new'] }
            0,
        -1,
        '1.5',
        '1k',
        '',
        "1\n",
        []
    ),
    (
        map { [[http_host => $_], 'http_host must be the name of a host, or several', 'PubSub->new'] } '',
        'a b', 'http://a', 'a/b', [undef], ['a', ''], "a\n", {}
    ),
    (
        map { [[origins => $_], $ORIGINS, 'PubSub->new'] } '',
        'example.com', 'https://', 'https://a/', 'https://a/b', 'null', "https://a\n", [undef], ['*', ''], {}
    ),
    (
        map { [[prefix => $_], 'prefix must be a string of less than 1024 bytes', 'PubSub->new'] } [],
        'x' x 1024, 'ö' x 512
    ),
    [[preamble => 1], 'preamble must be a number of bytes from 3 to 65536, or 0', 'PubSub->new'],
    [
        [authorise => sub { 1 }],
        "unknown attribute 'authorise'; did you mean authorize? (known: authorize, compress, headers, http_host, hub, keepalive, linger, max_body, "
            . 'max_streams, max_streams_per, native, nodes, origins, position, preamble, prefix, retry, start, timeout)',
        'PubSub->new'
    ],

    # Names. An odd number of arguments has no field.
    [
        [keepalve => 1],
        qr/unknown \w+ 'keepalve'(?: of to_app)?; did you mean keepalive\? \(known: /,
        'EventSource::Hub->new', '$hub->to_app', 'PubSub->new', 'EventSource::Server->new'
    ],
    [[heders => []], qr/unknown option 'heders'; did you mean headers\? \(known: /, 'Test::EventSource->new'],
    [
        [maxevent => 1],
        q(unknown option 'maxevent'; did you mean max_event? (known: max_event)),
        'EventSource::Parser->new'
    ],
    [[quiet => sub { }], q(unknown option 'quiet' of tap; did you mean quit? (known: done, quit)), 'tap'],
    [
        [xyzzy => 1],
        qr/unknown \w+ 'xyzzy'(?: of to_app| of tap)? \(known: /,
        grep { $_ ne 'Plack::App::EventSource->new' } sort keys %MAKE
    ],
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
    };
    return $error;
}

sub shown {
    return join ', ', map { defined $_ ? ref $_ || $_ =~ s/[\r\n]/~/gr : 'undef' } @_;
}

my $APP       = 'Plack::App::EventSource->new';
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
for my $row (@MISTAKES) {
    my ($given, $text, @constructors) = @$row;
    my $field       = @$given % 2 ? undef : $given->[0];
    my $is_accepted = !defined $field || $field =~ /\A(?:handler_cb|headers)\z/ && $text !~ /one line/;
    for my $constructor (@constructors) {
        my $what = "$constructor, " . shown(@$given);
        if ($is_accepted && $constructor eq $APP) {
            warns_ok($what, at_own_line("$APP(handler_cb => sub { }, \@_)"), $text, @$given);
        }
        else { croaks_ok($what, $MAKE{$constructor}, $field, $text, @$given) }
        if (defined $field && $constructor eq 'PubSub->new') {
            my $component = $MAKE{$constructor}->();
            $component->{$field} = $given->[1];
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

my $STRING  = 'must be a string, not a reference to';
my $MEANT   = 'did you mean json => ...?';
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
croaks_ok(
    "publish to $_->[0]",
    sub { $hub->publish($_[0] => 'x') },
    'channel', "a channel's name $STRING $_->[0]",
    $_->[1]
) for ['ARRAY', []], ['My::Class', bless {}, 'My::Class'];

# What beginners write, the text, and the field of the exception if it is neither the first word nor the unknown name in the
# text. The code is one line, whose number the message has.
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
$shows->subscribe($subscribed, 'news');

my $nested      = sub { return ('a', ['b']) };
my $GET         = {REQUEST_METHOD => 'GET', 'psgi.streaming' => 1};
my $SUPPLY      = 'supply must be code, an object with tap or next, or a filehandle';
my $NO_HANDLE   = 'wait takes an open handle with a descriptor, or undef';
my $NO_CHANNELS = 'per_channel must be names or patterns and their settings, in a hash or in an array of pairs';
my $NO_HISTORIES =
    q(unknown setting 'keep_histories' of per_channel 'a'; did you mean keep_history? (known: keep_history, keep_state, on_slow));
my $SINGLE        = 'HTTP::Server::PSGI';
my $NO_FIELDS     = 'format_event takes a hash reference, or names and values in pairs';
my $NO_CHANNEL    = 'there is no channel to subscribe to';
my $NO_PATTERN    = 'a pattern must be a string that is not empty';
my $NO_CONNECTION = 'takes a Plack::App::EventSource::Connection that has a stream';

my $NO_LIMIT = qr/\Amax_streams_per must be an array of a code reference, which returns the key of a request/;

my @BEGINNERS = (

    # Plack::App::EventSource
    [sub { $app->new(timeout      => [5]) },          'timeout must be a number of seconds'],
    [sub { $app->new(linger       => 'x') },          'linger must be a number of seconds'],
    [sub { $app->new(retry        => [1000]) },       'retry must be a whole number of milliseconds, or two of them'],
    [sub { $app->new(retry        => [5000, 1000]) }, 'retry must have the smaller number first'],
    [sub { $app->new(on_full      => 'drop') },       q(on_full must be 'block', 'disconnect' or 'drop_oldest')],
    [sub { $app->new(on_gone      => $handler) },     q(on_gone must be undef or 'unwind')],
    [sub { $app->new(spawn        => [1]) },          'spawn must be 0, 1 or a hash of options'],
    [sub { $app->new(max_buffered => '4M') },         'max_buffered must be a whole number from 1'],
    [sub { $app->new(max_streams  => 'unlimited') },  'max_streams must be a whole number from 1'],
    [sub { $app->new(preamble     => 'yes') },        'preamble must be a number of bytes from 3 to 65536, or 0'],
    [sub { $app->new(line_end     => 'cr') },         q(line_end must be 'crlf' or 'lf')],
    [sub { $app->new(methods      => 'POST') },       q(methods must be an array of names, such as ['GET', 'POST'])],
    [sub { $app->new(methods => ['post']) }, q(methods has 'post': names of methods are in capitals, write 'POST')],
    [sub { $app->new(origins => 'example.com') },  $ORIGINS],
    [sub { $app->new(origins => {}) },             $ORIGINS],
    [sub { $app->new(origins => ['https://a/']) }, $ORIGINS],
    [sub { $app->new(origins => [undef]) },        $ORIGINS],

    # EventSource::Hub
    [sub { $hubs->new('news') }, 'new takes settings, as names and values or in a hash', undef],
    [sub { $hubs->new(keep_history => 100) }, 'keep_history must be a hash of bounds, such as {events => 100}'],
    [
        sub { $hubs->new(keep_history => {count => 5}) },
        q(unknown bound 'count' of keep_history (known: bytes, events, seconds))
    ],
    [
        sub { $hubs->new(keep_history => {event => 5}) },
        qr/\Aunknown bound 'event' of keep_history; did you mean events[?] /
    ],
    [
        sub { $hubs->new(keep_history => {seconds => '1h'}) },
        'seconds of keep_history must be a number of seconds',
        'keep_history'
    ],
    [sub { $hubs->new(history => {}) },                qr/unknown setting 'history'; did you mean keep_history[?]/],
    [sub { $hubs->new(name => 'my shop') },            qr/\Aname must be 1 to 64 letters, digits, _, - and [.],/],
    [sub { $hubs->new(name => []) },                   "name $STRING ARRAY"],
    [sub { $hubs->new(grace => 5) },                   'grace is for a named hub: give it a name, too'],
    [sub { $hubs->new(name => 'a', grace => 'long') }, 'grace must be a number of seconds'],
    [sub { $hubs->new(name => 'a', publish_timeout => 0) }, 'publish_timeout must be a number of seconds above 0'],
    [sub { $hubs->new(name => 'a', socket => 'hub.sock') }, qr/\Asocket must be an absolute path without a NUL, such/],
    [
        sub { $hubs->new(name => 'a', socket => '/tmp/' . 'x' x 110, autostart => 0) },
        qr/\Asocket has at most 107 bytes/
    ],
    [sub { $hubs->new(on_slow => 'drop') },            q(on_slow must be 'disconnect', 'gap' or 'latest')],
    [sub { $hubs->new(gap_event => []) },              "gap_event $STRING ARRAY"],
    [sub { $hubs->new(gap_event => "a\nb") },          'gap_event must be one line that is not empty'],
    [sub { $hubs->new(show_channel => 1) },            q(show_channel must be 'event' or 'data')],
    [sub { $hubs->new(position => 'often') },          "position must be 'event', 'id' or 'none'"],
    [sub { $hub->to_app(@channels, position => 'x') }, "position must be 'event', 'id' or 'none'"],
    [sub { $hubs->new(position_event => '') },         'position_event must be one line that is not empty'],
    [sub { $hubs->new(position_event => 'gap') }, "position_event must not be 'gap', the name of the event for gaps"],
    [sub { $hubs->new(gap_data => []) },          "gap_data $STRING ARRAY"],
    [
        sub { $hubs->new(gap_data => $nothing) },
        "gap_data must return the data of the event, not undef, for the reason 'evicted'"
    ],
    [sub { $hubs->new(gap_data => $a_hash) }, "what gap_data returns $STRING HASH", 'gap_data'],
    [
        sub { $hub->publish(a => {event => 'position'}) },
        "event must not be the name of the hub's event for positions: choose another, or set position_event"
    ],
    [sub { $hubs->new(per_channel => ['news']) }, $NO_CHANNELS, 'per_channel'],
    [sub { $hubs->new(channels    => ['news']) }, 'channels is an option of to_app, not a setting of new', 'channels'],
    [sub { $hubs->new(per_channel => {a => {keep_histories => {}}}) }, $NO_HISTORIES, 'keep_histories'],
    [sub { $hubs->new(max_streams_per => 20) },                            $NO_LIMIT],
    [sub { $hubs->new(max_streams_per => [$handler]) },                    $NO_LIMIT],
    [sub { $hubs->new(max_streams_per => [undef, 5]) },                    $NO_LIMIT],
    [sub { $hub->to_app(@channels, max_streams_per => {}) },               $NO_LIMIT],
    [sub { $hub->to_app(@channels, max_streams_per => [$handler, 5, 5]) }, $NO_LIMIT],
    [
        sub { $hubs->new(max_streams_per => ['x', 5]) },
        'the first element of max_streams_per must be a code reference',
        'max_streams_per'
    ],
    [
        sub { $hubs->new(max_streams_per => [$handler, undef]) },
        qr/\Athe second element of max_streams_per must be a number/,
        'max_streams_per'
    ],
    [
        sub { $hubs->new(max_streams_per => [$handler, 0]) },
        qr/\Athe number of max_streams_per must be a whole number from 1/,
        'max_streams_per'
    ],
    [
        sub { $hub->to_app(@channels, max_streams_per => [$handler, '1e3']) },
        qr/\Athe number of max_streams_per must be a/,
        'max_streams_per'
    ],
    [sub { $hubs->new(methods => ['POST']) }, 'methods is an option of to_app, not a setting of new'],
    [sub { $hubs->to_app }, 'to_app is a method of an object: EventSource::Hub->new(...)->to_app(...)', undef],
    [sub { $hubs->publish(a => 'x') },        'this is not a hub; make one with EventSource::Hub->new', undef],
    [sub { $hub->to_app },                    'to_app takes channels, a code reference',                'channels'],
    [sub { $hub->to_app('news') },            'to_app takes options, as names and values or in a hash', undef],
    [sub { $hub->to_app(channel => 'news') }, qr/unknown option 'channel' of to_app; did you mean channels\?/],
    [sub { $hub->to_app(@channels, keep_history => {}) }, 'keep_history is a setting of new, not an option of to_app'],
    [sub { $hub->to_app(@channels, methods => 'POST') }, q(methods must be an array of names, such as ['GET', 'POST'])],
    [sub { $hub->to_app(@channels, origins => 'x') },    qr/origins must be origins such as/],
    [sub { $hub->to_app(channels => $nested)->($GET) }, qr/\Achannels must return a list, not a reference/, 'channels'],
    [sub { $hub->publish('news', undef) }, 'publish takes data, or a hash of fields, not undef',          'data'],
    [sub { $hub->publish(undef,  'x') },   q(a channel's name must be a string that is not empty),        'channel'],
    [sub { $hub->publish('news', {}) },    'an event needs one of event, id, retry, data, json, comment', undef],
    [sub { $hub->publish('news', {message => 'x'}) },         q(unknown field 'message'; did you mean data?)],
    [sub { $hub->publish('news', {type => 'x', data => 1}) }, q(unknown field 'type'; did you mean event?)],
    [sub { $hub->publish('news', {key => [], data => 1}) },   "key $STRING ARRAY"],
    [sub { $hub->publish(a => {id => ''}) },      q(id must not be empty: it would reset the client's last event ID)],
    [sub { $hub->publish(a => {retry => '5s'}) }, 'retry must be a whole number of milliseconds, in ASCII digits'],
    [sub { $hub->publish('news', {json => $handler}) }, qr/\Ajson: \S/],
    [sub { $hub->subscribe('news') },                   "subscribe $NO_CONNECTION",                     'connection'],
    [sub { $hub->drain('soon') },                       'drain takes a number of seconds',              'seconds'],
    [sub { $hub->pattern(qr/news/) },                   'a pattern must be a string that is not empty', 'pattern'],
    [sub { $hub->subscribers(['news']) },               "a channel's name $STRING ARRAY",               'channel'],

    [sub { EventSource::Hub::Lease->new(name => 'x') }, 'hub must be a named EventSource::Hub'],

    # Its bounds and names
    [
        sub { $hubs->new(keep_history => {events => -1}) },
        qr/\Aevents of keep_history must be a whole number from 0/,
        'keep_history'
    ],
    [
        sub { $hubs->new(keep_history => {bytes => '9' x 16}) },
        qr/\Abytes of keep_history must be a whole number/,
        'keep_history'
    ],
    [
        sub { $hubs->new(keep_total_history => {hours => 1}) }, qr/\Aunknown bound 'hours' of keep_total_history/,
        'hours'
    ],
    [
        sub { $hubs->new(keep_total_history => {seconds => 'x'}) },
        'seconds of keep_total_history must be a number of seconds',
        'keep_total_history'
    ],
    [sub { $hubs->new(keep_state       => {events => 1}) }, qr/\Aunknown bound 'events' of keep_state/, 'events'],
    [sub { $hubs->new(keep_total_state => {keys => -1}) },  qr/\Akeys of keep_total_state must be/, 'keep_total_state'],
    [sub { $hubs->new(keep_state       => 7) },         qr/\Akeep_state must be a hash of bounds/],
    [sub { $hubs->new(max_topics       => 0) },         qr/\Amax_topics must be a whole number from 1 to /],
    [sub { $hubs->new(gap_event        => '') },        'gap_event must be one line that is not empty'],
    [sub { $hubs->new(gap_event        => "gap\n") },   'gap_event must be one line that is not empty'],
    [sub { $hubs->new(start            => 10) },        qr/\Astart must be/],
    [sub { $hubs->new(start            => '-0') },      qr/\Astart must be/],
    [sub { $hubs->new(start            => "-1\n") },    qr/\Astart must be/],
    [sub { $hubs->new(retry            => [1, 2, 3]) }, 'retry must be a whole number of milliseconds, or two of them'],
    [sub { $shows->publish(a => {json => \*STDIN}) }, qr/\Ajson: \S/],
    [sub { $shows->publish(a => [undef]) }, 'element 0 of data is undefined', 'data'],

    # Its streams
    [sub { $hub->subscribe($real) },               $NO_CHANNEL,                                             'channels'],
    [sub { $hub->subscribe($real, {after => 1}) }, $NO_CHANNEL,                                             'channels'],
    [sub { $hub->serve($real) },                   $NO_CHANNEL,                                             'channels'],
    [sub { $hub->subscribe($real, undef) },        'a channel must be a string or a pattern, not undef',    'channel'],
    [sub { $hub->subscribe($real, 'a', '') },      q(a channel's name must not be empty),                   'channel'],
    [sub { $hub->subscribe($real, ['a']) },        "a channel's name $STRING ARRAY",                        'channel'],
    [sub { $hub->subscribe($real, {after => 1}, 'a') }, "a channel's name $STRING HASH",                    'channel'],
    [sub { $hub->subscribe($real, 'é' x 513) },  q(a channel's name must have at most 1024 bytes in UTF-8), 'channel'],
    [sub { $hub->subscribe($real, 0 .. 1_000) }, qr/\A./,                                                   'channels'],
    [sub { $hub->subscribe($real, 'a', {since => 1}) },     qr/\Aunknown option 'since'/],
    [sub { $hub->serve($real, 'a', {since => 1}) },         qr/\Aunknown option 'since'/],
    [sub { $hub->subscribe($real, 'a', {start => 'now'}) }, qr/\Astart must be/],
    [sub { $hub->subscribe($real, 'a', {after => []}) },    "after $STRING ARRAY"],
    [sub { $hub->subscribe($stream, 'a') },  "subscribe $NO_CONNECTION",                          'connection'],
    [sub { $hub->subscribe($bare, 'a') },    "subscribe $NO_CONNECTION",                          'connection'],
    [sub { $hub->serve({}, 'a') },           "subscribe $NO_CONNECTION",                          'connection'],
    [sub { $hub->pattern },                  $NO_PATTERN,                                         'pattern'],
    [sub { $hub->pattern('') },              $NO_PATTERN,                                         'pattern'],
    [sub { $hub->pattern('☺' x 342) },       qr/\Aa pattern must have at most 1024 bytes/,        'pattern'],
    [sub { $hub->drain },                    'drain takes a number of seconds',                   'seconds'],
    [sub { $hub->drain(-1) },                'drain takes a number of seconds',                   'seconds'],
    [sub { $hub->subscribers('') },          q(a channel's name must not be empty),               'channel'],
    [sub { $hub->subscribers('x' x 1_025) }, qr/\Aa channel's name must have at most 1024 bytes/, 'channel'],

    # Plack::App::EventSource::PubSub
    [sub { $pubsub->new->to_app }, 'hub must be an EventSource::Hub'],
    [sub { $pubsub->new($hub) },   'new takes attributes, as names and values or in a hash', undef],
    [sub { $pubsub->to_app },      qr/\Ato_app is a method of an object: /,                  undef],

    # EventSource::Server
    [sub { $server->new('x') }, 'new takes options, as names and values or in a hash', undef],
    [sub { $server->new(supply    => [1]) }, 'supply must be code, an object with tap or next, or a filehandle'],
    [sub { $server->new(keepalive => 30) },  'keepalive must be 0 or 1; keepalive_interval takes the seconds'],
    [sub { $server->new(keepalive_intervall => 5) },    qr/did you mean keepalive_interval\?/, 'keepalive_intervall'],
    [sub { $server->new(hub                 => $hub) }, 'channel must be given with hub'],
    [
        sub { $server->new(hub => $hub, channel => 'a', keep_history => {}) },
        'keep_history must be set on the hub itself if hub is given'
    ],
    [sub { $server->new(supply                => EventSource::Server->new) }, $SUPPLY],
    [sub { $server->new(supply                => $closed) }, qr/a filehandle that is not open/, 'supply'],
    [sub { $server->new(supply                => My::Endless->new)->call($GET) }, qr/\A./, [unsupported => 'supply']],
    [sub { $server->new(keepalive_interval    => 0) },      'keepalive_interval must be a number of seconds above 0'],
    [sub { $server->new('keepalive-frequency' => 'x') },    'keepalive_interval must be a number of seconds above 0'],
    [sub { $server->new(on_slow               => 'wait') }, qr/\Aon_slow must be/],
    [sub { $server->new(channel               => '') },     q(a channel's name must not be empty), 'channel'],
    [sub { $server->new(channel               => $hubs->pattern('*')) }, 'channel must be a name, not a pattern'],
    [sub { $server->new->emit({type => 'a', event => 'b'}) }, qr/\Atype and event are one field/,            'type'],
    [sub { $server->new->emit(undef) },                       qr/not undef\z/,                               undef],
    [sub { $server->new(channel => []) },                     "a channel's name $STRING ARRAY",              'channel'],
    [sub { EventSource::Server->emit('x') }, 'emit is a method of an object: EventSource::Server->new(...)', undef],
    [sub { $server->new->emit({msg  => 'x'}) },      q(unknown field 'msg'; did you mean data?)],
    [sub { $server->new->emit({json => $handler}) }, qr/\Ajson: \S/],
    [sub { $server->new->out_supply->tap }, 'tap takes code', undef],

    # A connection
    [sub { $conn->push({data => 1, json => 1}) },       'data and json exclude each other', 'json'],
    [sub { $conn->push({json => $handler}) },           qr/\Ajson: \S/],
    [sub { $conn->push({data => "\xFF", bytes => 1}) }, 'data must be valid UTF-8'],
    [sub { $conn->push({id   => "a\nb"}) },             'id must not contain a line break'],
    [sub { $conn->on_close },             'on_close takes a code reference',                       'callback'],
    [sub { $connection->new->push('x') }, 'there is no push_cb: give it to new, next to close_cb', 'push_cb'],
    [
        sub { $connection->new(push_cb => $handler)->close },
        'there is no close_cb: give it to new, next to push_cb',
        'close_cb'
    ],

    [sub { $ours->wait($closed) },     $NO_HANDLE,                                                    'handle'],
    [sub { $ours->wait($memory) },     $NO_HANDLE,                                                    'handle'],
    [sub { $ours->wait('no_handle') }, $NO_HANDLE,                                                    'handle'],
    [sub { $ours->wait({}) },          $NO_HANDLE,                                                    'handle'],
    [sub { $ours->wait(0) },           $NO_HANDLE,                                                    'handle'],
    [sub { $ours->wait(undef, -1) },   'seconds must be a number of seconds',                         'seconds'],
    [sub { $ours->wait(undef, 'x') },  'seconds must be a number of seconds',                         'seconds'],
    [sub { $real->wait(undef, 0) }, 'wait would stop the event loop: call it in a spawned handler',   [state => undef]],
    [sub { $bare->wait(undef, 0) }, 'wait needs a stream',                                            [state => undef]],
    [sub { $ours->spawn('code') },  'spawn takes a code reference',                                   'callback'],
    [sub { $ours->spawn },          'spawn takes a code reference',                                   'callback'],
    [sub { $ours->spawn($handler, grace => -1) },       'grace must be a number of seconds',          'grace'],
    [sub { $ours->spawn($handler, max_children => 0) }, 'max_children must be a whole number from 1', 'max_children'],
    [
        sub { $ours->spawn($handler, max_childs => 1) },
        qr/\Aunknown option 'max_childs' of spawn; did you mean max_children\?/
    ],
    [sub { $bare->spawn($handler) },                                         qr/not native/,          [state => undef]],
    [sub { $subscribed->spawn($handler) },                                   qr/subscribed to a hub/, [state => undef]],
    [sub { $bare->on_close($handler) },                                      qr/\A./,                 [state => undef]],
    [sub { $app->new(native => 1, handler_cb => $handler)->to_app->($GET) }, qr/\A./, [unsupported => 'native']],

    # format_event, callbacks, the parser
    [sub { format_event() },       'an event needs one of event, id, retry, data, json, comment', undef],
    [sub { format_event('text') }, $NO_FIELDS,                                                    undef],
    [sub { EventSource::XS->format_event(data => 1) }, $NO_FIELDS,                                undef],
    [
        sub { format_event({data => 1}, {id => 2}) },
        qr/\Aformat_event takes names and values, or a hash .+ 'HASH/,
        qr/\AHASH/
    ],
    [sub { format_event(name => 'x') },             q(unknown field 'name'; did you mean event?)],
    [sub { format_event(data => '☺', bytes => 1) }, 'bytes is set, but a string holds a character above U+00FF'],
    [sub { EventSource::XS->later('x') },           'code must be a code reference'],
    [sub { $parser->new(max => 5) },         q(unknown option 'max'; did you mean max_event? (known: max_event))],
    [sub { $parser->new->feed(undef) },      'feed takes a string of bytes, not undef',                      'bytes'],
    [sub { $parser->new->feed(\*STDIN) },    'feed takes a string of bytes, not a reference to GLOB',        'bytes'],
    [sub { $parser->new->feed('☺') },        'feed takes bytes, this string holds a character above U+00FF', 'bytes'],
    [sub { EventSource::Parser->feed('x') }, 'this is not a parser; make one with EventSource::Parser->new', undef],

    # Test::EventSource
    [sub { $test->new(app => $handler, url => 'http://x/') }, 'either app or url has to be given',   'app'],
    [sub { $test->new(app => '/nowhere') },                   '/nowhere: No such file or directory', 'app'],
    [sub { $test->new(app => $handler,    workers => 2) },         'workers is for a server that is started here'],
    [sub { $test->new(url => 'http://x/', server  => 'Starman') }, 'server is for a server that is started here'],
    [sub { $test->new(url => 'ftp://x/') }, q(url must begin with http://, not 'ftp://x/')],
    [
        sub { $test->new(app => $handler, server => 'No::Such') },
        'the server No::Such is not installed',
        [unsupported => 'server']
    ],
    [
        sub { $test->new(app => $handler, server => $SINGLE, workers => 2) },
        "$SINGLE has one process, workers cannot be set",
        'workers'
    ],
    [sub { $tester->get('/', timeout => 0) }, 'timeout must be a number of seconds above 0'],
    [sub { $tester->get('/', http    => 2) }, 'http must be 1.0 or 1.1'],
    [
        sub { $tester->post('/', content => 'x', form => []) },
        'only one of content, form and json can be sent, not content form',
        'form'
    ],
    [sub { $tester->get('/')->like_event({name => 'x'}) }, qr/\A./, 'name'],
    [sub { $tester->stop }, 'stop is for a server that was started here', [state => undef]],
    [sub { $test->new(url => 'http://127.0.0.1:1/')->get('/') }, qr/\A./, [unavailable => undef]],
    [sub { $hanging->get('/')->content(0.05) },                  qr/\A./, [timeout     => undef]],
    [sub { $test->new },                                         'either app or url has to be given', 'app'],
    [sub { $test->new(app => {}) },                              'app must be an application or the path of one'],
    [sub { $test->new(app => $handler, env     => []) }, 'env must be a hash'],
    [sub { $test->new(app => $handler, timeout => 0) },  'timeout must be a number of seconds above 0'],
    [sub { $tester->get('events') }, 'a path must begin with /', 'path'],
    [sub { $tester->get('/', header => []) }, qr/did you mean headers\?/, 'header'],
    [sub { $tester->get('/', last_event_id => "a\nb") }, 'last_event_id must be one line that is not empty'],
    [sub { $tester->post('/', content => '☺') },         'content must be bytes: encode it first'],
    [sub { $tester->post('/', content => {}) },          "content $STRING HASH; $MEANT"],
    [sub { $tester->post('/', form => 'a=1') },          'form must be a hash or an array of names and values'],
    [sub { $tester->post('/', json => $handler) },       qr/\Ajson: \S/],
    [sub { $tester->wait_for(1) },                       'condition must be a code reference'],
);
for my $row (@BEGINNERS) {
    my ($code, $text, @field) = @$row;
    push @field, "$text" =~ /unknown \w+ '(\w+)'/ || "$text" =~ /\A(?:[(][?]\^u?:(?:\\A)?)?(\w+)/ ? $1 : undef
        if !@field;
    croaks_ok('line ' . line_of($code), $code, @field, $text);
}
is_deeply [@{$hub->stats}{qw(streams channels)}], [0, 0], 'no call that throws has subscribed a stream';

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

# Stores: the value of store, and the text of the exception. Its field is the unknown setting, or store.
my $DEFAULT_PLACE = 'redis://127.0.0.1:6379/0';
my @STORES        = (
    ['disk',                                 q(store must be 'memory', {file => ...} or {redis => ...})],
    [['memory'],                             q(store must be 'memory', {file => ...} or {redis => ...})],
    ['file:/var/x.db',                       'store must be a hash: {file => ...}'],
    ['redis://:geheim@h',                    'store must be a hash: {redis => ...}'],
    [{},                                     'store needs file or redis: {file => ...} or {redis => ...}'],
    [{sync => 'event'},                      'store needs file or redis: {file => ...} or {redis => ...}'],
    [{file => 'x', redis => $DEFAULT_PLACE}, 'store has file and redis; a hub has one store: remove one of them'],
    [{file => 'x', snyc => 'event'}, q(unknown setting 'snyc' of store; did you mean sync? (known: file, sync))],
    [
        {redis => $DEFAULT_PLACE, replica => 1},
        qr/\Aunknown setting 'replica' of store; did you mean replicas\? \(known: ca, cert, key, prefix, redis, /
    ],
    [{fil => 'x'}, qr/\Aunknown setting 'fil' of store; did you mean file\? \(known: ca, cert, file, key, /],
    [{'redis://:geheim@h' => 1}, 'store has a URL as the name of a setting; write {redis => $url}'],

    # A file
    [{file => ''},                              'file must be the path of a file, not empty and without a NUL'],
    [{file => "a\0"},                           'file must be the path of a file, not empty and without a NUL'],
    [{file => []},                              "file of store $STRING ARRAY"],
    [{file => '/'},                             'file must be the path of a file; / is a folder'],
    [{file => 'x/'},                            'file must be the path of a file; x/ is a folder'],
    [{file => "\xFF\xFE/\x{100}", sync => 'x'}, q(sync of store must be 'never', 'second' or 'event')],
    [{file => ':memory:'},                      q(file ':memory:' is not a file; the store in memory is 'memory')],
    [{file => 'file:///x'},                     'file must be the path of a file, without file:'],
    [{file => 'x', sync => 'always'}, q(sync of store must be 'never', 'second' or 'event')],
    [{file => 'x', replicas => 1},    'replicas is not for a store in a file, but for one in Redis'],

    # Redis
    [{redis => []}, "redis of store $STRING ARRAY"],
    [{redis => $DEFAULT_PLACE, sync     => 'event'}, 'sync is not for a store in Redis, but for one in a file'],
    [{redis => $DEFAULT_PLACE, replicas => -1},      'replicas of store must be a whole number from 0 to 100'],
    map({ [
                {redis => $DEFAULT_PLACE, $_ => 'queue'},
                "$_ of store is gone: events are refused while the store is away, and EventSource::Outbox keeps them"
    ] } qw(queue when_down)),
    map({ [
                {redis => $DEFAULT_PLACE, prefix => $_},
                'prefix must be 1 to 64 letters, digits, _, -, . and :, without spaces and braces'
        ] } '',
        'a b', '{a}', 'a*', "a\n",
        'x' x 65),
    [{redis => $DEFAULT_PLACE, ca             => '/x'},      qr{\Aca, .+, is for TLS: begin the URL with rediss://}],
    [{redis => 'rediss://h',   cert           => '/x'},      'cert needs its key, too: give the path as key'],
    [{redis => 'redis://h',    sentinel_login => ':geheim'}, qr/\Asentinel_login is for Sentinels: begin the URL/],
    map({ [
                {redis => 'redis-sentinel://h:1/m', sentinel_login => $_},
                qr/\Asentinel_login must be USER:PASSWORD, or :PASSWORD/
        ] } '',
        'geheim', 'u:',
        'u:gehe:im',
        'u:gehe im',
        'u:gehe@im',
        'u:gehe%im',
        "u:geheim\n",
        "u:geheim\x{100}"),
    [{redis => 'rediss://h', key => '/x'}, 'key needs its cert, too: give the path as cert'],
    [{redis => 'rediss://h', ca  => ''},   'ca must be the path of a file, not empty and without a NUL'],

    # The URL of Redis: no message shows a password.
    map({ [{redis => $_->[0]}, $_->[1]] } (
            ['localhost:6379',                 qr/\Aredis must be a URL, such as redis:/],
            ['http://:geheim@h',               qr{\Aredis must begin with redis://, rediss://, redis-sentinel://}],
            ['redis+unix:///x',                qr{\Aredis must begin with redis://}],
            ['redis://:geheim @h',             qr/\Aredis must be a URL without spaces/],
            ["redis://:geheim\n\@h",           qr/\Aredis must be a URL without spaces/],
            ["redis://:geheim\x{100}\@h",      qr/\Aredis must be a URL without spaces/],
            ['redis://:geheim@h/0?replicas=1', qr/\Aredis must not have [?] or #; .* settings are beside redis/],
            ['redis://:gehe#im@h',             qr/\Aredis must not have [?] or #/],
            ['redis://:gehe@im@h',             qr/\Aredis has more than one @; encode it .* as %40/],
            ['redis://:gehe/im@h',             qr/\Aredis must have host and port/],
            ['redis://u:gehe:im@h',            qr/\Aredis must have host and port: \S+; encode/],
            ['redis://:gehe%im@h',             qr/\Aredis has a % without two hexadecimal digits; encode it .* as %25/],
            ['redis://geheim@h',               qr/\Aredis has a user without a password: write USER:PASSWORD@/],
            ['redis://',                       qr/\Aredis must have host and port/],
            ['redis://:geheim@',               qr/\Aredis must have host and port/],
            ['redis://h:port',                 qr/\Aredis must have host and port/],
            ['redis://h/shop',                 qr/\Aredis must have host and port/],
            ['redis://h:70000',                'redis has a port above 65535 or 0'],
            ['redis://a:1,b:2',                qr/\Aredis must have host and port/],
            ['redis-sentinel://a:1,b:2',       qr/\Aredis must have hosts with ports and the name of the master/],
            ['redis-sentinel://a,b/m',         qr/\Aredis must have hosts with ports/],
            ['redis-sentinel://:geheim@a:1/',  qr/\Aredis must have hosts with ports/],
            ['redis-sentinel://a:1,b:0/m',     'redis has a port above 65535 or 0'],
    )),
);
for my $number (0 .. $#STORES) {
    my ($store, $text) = @{$STORES[$number]};
    my $field = $text =~ /unknown setting '(\w+)'/ ? $1 : 'store';
    my $make  = sub { EventSource::Hub->new(name => 'a', store => $store) };
    my $error = croaks_ok("store $number: " . (ref $text ? $text : "'$text'"), $make, $field, $text);
    unlike $error, qr/gehe/, "store $number: no part of a password";
}
croaks_ok(
    'a store of a hub in this process',
    sub { EventSource::Hub->new(store => {file => 'x'}) },
    'store', 'store is for a named hub: give it a name, too'
);
croaks_ok(
    'a store of a server in this process',
    sub { EventSource::Server->new(store => {file => 'x'}) },
    'store', qr/store is for a named hub: give it a name, too/
);

# Plack makes code of a component that is mounted without to_app, at a request.
sub mounted {
    my $map = Plack::App::URLMap->new;
    $map->map('/' => shift);
    return $map->to_app->({REQUEST_METHOD => 'GET', PATH_INFO => '/', SCRIPT_NAME => ''});
}
croaks_ok(
    'a component without handler_cb is mounted',
    sub { mounted($app->new) },
    'handler_cb', qr/\Athere is no handler/
);

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
    {

        package My::Events;
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
    {

        package My::Lite;
        Mojolicious::Lite->import;
    }
    {

        package My::Site;
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

done_testing;

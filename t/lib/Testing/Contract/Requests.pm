package Testing::Contract::Requests;
use Testing;

# The behaviours of streams by other methods than GET: the body of the request, methods that are refused, and requests of
# pages of other origins.
#
#   my @behaviours = Testing::Contract::Requests->behaviours;    # Testing::Contract says what a behaviour is

use Digest::MD5     qw(md5_hex);
use EventSource::XS ();
use JSON::MaybeXS   ();
use Plack::Request;
use Testing::Contract::Check   qw(next_request_ok response_complete_ok response_ends_ok);
use Testing::Contract::Handler qw(source);

my $JSON  = '{"prompt":"caf\\u00e9 & more","topic":"tokens"}';
my $LARGE = join '', map { sprintf "%06d\r\n\0\xFF", $_ } 1 .. 20_000;  # 200 KB that no parser of chunks or forms likes
my $SHOP  = 'https://shop.example';

my @METHODS = qw(DELETE GET PATCH POST PUT QUERY);

# The bytes of a body after the head of a request, with the headers for it.
sub with_body {
    my ($bytes, @headers) = @_;
    return (headers => ['Content-Length' => length $bytes, @headers], then => $bytes);
}

# The same in chunks.
sub with_chunks {
    my ($bytes, $size) = @_;
    my $chunks = join '', map { sprintf "%x\r\n%s\r\n", length, $_ } $bytes =~ /(.{1,$size})/gs;
    return (headers => ['Transfer-Encoding' => 'chunked'], then => "${chunks}0\r\n\r\n");
}

# A handler that pushes whether its stream is native, and what a sub returns for the environment of the request.
sub pushing_request {
    my $sub = shift;
    return sub {
        my ($conn, $env) = @_;
        $conn->push($conn->is_native ? 'native' : 'writer', $sub->($env));
        $conn->close;
        return;
    };
}

# A check: the stream is native where it can be, and these lines follow.
sub request_is {
    my $expected = shift;
    return sub {
        my ($client, $run) = @_;
        response_ends_ok($client);
        is $client->status, 200, 'the status is 200';
        response_complete_ok($client);
        my $kind = $run->is_native ? 'native' : 'writer';
        is $client->text, "data: $kind\r\ndata: $expected\r\n\r\n", 'the handler has read the request';
        return;
    };
}

sub app_for {
    my ($sub, %option) = @_;
    return sub { return source(pushing_request($sub), methods => [@METHODS], %option)->to_app };
}

sub digest_of { return length($_[0]) . ' bytes, ' . md5_hex($_[0]) }

# The body as psgi.input gives it, read in pieces.
sub raw_body {
    my $env  = shift;
    my $body = '';
    my $left = $env->{CONTENT_LENGTH} || 0;
    while ($left > 0) {
        my $count = $env->{'psgi.input'}->read(my $piece, $left < 8_192 ? $left : 8_192) or last;
        $body .= $piece;
        $left -= $count;
    }
    return $body;
}

sub is_refused {
    my ($status, $body, @headers) = @_;
    return sub {
        my $client = shift;
        response_ends_ok($client);
        is $client->status, $status, "the status is $status";
        is $client->body,   $body,   'the body names the reason' if $client->{method} ne 'HEAD';
        while (my ($name, $value) = splice @headers, 0, 2) { is $client->header($name), $value, "the header $name" }
        return;
    };
}

# The stream of a hub for the channel that the body names. An event is published to it while the request is answered.
sub hub_app {
    return sub { [501, [], []] }
        if !EventSource::XS->can('_next_end');
    require EventSource::Hub;
    my $hub = EventSource::Hub->new(per_process => 1, start => 'oldest');
    return $hub->to_app(
        native   => $ENV{CONTRACT_NATIVE} ? 1 : 0,
        methods  => ['POST'],
        channels => sub {
            my $asked = JSON::MaybeXS->new(utf8 => 1)->decode(Plack::Request->new(shift)->content);
            $hub->publish($asked->{topic}, {data => $asked->{prompt}});
            return $asked->{topic};
        },
    );
}

# They hold on every way to a server.
my @BASICS = (
    {
        name    => 'Plack::Request reads a form',
        request => [
            '/request/form',
            method => 'POST',
            with_body('name=caf%C3%A9&amount=3', 'Content-Type' => 'application/x-www-form-urlencoded')
        ],
        app => app_for(
            sub {
                my $form = Plack::Request->new(shift)->body_parameters;
                return join ', ', map { "$_: $form->{$_}" } sort keys %$form;
            }
        ),
        check => request_is("amount: 3, name: caf\xC3\xA9"),
    },
    {
        name    => 'psgi.input has a body of 200 KB',
        request => ['/request/raw', method => 'POST', with_body($LARGE)],
        app     => app_for(sub { return digest_of(raw_body(shift)) }),
        check   => request_is(digest_of($LARGE)),
    },
);

my @BODIES = (
    (
        map {
            {
                name    => "Plack::Request reads the JSON of a $_",
                request => ['/request/json', method => $_, with_body($JSON, 'Content-Type' => 'application/json')],
                needs   => [$_],
                ($_ eq 'POST' ? (app => app_for(sub { return Plack::Request->new(shift)->content })) : ()),
                check => request_is($JSON),
            }
        } qw(POST PUT PATCH DELETE QUERY)
    ),
    {
        name    => 'a handler reads the body twice',
        request => [
            '/request/twice',
            method => 'POST',
            with_body('q=7', 'Content-Type' => 'application/x-www-form-urlencoded')
        ],
        app => app_for(
            sub {
                my $request = Plack::Request->new(shift);
                return join ' ', $request->content, $request->content, $request->body_parameters->{q};
            }
        ),
        check => request_is('q=7 q=7 7'),
    },
    {
        name    => 'psgi.input is empty if there is no body',
        request => ['/request/raw', method => 'POST', headers => ['Content-Length' => 0]],
        check   => request_is(digest_of('')),
    },
    {
        name    => 'psgi.input can be read to its end without a Content-Length',
        request => ['/request/to-the-end', method => 'POST'],
        needs   => ['no length'],
        app     => app_for(
            sub {
                my $count = shift->{'psgi.input'}->read(my $bytes, 10);
                return defined $count ? "$count bytes" : 'undef';
            }
        ),
        check => request_is('0 bytes'),
    },
    {
        name    => 'a chunked body is decoded',
        request => ['/request/raw', method => 'POST', with_chunks($LARGE, 9_999)],
        needs   => ['chunked requests'],
        check   => request_is(digest_of($LARGE)),
    },
    {
        name    => 'a chunked body that the server does not decode is refused with 411',
        request => ['/request/raw', method => 'POST', with_chunks('abc', 2)],
        needs   => ['undecoded chunks'],
        check   => is_refused(411, "Content-Length is required\n"),
    },
    {
        name    => 'Expect: 100-continue is answered before the stream begins',
        request => [
            '/request/raw',
            method  => 'POST',
            headers => ['Content-Length' => length $LARGE, Expect => '100-continue']
        ],
        needs => ['100 Continue'],
        check => sub {
            my ($client, $run) = @_;
            ok $client->read_continue, 'the server asks for the body' if $client->{http} eq '1.1';
            $client->say($LARGE);
            return request_is(digest_of($LARGE))->($client, $run);
        },
    },
    {
        name    => 'a client with Expect: 100-continue may send its body without waiting',
        request => ['/request/raw', method => 'POST', with_body($LARGE, Expect => '100-continue')],
        check   => request_is(digest_of($LARGE)),
    },
    {
        name    => 'a handler need not read the body',
        request => ['/request/unread', method => 'POST', with_body($LARGE)],
        app     => app_for(sub { return 'nothing read' }),
        check   => sub {
            my ($client, $run) = @_;
            request_is('nothing read')->($client, $run);
            next_request_ok($run);
        },
    },
    {
        name    => 'a request that is pipelined behind a body does not disturb the stream',
        request => [
            '/request/raw',
            method  => 'POST',
            headers => ['Content-Length' => length $JSON],
            then    => "${JSON}GET /plain HTTP/1.0\r\n\r\n"
        ],
        needs => [qw(client pipelining)],
        check => sub {
            my ($client, $run) = @_;
            request_is(digest_of($JSON))->($client, $run);
            my $rest = $client->rest;
            if ($run->ends_connection) { is $rest, '', 'nothing follows a native stream' }
            else { like $rest, qr{\A(?:HTTP/1[.][01] 200 .*\r\n\r\nplain)?\z}s, 'only the other response may follow' }
            next_request_ok($run);
        },
    },
    {
        name    => 'a hub subscribes to the channel that the JSON of a POST names',
        request => ['/request/hub', method => 'POST', with_body($JSON, 'Content-Type' => 'application/json')],
        needs   => ['client'],
        app     => \&hub_app,
        check   => sub {
            my ($client, $run) = @_;
            ok $client->read_until(qr/^data: caf\xC3\xA9 & more\n/m), 'the client receives the event of its channel'
                or diag $client->body;
            $client->leave;
            next_request_ok($run);
        },
    },
);

my @REFUSALS = (
    (
        map {
            {
                name    => "the method $_->[0] is refused, and Allow names GET",
                request => ['/one', method => @$_],
                check   => is_refused(405, 'Method not allowed', Allow => 'GET'),
            }
        } ['POST', headers => ['Content-Length' => 0]],
        ['PUT', headers => ['Content-Length' => 0]],
        ['OPTIONS'],
        ['HEAD']
    ),
    {
        name    => 'GET is refused where only other methods are allowed',
        request => ['/request/only'],
        app     => app_for(sub { }, methods => ['QUERY', 'POST']),
        check   => is_refused(405, 'Method not allowed', Allow => 'POST, QUERY'),
    },
);

my @PREFLIGHT = (
    headers => [
        'Origin'                         => $SHOP,
        'Access-Control-Request-Method'  => 'POST',
        'Access-Control-Request-Headers' => 'content-type, last-event-id'
    ]
);

my @ORIGINS = (
    {
        name    => 'the preflight request of a listed origin is answered',
        request => ['/request/origins', method => 'OPTIONS', @PREFLIGHT],
        app     => app_for(sub { return 'of ' . ($_[0]{HTTP_ORIGIN} || 'none') }, origins => [$SHOP]),
        check   => is_refused(
            204, '',
            'Access-Control-Allow-Origin'      => $SHOP,
            'Access-Control-Allow-Credentials' => 'true',
            'Access-Control-Allow-Methods'     => join(', ', @METHODS),
            'Access-Control-Allow-Headers'     =>
                'Authorization, Cache-Control, Content-Type, Last-Event-ID, Prefer, X-Requested-With, Baggage, Traceparent, Tracestate',
            'Vary' => 'Origin',
        ),
    },
    {
        name    => 'the preflight request of another origin is refused',
        request => ['/request/origins', method => 'OPTIONS', headers => [Origin => 'https://evil.example']],
        check   => is_refused(
            403, "Not from this origin\n",
            'Access-Control-Allow-Origin' => undef,
            'Vary'                        => 'Origin',
        ),
    },
    {
        name    => 'a POST of another origin is refused',
        request => ['/request/origins', method => 'POST', with_body('abc', Origin => 'https://evil.example')],
        check   => is_refused(403, "Not from this origin\n"),
    },
    {
        name    => 'a listed origin may read the stream of a POST',
        request => ['/request/origins', method => 'POST', with_body('abc', Origin => $SHOP)],
        check   => sub {
            my ($client, $run) = @_;
            request_is("of $SHOP")->($client, $run);
            is $client->header('Access-Control-Allow-Origin'), $SHOP, 'the response allows the origin to read it';
        },
    },
);

sub basics { return @BASICS }

sub behaviours { return (@BASICS, $_[0]->details) }

sub details { return (@BODIES, @REFUSALS, @ORIGINS) }

1;

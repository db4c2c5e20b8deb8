# Pages of other origins: what they may do with a Plack::App::EventSource, and the CORS headers of its responses.
# t/pubsub/origins.t has every form of the attribute.

use lib 't/lib';
use Testing;
use Plack::App::EventSource;
use Testing::RecordingHub qw(answer origins_told);

my $SHOP     = 'https://shop.example';
my $EVIL     = 'https://evil.example';
my $EXPLICIT = "credentials: true; origin: $SHOP; vary: Origin";
my @ASK      = ('Access-Control-Request-Method' => 'GET', 'Access-Control-Request-Headers' => 'last-event-id');

sub source {
    return Plack::App::EventSource->new(handler_cb => sub { $_[0]->push('hello') }, @_)->to_app;
}

# What a response says of origins, but Access-Control-Allow-Methods: every stream has it, as in the original.
sub told {
    return join '; ', grep { !/\Amethods: / } split /; /, origins_told(shift);
}

sub from {
    my ($origin, $app, $method, @option) = @_;
    return answer($app, $method => '/', headers => [defined $origin ? (Origin => $origin) : (), @ASK], @option);
}

# What is logged meanwhile.
sub logged_of {
    my $code = shift;
    open my $errors, '>', \my $said or die $!;
    $code->(env => {'psgi.errors' => $errors});
    return $said // '';
}

subtest 'a refused origin is logged once, with the remedy' => sub {
    my $app  = source(origins => [$SHOP], methods => [qw(GET POST)]);
    my %star = (origins => '*', methods => ['POST']);
    my $line = sub { qr/\APlack::App::EventSource: a page of \Q$_[0]\E was refused: .*origins.*Host.*\n\z/ };
    for my $case (
        ['a POST'                            => "$EVIL:1", $app,          'POST'],
        ['a preflight'                       => "$EVIL:2", $app,          'OPTIONS'],
        ['a GET, which the page cannot read' => "$EVIL:3", $app,          'GET'],
        ['a POST, where all may read'        => "$EVIL:4", source(%star), 'POST'],
    ) {
        my ($name, $origin, @request) = @$case;
        my @logged = map {
            logged_of(sub { from($origin, @request, @_) })
        } 1, 2;
        like $logged[0], $line->($origin), $name;
        is $logged[1], '', "$name: once";
    }
    unlike logged_of(sub { from("$EVIL:5", source(origins => [], methods => ['POST']), 'POST', @_) }), qr/origins/,
        'an application that allows none knows the attribute';
    is logged_of(sub { from($SHOP, $app,                   'POST', @_) }), '', 'a listed origin is not logged';
    is logged_of(sub { from($EVIL, source(origins => '*'), 'GET',  @_) }), '', 'nor one that may read';
    like logged_of(sub { from("\x1B[1m\xE9" . 'x' x 1000, $app, 'POST', @_) }), $line->('?[1m?' . 'x' x 95),
        'what a client sends is one short line';
    my $lines = join '', map {
        my $number = $_;
        logged_of(sub { from("$EVIL:$number", $app, 'POST', @_) })
    } 10 .. 30;
    is scalar(() = $lines =~ /\n/g), 4, 'ten origins are logged at most';
};

subtest 'without origins' => sub {
    my $app = source();
    my $get = from($EVIL, $app, 'GET');
    is $get->code,                                             200, 'every page may make a GET';
    is told($get),                                             '',  'no page of another origin may read the response';
    is from($EVIL, $app, 'OPTIONS')->code,                     405, 'OPTIONS is a 405';
    is from($EVIL, source(methods => ['POST']), 'POST')->code, 200, 'the application decides about a POST';
    is told(from($SHOP, source(headers => ['Access-Control-Allow-Origin' => '*']), 'GET')), 'origin: *',
        'headers of the application are sent';
};

subtest 'a listed origin' => sub {
    for my $origins ($SHOP, ['http://other', $SHOP], sub { $_[0] eq $SHOP }) {
        my $app = source(origins => $origins, methods => ['GET', 'POST']);
        my $get = from($SHOP, $app, 'GET');
        is told($get),                  $EXPLICIT,             'a stream has the CORS headers';
        is $get->content,               "data: hello\r\n\r\n", 'and its events';
        is told(from($SHOP, $app, $_)), $EXPLICIT, "the response to $_ has the CORS headers" for qw(POST PUT HEAD);
        my $preflight = from($SHOP, $app, 'OPTIONS');
        is $preflight->code,                                   204,                  'a preflight request is a 204';
        is $preflight->header('Allow'),                        'GET, OPTIONS, POST', 'Allow has OPTIONS too';
        is $preflight->header('Access-Control-Allow-Methods'), 'GET, POST', 'the methods are those of the application';
        is $preflight->header('Access-Control-Allow-Origin'),  $SHOP,       'the origin is allowed';
        like $preflight->header('Access-Control-Allow-Headers'), qr/\b$_\b/, "$_ may be sent"
            for qw(Last-Event-ID Content-Type Authorization);
        is $preflight->header('Access-Control-Max-Age'), 7200,     'the permission may be remembered';
        is $preflight->header('Vary'),                   'Origin', 'the response varies by Origin';
    }
};

subtest 'headers that a preflight asks for' => sub {
    my $known   = from($SHOP, source(origins => $SHOP), 'OPTIONS')->header('Access-Control-Allow-Headers');
    my $allowed = sub {
        my ($origins, $asked) = @_;
        my @ask = ('Access-Control-Request-Method' => 'GET', 'Access-Control-Request-Headers' => $asked);
        my $app = source(origins => $origins);
        return answer($app, OPTIONS => '/', headers => [Origin => $SHOP, @ask])->header('Access-Control-Allow-Headers');
    };
    is $allowed->($_, 'last-event-id,sentry-trace, x-tenant'), "$known, sentry-trace, x-tenant",
        'a listed origin may send its own'
        for $SHOP, ['*', $SHOP], sub { return 1 };
    is $allowed->('*', 'x-tenant'), $known, 'a page that may only read may not';
    is $allowed->($SHOP, $_), $known, 'a list that no browser sends is not repeated'
        for "x-a\r\nx: b", 'x a', ',', '*', 'x-' . 'a' x 5000;
    like $known, qr/\b$_\b/i, "all may send $_" for qw(traceparent tracestate baggage);
};

subtest 'the plain page of a host whose proxy terminates TLS is another origin' => sub {
    my $app = source(origins => [$SHOP], methods => ['POST']);
    for my $case (
        [200, 'http://app.example'],
        [200, 'https://app.example'],
        [403, 'http://app.example',  'X-Forwarded-Proto' => 'https'],
        [200, 'https://app.example', 'X-Forwarded-Proto' => 'https'],
        [200, 'http://app.example',  'X-Forwarded-Proto' => 'http'],
        [403, 'http://app.example',  'X-Forwarded-SSL'   => 'on'],
        [403, 'http://app.example',  Forwarded           => 'for=192.0.2.1;proto=https;by=192.0.2.2'],
    ) {
        my ($status, $origin, @headers) = @$case;
        my $response = answer($app, POST => '/', headers => [Host => 'app.example', Origin => $origin, @headers]);
        is $response->code, $status, "$origin, @headers: $status";
    }
};

subtest 'another origin' => sub {
    my $app = source(origins => [$SHOP], methods => [qw(GET POST QUERY)]);
    for my $origin ($EVIL, 'null', "$SHOP.evil.example", "$SHOP:8443") {
        my $get = from($origin, $app, 'GET');
        is $get->code,                         200,            "$origin: a GET is answered";
        is told($get),                         'vary: Origin', "$origin: the response may not be read";
        is from($origin, $app, 'QUERY')->code, 200,            "$origin: a QUERY only reads, too";
        my $post = from($origin, $app, 'POST');
        is $post->code, 403,            "$origin: a POST is a 403";
        is told($post), 'vary: Origin', "$origin: the 403 varies by Origin";
        my $preflight = from($origin, $app, 'OPTIONS');
        is $preflight->code, 403,            "$origin: a preflight request is a 403";
        is told($preflight), 'vary: Origin', "$origin: the response to it varies by Origin";
    }
    is told(from(undef, $app, 'GET')),  'vary: Origin', 'the response without an Origin varies by Origin';
    is from(undef, $app, 'POST')->code, 200,            'a POST without an Origin is a stream';
    is answer($app, POST => '/', headers => [Origin => 'http://localhost'])->code, 200, 'so is one of the own origin';
    is from(undef, $app, 'OPTIONS')->header('Allow'), 'GET, OPTIONS, POST, QUERY', 'OPTIONS is answered to a program';
};

subtest 'a star' => sub {
    my $app = source(origins => '*', methods => [qw(GET POST QUERY)]);
    is told(from($EVIL, $app, 'GET')), 'origin: *', 'every page may read, without credentials';
    is from($EVIL, $app, 'POST')->code, 403, 'no page of another origin may make a POST';
    is from($EVIL, $app, 'OPTIONS')->header('Access-Control-Allow-Methods'), 'GET, QUERY', 'GET and QUERY are allowed';
    is from($EVIL, source(origins => '*', methods => ['POST']), 'OPTIONS')->code, 403,
        'a preflight request is a 403 if there is no method to read';
    is told(from($EVIL, source(origins => []), 'GET')), '', 'an empty list allows no origin';
};

subtest 'the application decides' => sub {
    my $app = source(origins => $SHOP, headers => ['Access-Control-Allow-Origin' => 'https://own.example']);
    is told(from($SHOP, $app, 'GET')), 'origin: https://own.example', 'its own header is not changed';
    open my $errors, '>', \my $said or die $!;
    my $response = from($SHOP, source(origins => sub { die "no list\n" }), 'GET', env => {'psgi.errors' => $errors});
    is $response->code, 500,                                           'a callback that dies makes a 500';
    is $said,           "Plack::App::EventSource: origins: no list\n", 'psgi.errors has the exception';
};

subtest 'EventSource::Server' => sub {
    Testing->need('native');
    require EventSource::Server;
    my $es = EventSource::Server->new(origins => [$SHOP]);
    is from($SHOP, $es, 'OPTIONS')->code, 204, 'a preflight request is a 204';
    is from($EVIL, $es, 'OPTIONS')->code, 403, 'a preflight request of another origin is a 403';
    $es->stop;
    my $end = from($SHOP, $es, 'GET');
    is $end->code, 204,       'a client after stop is answered with 204';
    is told($end), $EXPLICIT, 'the page may read that, or it would reconnect';
};

done_testing;

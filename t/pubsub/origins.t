# Pages of other origins: what they may do, and the CORS headers of the responses.

use lib 't/lib';
use Testing;
use Plack::App::EventSource::PubSub;
use Testing::RecordingHub qw(answer origins_told);

my $hub = Testing::RecordingHub->new;

sub pubsub {
    return Plack::App::EventSource::PubSub->new(hub => $hub, authorize => sub { 1 }, @_)->to_app;
}

sub from {
    my ($origin, $app, $method, %option) = @_;
    my @headers = (defined $origin ? (Origin => $origin) : (), @{$option{headers} || []});
    return answer($app, $method => '/news', content => 'x', %option, headers => \@headers);
}

my $SHOP     = 'https://shop.example';
my $EXPLICIT = "credentials: true; origin: $SHOP; vary: Origin";

subtest 'a listed origin may read every response and publish' => sub {
    for my $origins ($SHOP, [$SHOP], ['http://other', 'HTTPS://Shop.Example'], ['*', $SHOP], sub { $_[0] eq $SHOP }) {
        my $app = pubsub(origins => $origins, nodes => ['news']);
        is origins_told(from($SHOP, $app, 'GET')),  $EXPLICIT, 'a stream has the CORS headers of the listed origin';
        is origins_told(from($SHOP, $app, 'HEAD')), $EXPLICIT, 'a HEAD has the CORS headers of the listed origin';
        my $post = from($SHOP, $app, 'POST');
        is $post->code,         200,       'a POST of the listed origin is published';
        is origins_told($post), $EXPLICIT, 'the response to a POST has the CORS headers';
        is origins_told(answer($app, GET => '/other', headers => [Origin => $SHOP])), $EXPLICIT,
            'a 404 has the CORS headers of the listed origin';
        is origins_told(from($SHOP, $app, 'PUT')), $EXPLICIT, 'a 405 has the CORS headers of the listed origin';
    }
    my $app = pubsub(origins => $SHOP, authorize => sub { $_[1] eq 'publish' ? die "x\n" : 0 });
    open my $errors, '>', \my $said or die $!;
    is origins_told(from($SHOP, $app, 'GET')), $EXPLICIT, 'a 403 of authorize has the CORS headers';
    is origins_told(from($SHOP, $app, 'POST', env => {'psgi.errors' => $errors})), $EXPLICIT,
        'a 500 has the CORS headers';
};

subtest 'an origin that is not listed may neither read nor publish' => sub {
    my $app = pubsub(origins => $SHOP);
    for my $origin (
        'https://evil.example',      'http://shop.example',
        'https://shop.example:8443', 'https://shop.example.evil',
        'https://xshop.example',     "$SHOP/",
        'null',                      '',
        '*',                         "$SHOP, https://evil.example"
    ) {
        my $get = from($origin, $app, 'GET');
        is origins_told($get), 'vary: Origin', "'$origin' may not read";
        is $get->code,         200,            "a GET of '$origin' is answered";
        $hub->published;
        my $post = from($origin, $app, 'POST');
        is $post->code, 403, "a POST of '$origin' is a 403";
        is_deeply [$hub->published], [], "a POST of '$origin' publishes nothing";
    }
    is origins_told(from(undef, $app, 'GET')), 'vary: Origin', 'a response without an Origin varies by Origin';
};

subtest 'a star lets every origin read and none publish' => sub {
    for my $origins ('*', ['*']) {
        my $app = pubsub(origins => $origins);
        my $get = from('https://any.example', $app, 'GET');
        is origins_told($get),                              'origin: *', 'a star allows reading without credentials';
        is from('https://any.example', $app, 'POST')->code, 403,         'a POST of any origin is a 403 with a star';
        is origins_told(from(undef, $app, 'GET')), '', 'a response without an Origin does not vary with a star';
    }
    my $app = pubsub(origins => ['*', $SHOP]);
    is origins_told(from('https://any.example', $app, 'GET')), 'origin: *; vary: Origin',
        'a star beside a listed origin allows reading, and the response varies';
    is from('https://any.example', $app, 'POST')->code, 403,
        'a POST of any origin is a 403 with a star beside a listed origin';
    is origins_told(from('*', $app, 'GET')), 'origin: *; vary: Origin', 'the origin * is like any other';
};

subtest 'no origins are listed by default' => sub {
    my $app = pubsub();
    my $get = from($SHOP, $app, 'GET');
    is $get->code,                         200, 'a GET of another origin is a 200 by default';
    is origins_told($get),                 '',  'a stream has no CORS headers by default';
    is from($SHOP, $app, 'POST')->code,    403, 'a POST of another origin is a 403 by default';
    is from($SHOP, $app, 'OPTIONS')->code, 403, 'a preflight request of another origin is a 403 by default';
    is from(undef, $app, 'POST')->code,    200, 'a POST without an Origin is published by default';
};

subtest 'a page of the same origin may publish' => sub {
    for my $case (
        ['http://localhost',      'http',  'localhost',      200],
        ['http://localhost:5000', 'http',  'localhost:5000', 200],
        ['HTTP://LocalHost:5000', 'http',  'localhost:5000', 200],
        ['http://localhost',      'http',  'localhost:80',   200],
        ['https://localhost',     'https', 'localhost:443',  200],
        ['https://localhost',     'http',  'localhost',      200, 'behind a proxy that speaks TLS'],
        ['http://localhost',      'https', 'localhost',      403, 'from a page that came without TLS'],
        ['http://localhost:5001', 'http',  'localhost:5000', 403],
        ['http://localhost:5000', 'http',  'localhost',      403],
        ['http://evil',           'http',  'localhost',      403],
        ['http://localhost.evil', 'http',  'localhost',      403],
        ['http://localhost/',     'http',  'localhost',      403],
        ['ftp://localhost',       'http',  'localhost',      403],
        ['null',                  'http',  'localhost',      403],
        ['http://',               'http',  '',               403],
    ) {
        my ($origin, $scheme, $host, $status, $what) = @$case;
        for my $app (pubsub(), pubsub(origins => $SHOP), pubsub(origins => sub { 0 })) {
            my $response = from($origin, $app, 'POST', env => {'psgi.url_scheme' => $scheme, HTTP_HOST => $host});
            is $response->code, $status, "$origin, $scheme, $host: $status" . ($what ? ", $what" : '');
            unlike origins_told($response), qr/origin:/, "$origin, $scheme, $host: the response has no CORS origin";
        }
    }
};

subtest 'CORS preflight requests' => sub {
    my $app = pubsub(origins => ['*', $SHOP], authorize => sub { die }, nodes => sub { die });
    my @ask = ('Access-Control-Request-Method' => 'POST', 'Access-Control-Request-Headers' => 'content-type');
    my $ok  = from($SHOP, $app, 'OPTIONS', headers => \@ask);
    is $ok->code,                                   204, 'a preflight request of a listed origin is a 204';
    is $ok->content,                                '',  'a preflight response has no body';
    is $ok->header('Access-Control-Allow-Methods'), 'GET, HEAD, POST', 'a preflight response has the methods';
    like $ok->header('Access-Control-Allow-Headers'), qr/\b$_\b/, "a preflight response allows the header $_"
        for qw(Content-Type Last-Event-ID Authorization);
    is $ok->header('Access-Control-Max-Age'),           7200,   'a preflight response may be cached for 7,200 seconds';
    is $ok->header('Access-Control-Allow-Origin'),      $SHOP,  'a preflight response has the origin';
    is $ok->header('Access-Control-Allow-Credentials'), 'true', 'a preflight response allows credentials';
    is $ok->header('Vary'),                             'Origin', 'a preflight response varies by Origin';

    my $public = from('https://any.example', $app, 'OPTIONS', headers => \@ask);
    is $public->header('Access-Control-Allow-Methods'), 'GET, HEAD',
        'a preflight response with a star allows GET and HEAD';
    is $public->header('Access-Control-Allow-Credentials'), undef,
        'a preflight response with a star allows no credentials';

    my $no = from('https://any.example', pubsub(origins => $SHOP), 'OPTIONS', headers => \@ask);
    is $no->code,         403,            'a preflight request of an origin that is not listed is a 403';
    is origins_told($no), 'vary: Origin', 'a refused preflight request has no CORS origin';
};

subtest 'a callback of origins' => sub {
    my @asked;
    my $app = pubsub(origins => sub { push @asked, $_[0], $_[1]{PATH_INFO}; 1 });
    from(undef, $app, 'GET');
    is_deeply \@asked, [], 'the callback is not called without an Origin';
    is origins_told(from($SHOP, $app, 'GET')), $EXPLICIT, 'an origin for which the callback returns true is listed';
    is_deeply \@asked, [$SHOP, '/news'], 'the callback receives the origin and the environment';
    $app = pubsub(origins => sub { die "no list\n" });
    open my $errors, '>', \my $said or die $!;
    my $response = from($SHOP, $app, 'GET', env => {'psgi.errors' => $errors});
    is $response->code,         500,                                 'the response is 500 if the callback dies';
    is origins_told($response), '',                                  'the 500 has no CORS headers';
    is $said, "Plack::App::EventSource::PubSub: origins: no list\n", 'psgi.errors has the exception of the callback';
};

subtest 'headers of the application for origins are kept' => sub {
    my @own = ('Access-Control-Allow-Origin' => 'https://own.example');
    my $app = pubsub(origins => $SHOP, headers => [@own]);
    is origins_told(from($SHOP, $app, $_)), 'origin: https://own.example',
        "Access-Control-Allow-Origin of headers is kept for $_"
        for qw(GET HEAD);
    $app = pubsub(origins => $SHOP, headers => ['X-Own' => 'Access-Control-Allow-Origin']);
    is origins_told(from($SHOP, $app, 'GET')), $EXPLICIT,
        'a header whose value is Access-Control-Allow-Origin does not count';
};

done_testing;

# What pages of other origins may do, and what the browser is told of it.

use strict;
use warnings;

use lib 't/lib';
use Plack::App::EventSource::PubSub;
use Testing::RecordingHub qw(answer);
use Test::More;

my $hub = Testing::RecordingHub->new;

sub pubsub {
    return Plack::App::EventSource::PubSub->new(hub => $hub, authorize => sub { 1 }, @_)->to_app;
}

# The headers of a response that are about origins, as one string.
sub told {
    my $response = shift;
    my %told;
    for my $name (grep { /\A(?:access-control-.*|vary)\z/i } $response->headers->header_field_names) {
        $told{lc($name) =~ s/\Aaccess-control-allow-//r} = join '+', $response->header($name);
    }
    return join '; ', map { "$_: $told{$_}" } sort keys %told;
}

sub from {
    my ($origin, $app, $method, %option) = @_;
    my @headers = (defined $origin ? (Origin => $origin) : (), @{$option{headers} || []});
    return answer($app, $method => '/news', content => 'x', %option, headers => \@headers);
}

my $SHOP     = 'https://shop.example';
my $EXPLICIT = "credentials: true; origin: $SHOP; vary: Origin";

subtest 'a listed origin may read what it is answered' => sub {
    for my $origins ($SHOP, [$SHOP], ['http://other', 'HTTPS://Shop.Example'], ['*', $SHOP], sub { $_[0] eq $SHOP }) {
        my $app = pubsub(origins => $origins, nodes => ['news']);
        is told(from($SHOP, $app, 'GET')),  $EXPLICIT, 'a stream';
        is told(from($SHOP, $app, 'HEAD')), $EXPLICIT, 'whether there is one';
        my $post = from($SHOP, $app, 'POST');
        is $post->code,                                                       200,       'it may publish';
        is told($post),                                                       $EXPLICIT, 'and read the id';
        is told(answer($app, GET => '/other', headers => [Origin => $SHOP])), $EXPLICIT, 'that there is no such node';
        is told(from($SHOP, $app, 'PUT')),                                    $EXPLICIT, 'that there is no such method';
    }
    my $app = pubsub(origins => $SHOP, authorize => sub { $_[1] eq 'publish' ? die "x\n" : 0 });
    open my $errors, '>', \my $said or die $!;
    is told(from($SHOP, $app, 'GET')), $EXPLICIT, 'that it is not authorized';
    is told(from($SHOP, $app, 'POST', env => {'psgi.errors' => $errors})), $EXPLICIT, 'that something went wrong';
};

subtest 'any other origin may not' => sub {
    my $app = pubsub(origins => $SHOP);
    for my $origin (
        'https://evil.example',      'http://shop.example',
        'https://shop.example:8443', 'https://shop.example.evil',
        'https://xshop.example',     "$SHOP/",
        'null',                      '',
        '*',                         "$SHOP, https://evil.example"
    ) {
        my $get = from($origin, $app, 'GET');
        is told($get), 'vary: Origin', "'$origin' may not read";
        is $get->code, 200,            'though the request is answered, for it may be no browser';
        $hub->published;
        my $post = from($origin, $app, 'POST');
        is $post->code, 403, 'it may not publish';
        is_deeply [$hub->published], [], 'and nothing is published';
    }
    is told(from(undef, $app, 'GET')), 'vary: Origin', 'without an Origin';
};

subtest 'a star lets all read, and none publish' => sub {
    for my $origins ('*', ['*']) {
        my $app = pubsub(origins => $origins);
        my $get = from('https://any.example', $app, 'GET');
        is told($get),                                      'origin: *', 'without credentials';
        is from('https://any.example', $app, 'POST')->code, 403,         'publishing: 403';
        is told(from(undef, $app, 'GET')),                  '',          'nothing depends on the origin';
    }
    my $app = pubsub(origins => ['*', $SHOP]);
    is told(from('https://any.example', $app, 'GET')),  'origin: *; vary: Origin', 'beside one that is listed';
    is from('https://any.example', $app, 'POST')->code, 403,                       'publishing: 403';
    is told(from('*', $app, 'GET')),                    'origin: *; vary: Origin', 'an origin that calls itself a star';
};

subtest 'without origins' => sub {
    my $app = pubsub();
    my $get = from($SHOP, $app, 'GET');
    is $get->code,                         200, 'a stream is served';
    is told($get),                         '',  'which no page of another origin may read';
    is from($SHOP, $app, 'POST')->code,    403, 'publishing from another origin: 403';
    is from($SHOP, $app, 'OPTIONS')->code, 403, 'asking for it: 403';
    is from(undef, $app, 'POST')->code,    200, 'publishing without an origin, from a program';
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
            unlike told($response), qr/origin:/, 'there is nothing to tell of it';
        }
    }
};

subtest 'what a browser asks first' => sub {
    my $app = pubsub(origins => ['*', $SHOP], authorize => sub { die }, nodes => sub { die });
    my @ask = ('Access-Control-Request-Method' => 'POST', 'Access-Control-Request-Headers' => 'content-type');
    my $ok  = from($SHOP, $app, 'OPTIONS', headers => \@ask);
    is $ok->code,                                   204,               'is answered with 204';
    is $ok->content,                                '',                'and no body';
    is $ok->header('Access-Control-Allow-Methods'), 'GET, HEAD, POST', 'with the methods';
    like $ok->header('Access-Control-Allow-Headers'), qr/\b$_\b/, "the header $_"
        for qw(Content-Type Last-Event-ID Authorization);
    is $ok->header('Access-Control-Max-Age'),           7200,     'for how long';
    is $ok->header('Access-Control-Allow-Origin'),      $SHOP,    'for which origin';
    is $ok->header('Access-Control-Allow-Credentials'), 'true',   'with credentials';
    is $ok->header('Vary'),                             'Origin', 'which differs for others';

    my $public = from('https://any.example', $app, 'OPTIONS', headers => \@ask);
    is $public->header('Access-Control-Allow-Methods'),     'GET, HEAD', 'where all may only read';
    is $public->header('Access-Control-Allow-Credentials'), undef,       'without credentials';

    my $no = from('https://any.example', pubsub(origins => $SHOP), 'OPTIONS', headers => \@ask);
    is $no->code, 403,            'and 403 if the origin is not listed';
    is told($no), 'vary: Origin', 'with nothing that lets it';
};

subtest 'code that knows the origins' => sub {
    my @asked;
    my $app = pubsub(origins => sub { push @asked, $_[0], $_[1]{PATH_INFO}; 1 });
    from(undef, $app, 'GET');
    is_deeply \@asked, [], 'is not asked without an Origin';
    is told(from($SHOP, $app, 'GET')), $EXPLICIT, 'may let it';
    is_deeply \@asked, [$SHOP, '/news'], 'given the origin and the environment';
    $app = pubsub(origins => sub { die "no list\n" });
    open my $errors, '>', \my $said or die $!;
    my $response = from($SHOP, $app, 'GET', env => {'psgi.errors' => $errors});
    is $response->code, 500, 'may die: 500';
    is told($response), '',  'with nothing that lets the page read it';
    is $said,           "Plack::App::EventSource::PubSub: origins: no list\n", 'psgi.errors is told';
};

subtest 'headers that are there already' => sub {
    my @own = ('Access-Control-Allow-Origin' => 'https://own.example');
    my $app = pubsub(origins => $SHOP, headers => [@own]);
    is told(from($SHOP, $app, $_)), 'origin: https://own.example', "stay as they are: $_" for qw(GET HEAD);
    $app = pubsub(origins => $SHOP, headers => ['X-Own' => 'Access-Control-Allow-Origin']);
    is told(from($SHOP, $app, 'GET')), $EXPLICIT, 'a value is no name';
};

done_testing;

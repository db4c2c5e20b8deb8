# Which node, and whose, a URL names.

use strict;
use warnings;
use utf8;

use lib 't/lib';
use Plack::App::EventSource::PubSub;
use Plack::App::URLMap;
use Plack::Builder;
use Testing::RecordingHub qw(answer);
use Test::More;

binmode $_, ':encoding(UTF-8)' for map { Test::More->builder->$_ } qw(output failure_output todo_output);

sub pubsub { return Plack::App::EventSource::PubSub->new(hub => Testing::RecordingHub->new, @_)->to_app }

# What the stream of a path follows, in bytes; or the status of the refusal.
sub follows {
    my ($app, $path, %option) = @_;
    my $response = answer($app, GET => $path, %option);
    return $response->code != 200 ? $response->code : $response->content =~ s/\Afollows //r;
}

subtest 'the name of a node is what stands in the path' => sub {
    my $app = pubsub();
    for my $case (
        ['/news',                     'news',                            'as it is'],
        ['/princely_musings',         'princely_musings',                'with an underscore'],
        ['/urn:xmpp:microblog:0',     'urn:xmpp:microblog:0',            'with colons'],
        ['/a/b',                      'a/b',                             'with a slash in it'],
        ['/a%2Fb',                    'a/b',                             'with a slash that is percent-encoded'],
        ['/a/',                       'a/',                              'with a slash at its end'],
        ['//a',                       '/a',                              'with a slash at its beginning'],
        ['/../x',                     '../x',                            'with what is a path elsewhere'],
        ['/%252F',                    '%2F',                             'decoded once, not twice'],
        ['/news%20today',             'news today',                      'with a blank'],
        ['/a+b',                      'a+b',                             'a plus is a plus'],
        ['/*',                        '*',                               'a star is a star'],
        ['/news/**',                  'news/**',                         'two are two'],
        ['/0',                        '0',                               'a name that is false'],
        ['/gr%C3%B6%C3%9Fe%E2%98%BA', "gr\xC3\xB6\xC3\x9Fe\xE2\x98\xBA", 'in UTF-8'],
        ['/news?node=other',          'news',                            'whatever the query is'],
    ) {
        my ($path, $node, $what) = @$case;
        is follows($app, $path), $node, "$path: $what";
    }
};

subtest 'the application is told the name in characters' => sub {
    my @asked;
    my $ask = sub { push @asked, "$_[1] $_[2]"; 1 };
    follows(pubsub(authorize => $ask), '/gr%C3%B6%C3%9Fe%E2%98%BA');
    is_deeply \@asked, ['subscribe größe☺'], 'by authorize';
    @asked = ();
    follows(pubsub(nodes => sub { push @asked, $_[0]; 1 }), '/gr%C3%B6%C3%9Fe%E2%98%BA');
    is_deeply \@asked, ['größe☺'], 'by nodes';
};

subtest 'names that cannot be' => sub {
    my $app = pubsub();
    for my $case (
        ['/',                  404, 'an empty name'],
        ['/%00',               400, 'NUL'],
        ['/a%00b',             400, 'NUL inside'],
        ['/a%0Ab',             400, 'a line break'],
        ['/a%0D',              400, 'a carriage return'],
        ['/%1B',               400, 'an escape'],
        ['/%7F',               400, 'DEL'],
        ['/%C2%85',            400, 'NEL'],
        ['/%FF',               400, 'no UTF-8'],
        ['/%C3',               400, 'UTF-8 that is cut'],
        ['/%C0%AF',            400, 'UTF-8 that is longer than need be'],
        ['/%ED%A0%80',         400, 'a surrogate'],
        ['/%F4%90%80%80',      400, 'beyond Unicode'],
        ['/' . 'x' x 1025,     414, '1,025 bytes'],
        ['/' . '%C3%B6' x 513, 414, '1,026 bytes in 513 characters'],
    ) {
        my ($path, $status, $what) = @$case;
        is follows($app, $path), $status, "$what: $status";
    }
    is follows($app, '/' . 'x' x 1024), 'x' x 1024, '1,024 bytes are a name';
    is follows($app, '', env => {PATH_INFO => ''}), 404, 'the path ends where the application is mounted';
};

subtest 'a prefix stands before each name' => sub {
    my $app = pubsub(prefix => 'pubsub/');
    is follows($app,                  '/news'),          'pubsub/news',          'of a channel';
    is follows($app,                  '/' . 'x' x 1017), 'pubsub/' . 'x' x 1017, 'which may be 1,024 bytes long';
    is follows($app,                  '/' . 'x' x 1018), 414,                    'and no longer';
    is follows(pubsub(prefix => 'ö'), '/' . 'x' x 1023), 414,                    'bytes are counted, not characters';
    my @asked;
    follows(pubsub(prefix => 'pubsub/', authorize => sub { push @asked, $_[2]; 1 }, nodes => ['news']), '/news');
    is_deeply \@asked, ['news'], 'and nobody is asked for it';
};

subtest 'where nodes are declared, there are no others' => sub {
    for my $case (
        ['an array' => ['news', 'größe', '*']],
        ['a hash'   => {news => 0, 'größe' => undef, '*' => 1}],
        ['code'     => sub { $_[0] =~ /\A(?:news|größe|[*])\z/ }],
    ) {
        my ($what, $nodes) = @$case;
        my $asked = 0;
        my $app   = pubsub(nodes => $nodes, authorize => sub { $asked++; 1 });
        is follows($app, '/news'),            'news',                "$what: a declared node";
        is follows($app, '/gr%C3%B6%C3%9Fe'), "gr\xC3\xB6\xC3\x9Fe", 'one with a letter that is not ASCII';
        is follows($app, '/*'),               '*',                   'a star is declared as itself';
        $asked = 0;
        is follows($app, '/new'),                                404, 'one that is not';
        is follows($app, '/NEWS'),                               404, 'nor in upper case';
        is answer($app, HEAD => '/other')->code,                 404, 'nor for HEAD';
        is answer($app, POST => '/other', content => 'x')->code, 404, 'nor for POST';
        is $asked,                                               0,   'and authorize is not asked';
    }
    is follows(pubsub(nodes => []), '/news'), 404, 'none are declared';
    my %nodes;
    my $app = pubsub(nodes => \%nodes);
    is follows($app, '/news'), 404, 'not declared yet';
    $nodes{news} = 1;
    is follows($app, '/news'), 'news', 'declared later';
};

subtest 'code that says which nodes there are' => sub {
    my $env;
    my $app = pubsub(nodes => sub { $env = $_[1]; die "no database\n" });
    open my $errors, '>', \my $said or die $!;
    is follows($app, '/news', env => {'psgi.errors' => $errors}), 500,             'dies: 500';
    is $said,             "Plack::App::EventSource::PubSub: nodes: no database\n", 'psgi.errors is told';
    is $env->{PATH_INFO}, '/news',                                                 'it is given the environment too';
};

subtest 'a host of its own' => sub {
    for my $case (
        ['events.example',      'events.example',      200],
        ['events.example',      'events.example:5000', 200],
        ['events.example',      'EVENTS.Example',      200],
        ['Events.Example',      'events.example:80',   200],
        ['events.example:5000', 'events.example',      200],
        ['events.example',      'localhost',           404],
        ['events.example',      'xevents.example',     404],
        ['events.example',      'events.example.org',  404],
        ['events.example',      '',                    404],
        ['[::1]',               '[::1]:5000',          200],
        ['[::1]',               '[::1]',               200],
        [['a', 'b'],            'b:1',                 200],
        [['a', 'b'],            'c',                   404],
    ) {
        my ($http_host, $host, $status) = @$case;
        my $app = pubsub(http_host => $http_host);
        is answer($app, GET => '/news', env => {HTTP_HOST => $host})->code, $status,
            (ref $http_host ? "@$http_host" : $http_host) . " and Host: $host: $status";
    }
    my $app = pubsub(http_host => 'events.example', authorize => sub { 1 });
    is answer($app, $_ => '/news')->code, 404, "$_ on another host" for qw(GET HEAD POST OPTIONS PUT);
    is answer($app, GET => '/news', env => {HTTP_HOST => undef, SERVER_NAME => 'events.example'})->code, 200,
        'without a Host the name of the server counts';
};

subtest 'mounted' => sub {
    my $builder = builder {
        mount '/eventsource'                  => pubsub();
        mount 'http://events.example/'        => pubsub(prefix => 'host/');
        mount 'http://events.example/inside/' => pubsub(prefix => 'inside/');
        mount '/'                             => sub { [200, [], ['elsewhere']] };
    };
    my $inner = Plack::App::URLMap->new;
    $inner->map('/eventsource' => pubsub());
    my $outer = Plack::App::URLMap->new;
    $outer->map('/in' => $inner->to_app);
    is follows($builder,       '/eventsource/news'),    'news',      'under a path by Plack::Builder';
    is follows($builder,       '/eventsource/a/b'),     'a/b',       'with a slash in the name';
    is follows($builder,       '/eventsource'),         404,         'without a name';
    is follows($builder,       '/eventsource/'),        404,         'with an empty one';
    is follows($builder,       '/eventsourcenews'),     'elsewhere', 'beside it';
    is follows($outer->to_app, '/in/eventsource/news'), 'news',      'in a Plack::App::URLMap in another';
    my @host = (env => {HTTP_HOST => 'events.example'});
    is follows($builder, '/news',        @host), 'host/news',   'by host';
    is follows($builder, '/inside/news', @host), 'inside/news', 'by host and path';
};

subtest 'methods' => sub {
    my $app = pubsub(authorize => sub { 1 });
    for my $method (qw(PUT DELETE PATCH TRACE CONNECT get)) {
        my $response = answer($app, $method => '/news');
        is $response->code,            405,                        "$method: 405";
        is $response->header('Allow'), 'GET, HEAD, OPTIONS, POST', 'and what is allowed';
    }
    my $head = answer($app, HEAD => '/news');
    is $head->code,                        200,                 'HEAD tells that a stream may be had';
    is $head->content_type,                'text/event-stream', 'of what type';
    is $head->content,                     '',                  'and does not stream';
    is answer($app, HEAD => '/')->content, '',                  'a refusal of a HEAD has no body either';
    my $options = answer($app, OPTIONS => '/news');
    is $options->code,            204,                        'OPTIONS: 204';
    is $options->header('Allow'), 'GET, HEAD, OPTIONS, POST', 'and what is allowed';
};

subtest 'a server that does not stream' => sub {
    open my $errors, '>', \my $said or die $!;
    my $app      = pubsub(authorize => sub { 1 });
    my %env      = ('psgi.streaming' => !!0, 'psgi.errors' => $errors);
    my $response = answer($app, GET => '/news', env => \%env);
    is $response->code, 501, 'a GET is answered with 501';
    is $said, "Plack::App::EventSource::PubSub: GET: this server does not stream (psgi.streaming)\n", 'and it is said';
    is answer($app, POST => '/news', content => 'x', env => \%env)->code, 200, 'a POST publishes all the same';
};

done_testing;

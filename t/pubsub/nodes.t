# The node that a URL names, declared nodes, hosts, methods.

use lib 't/lib';
use Testing;
use Plack::App::EventSource::PubSub;
use Plack::App::URLMap;
use Plack::Builder;
use Test::EventSource;
use Testing::Errors       qw(error_ok);
use Testing::RecordingHub qw(answer);

sub pubsub { return Plack::App::EventSource::PubSub->new(hub => Testing::RecordingHub->new, @_)->to_app }

# The channel of the stream of a path, in bytes; or the status of the refusal.
sub follows {
    my ($app, $path, %option) = @_;
    my $response = answer($app, GET => $path, %option);
    return $response->code != 200 ? $response->code : $response->content =~ s/\Afollows //r;
}

subtest 'the path gives the name of the node' => sub {
    my $app = pubsub();
    for my $case (
        ['/news',                     'news',                            'the name is the path'],
        ['/princely_musings',         'princely_musings',                'with an underscore'],
        ['/urn:xmpp:microblog:0',     'urn:xmpp:microblog:0',            'with colons'],
        ['/a/b',                      'a/b',                             'with a slash in it'],
        ['/a%2Fb',                    'a/b',                             'with a slash that is percent-encoded'],
        ['/a/',                       'a/',                              'with a slash at its end'],
        ['//a',                       '/a',                              'with a slash at its beginning'],
        ['/../x',                     '../x',                            'dots are literal'],
        ['/%252F',                    '%2F',                             'decoded once, not twice'],
        ['/news%20today',             'news today',                      'with a blank'],
        ['/a+b',                      'a+b',                             'a plus is literal'],
        ['/*',                        '*',                               'a star is literal'],
        ['/news/**',                  'news/**',                         'two stars are literal'],
        ['/0',                        '0',                               'a name that is false'],
        ['/gr%C3%B6%C3%9Fe%E2%98%BA', "gr\xC3\xB6\xC3\x9Fe\xE2\x98\xBA", 'in UTF-8'],
        ['/news?node=other',          'news',                            'the query does not count'],
    ) {
        my ($path, $node, $what) = @$case;
        is follows($app, $path), $node, "$path: $what";
    }
};

subtest 'callbacks receive the name in characters' => sub {
    my @asked;
    my $ask = sub { push @asked, "$_[1] $_[2]"; 1 };
    follows(pubsub(authorize => $ask), '/gr%C3%B6%C3%9Fe%E2%98%BA');
    is_deeply \@asked, ['subscribe größe☺'], 'authorize receives the name in characters';
    @asked = ();
    follows(pubsub(nodes => sub { push @asked, $_[0]; 1 }), '/gr%C3%B6%C3%9Fe%E2%98%BA');
    is_deeply \@asked, ['größe☺'], 'nodes receives the name in characters';
};

subtest 'names that are refused' => sub {
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
    is follows($app, '/' . 'x' x 1024), 'x' x 1024, 'a name of 1,024 bytes is accepted';
    is follows($app, '', env => {PATH_INFO => ''}), 404, 'an empty path is a 404';
};

subtest 'prefix comes before each name' => sub {
    my $app = pubsub(prefix => 'pubsub/');
    is follows($app, '/news'),          'pubsub/news',          'the channel of a node begins with the prefix';
    is follows($app, '/' . 'x' x 1017), 'pubsub/' . 'x' x 1017, 'a channel of 1,024 bytes with its prefix is accepted';
    is follows($app, '/' . 'x' x 1018), 414,                    'a channel of 1,025 bytes with its prefix is a 414';
    is follows(pubsub(prefix => 'ö'), '/' . 'x' x 1023), 414,   'the length of prefix and name counts bytes';
    my @asked;
    follows(pubsub(prefix => 'pubsub/', authorize => sub { push @asked, $_[2]; 1 }, nodes => ['news']), '/news');
    is_deeply \@asked, ['news'], 'authorize and nodes receive the name without the prefix';
};

subtest 'a node that is not declared is a 404' => sub {
    for my $case (
        ['an array' => ['news', 'größe', '*']],
        ['a hash'   => {news => 0, 'größe' => undef, '*' => 1}],
        ['code'     => sub { $_[0] =~ /\A(?:news|größe|[*])\z/ }],
    ) {
        my ($what, $nodes) = @$case;
        my $asked = 0;
        my $app   = pubsub(nodes => $nodes, authorize => sub { $asked++; 1 });
        is follows($app, '/news'), 'news', "$what: a declared node has a stream";
        is follows($app, '/gr%C3%B6%C3%9Fe'), "gr\xC3\xB6\xC3\x9Fe",
            "$what: a declared node with letters beyond ASCII has a stream";
        is follows($app, '/*'), '*', "$what: a declared star has a stream";
        $asked = 0;
        is follows($app, '/new'),                                404, "$what: an undeclared node is a 404";
        is follows($app, '/NEWS'),                               404, "$what: a declared name in upper case is a 404";
        is answer($app, HEAD => '/other')->code,                 404, "$what: HEAD of an undeclared node is a 404";
        is answer($app, POST => '/other', content => 'x')->code, 404, "$what: POST to an undeclared node is a 404";
        is $asked, 0, "$what: authorize is not called for undeclared nodes";
    }
    is follows(pubsub(nodes => []), '/news'), 404, 'an empty array of nodes declares none';
    my %nodes;
    my $app = pubsub(nodes => \%nodes);
    is follows($app, '/news'), 404, 'a name that is not in the hash is a 404';
    $nodes{news} = 1;
    is follows($app, '/news'), 'news', 'a name that is added to the hash later has a stream';
};

subtest 'where the streams of a node begin' => sub {
    Testing->need('native');
    my %nodes = (news => 1, room => {start => -2}, people => {start => 'state'}, plain => {});
    for my $case (['a hash' => \%nodes], ['code' => sub { $nodes{$_[0]} }]) {
        my ($what, $nodes) = @$case;
        my $hub = EventSource::Hub->new;
        my $es =
            Test::EventSource->new(app => Plack::App::EventSource::PubSub->new(hub => $hub, nodes => $nodes)->to_app);
        for my $node (sort keys %nodes) {
            $hub->publish($node => $_) for 1 .. 3;
            $hub->publish($node => {key => 'k', retain => 1, data => $_}) for 4, 5;
        }
        my %begins = (news => [], plain => [], room => [4, 5], people => [5]);
        for my $node (sort keys %begins) {
            my $stream = $es->get("/$node");
            $hub->publish($node => 'new');
            is_deeply [map { $stream->next_event->{data} } 0 .. @{$begins{$node}}], [@{$begins{$node}}, 'new'],
                "$what: $node begins where it says";
        }
    }
    error_ok('a wrong start', invalid => 'start', sub { pubsub(nodes => {room => {start => 7}}) });
    error_ok('another field', invalid => 'begin', sub { pubsub(nodes => {room => {begin => 'state'}}) });
};

subtest 'a callback of nodes that dies' => sub {
    my $env;
    my $app = pubsub(nodes => sub { $env = $_[1]; die "no database\n" });
    open my $errors, '>', \my $said or die $!;
    is follows($app, '/news', env => {'psgi.errors' => $errors}), 500, 'the response is 500 if the callback dies';
    is $said, "Plack::App::EventSource::PubSub: nodes: no database\n", 'psgi.errors has the exception of the callback';
    is $env->{PATH_INFO}, '/news',                                     'the callback receives the environment';
};

subtest 'http_host restricts the hosts' => sub {
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
        'the name of the server counts without a Host';
};

subtest 'applications that are mounted by path and by host' => sub {
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
    is follows($builder, '/eventsource/news'), 'news',          'a node under a path of Plack::Builder';
    is follows($builder, '/eventsource/a/b'),  'a/b',           'a node with a slash in its name under a path';
    is follows($builder, '/eventsource'),      404,             'the path of the application itself is a 404';
    is follows($builder, '/eventsource/'),     404,             'an empty name under a path is a 404';
    is follows($builder, '/eventsourcenews'),  'elsewhere',     'a path that only begins like that of the application';
    is follows($outer->to_app, '/in/eventsource/news'), 'news', 'a node in nested Plack::App::URLMaps';
    my @host = (env => {HTTP_HOST => 'events.example'});
    is follows($builder, '/news', @host), 'host/news', 'a node of an application that is mounted by host';
    is follows($builder, '/inside/news', @host), 'inside/news',
        'a node of an application that is mounted by host and path';
};

subtest 'allowed and refused methods' => sub {
    my $app = pubsub(authorize => sub { 1 });
    for my $method (qw(PUT DELETE PATCH TRACE CONNECT get)) {
        my $response = answer($app, $method => '/news');
        is $response->code,            405,                        "$method: 405";
        is $response->header('Allow'), 'GET, HEAD, OPTIONS, POST', "$method: the response has the allowed methods";
    }
    my $head = answer($app, HEAD => '/news');
    is $head->code,                        200,                 'HEAD of a stream is a 200';
    is $head->content_type,                'text/event-stream', 'HEAD has the type of a stream';
    is $head->content,                     '',                  'HEAD has no body';
    is answer($app, HEAD => '/')->content, '',                  'a refused HEAD has no body';
    my $options = answer($app, OPTIONS => '/news');
    is $options->code,            204,                        'OPTIONS: 204';
    is $options->header('Allow'), 'GET, HEAD, OPTIONS, POST', 'OPTIONS has the allowed methods';
};

subtest 'a server that does not stream' => sub {
    open my $errors, '>', \my $said or die $!;
    my $app      = pubsub(authorize => sub { 1 });
    my %env      = ('psgi.streaming' => !!0, 'psgi.errors' => $errors);
    my $response = answer($app, GET => '/news', env => \%env);
    is $response->code, 501, 'a GET without psgi.streaming is a 501';
    is $said, "Plack::App::EventSource::PubSub: GET: this server does not stream (psgi.streaming)\n",
        'psgi.errors has the reason of the 501';
    is answer($app, POST => '/news', content => 'x', env => \%env)->code, 200,
        'a POST without psgi.streaming is published';
};

done_testing;

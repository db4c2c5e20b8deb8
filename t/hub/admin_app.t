# admin_app: who may use the page, what it answers, and what it shows of a named hub and of one without a name. The page in
# browsers is t/browser/admin.t.

use lib 't/lib';
use Testing           qw(native);
use Testing::Deadline qw(wait_until);
use EventSource::Hub;
use EventSource::XS::Hub::Admin::Look;
use File::Temp   ();
use JSON::PP     ();
use MIME::Base64 qw(encode_base64);
use Plack::Builder;
use Test::EventSource;
use Testing::Client;
use Testing::CommandLine;
use Testing::Fork       qw(in_child);
use Testing::Server     qw(path);
use Testing::SourceTree qw(slurp);

Testing::Server->require_or_skip_all('Starman');

my $JSON   = JSON::PP->new->utf8;
my $SCRIPT = '<script>alert(1)</script>';

sub ask {
    my ($app, $path, %env) = @_;
    my ($name, $query) = split /[?]/, $path;
    return $app->(
        {
            REQUEST_METHOD     => 'GET',
            SCRIPT_NAME        => '/admin',
            PATH_INFO          => $name,
            QUERY_STRING       => $query // '',
            HTTP_HOST          => 'localhost',
            HTTP_AUTHORIZATION => 'Bearer the-token-of-this-test',
            REMOTE_ADDR        => '127.0.0.1',
            'psgi.url_scheme'  => 'http',
            %env
        }
    );
}

sub post {
    my ($app, $path, $given, %env) = @_;
    my $body = ref $given ? $JSON->encode($given) : $given;
    open my $input, '<', \$body or die $!;
    my %of_body = (CONTENT_TYPE => 'application/json', CONTENT_LENGTH => length $body, 'psgi.input' => $input);
    return ask($app, $path, REQUEST_METHOD => 'POST', 'psgix.input.buffered' => 1, %of_body, %env);
}

sub text { return join '', @{$_[0][2]} }

sub json { return $JSON->decode(text($_[0])) }

my $TOKEN = 'the-token-of-this-test';
my @HERE  = (allow => ['127.0.0.0/8'], token => $TOKEN);

my $hub = EventSource::Hub->new;
my $app = $hub->admin_app(@HERE);

subtest "behind a proxy's password" => sub {
    my $hub         = EventSource::Hub->new;
    my ($line)      = slurp('perl/EventSource/Hub.pm') =~ /^ {4}(mount '\/admin' => builder \{\n.*?^ {4}\};)$/ms;
    my $is_operator = sub { return "@_[0, 1]" eq 'ann secret' };
    no warnings 'once';
    local *is_operator = $is_operator;
    my $app   = eval "builder { $line }" or die $@;                                           ## no critic (StringyEval)
    my %of    = (SCRIPT_NAME => '', HTTP_HOST => 'shop.example', 'psgi.errors' => \*STDERR);
    my $basic = 'Basic ' . encode_base64('ann:secret', '');
    my @guest = (HTTP_AUTHORIZATION => undef);
    is ask($app, '/admin/', %of, @guest)->[0], 401, 'the application asks for it, too';
    is ask($app, '/admin/', %of, HTTP_AUTHORIZATION => $basic)->[0], 200, 'who has it sees the page';
    is ask($app, '/admin/', %of, HTTP_AUTHORIZATION => $basic, HTTP_X_FORWARDED_FOR => '192.0.2.7')->[0], 200,
        'through the proxy, too';
    is post($app, '/admin/publish', {channel => 'news', data => 1}, %of, HTTP_AUTHORIZATION => $basic)->[0], 200,
        'and publishes';
    is post($app, '/admin/publish', {channel => 'news', data => 1}, %of, @guest)->[0], 401, 'nobody else';

    my $logged = sub {
        my ($allow, %env) = @_;
        open my $errors, '>', \my $said or die $!;
        my $app = $hub->admin_app(allow => $allow, hosts => ['shop.example']);
        ask($app, '/', %of, @guest, REMOTE_ADDR => '198.51.100.7', 'psgi.errors' => $errors, %env) for 1, 2;
        return $said // '';
    };
    my $everybody = sub { return 1 };
    like $logged->($everybody),
        qr/\AEventSource::Hub: admin_app allows everybody, and a client of 198[.]51[.]100[.]7 .*\n\z/,
        'code that allows everybody is logged once when a client comes past the proxy';
    is $logged->($everybody, @$_), '', "not with @$_"
        for ['HTTP_X_FORWARDED_FOR', '203.0.113.5'], ['REMOTE_ADDR', '::1'], ['REMOTE_ADDR', '127.0.0.1'],
        ['REMOTE_ADDR', 'unix'], ['HTTP_AUTHORIZATION', $basic];
    is $logged->(sub { return $_[0]{REMOTE_ADDR} eq '198.51.100.7' }),           '', 'nor code that allows an address';
    is $logged->(sub { return $_[0]{HTTP_COOKIE} }, HTTP_COOKIE => 'session=1'), '', 'nor code that looks at a session';
};

subtest 'the page and its files' => sub {
    for my $case (
        ['/',                   'text/html'],
        ['/admin.css',          'text/css'],
        ['/admin.js',           'text/javascript'],
        ['/eventsource-hub.js', 'text/javascript']
    ) {
        my ($path, $type) = @$case;
        my ($status, $headers, $body) = @{ask($app, $path)};
        my %header = @$headers;
        is $status, 200, "$path: the status";
        like $header{'Content-Type'}, qr/\A\Q$type\E/, "$path: the type";
        is $header{'X-Content-Type-Options'}, 'nosniff', "$path: no sniffing";
        my $head = ask($app, $path, REQUEST_METHOD => 'HEAD');
        is_deeply [$head->[0], $head->[2]], [200, []], "$path: HEAD has no body";
    }
    my $page   = ask($app, '/');
    my %header = @{$page->[1]};
    like $header{'Content-Security-Policy'}, qr/\Adefault-src 'none'; script-src 'self';/,
        'the page loads its own files only';
    unlike $header{'Content-Security-Policy'}, qr/unsafe/,                  'and runs no script in its text';
    like $header{'Content-Security-Policy'},   qr/frame-ancestors 'none'/,  'no page may show it';
    unlike text($page), qr/<script(?![^>]* src=)|\son\w+=|<style|\sstyle=/, 'and it has none, nor a style';
    is ask($app, '/none')->[0],                       404, 'another path';
    is ask($app, '/', REQUEST_METHOD => 'POST')->[0], 405, 'POST to the page';
    is ask($app, '/end')->[0],                        405, 'GET of an action';
    my $moved = ask($app, '?a=b');
    is_deeply [$moved->[0], {@{$moved->[1]}}->{Location}], [302, 'admin/?a=b'], 'the page is a folder';
};

subtest 'who may' => sub {
    my @refused = (
        ['no token, as through a proxy that says nothing' => HTTP_AUTHORIZATION => undef],
        ['another token'                                  => HTTP_AUTHORIZATION => 'Bearer the-token-of-that-test'],
        ['another password'        => HTTP_AUTHORIZATION   => 'Basic ' . encode_base64('ann:secret', '')],
        ['another machine'         => REMOTE_ADDR          => '192.0.2.1'],
        ['what a proxy forwards'   => HTTP_X_FORWARDED_FOR => '127.0.0.1'],
        ['an unknown name'         => HTTP_HOST            => 'evil.example'],
        ['a frame of another site' => HTTP_SEC_FETCH_SITE  => 'cross-site'],
        ['another port'            => HTTP_SEC_FETCH_SITE  => 'same-site'],
    );
    for my $case (@refused) {
        my ($what, %env) = @$case;
        my $status = exists $env{HTTP_AUTHORIZATION} ? 401 : 403;
        is ask($app, $_, %env)->[0], $status, "$what: $_" for qw(/look /tail /admin.js);
        is post($app, '/publish', {channel => 'news', data => 1}, %env)->[0], $status, "$what: /publish";
    }
    is ask($app, '/', HTTP_SEC_FETCH_SITE => 'cross-site')->[0], 200, 'a link from elsewhere';
    my %far = (REMOTE_ADDR => '192.0.2.1');
    is ask($hub->admin_app(@HERE, allow => ['192.0.2.0/24']), '/look', %far)->[0], 200, 'a machine that is allowed';
    my %password = (HTTP_AUTHORIZATION => 'Basic ' . encode_base64("ann:$TOKEN", ''));
    is ask($app, '/look', %password)->[0], 200, 'the token as a password';
    is + {@{ask($app, '/', HTTP_AUTHORIZATION => '')->[1]}}->{'WWW-Authenticate'}, 'Basic realm="admin_app"',
        'for which a browser asks';
    is ask($hub->admin_app(allow => sub { 1 }, token => $TOKEN),    '/look', %far)->[0], 200, 'code and a token';
    is ask($hub->admin_app(allow => sub { 1 }, token => "$TOKEN."), '/look', %far)->[0], 401, 'code and another token';
    is ask($hub->admin_app(allow => sub { $_[0]{REMOTE_USER} }), '/look', %far, REMOTE_USER => 'ann')->[0], 200,
        'a user';
    is ask($hub->admin_app(@HERE, hosts => ['ops.example']), '/look', HTTP_HOST => 'ops.example:81')->[0], 200,
        'a name';
    is $hub->stats->{published}, 0, 'nothing was published';
};

subtest 'a page of another site changes nothing' => sub {
    my %event = (channel => 'news', data => 'evil');
    my @forms = (
        ['another origin'       => \%event,                  HTTP_ORIGIN  => 'http://evil.example'],
        ['another port'         => \%event,                  HTTP_ORIGIN  => 'http://localhost:81'],
        ['an opaque origin'     => \%event,                  HTTP_ORIGIN  => 'null'],
        ['a form'               => 'channel=news&data=evil', CONTENT_TYPE => 'application/x-www-form-urlencoded'],
        ['a form of plain text' => \%event,                  CONTENT_TYPE => 'text/plain'],
    );
    for my $case (@forms) {
        my ($what, $body, %env) = @$case;
        for my $path (qw(/publish /end)) {
            like post($app, $path, $body, %env)->[0], qr/\A(?:403|415)\z/, "$what: $path";
        }
    }
    is $hub->stats->{published}, 0, 'nothing was published';
    is post($app, '/publish', \%event, HTTP_ORIGIN => 'http://localhost', HTTP_SEC_FETCH_SITE => 'same-origin')->[0],
        200,
        'the page itself';
    my %bare = (HTTP_ORIGIN => 'https://shop.example');
    is post($app, '/publish', \%event, %bare, HTTP_SEC_FETCH_SITE => 'same-origin')->[0], 200,
        'and behind a proxy that replaces Host';
    like text(post($app, '/publish', \%event, %bare)), qr/proxy_set_header Host/,
        'by http the remedy is named: there a browser does not say that it is the page';
};

subtest 'mistakes of the forms' => sub {
    my @wrong = (
        ['no channel'   => '/publish', {data => 1}],
        ['no label'     => '/end',     {}],
        ['a long label' => '/end',     {label => 'x' x 2_000}],
        ['no JSON'      => '/publish', '{'],
        ['an array'     => '/publish', '[]'],
        ['a structure'  => '/publish', {channel => {}}],
    );
    for my $case (@wrong) {
        my ($what, $path, $body) = @$case;
        my $answer = post($app, $path, $body);
        is $answer->[0], 400, "$what: the status";
        unlike text($answer), qr/ at \S+ line /, "$what: " . text($answer);
    }
    is post($app, '/publish', {channel => 'a', data => 'x' x (1 << 20)})->[0], 413, 'too much';
    for my $wrong ('x' x 1_025, 'x*' x 600) {
        my $answer = ask($app, "/tail?channel=$wrong");
        is $answer->[0], 400, 'a tail of what is no channel';
        like text($answer), qr/\Aa (?:channel's name|pattern) must have at most/, text($answer);
    }
};

subtest 'a hub of the process' => sub {
    my $hub    = EventSource::Hub->new;
    my $app    = $hub->admin_app(@HERE);
    my $es     = Test::EventSource->new(app => $hub->to_app(channels => sub { 'news' }, label => sub { 'user/7' }));
    my $stream = $es->get('/');
    like json(post($app, '/publish', {channel => 'news', event => 'note', data => 'hi'}))->{id}, qr/-1\z/, 'an id';
    $stream->like_event('hi', 'the event');
    my $look = json(ask($app, '/look?channel=news'));
    is_deeply [@$look{qw(name pid published streams counted)}], [undef, $$, 1, 1, 1], 'the counts';
    is_deeply [map { @$_{qw(name subscribers events)} } @{$look->{channels}}], ['news', 1, 1], 'the channels';
    cmp_ok $look->{chosen}{rate}, '>', 0, 'the rate of the channel that is chosen';
    is json(post($app, '/end', {label => 'user/7', finish => 'on'}))->{count}, 1, 'a stream is ended';
    $stream->ends_ok(undef, 'its client is told');
    my $owner =
        sub { return {@{ask($app, '/tail?channel=news', REQUEST_METHOD => 'HEAD')->[1]}}->{'EventSource-Owner'} };
    is in_child($owner)->(), $owner->(), 'to the page, the tail of another worker is not that of another user';
};

subtest 'a list is bounded, however many channels there are' => sub {
    my $many = EventSource::Hub->new(keep_history => {events => 10});
    my $page = $many->admin_app(@HERE);
    $many->publish("many/$_"   => 'x') for 1 .. 2_000;
    $many->publish($SCRIPT     => 'x') for 1 .. 3;
    $many->publish("many/1777" => 'x') for 1 .. 2;
    my $look = json(ask($page, '/look'));
    is $look->{matching}, 2_001, 'all are counted';
    is_deeply [map { $_->{name} } @{$look->{channels}}[0, 1]], [sort $SCRIPT, 'many/1777'], 'the busiest come first';
    is @{$look->{channels}}, 50, 'so many are shown';
    $look = json(ask($page, '/look?filter=y/17'));
    is_deeply [$look->{matching}, scalar @{$look->{channels}}], [111, 50], 'a part of the name';
    $look = json(ask($page, '/look?filter=many/*77'));
    is $look->{matching}, 20, 'a pattern';
    $look = json(ask($page, '/look?filter=' . 'x*' x 600));
    like $look->{problem}, qr/pattern/, 'a pattern that is refused is no error of the page';
};

subtest 'a look at a hub that is away gives up soon' => sub {
    my $shell    = Testing::CommandLine->new;
    my $socket   = $shell->folder . '/shop.sock';
    my $page     = EventSource::Hub->new(name => 'shop', socket => $socket)->admin_app(@HERE);
    my $patient  = $shell->start(qw(stats --hub shop --timeout 4 --socket), $socket);
    my $response = ask($page, '/look');
    is $response->[0], 503, 'the status';
    like text($response), qr/\Ano process serves the hub shop/, text($response);
    ok !$patient->has_ended, 'a command that may wait for four seconds waits still';
    $patient->stop;
};

subtest 'a named hub, from any worker' => sub {
    my $shell  = Testing::CommandLine->new;
    my $socket = $shell->folder . '/shop.sock';
    my $server = Testing::Server->start('Starman', 't/data/admin.psgi', workers => 2, env => {ADMIN_SOCKET => $socket});
    my $client = Testing::Client->stream($server->port, path('/events', channel => 'people', member => 'ann'));
    $server->ask('/publish', channel => 'people', data => 'hello') for 1 .. 4;
    my $tail = Testing::Client->get($server->port, path('/admin/tail', channel => 'people'));
    ok $tail->read_until(qr/^data: hello\r?\n/m), 'the tail';
    my $look = json_of($server, path('/admin/look', channel => 'people'));
    is_deeply [@$look{qw(name streams)}, $look->{store}{kind}], ['shop', 2, 'memory'], 'the counts';
    is_deeply [map { $_->{id} } @{$look->{chosen}{members}}],   ['ann'],               'the members';
    is_deeply [map { $_->{event} } @{$look->{chosen}{state}}],  ['join'],              'the state';
    $tail->leave;
    ok wait_until(sub { json_of($server, '/admin/look')->{open} == 1 }), 'the tail ends with its page';
    $client->leave;
};

sub json_of {
    my ($server, $path) = @_;
    return $JSON->decode(Testing::Client->ask($server->port, $path)->body);
}

done_testing;

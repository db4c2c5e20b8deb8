# metrics_app: what a monitor reads of a hub in the process, and of a named one through any worker; and who may read it.

use lib 't/lib';
use Testing qw(native);
use EventSource::Hub;
use EventSource::Hub::Process;
use Plack::Builder;
use Sys::Hostname qw(hostname);
use Test::EventSource;
use Testing::CommandLine;
use Testing::SourceTree qw(slurp);

my $DEADLINE = 20;                                            # seconds
my $TOKEN    = 'the-token-of-this-test';
my @HERE     = (allow => ['127.0.0.0/8'], token => $TOKEN);

# Returns the response of an application as a PSGI array, to a request from an address.
sub get {
    my ($app, %env) = @_;
    my %request = (REQUEST_METHOD => 'GET', PATH_INFO => '/', HTTP_AUTHORIZATION => "Bearer $TOKEN");
    return $app->({%request, REMOTE_ADDR => '127.0.0.1', %env});
}

# Returns a hash of the samples: names with labels, and values.
sub samples_of {
    my $text    = shift;
    my %samples = $text =~ /^([a-z_]+(?:\{.*\})?) (\S+)$/mg;
    return \%samples;
}

# Returns the metrics of a hub.
sub text_of {
    return get(shift->metrics_app(allow => sub { 1 }, @_))->[2][0];
}

# Returns the names of metrics in the manual.
sub documented {
    my ($section) = slurp('perl/EventSource/Monitoring.pod') =~ /^=head1 METRICS\n(.*?)^=head/ms;
    return map { /\b(eventsource_\w+?)(?:_total|_info)?\b/g } grep { /^    / } split /\n/, $section;
}

subtest 'a hub of the process' => sub {
    my $hub = EventSource::Hub->new;
    my $app = builder {
        mount '/metrics' => $hub->metrics_app(@HERE, channels => ['news', EventSource::Hub->pattern('user/*'), 'none']);
        mount '/'        => $hub->to_app(channels => sub { qw(news user/1) });
    };
    my $es     = Test::EventSource->new(app => $app);
    my $stream = $es->get('/');
    $hub->publish(news     => "event $_") for 1 .. 3;
    $hub->publish('user/1' => 'hello');
    $stream->like_event("event $_", 'the stream receives an event') for 1 .. 3;
    my $response = get($app, PATH_INFO => '/metrics');
    my %header   = @{$response->[1]};
    is $header{'Content-Type'}, 'application/openmetrics-text; version=1.0.0; charset=utf-8', 'the media type';
    my $text = join '', @{$response->[2]};
    like $text, qr/^# TYPE eventsource_streams gauge\n# HELP eventsource_streams \S.*\neventsource_streams 1$/m,
        'a gauge with its type and help';
    like $text, qr/^# TYPE eventsource_published counter\n# HELP .*\neventsource_published_total 4$/m, 'a counter';
    like $text, qr/^# UNIT eventsource_history_bytes bytes$/m,                                         'a unit';
    like $text, qr/\n# EOF\n\z/,                                                                       'the end';
    my $samples = samples_of($text);

    for my $case (['news', 1, 3], ['user/*', 1, 1], ['none', 0, 0]) {
        my ($topic, @counts) = @$case;
        my @names = map { qq(eventsource_channel_$_\{channel="$topic"\}) } qw(subscribers events);
        is_deeply [@$samples{@names}], \@counts, "the chosen channel $topic";
    }
    is $samples->{eventsource_send_seconds_count},               4, 'the time of each event is measured';
    is $samples->{'eventsource_send_seconds_bucket{le="+Inf"}'}, 4, 'in ranges';
    my $head = get($app, PATH_INFO => '/metrics', REQUEST_METHOD => 'HEAD');
    is_deeply [$head->[0], $head->[2]], [200, []], 'HEAD has no body';
    is get($app, PATH_INFO => '/metrics', REQUEST_METHOD => 'POST')->[0], 405, 'POST is not allowed';
    $stream->close;
    eventually_ok $DEADLINE, 'a stream that has ended is no longer counted' =>
        sub { samples_of(get($app, PATH_INFO => '/metrics')->[2][0])->{'eventsource_streams'} == 0 };
    is samples_of(get($app, PATH_INFO => '/metrics')->[2][0])->{eventsource_stream_age_seconds_count}, 1,
        'and its age is measured';
};

subtest 'refused origins are counted, those of a named hub in its process' => sub {
    my $folder = new_folder;
    my @named  = (name => 'origins', socket => "$folder/origins.sock", idle_exit => 1);
    for my $given ([], eval { EventSource::Hub::Process->program } ? \@named : ()) {
        my $hub     = EventSource::Hub->new(@$given);
        my $name    = @$given ? '{hub="origins"}' : '';
        my $refused = sub { samples_of(text_of($hub))->{"eventsource_origins_refused_total$name"} };
        my $shop    = 'https://shop.example';
        my $app     = $hub->to_app(channels => sub { 'news' }, origins => $shop, methods => ['POST']);
        my $post    = sub { get($app, REQUEST_METHOD => 'POST', HTTP_ORIGIN => shift, 'psgi.url_scheme' => 'http') };
        open my $errors, '>', \my $said or die $!;
        local *STDERR = $errors;
        my $before = $refused->();
        is $post->('https://evil.example')->[0], 403, 'a refused one' for 1, 2;
        ok wait_until($DEADLINE, sub { $refused->() == $before + 2 }), "each is counted once $name";
    }
};

subtest 'who may read' => sub {
    my $hub = EventSource::Hub->new;
    my @may = (
        [['127.0.0.0/8',  '::1'],           '127.0.0.1',        1],
        [['127.0.0.0/8',  '::1'],           '127.9.8.7',        1],
        [['127.0.0.0/8',  '::1'],           '::1',              1],
        [['127.0.0.0/8',  '::1'],           '::ffff:127.0.0.1', 1],
        [['127.0.0.0/8',  '::1'],           '192.0.2.1',        0],
        [['127.0.0.0/8',  '::1'],           '::2',              0],
        [['127.0.0.0/8',  '::1'],           '',                 0],
        [['127.0.0.0/8',  '::1'],           undef,              0],
        [['127.0.0.0/8',  '::1'],           '127.0.0.1/8',      0],
        [['192.0.2.0/24', '2001:db8::/32'], '192.0.2.77',       1],
        [['192.0.2.0/24', '2001:db8::/32'], '192.0.3.77',       0],
        [['192.0.2.0/24', '2001:db8::/32'], '2001:db8:1::1',    1],
        [['192.0.2.0/24', '2001:db8::/32'], '127.0.0.1',        0],
        [['192.0.2.7'],                     '192.0.2.7',        1],
        [['192.0.2.7'],                     '192.0.2.70',       0],
        [['192.0.2.0/24'],                  '::ffff:192.0.2.7', 1],
        [['192.0.2.0/24'],                  '::ffff:192.0.3.7', 0],
        [['::ffff:192.0.2.7'],              '192.0.2.7',        1],
        [['::/0'],                          '::ffff:192.0.2.7', 0],
        [['fe80::/10'],                     'fe80::1%eth0',     1],
        [[],                                '127.0.0.1',        0],
        [sub { $_[0]{REMOTE_ADDR} eq 'x' }, 'x',                1],
        [sub { $_[0]{REMOTE_ADDR} eq 'x' }, '127.0.0.1',        0],
    );
    for my $case (@may) {
        my ($allow, $address, $is_allowed) = @$case;
        my $app   = $hub->metrics_app(@HERE, allow => $allow);
        my $shown = ref $allow eq 'CODE' ? 'code' : join ' ', @$allow;
        is get($app, REMOTE_ADDR => $address)->[0], $is_allowed ? 200 : 403,
            join ' ', 'with', $shown, 'allowed:', $address // 'no address';
    }
    for my $header (qw(HTTP_X_FORWARDED_FOR HTTP_FORWARDED HTTP_VIA HTTP_X_REAL_IP)) {
        is get($hub->metrics_app(@HERE),              $header => '127.0.0.1')->[0], 403, "forwarded: $header";
        is get($hub->metrics_app(allow => sub { 1 }), $header => '192.0.2.1')->[0], 200, "$header, and code allows it";
    }
};

subtest 'who is refused by the address is logged, once in a process' => sub {
    my $hub = EventSource::Hub->new;
    my $app = $hub->metrics_app(@HERE, allow => ['192.0.2.0/24']);
    open my $errors, '>', \my $said or die $!;
    my @errors = ('psgi.errors' => $errors);
    get($app, @errors, REMOTE_ADDR => '::ffff:198.51.100.7') for 1, 2;
    is $said, "EventSource::Hub: metrics_app refuses 198.51.100.7 by the address: add it to allow, if it may\n",
        'with the remedy';
    get($app, @errors, REMOTE_ADDR => '192.0.2.7', HTTP_X_FORWARDED_FOR => '192.0.2.7') for 1, 2;
    like $said, qr/\n.* refuses 192[.]0[.]2[.]7 behind a proxy: only code may allow that\n\z/, 'a proxy';
    get($app, @errors, REMOTE_ADDR => '192.0.2.7');
    get($hub->metrics_app(allow => sub { 0 }), @errors);
    is scalar(() = $said =~ /\n/g), 2, 'no more';
    get($hub->metrics_app(@HERE, allow => ['192.0.2.0/24']), @errors, REMOTE_ADDR => '');
    like $said, qr/\n.* refuses a client behind a proxy: only code may allow that\n\z/, 'who comes by a Unix socket';
};

subtest 'under which names' => sub {
    my $hub = EventSource::Hub->new;
    my $own = hostname();
    my @may = (
        (
            map { [[], $_, 1] } '127.0.0.1', '127.0.0.1:5000', '[::1]', '[::1]:5000',
            'localhost', 'LocalHost:80', '192.0.2.7:80'
        ),
        (map { [[], $_, 1] } $own,           "$own:5000",         '',                       undef),
        (map { [[], $_, 0] } 'evil.example', 'evil.example:5000', '127.0.0.1.evil.example', 'localhost.evil.example'),
        (map { [[], $_, 0] } '[::1',         '[evil.example]',    'a@localhost', '127.0.0.1, evil.example', '::1'),
        [['hub.example', 'app'], 'Hub.Example:5000', 1],
        [['hub.example', 'app'], 'app',              1],
        [['hub.example', 'app'], 'evil.example',     0],
        [['hub.example', 'app'], 'localhost',        1],
    );
    for my $case (@may) {
        my ($hosts, $host, $is_known) = @$case;
        my $app = $hub->metrics_app(@$hosts ? (hosts => $hosts) : (), allow => sub { 1 });
        is get($app, defined $host ? (HTTP_HOST => $host) : ())->[0], $is_known ? 200 : 403,
            join ' ', "with hosts @$hosts:", $host // 'no Host';
    }
    is get($hub->metrics_app(@HERE), HTTP_HOST => 'evil.example')->[0], 403, 'also to a client on this machine';
};

subtest 'a named hub: all workers read the counts of its process' => sub {
    my $shell = Testing::CommandLine->new;
    local $ENV{EVENTSOURCE_RUNTIME_DIR} = $shell->folder;
    my @hubs = map { EventSource::Hub->new(name => 'shop', publish_timeout => $DEADLINE, idle_exit => 1) } 1 .. 2;
    $hubs[0]->publish(news => $_) for 1 .. 5;
    for my $hub (@hubs) {
        my $samples = samples_of(text_of($hub, channels => ['news']));
        my @labelled =
            ('published_total{H}', 'store_up{H}', 'store_info{H,kind="memory"}', 'channel_events{H,channel="news"}');
        my @names = map { "eventsource_$_" =~ s/H/hub="shop"/r } @labelled;
        is_deeply [@$samples{@names}], [5, 1, 1, 5], 'counts of the hub, its store and a channel';
    }
    is_deeply [grep { !/store_(?:wait|arrival)_seconds/ } documented()],
        [map { /^# TYPE (\S+)/ ? $1 : () } split /\n/, text_of($hubs[0], channels => ['news'])],
        'the manual lists the metrics, in their order';
    my $done    = $shell->run(qw(stats --hub shop --openmetrics --channel news));
    my $samples = samples_of($done->{out});
    is $samples->{'eventsource_published_total{hub="shop"}'},               5, 'the command prints the same';
    is $samples->{'eventsource_channel_events{hub="shop",channel="news"}'}, 5, 'with the channel';
    is $shell->run(qw(stats --hub shop --openmetrics --json))->{code},      2, 'it is either text or JSON';
};

subtest 'a hub process that is away' => sub {
    my $folder   = new_folder;
    my $hub      = EventSource::Hub->new(name => 'away', socket => "$folder/s", autostart => 0, publish_timeout => 0.1);
    my $response = get($hub->metrics_app(@HERE));
    is $response->[0], 503, 'the answer is 503';
    like join('', @{$response->[2]}), qr/no process serves the hub away/, 'which says why';
};

done_testing;

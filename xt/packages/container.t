# The image and the compose files of EventSource::Services ("CONTAINERS"): they are built and run with podman, as they are. A
# stream outlives the application's container, and a host with Redis shares its events with another.
#
# There is no registry here, so the image of Debian is made from the machine's sources of packages, and those of nginx and Redis
# from Debian's packages. The crates are those of the tarball of make dist.

use lib 't/lib';
use Testing             qw(Containers);
use File::Path          qw(make_path);
use Testing::SourceTree qw(slurp write_file);

my $EXAMPLES = 'examples/deployment/container';
my $PROFILE  = $ENV{EVENTSOURCE_XS_PROFILE} // 'demo';
my ($USER)   = slurp("$EXAMPLES/Containerfile") =~ /^USER ([0-9]+:[0-9]+)$/m;

# nginx and Redis as their images have them, as far as the compose files depend on it.
my $OTHERS = <<'FILE';
FROM debian:12-slim
RUN apt-get update && apt-get install -y --no-install-recommends nginx-light redis-server && rm -rf /var/lib/apt/lists/*
CMD ["nginx", "-g", "daemon off;"]
FILE

my $host = Testing::Containers->start;

# Unpacks the distribution with its crates.
sub unpack_vendored {
    my $tree = Testing::SourceTree->new;
    $tree->must($^X,    'Makefile.PL');
    $tree->must('make', 'dist');
    my ($tarball) = glob $tree->folder . '/EventSource-XS-*.tar.gz';
    make_path($host->folder('vendored'));
    $tree->must('tar', '-xzf', $tarball, '--strip-components=1', '-C', $host->folder('vendored'));
    unlink $tarball;
    Testing::SourceTree->leave;
    return;
}

sub build_images {
    $host->bootstrap('debian:12-slim');
    my @file = ('--file', "/mnt/vendored/$EXAMPLES/Containerfile");
    $host->build(
        'vendored', @file,
        qw(--jobs 2 --format docker --tag eventsource-xs --build-arg),
        "EVENTSOURCE_XS_PROFILE=$PROFILE"
    );
    make_path($host->folder('others'));
    write_file($host->folder('others/Containerfile'), $OTHERS);
    $host->build(qw(others --tag nginx:stable --tag redis:7));
    return;
}

# The examples as they are. Where nobody may raise a limit, a container cannot have more descriptors than this process.
sub copy_examples {
    my ($limit) = slurp('/proc/self/limits') =~ /^Max open files\s+\S+\s+(\S+)/m;
    make_path($host->folder('compose'));
    for my $file (glob "$EXAMPLES/*") {
        my $text = slurp($file);
        $text =~ s/\bnofile: \K([0-9]+)/$limit ne 'unlimited' && $limit < $1 ? $limit : $1/e;
        write_file($host->folder($file =~ s{.*/}{compose/}r), $text);
    }
    return;
}

# Runs podman-compose for a project; a hash in front has its variables.
sub compose {
    my ($environment, $project, @command) = @_;
    my $in = q{cd /mnt/compose && exec podman-compose "$@"};
    return $host->must($environment, 'sh', '-c', $in, 'sh', '-p', $project, @command);
}

sub inside {
    my ($container, @command) = @_;
    my ($status,    $said)    = $host->run(qw(podman exec), $container, @command);
    chomp $said;
    return wantarray ? ($status, $said) : $said;
}

sub publish {
    my ($container, $data) = @_;
    my ($status,    $said) = inside($container, qw(eventsource publish news), $data);
    is $status, 0, "'$data' is published in $container" or diag $said;
    return;
}

# A client of nginx, whose log is the stream.
sub subscribe {
    my ($port, @options) = @_;
    my $client = $host->client(qw(curl -sN), @options, "http://127.0.0.1:$port/events");
    ok wait_until($DEADLINE, sub { $client->log =~ /^event: position$/m || $client->has_ended }), 'a stream begins';
    return $client;
}

# nginx answers at once: with 502 until the application listens. A HEAD is answered by the application without a stream.
sub wait_for_application {
    my $port = shift;
    my ($code, @head) = ('', qw(curl -s -o /dev/null -w %{http_code} --head), "http://127.0.0.1:$port/events");
    return ok wait_until($DEADLINE, sub { $code = ($host->run(@head))[1]; $code !~ /\A(?:000|502)/ }),
        "the application answers with $code";
}

sub receives {
    my ($client, $data) = @_;
    ok wait_until(sub { $client->log =~ /^data: \Q$data\E$/m }), "a client receives '$data'" or diag $client->log;
    return;
}

# True if `podman healthcheck run` succeeds: a manager sees the same exit code.
sub is_healthy {
    my $container = shift;
    my ($status) = $host->run(qw(podman healthcheck run), $container);
    return $status == 0;
}

sub property {
    my ($container, $path) = @_;
    chomp(my $value = $host->must(qw(podman inspect --format), "{{$path}}", $container));
    return $value;
}

subtest 'the image is built' => sub {
    unpack_vendored();
    ok eval { build_images(); 1 }, 'podman builds the image' or diag substr $@, -3000;
};

subtest 'nginx, the application and the hub process in containers of their own' => sub {
    copy_examples();
    my $said = compose({PORT => 8080}, qw(shop up -d));
    wait_for_application(8080) or diag $said;
    for my $container (qw(shop_hub_1 shop_app_1)) {
        ok wait_until($DEADLINE, sub { is_healthy($container) }), "$container is healthy";
        is property($container, '.State.Health.Status'), 'healthy', 'and podman knows it';
    }
    my $client = subscribe(8080);
    publish('shop_hub_1', 'from the hub');
    publish('shop_app_1', 'from the application');
    receives($client, $_) for 'from the hub', 'from the application';
    like inside('shop_app_1', qw(eventsource stats)), qr/^pid\t1$/m, 'the hub process is that of the other container';

    # Each is asked inside, so it does not matter how podman was told.
    for my $container (qw(shop_hub_1 shop_app_1 shop_nginx_1)) {
        is inside($container, 'sh', '-c', 'echo $(id -u):$(id -g)'), $USER, "$container has a user of its own";
        my $status = inside($container, 'cat', '/proc/1/status', '/proc/self/status');
        is_deeply [$status =~ /^Cap(?:Prm|Eff|Bnd):\s+0*([1-9a-f]\w*)$/mg], [],     'without capabilities';
        is_deeply [$status =~ /^NoNewPrivs:\s+(.)$/mg],                     [1, 1], 'and cannot get any';
        my ($code, $refused) = inside($container, 'touch', '/srv/file', '/usr/bin/file', '/etc/file');
        isnt $code,                                           0, 'it writes nowhere';
        is scalar(() = $refused =~ /Read-only file system/g), 3, 'the root file system is read-only' or diag $refused;
    }

    subtest 'the stream outlives the container of the application' => sub {
        $host->must(qw(podman stop shop_app_1));
        is property('shop_app_1', '.State.ExitCode'), 0, 'the application ends when it is stopped';
        my @head = (qw(curl -s -o /dev/null -w %{http_code} http://127.0.0.1:8080/events));
        is $host->must(@head), 502, 'nginx has nobody to ask';
        publish('shop_hub_1', 'without the application');
        receives($client, 'without the application');
        $host->must(qw(podman rm shop_app_1));
        compose({PORT => 8080}, qw(shop up -d));
        wait_for_application(8080);
        publish('shop_app_1', 'from the new one');
        receives($client,                                                                          'from the new one');
        receives(subscribe(8080, '-H', 'Last-Event-ID: ' . ($client->log =~ /^id: (\S+-3)$/m)[0]), 'from the new one');
        ok !$client->has_ended, 'the first stream is open';
    };

    subtest 'without the hub process nothing is healthy' => sub {
        $host->must(qw(podman stop shop_hub_1));
        is property('shop_hub_1', '.State.ExitCode'), 0, 'the hub process ends when it is stopped';
        ok wait_until(sub { $client->has_ended }), 'the stream ends';
        my ($status, $said);
        for (1 .. property('shop_app_1', '.Config.Healthcheck.Retries') || 3) {
            ($status, $said) = $host->run(qw(podman healthcheck run shop_app_1));
        }
        isnt $status,                                      0, 'the check of the application fails' or diag $said;
        is property('shop_app_1', '.State.Health.Status'), 'unhealthy', 'it is unhealthy';
        $host->must(qw(podman start shop_hub_1));
        ok wait_until($DEADLINE, sub { is_healthy('shop_app_1') }), 'with a new hub process it is healthy';
        my $next = subscribe(8080);
        publish('shop_app_1', 'from the new hub');
        receives($next, 'from the new hub');
    };
};

subtest 'the hubs of two hosts share a Redis' => sub {
    my %store = (REDIS_PASSWORD => 'secret', REDIS_ADDRESS => $Testing::Containers::ADDRESS);
    my $url   = "redis://:secret\@$Testing::Containers::ADDRESS:6379/0";
    compose({PORT => 8081, %store},                    qw(one -f compose.yaml -f redis.yaml up -d));
    compose({PORT => 8082, EVENTSOURCE_STORE => $url}, qw(two up -d));
    wait_for_application($_) for 8081, 8082;
    my ($one, $two) = map { subscribe($_) } 8081, 8082;
    publish('one_app_1', 'on the first');
    publish('two_app_1', 'on the second');
    for my $client ($one, $two) { receives($client, $_) for 'on the first', 'on the second' }
    my ($id) = $two->log =~ /^id: (\S+)\ndata: on the first$|^data: on the first\nid: (\S+)$/m;
    $id //= $2;

    $host->must(qw(podman restart two_hub_1));
    ok wait_until($DEADLINE, sub { $two->has_ended }), 'a restart of the hub ends its streams';
    wait_for_application(8082);
    my $resumed = $host->client(qw(curl -sN -H), "Last-Event-ID: $id", 'http://127.0.0.1:8082/events');
    receives($resumed, 'on the second');
    unlike $resumed->log, qr/^event: gap$/m, 'a client resumes without a gap';
};

done_testing;

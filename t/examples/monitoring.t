# The files of examples/deployment/monitoring: promtool accepts them, and a real Prometheus reads the metrics of a hub process,
# of workers of Starman and of an outbox, knows their types, evaluates the alerts, and answers each query of the dashboard.

use lib 't/lib';
use Testing    qw(native);
use HTTP::Tiny ();
use JSON::PP   ();
use EventSource::Hub::Process;
use Test::EventSource;
use Testing::Client;
use Testing::Daemon;
use Testing::Database::SQLite;
use Testing::Developer qw(needs_command);
use Testing::Outbox;
use Testing::Process qw(none_runs);
use Testing::Program;
use Testing::Server;
use Testing::SourceTree qw(slurp write_file);

needs_command('prometheus');
needs_command('promtool');
Testing::Server->require_or_skip_all('Starman');
Testing::Database::SQLite->require_or_skip_all;

my ($program) = grep { -x } map { "$_/auto/EventSource/XS/eventsource-hub" } @INC;
plan skip_all => 'eventsource-hub is not built here' if !$program;

my $DEADLINE = 60;                                 # seconds; a scrape and an evaluation take one each
my $FILES    = 'examples/deployment/monitoring';
my $TOKEN    = 'the-token-of-this-test';

my $http   = HTTP::Tiny->new(timeout => 10);
my $json   = JSON::PP->new->utf8;
my $folder = new_folder;

subtest 'promtool accepts the files' => sub {
    for my $command (
        "check config $FILES/prometheus.yml",
        "check rules $FILES/alerts.yml",
        "test rules $FILES/alerts_test.yml"
    ) {
        my $said = qx{promtool $command 2>&1};
        is $?, 0, $command or diag $said;
    }
};

my $hub = Testing::Daemon->new('eventsource-hub');
$hub->run({}, $program, 'run', qw(--name shop --socket), "$folder/s", '--metrics', '127.0.0.1:' . $hub->port);

# One whose store cannot be reached, once somebody asks for it.
my $down  = Testing::Daemon->new('eventsource-hub');
my @store = ('--store', 'redis://127.0.0.1:1', '--idle-exit', 600);
$down->run({}, $program, 'run', qw(--name down --socket), "$folder/d", '--metrics', '127.0.0.1:' . $down->port, @store);
my $database = Testing::Database::SQLite->start;
Testing::Outbox->create_tables($database->connect, 'EventSource::Outbox');
my @place    = ('--hub', 'shop', '--socket', "$folder/s");
my $follower = Testing::Program->start(['-Mblib', 'bin/eventsource', 'outbox', @place, '--dsn', $database->dsn]);
my $server   = Testing::Server->start(
    'Starman', 't/data/metrics.psgi',
    workers => 4,    # Prometheus keeps connections to two
    env     => {HUB_SOCKET => "$folder/s", OUTBOX_DSN => $database->dsn, METRICS_TOKEN => $TOKEN}
);

# The configuration of the example, which asks here and at once, and a job for the application.
sub configuration {
    my $text = slurp("$FILES/prometheus.yml");
    $text =~ s/interval: 15s/interval: 1s/g;
    $text =~ s/127[.]0[.]0[.]1:9464/'127.0.0.1:' . $hub->port/e;
    $text =~ s/127[.]0[.]0[.]1:5000/127.0.0.1:$server->{port}/;
    $text =~ s/(targets: \['127[.]0[.]0[.]1:[0-9]+')/"$1, '127.0.0.1:" . $down->port . q(')/e;
    $text =~ s/(?<=credentials: )THE-TOKEN\S+/$TOKEN/ or die 'no token';
    return $text . <<"EOF";
  - job_name: application
    authorization: {credentials: $TOKEN}
    static_configs: [{targets: ['127.0.0.1:$server->{port}']}]
  - job_name: stranger
    static_configs: [{targets: ['127.0.0.1:$server->{port}']}]
EOF
}

write_file("$folder/prometheus.yml", configuration());
write_file("$folder/alerts.yml",     slurp("$FILES/alerts.yml"));
my $prometheus = Testing::Daemon->new('prometheus');
$prometheus->run(
    {}, 'prometheus',
    "--config.file=$folder/prometheus.yml",
    "--storage.tsdb.path=$folder/data",
    '--web.listen-address=127.0.0.1:' . $prometheus->port,
    '--log.level=warn'
);

# Returns what the interface of Prometheus answers; undef if it does not.
sub api {
    my ($path, %query) = @_;
    my $to = join '?', 'http://127.0.0.1:' . $prometheus->port . "/api/v1/$path", $http->www_form_urlencode(\%query);
    my $answer = $http->get($to);
    return $answer->{success} ? $json->decode($answer->{content})->{data} : undef;
}

# Returns the values that a query finds, by a label.
sub values_of {
    my ($query, $label) = @_;
    my $data = api('query', query => $query) or return {};
    return {map { ($_->{metric}{$label} // '' => $_->{value}[1]) } @{$data->{result}}};
}

sub eventually_is {
    my ($query, $label, $expected, $name) = @_;
    my $found;
    my $is = sub {
        join ' ', map { "$_=$_[0]{$_}" } sort keys %{$_[0]};
    };
    wait_until($DEADLINE, sub { $is->($found = values_of($query, $label)) eq $is->($expected) });
    return is_deeply $found, $expected, $name;
}

# Publishes events. Returns the process ids of the workers that did.
my $published = 0;

sub publish {
    my $count = shift;
    my %pids;
    for (1 .. $count) {
        my $answer = $http->get($server->url('/publish'));
        next if !$answer->{success};
        $published++;
        $pids{$answer->{content}} = 1;
    }
    return keys %pids;
}

my $es     = Test::EventSource->new(url => $server->url(''), timeout => $DEADLINE);
my $stream = $es->get('/events');

subtest 'Prometheus reads what the hub process and any worker say' => sub {
    my @before = publish(20);
    my $both   = sub {
        my $value = shift;
        return {map { ($_ => $value) } qw(eventsource application)};
    };
    eventually_is('up', 'job', {%{$both->(1)}, eventsource_outbox => 1, stranger => 0}, 'all are read, with the token')
        or diag explain(api('targets')), $hub->log, $server->log;
    eventually_is('eventsource_streams{hub="shop"}',                 'job', $both->(1),          'one stream');
    eventually_is('eventsource_published_total{hub="shop"}',         'job', $both->($published), 'the events');
    eventually_is('eventsource_channel_subscribers{channel="news"}', 'job', {application => 1},  'the chosen channel');
    eventually_is('eventsource_outbox_followed',        'table', {eventsource_outbox => 1}, 'the outbox');
    eventually_is('eventsource_store_info{hub="shop"}', 'kind',  {memory => 1},             'the kind of the store');
    kill HUP => $server->pid;
    ok wait_until($DEADLINE, sub { none_runs(@before) }), 'all workers are replaced';
    ok wait_until($DEADLINE, sub { publish(1) }),         'a new one publishes';
    eventually_is('eventsource_published_total{hub="shop"}', 'job', $both->($published),    'the counter goes on');
    eventually_is('resets(eventsource_published_total{hub="shop"}[5m])', 'job', $both->(0), 'and was never reset');
};

subtest 'Prometheus knows the types, the units and the texts' => sub {
    for my $case (
        ['eventsource_streams',                   'gauge',   ''],
        ['eventsource_published',                 'counter', ''],
        ['eventsource_history_bytes',             'gauge',   'bytes'],
        ['eventsource_store',                     'info',    ''],
        ['eventsource_outbox_oldest_age_seconds', 'gauge',   'seconds'],
    ) {
        my ($name, $type, $unit) = @$case;
        my ($known) = @{(api('metadata', metric => $name) || {})->{$name} || []};
        is_deeply [@{$known || {}}{qw(type unit)}], [$type, $unit], $name;
        like $known->{help}, qr/[.]\z/, 'with a text';
    }
};

subtest 'each query of the dashboard has an answer' => sub {
    my $dashboard = $json->decode(slurp("$FILES/grafana.json"));
    for my $panel (@{$dashboard->{panels}}) {
        for my $target (@{$panel->{targets}}) {
            my $query = $target->{expr} =~ s/\$__rate_interval/1m/gr =~ s/\$instance/.*/gr;
            ok wait_until($DEADLINE, sub { @{(api('query', query => $query) || {})->{result} || []} }),
                "$panel->{title}: $query";
        }
    }
};

subtest 'the alerts' => sub {
    my %state;
    my $rules = sub {
        my ($group) = @{(api('rules') || {})->{groups} || []} or return;
        return map { ($_->{name} => "$_->{health} $_->{state}") } @{$group->{rules}};
    };
    eventually_ok $DEADLINE, 'none is active' => sub {
        %state = $rules->();
        %state && !grep { $_ ne 'ok inactive' } values %state;
    } or diag explain \%state;
    my @names = slurp("$FILES/alerts.yml") =~ /alert: (\w+)/g;
    is_deeply [sort keys %state], [sort @names], 'all are evaluated';
};

# Whether the condition of an alert is true now, for any hub.
sub is_true {
    my $alert = shift;
    my ($condition) = slurp("$FILES/alerts.yml") =~ /alert: $alert\n +expr: (.+)/;
    return scalar @{(api('query', query => $condition) || {})->{result} || []};
}

sub eventually_true {
    my ($alert, $name) = @_;
    return ok wait_until($DEADLINE, sub { is_true($alert) }), "$alert: $name";
}

my @place_of_hub = (name => 'shop', socket => "$folder/s");
$stream->close;
my $CLIENTS = 12;
my @last_id;

# Streams of clients that read only the first position, whose id is the next one's Last-Event-ID.
sub clients {
    my @clients;
    for my $number (1 .. $CLIENTS) {
        my @headers = $last_id[$number] ? (headers => ['Last-Event-ID' => $last_id[$number]]) : ();
        push @clients, my $client = Testing::Client->stream($server->port, '/events', @headers);
        ($last_id[$number]) = $client->text =~ /^id: (\S+)/m;
    }
    return @clients;
}

subtest 'slow clients that are disconnected are slow, and no event of others is lost' => sub {
    my $publisher = EventSource::Hub::Process->connect(@place_of_hub);
    my @clients   = clients();
    my $event     = 'x' x 100_000;
    my $stalled   = qr/^eventsource_stalled_streams\S* $CLIENTS$/m;
    ok wait_until($DEADLINE, sub { $publisher->publish(news => $event); $publisher->openmetrics =~ $stalled }),
        'all are slow';
    eventually_true(EventSourceSlowClients => 'while they are slow');
    my $disconnected = sub { $publisher->publish(news => $event); $publisher->stats->{slow}{disconnect} == $CLIENTS };
    ok wait_until($DEADLINE, $disconnected), 'all are disconnected';
    eventually_ok $DEADLINE, 'Prometheus knows what was buffered for them' =>
        sub { (values_of('eventsource_lost_total{reason="slow"}', 'job')->{eventsource} // 0) > 0 };
    ok !is_true('EventSourceEventsLost'), 'EventSourceEventsLost: not because of them';
    ok !is_true('EventSourceGaps'),       'EventSourceGaps: nobody has come back';
};

subtest 'a hub in memory is killed again and again' => sub {
    my @clients = clients();
    for my $time (1 .. 3) {
        ok !is_true('EventSourceRestarts'), "EventSourceRestarts: not yet, killed $time times" if $time < 3;
        my $started = sub { values_of('eventsource_start_time_seconds{hub="shop"}', 'job')->{eventsource} // 0 };
        my $before  = $started->();
        $hub->restart('KILL');
        ok wait_until($DEADLINE, sub { $started->() > $before }), 'Prometheus knows the start of the next process';
    }
    eventually_true(EventSourceRestarts => 'killed three times');
    @clients = clients();
    eventually_true(EventSourceGaps => 'each client has perhaps missed events');
};

subtest 'other faults' => sub {
    ok !is_true('EventSourceStoreDown'), 'EventSourceStoreDown: nobody has asked for the store';
    ok !eval { EventSource::Hub::Process->connect(name => 'down', socket => "$folder/d", timeout => 0.1) },
        'a worker does';
    eventually_true(EventSourceStoreDown => 'it cannot be reached');
    $follower->stop;
    eventually_true(EventSourceOutboxNotFollowed => 'the follower has ended');
    $hub->stop;
    eventually_true(EventSourceAway => 'the hub process has ended');
};

done_testing;

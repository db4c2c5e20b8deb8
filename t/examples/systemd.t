# The units of EventSource::Services under a real systemd: an application, and the hub process that has units of its
# own. Streams outlive the application's service, and an upgrade of the hub process.

use lib 't/lib';
use Testing qw(named_hubs);
use Testing::Systemd;
use Testing::Deadline qw($DEADLINE wait_until);
use Testing::Client;
use Testing::Port;
use Testing::Server;
use Testing::Redis;
use Testing::SourceTree qw(slurp);
use Testing::Subscriber qw(blocks);

my $UNITS   = 'examples/deployment';
my $PROGRAM = EventSource::Hub::Process->program;
my $APP     = 'eventsource.service';
my $HUB     = 'eventsource-hub@test.service';
my $SOCKET  = 'eventsource-hub@test.socket';

Testing::Server->require_or_skip_all('Starman');
Testing::Systemd->require_or_skip_all;
my ($starman) = slurp("$UNITS/$APP") =~ m{^ExecStart=(\S+)}m;
plan skip_all => "there is no $starman here" if !-x $starman;

my $reserved = Testing::Port->new;
my $port     = $reserved->number;

# What stands in the units, and what this machine has instead of it.
my %HERE = (
    '/usr/local/bin/eventsource-hub' => '/run/test/eventsource-hub',
    '/srv/events'                    => '/run/test/data',
    '/etc/eventsource.env'           => '/run/test/eventsource.env',
    '/etc/eventsource-hub/%i.env'    => '/run/test/%i.env',
    '127.0.0.1:5000'                 => "127.0.0.1:$port",
    'app.psgi'                       => 'hub_outlive.psgi',
);

# Returns a unit for this machine, by its name.
sub unit {
    my $path = shift;
    my $from = join '|', map { quotemeta } keys %HERE;
    return ($path =~ m{([^/]+)\z}, slurp("$UNITS/$path") =~ s/($from)/$HERE{$1}/gr);
}

# Returns the drop-in of the manual for a hub with Redis, by its name.
sub drop_in {
    my $hub    = shift;
    my $manual = slurp('perl/EventSource/Deployment.pod');
    my ($text) = $manual =~ m{^=head2 Units of systemd\n.*?^(    \[Service\]\n(?:    [^\n]+\n)+)}ms
        or die "no drop-in\n";
    $text =~ s/^    //mg;
    return ("eventsource-hub\@$hub.service.d/store.conf" => $text);
}

my $systemd = Testing::Systemd->start(
    system =>
        {(map { unit($_) } $APP, map { "systemd/system/eventsource-hub\@.$_" } 'socket', 'service'), drop_in('redis'),},
    user   => {map { unit($_) } map { "systemd/user/eventsource-hub\@.$_" } 'socket', 'service'},
    copies => {blib => 'blib', data => 't/data'},
);
$systemd->install('eventsource-hub', $PROGRAM);
$systemd->write(
    'eventsource.env',
    "HUB_SOCKET=/run/eventsource-hub/test/hub.sock\nHUB_AUTOSTART=0\nHUB_SECONDS=600\n",
    "PERL5LIB=/run/test/blib/lib:/run/test/blib/arch\n"
);

my $published = 0;

# Has systemd do something, and makes a test of it.
sub systemctl_ok {
    my ($manager, @words) = @_;
    my ($status,  $said)  = $manager->systemctl(@words);
    return is($status, 0, "systemctl @words") || diag $said;
}

# Opens a stream, and waits until the hub process has it.
sub open_stream {
    return Testing::Client->stream($port, '/hub');
}

# Publishes the next number, and returns its id: by the application, or by a command that the user of the hub runs.
sub publish {
    my $by   = shift;
    my $data = ++$published;
    return command(qw(--socket /run/eventsource-hub/test/hub.sock news), $data) if $by eq 'a command';
    return Testing::Client->ask($port, "/publish?$data")->body;
}

# Returns what `eventsource publish` prints.
sub command { return eventsource(qw(publish --hub test --no-autostart), @_) }

# Returns what `eventsource` prints, run by the user of the hub.
sub eventsource {
    my @words = @_;
    my @perl  = ($^X, map { "-I/run/test/blib/$_" } 'lib', 'arch');
    my (undef, $said) = $systemd->user->run(@perl, '/run/test/blib/script/eventsource', @words);
    return $said =~ s/\n\z//r;
}

# Checks that a stream is open and has received all numbers since its begin.
sub has_all_ok {
    my ($client, $from, $what) = @_;
    $client->read_until(qr/^data: $published\r?\n/m);
    my @got = map { $_->{data} // () } blocks($client->text);
    is "@got", join(' ', $from .. $published), "$what: the stream has each event once and in order";
    return ok !$client->ended, "$what: it is open";
}

# Waits until the application answers.
sub serves_ok {
    my $what     = shift;
    my $answered = sub {
        eval { Testing::Client->ask($port, '/plain')->body eq 'plain' }
    };
    return ok wait_until($DEADLINE, $answered), "$what: the application serves";
}

sub exe {
    my $pid = shift;
    my (undef, $exe) = $systemd->run('readlink', "/proc/$pid/exe");
    chomp $exe;
    return $exe;
}

subtest 'the socket starts the hub at the first connection' => sub {
    systemctl_ok($systemd, start => $SOCKET, $APP);
    serves_ok('the first start');
    is $systemd->property($HUB, 'ActiveState'), 'inactive', 'nobody has needed the hub';
    my $client = open_stream();
    is $systemd->property($HUB, 'ActiveState'), 'active', 'the stream has';
    is $systemd->property($HUB, 'ControlGroup'), '/system.slice/system-eventsource\x2dhub.slice/' . $HUB,
        'it has a cgroup of its own';
    like publish('the application'), qr/-1\z/, 'the application publishes';
    has_all_ok($client, 1, 'at first');
};

my $stream = open_stream();
my $from   = $published + 1;

subtest 'a stream outlives the service of the application' => sub {
    my $pid = $systemd->property($HUB, 'MainPID');
    publish('the application');
    systemctl_ok($systemd, stop => $APP);
    is $systemd->property($APP, 'Result'), 'success', 'it has ended by itself';
    has_all_ok($stream, $from, 'stopped');
    publish('a command');
    has_all_ok($stream, $from, 'without the application');
    systemctl_ok($systemd, start => $APP);
    serves_ok('started');
    publish('the application');
    has_all_ok($stream, $from, 'started');
    systemctl_ok($systemd, restart => $APP);
    serves_ok('restarted');
    publish('the application');
    has_all_ok($stream, $from, 'restarted');
    is $systemd->property($HUB, 'MainPID'), $pid, 'the hub process is the same';
};

subtest 'a reload is an upgrade in place' => sub {
    my $pid = $systemd->property($HUB, 'MainPID');
    $systemd->install('eventsource-hub', $PROGRAM);
    like exe($pid), qr/ \(deleted\)\z/, 'another program has been installed';
    systemctl_ok($systemd, reload => $HUB);
    is exe($pid), '/run/test/eventsource-hub', 'the same process is the new program';
    publish('the application');
    publish('a command');
    has_all_ok($stream, $from, 'upgraded');

    $systemd->install('eventsource-hub', '/bin/false');
    my ($status) = $systemd->systemctl(reload => $HUB);
    isnt $status, 0, 'a reload with a program that cannot continue fails';
    is $systemd->property($HUB, $_->[0]), $_->[1], "$_->[0] is still $_->[1]"
        for [ActiveState => 'active'], [MainPID => $pid];
    like $systemd->journal, qr/Reload failed for \Q$HUB\E/, 'the journal says so';
    publish('the application');
    has_all_ok($stream, $from, 'not upgraded');
    $systemd->install('eventsource-hub', $PROGRAM);
};

subtest 'the service of the hub ends, and starts again' => sub {
    systemctl_ok($systemd, stop => $HUB);
    ok $stream->read_until(qr/^retry: [0-9]+\r?\n/m) && $stream->read_all, 'a stop ends the stream with a retry';
    is $systemd->property($SOCKET, 'ActiveState'), 'active', 'the socket listens on';
    $published = 0;
    like publish('a command'), qr/-1\z/, 'the next connection starts the hub, with another history';
    my $client = open_stream();
    my $pid    = $systemd->property($HUB, 'MainPID');
    my ($status, $said) = $systemd->run(qw(kill -KILL), $pid);
    is "$status: $said", '0: ', 'the process is killed';
    ok $client->read_all, 'its stream ends';
    ok wait_until($DEADLINE, sub { $systemd->property($HUB, 'NRestarts') == 1 }),     'systemd restarts it';
    ok wait_until($DEADLINE, sub { publish('the application') =~ /\A\w+-[0-9]+\z/ }), 'the application has it again';
    systemctl_ok($systemd, stop => $APP, $HUB, $SOCKET);
    is $systemd->property($HUB, 'Result'), 'success', 'the service has ended with success';
};

# A hub with a store.
sub goes_on_ok {
    my ($kind, $url) = @_;
    my ($hub, $socket) = map { "eventsource-hub\@$kind.$_" } 'service', 'socket';
    my @hub     = ('--socket', "/run/eventsource-hub/$kind/hub.sock");
    my $publish = sub { return eventsource(qw(publish --no-autostart --hub), $kind, @hub, news => shift) };
    $systemd->write("$kind.env", "EVENTSOURCE_STORE=$url\n");
    systemctl_ok($systemd, start => $socket);
    like my $first = $publish->('one'), qr/\A\w+-[0-9]+\z/, 'the first connection starts the hub' or return;
    is eventsource(qw(hub check), $kind, @hub), "$kind\tok\t$kind", 'its store is healthy';
    my ($epoch) = $first =~ /\A(\w+)-/;
    my ($status, $said) = $systemd->run(qw(kill -KILL), $systemd->property($hub, 'MainPID'));
    is "$status: $said", '0: ', 'the process is killed';
    ok wait_until($DEADLINE, sub { $systemd->property($hub, 'NRestarts') == 1 }), 'systemd restarts it';
    ok wait_until($DEADLINE, sub { $publish->('two') =~ /\A$epoch-[0-9]+\z/ }),   'the ids continue';
    systemctl_ok($systemd, restart => $hub);
    like $publish->('three'), qr/\A$epoch-[0-9]+\z/, 'also after a restart';
    systemctl_ok($systemd, stop => $hub, $socket);
    return;
}

subtest 'a hub with a file, in the folder of the unit' => sub {
    goes_on_ok(file => 'file:/var/lib/eventsource-hub/file/events.db');
};

subtest 'a hub with Redis, under the drop-in of the manual' => sub {
    Testing::Redis->require_or_skip_all;
    my $redis = Testing::Redis->start;
    goes_on_ok(redis => $redis->url);
};

subtest 'the units of a user' => sub {
    my $user = $systemd->user;
    systemctl_ok($user, start => $SOCKET);
    is $user->property($HUB, 'ActiveState'), 'inactive', 'nobody has needed the hub';
    like command(news => 'before'), qr/-1\z/, 'the first connection starts it';
    my $pid = $user->property($HUB, 'MainPID');
    $systemd->install('eventsource-hub', $PROGRAM);
    systemctl_ok($user, reload => $HUB);
    is exe($pid), '/run/test/eventsource-hub', 'a reload is an upgrade of the same process';
    like command(news => 'after'), qr/-2\z/, 'its hub continues';
    systemctl_ok($user, stop => $HUB, $SOCKET);
    is $user->property($HUB, 'Result'), 'success', 'the service has ended with success';
};

done_testing;

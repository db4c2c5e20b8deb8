# The units of the manuals under a real systemd: an application, and the hub process that has units of its own, whose streams
# outlive the application's service and an upgrade; the follower of an outbox; the application of the tutorial.

use lib 't/lib';
use Testing qw(named_hubs Server=Starman Systemd);
use Testing::Client;
use Testing::Database;
use Testing::Port;
use Testing::Redis;
use Testing::SourceTree qw(slurp write_file);
use Testing::Subscriber qw(blocks);

my $UNITS    = 'examples/deployment';
my $PROGRAM  = EventSource::Hub::Process->program;
my $APP      = 'eventsource.service';
my $HUB      = 'eventsource-hub@test.service';
my $SOCKET   = 'eventsource-hub@test.socket';
my $FOLLOWER = 'eventsource-outbox@test.service';
my @PERL     = ($^X, map { "-I/run/test/blib/$_" } 'lib', 'arch');

my ($starman) = slurp("$UNITS/$APP") =~ m{^ExecStart=(\S+)}m;
plan skip_all => "there is no $starman here" if !-x $starman;

my ($reserved, $reserved_for_bakery) = map { Testing::Port->new } 1 .. 2;
my $port        = $reserved->number;
my $bakery_port = $reserved_for_bakery->number;

# What stands in the units, and what this machine has instead of it.
my %HERE = (
    '/usr/local/bin/eventsource-hub' => '/run/test/eventsource-hub',
    '/srv/events'                    => '/run/test/data',
    '/etc/eventsource.env'           => '/run/test/eventsource.env',
    '/etc/eventsource-hub/%i.env'    => '/run/test/%i.env',
    '/etc/eventsource/outbox-%i'     => '/run/test/outbox-%i',
    '/usr/local/bin/eventsource '    => "@PERL /run/test/blib/script/eventsource ",
    '127.0.0.1:5000'                 => "127.0.0.1:$port",
    'app.psgi'                       => 'hub_outlive.psgi',
);

# Returns a unit for this machine, by its name.
sub unit {
    my ($path, %here) = (shift, %HERE, @_);
    my $from = join '|', map { quotemeta } keys %here;
    return ($path =~ m{([^/]+)\z}, slurp($path) =~ s/($from)/$here{$1}/gr);
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

my @units = map { "$UNITS/systemd/system/$_" } map { "eventsource-$_" } 'hub@.socket', 'hub-http@.socket',
    'hub@.service',
    'outbox@.service';
my %bakery  = ('/srv/bakery' => '/run/test/bakery', '127.0.0.1:5000' => "127.0.0.1:$bakery_port");
my $systemd = Testing::Systemd->start(
    system => {
        (map { unit($_) } "$UNITS/$APP", @units),
        drop_in('redis'),

        # What the unit says of SQLite.
        "$FOLLOWER.d/file.conf" => "[Service]\nReadWritePaths=/run/test/shop\n",
        unit('examples/tutorial/bakery.service', %bakery),

        # The modules are not installed here.
        'bakery.service.d/blib.conf' => "[Service]\nEnvironment=PERL5LIB=/run/test/blib/lib:/run/test/blib/arch\n",
    },
    user   => {map { unit($_) } map { "$UNITS/systemd/user/eventsource-hub\@.$_" } 'socket', 'service'},
    copies => {blib => 'blib', data => 't/data', lib => 't/lib', bakery => 'examples/tutorial'},
);
$systemd->install('eventsource-hub', $PROGRAM);
$systemd->write(
    'eventsource.env',
    "HUB_SOCKET=/run/eventsource-hub/test/hub.sock\nHUB_AUTOSTART=0\nHUB_SECONDS=600\n",
    "PERL5LIB=/run/test/blib/lib:/run/test/blib/arch:/run/test/lib\n"
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
    my (undef, $said) = $systemd->user->run(@PERL, '/run/test/blib/script/eventsource', @words);
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

subtest 'the service of an outbox' => sub {
    my ($class) = grep { $_->name eq 'SQLite' } Testing::Database->classes;
    $class->require_or_skip_all;
    my $user = $systemd->user;
    mkdir $systemd->path('/run/test/shop') or die "shop: $!";
    chown @$user{qw(uid gid)}, $systemd->path('/run/test/shop');
    my $sql = sub {
        my $code = q{use DBI; my $dbh = DBI->connect('dbi:SQLite:/run/test/shop/shop.db', '', '', {RaiseError => 1});}
            . q{$dbh->{sqlite_allow_multiple_statements} = 1; print $dbh->do($_) for @ARGV};
        my ($status, $said) = $user->run($^X, '-e', $code, '--', @_);
        return is($status, 0, 'the database takes it') || diag $said;
    };

    # As an application does: in its transaction.
    my $publish_row = sub {
        my $data = ++$published;
        return $sql->("INSERT INTO eventsource_outbox (channel, data) VALUES ('news', '$data')");
    };
    $sql->(eventsource(qw(outbox --schema sqlite)));
    $systemd->write('outbox-test.password', '');
    $systemd->write('outbox-test.env',      "OUTBOX=--dsn dbi:SQLite:/run/test/shop/shop.db\n");

    $publish_row->();
    systemctl_ok($systemd, start => $FOLLOWER);
    has_all_ok($stream, $from, 'a row that waited');
    $publish_row->();
    has_all_ok($stream, $from, 'a row');
    my ($status, $said) = $systemd->run(qw(kill -KILL), $systemd->property($FOLLOWER, 'MainPID'));
    is "$status: $said", '0: ', 'the follower is killed';
    $publish_row->();
    has_all_ok($stream, $from, 'a row for its successor');
    is $systemd->property($FOLLOWER, 'NRestarts'), 1, 'systemd has started it';
    systemctl_ok($systemd, stop => $FOLLOWER);
    is $systemd->property($FOLLOWER, 'Result'), 'success', 'the service has ended with success';

    $systemd->write('outbox-test.env', "OUTBOX=--dsn nonsense\n");
    systemctl_ok($systemd, start => $FOLLOWER);
    ok wait_until($DEADLINE, sub { $systemd->property($FOLLOWER, 'ActiveState') eq 'failed' }),
        'with wrong arguments the service fails, and is not started again';
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
    ok $client->read_all,                                                         'its stream ends';
    ok wait_until($DEADLINE, sub { $systemd->property($HUB, 'NRestarts') == 1 }), 'systemd restarts it';

    for my $time (2 .. 6) {
        $systemd->systemctl(kill => '--signal=KILL', $HUB);
        ok wait_until($DEADLINE, sub { $systemd->property($HUB, 'NRestarts') == $time }), "killed $time times"
            or return diag $systemd->journal;
    }
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
    my $redis = Testing::Redis->start_or_skip_all;
    goes_on_ok(redis => $redis->url);
};

subtest 'the socket for HTTP' => sub {
    my ($socket, $hub) = ('eventsource-hub-http@web.socket', 'eventsource-hub@web.service');
    my @nobody = qw(setpriv --reuid=65534 --regid=65534 --clear-groups);
    my @ask =
        (qw(curl -si --max-time), $DEADLINE, qw(--unix-socket /run/eventsource-hub-http/web.sock http://web/events));
    systemctl_ok($systemd, start => $socket);
    for my $when ('before it runs', 'while it is stopped') {
        is $systemd->property($hub, 'ActiveState'), 'inactive', 'the hub does not run';
        my (undef, $said) = $systemd->run(@nobody, @ask);
        like $said, qr/^X-Accel-Redirect: \@app\r?$/m, "$when: a proxy is answered by it";
        systemctl_ok($systemd, reload => $hub);
        (undef, $said) = $systemd->run(@nobody, @ask);
        like $said, qr/^X-Accel-Redirect: \@app\r?$/m, 'also after an upgrade';
        systemctl_ok($systemd, stop => $hub);
    }
    systemctl_ok($systemd, stop => $socket, 'eventsource-hub@web.socket');
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

subtest 'the service of the tutorial' => sub {
    my $ask = sub {
        my $path = shift;
        return eval { Testing::Client->ask($bakery_port, $path)->body } // '';
    };
    my $bake = sub {
        my ($status, $said) = $systemd->user->run(@PERL, '/run/test/bakery/bake', 'rye', 1);
        return is "$status: $said", '0: ', 'a job publishes';
    };
    systemctl_ok($systemd, start => 'bakery.service');
    ok wait_until($DEADLINE, sub { $ask->('/') =~ /<title>Bakery</ }), 'it serves';
    my $client = Testing::Client->stream($bakery_port, '/events');
    $bake->();
    ok $client->read_until(qr/"bread":"rye"/), 'a page is told';

    my $path = $systemd->path('/run/test/bakery/bakery.psgi');
    write_file($path, slurp($path) =~ s/<title>Bakery/<title>Baker/r);
    systemctl_ok($systemd, reload => 'bakery.service');
    ok wait_until($DEADLINE, sub { $ask->('/') =~ /<title>Baker</ }), 'after a reload the code is the new one';
    $bake->();
    ok $client->read_until(qr/"bread":"rye".*"bread":"rye"/s), 'the stream is open, and told of the next one';

    systemctl_ok($systemd, restart => 'bakery.service');
    ok $client->read_all,                                             'a restart ends it';
    ok wait_until($DEADLINE, sub { $ask->('/') =~ /<title>Baker</ }), 'it serves again';
    my $again = Testing::Client->stream($bakery_port, '/events');
    ok $again->read_until(qr/^event: position\n/m), 'a stream has the state';
    unlike $again->text, qr/rye/, 'which is forgotten';
    systemctl_ok($systemd, stop => 'bakery.service');
    is $systemd->property('bakery.service', 'Result'), 'success', 'the service has ended with success';
};

done_testing;

# The doctor and a named hub: it publishes the probe itself, and compares cgroups.

use lib 't/lib';
use Testing qw(named_hubs);
use EventSource::Hub;
use EventSource::Hub::Process;
use Testing::Client;
use Testing::Doctor qw(is_fine is_wrong);
use Testing::Server;

my $CGROUPS = '/sys/fs/cgroup/systemd';

my $folder = new_folder;
my %env    = (HUB_SOCKET => "$folder/hub.sock", JOURNAL => "$folder/journal");
my $server = Testing::Server->start('Starman', 't/data/hub_process.psgi', workers => 2, env => \%env);
my $stream = Testing::Client->stream($server->port, '/hub');
my $worker = $stream->header('X-Worker');

my $url     = $server->url('/hub');
my @hub     = ('--hub',     'test', '--socket', $env{HUB_SOCKET});
my @channel = ('--channel', 'news');

# Another hub, whose channel of that name has a reader.
my $another = EventSource::Hub->new(name => 'another', socket => "$folder/another.sock", idle_exit => 1);
$another->epoch;    # starts it
my $reader = $another->process->follow('news');

# A name, what is said, and the options.
my @ELSEWHERE = (
    ['another channel', qr/the channel nwes of the hub test, which no stream reads/, @hub, '--channel', 'nwes'],
    ['another hub', qr/the stream reads another hub/, '--hub', 'another', '--socket', "$folder/another.sock", @channel],
);

sub hub_pid {
    my $doctor = Testing::Doctor->start('--seconds', 0.5, @hub, '--workers', $worker, $url);
    return $doctor->finding('hub_process')->{measured}{hub};
}

subtest 'the probe of a hub' => sub {
    my $doctor = Testing::Doctor->start('--seconds', 2, @hub, @channel, '--workers', $worker, $url);
    is_fine($doctor, 'a stream of the channel');
    like $doctor->finding('buffering')->{sentence}, qr/The probe arrived/,        'the probe arrives';
    like $doctor->finding('resume')->{sentence},    qr/what it has missed, once/, 'and the one while nobody listens';
    for my $case (@ELSEWHERE) {
        my ($name, $sentence, @option) = @$case;
        my $other = Testing::Doctor->start('--seconds', 1, @option, $url);
        is_wrong($other, 'probe', 'wrong', $sentence, $name);
        is $other->finding('buffering'), undef, "$name: no proxy is suspected";
        is $other->report->{wrong},      1,     "$name: nothing else is wrong";
    }
    my $none = Testing::Doctor->start('--seconds', 1, '--hub', 'nobody', '--socket', "$folder/none", @channel, $url);
    is_wrong($none, 'hub_process', 'warning', qr/no process that this user can ask/, 'a hub without a process');
    is_wrong($none, 'buffering',   'warning', qr/could not be sent/,                 'its probe');
};

subtest 'streams that are held back' => sub {
    my $id      = Testing::Client->ask($server->port, '/publish?before')->body;
    my @client  = map { Testing::Client->stream($server->port, '/hub') } 1 .. 19;
    my $process = EventSource::Hub::Process->connect(name => 'test', socket => $env{HUB_SOCKET});
    my $polls   = sub {
        my $count  = shift;
        my @prefer = (headers => [Prefer => 'wait=60; reason=mute', 'Last-Event-ID' => $id]);
        push @client, map { Testing::Client->stream($server->port, '/hub', @prefer) } 1 .. $count;
        ok wait_until($DEADLINE, sub { $process->stats->{polls}{waiting} == @client - 19 }), "$count more poll";
        return Testing::Doctor->start('--seconds', 0.5, @hub, $url);
    };
    my $few = $polls->(1)->finding('hub_polls');
    is $few->{verdict}, 'ok', 'one polls';
    like $few->{sentence}, qr/^1 of 2[0-9] streams of the hub test poll now; polls so far, by reason: mute 1,/,
        'it says how many, and why';
    my $many = is_wrong($polls->(3), 'hub_polls', 'warning', qr/^4 of 2[0-9] .* mute 4,/, 'many poll');
    like $many->{remedy}, qr/run eventsource doctor URL where such a client is/, 'the remedy finds the proxy';
};

subtest 'a state of 10,000 keys' => sub {
    my $process = EventSource::Hub::Process->connect(name => 'test', socket => $env{HUB_SOCKET});
    $process->begin_publish(stock => {key => $_, data => $_, retain => 1}) for 1 .. 10_000;
    is scalar(grep { defined $_->{id} } $process->answers), 10_000, 'it is published';
    my $doctor = Testing::Doctor->start('--seconds', 5, @hub, '--channel', 'stock', $server->url('/state'));
    like $doctor->finding('buffering')->{sentence}, qr/The probe arrived/, 'the probe arrives after it';
};

subtest 'the workers of a hub' => sub {
    local $ENV{PATH} = "$folder";    # there is no ss
    my $doctor   = Testing::Doctor->start('--seconds', 0.5, @hub, $url);
    my $measured = $doctor->finding('hub_process')->{measured};
    ok scalar(grep { $_ == $worker } @{$measured->{workers}}),           'are named by its process';
    ok !scalar(grep { $_ == $measured->{hub} } @{$measured->{workers}}), 'without its own process';
    is $doctor->exit_code, 0, 'exit code 0';
};

# Only root may make cgroups, and only where the hierarchy of systemd is mounted in this way.
subtest 'the cgroup of a service' => sub {
    my ($service, $own) = map { "$CGROUPS/eventsource-doctor-$$-$_.service" } qw(web hub);
    mkdir $service or plan skip_all => "no cgroup can be made here: $!";
    mkdir $own     or plan skip_all => "no cgroup can be made here: $!";
    my $hub    = hub_pid();
    my %before = map { ($_ => cgroup_of($_)) } $worker, $hub;
    my $ok     = eval {
        move($_, $service) for $worker, $hub;
        my $together = Testing::Doctor->start('--seconds', 0.5, @hub, '--workers', $worker, $url);
        my $finding =
            is_wrong($together, 'hub_process', 'wrong', qr/both in eventsource-doctor-\S+-web[.]service/, 'together');
        like $finding->{remedy}, qr/eventsource-hub\@test\.socket/, 'the remedy names the unit';
        move($hub, $own);
        my $apart = Testing::Doctor->start('--seconds', 0.5, @hub, '--workers', $worker, $url);
        is_fine($apart, 'in services of their own');
        like $apart->finding('hub_process')->{sentence}, qr/in another cgroup/, 'it says so';
        1;
    };
    diag $@ if !$ok;
    ok $ok, 'all was compared';
    move($_, $before{$_}) for $worker, $hub;
    ok wait_until($DEADLINE, sub { rmdir $_; !-e }), "$_ is removed" for $service, $own;
};

# The folder of the cgroup that a process is in.
sub cgroup_of {
    my $pid = shift;
    open my $file, '<', "/proc/$pid/cgroup" or die "/proc/$pid/cgroup: $!\n";
    my ($path) = map { /:name=systemd:(.*)/ ? $1 : () } readline $file;
    return $CGROUPS . (defined $path ? $path : '/');
}

sub move {
    my ($pid, $cgroup) = @_;
    open my $procs, '>', "$cgroup/cgroup.procs" or die "$cgroup: $!\n";
    print {$procs} "$pid\n";
    close $procs or die "$cgroup: $!\n";
    return;
}

subtest 'a hub process that is killed meanwhile' => sub {
    my $finding;
    for (1 .. 3) {    # perhaps it is killed before the doctor has the event
        my $beside = Testing::Client->stream($server->port, '/hub');
        my $doctor = Testing::Doctor->start('--seconds', 5, @hub, @channel, $url);
        ok $beside->read_until(qr/probe-/), 'the probe is sent';
        kill KILL => EventSource::Hub::Process->connect(name => 'test', socket => $env{HUB_SOCKET})->pid;
        $finding = $doctor->finding('end');
        last if $finding->{verdict} eq 'wrong';
    }
    like $finding->{sentence}, qr/because the hub process has ended/, 'is not taken for a timeout';
};

$stream->leave;
my $hub_pid = hub_pid();
$server->stop;
ok wait_until($DEADLINE, sub { !kill 0 => $hub_pid }), 'the hub process ends when nobody needs it';

done_testing;

# Who begins a hub, and with which settings: an object takes the settings that it does not name as they are, so a job may come
# before the workers, and the process keeps what was named for the next one.

use lib 't/lib';
use Testing;
use Testing::Errors qw(error_of);
use Testing::CommandLine;
use EventSource::Hub;
use POSIX                 ();
use Testing::Process      qw(is_running);
use Testing::ReadableCopy qw(copy_for_all folder_for_all);
use Testing::Subscriber;

my $shell = Testing::CommandLine->new;
$ENV{EVENTSOURCE_RUNTIME_DIR} = $shell->folder;

sub hub { return EventSource::Hub->new(name => shift, grace => 60, idle_exit => 60, @_) }

# Publishes in a process of its own, with an object that names nothing.
sub run_job {
    my ($name, $data) = @_;
    my $code = 'print EventSource::Hub->new(name => shift)->publish(news => shift)';
    open my $out, '-|', $^X, '-Mblib', '-MEventSource::Hub', '-e', $code, $name, $data or die "perl: $!\n";
    my $id = readline $out;
    return close $out ? $id : die "the job has failed: $?\n";
}

sub kill_process_of {
    my $hub = shift;
    my $pid = $hub->stats->{process}{pid};
    kill KILL => $pid;
    ok wait_until($DEADLINE, sub { !is_running($pid) }), 'the process is killed';
    return;
}

for my $case (
    [gap_event      => 'hole',                             'missed'],
    [gap_data       => 'one',                              'two'],
    [position_event => 'here',                             'there'],
    [position       => 'id',                               'event'],
    [opaque_ids     => 1,                                  0],
    [on_slow        => 'gap',                              'latest'],
    [store          => {file => $shell->folder . '/a.db'}, 'memory'],
) {
    my ($setting, $value, $other) = @$case;
    subtest "$setting: a job that does not name it comes first" => sub {
        my $id     = run_job($setting, 'of the job');
        my $worker = hub($setting, $setting => $value);
        my @epochs = ((split /-/, $id)[0], $worker->epoch);
        my $client = Testing::Subscriber->open($worker, 'news', {after => "$epochs[0]-0", position => 'id'});
        $worker->publish(news => 'next');
        my @data = $client->data(2);
        if ($setting =~ /store|opaque/) {
            like $data[0], qr/unknown/, 'the hub restarts for a worker that names it: clients receive a gap';
            isnt $epochs[1], $epochs[0], 'its epoch is another one';
        }
        else {
            is_deeply \@data, ['of the job', 'next'], 'the worker decides, and what the job has published stays';
            is $epochs[1], $epochs[0], 'so does the epoch';
        }
        like run_job($setting, 'again'), qr/-/, 'another job is served';
        is error_of(sub { hub($setting, $setting => $value)->publish(news => 'same') }), 'no exception',
            'so is another worker';
        is error_of(sub { hub($setting, $setting => $other)->publish(news => 'x') }), "refused $setting",
            'one that names another value is refused';
    };
}

subtest 'a name that an object does not name is not taken for the default' => sub {
    hub(names => gap_event => 'hole')->publish(news => 'one');
    is error_of(sub { hub(names => position_event => 'gap')->publish(news => 'two') }), 'no exception',
        'another event may have it';
    is error_of(sub { hub(names => position_event => 'hole')->publish(news => 'x') }), 'refused position_event',
        'the process refuses the name that it has';
};

subtest 'the names that the process has are refused, not the defaults' => sub {
    my $named  = hub(refused => gap_event => 'hole');
    my $job    = hub('refused');
    my @errors = map {
        my $hub = $_;
        eval { $hub->publish(news => {event => 'hole', data => 'x'}); 1 } ? 'none' : $@->message
    } $named, $job, EventSource::Hub->new(gap_event => 'hole');
    like $errors[2], qr/event must not be the name of the hub's event for gaps/,
        'a hub of this process refuses its own';
    is_deeply [@errors[0, 1]], [@errors[2, 2]], 'so do the objects of the named one, with the same text';
    for my $hub ($named, $job) {
        is error_of(sub { $hub->publish(news => {event => 'hole', data => 'x'}) }), 'invalid event', 'with the field';
        is error_of(sub { $hub->publish(news => {event => 'gap', data => 'x'}) }), 'no exception',
            'gap is a name as any';
        is error_of(sub { $hub->publish(news => {event => 'gap', data => 'x'}, {wait => 0}) }), 'no exception',
            'without waiting, too';
    }
};

subtest 'bounds that an object does not name stay' => sub {
    my $worker = hub(bounds => keep_history => {events => 2});
    $worker->publish(news => $_) for 1 .. 5;
    run_job(bounds => 6);
    is $worker->stats->{history}{events}, 2, 'those of the worker';
    kill_process_of($worker);
    run_job(bounds => $_) for 1 .. 5;
    my $stats = $shell->connect('bounds')->stats;
    is $stats->{history}{events}, 2, 'and those of the next process';
};

subtest 'channels: what the newest object names counts, with a store and for the next process, too' => sub {
    for my $store ('memory', {file => $shell->folder . '/channels.db'}) {
        my $name   = ref $store ? 'stored' : 'channels';
        my $events = sub { $shell->connect($name)->stats->{history}{events} };
        my $worker = hub $name,
            store        => $store,
            keep_history => {events   => 2},
            per_channel  => {'stock*' => {keep_history => {events => 1}}};
        for my $number (1 .. 5) { $worker->publish($_ => $number) for qw(news stock) }
        is $events->(), 3, "$name: each channel has its history";
        my $other = hub($name,
            per_channel => {news => {keep_history => {events => 3}, on_slow => 'gap'}, stock => {on_slow => 'latest'}});
        for my $number (6 .. 10) { $other->publish($_ => $number) for qw(news stock) }
        is $events->(), 3 + 2, "$name: another object changes it while the process runs";
        run_job($name => 11);
        is $events->(), 3 + 2, "$name: one that names nothing does not";
        kill_process_of($other);
        run_job($name => $_) for 12 .. 16;
        is $events->(), 3 + (ref $store ? 2 : 0), "$name: the next process has the settings";
    }
};

subtest 'a command starts the hub with the settings that were named, or not at all' => sub {
    my $publish = sub { return $shell->run(qw(publish --hub kept --timeout), @_) };
    my $done    = $publish->(qw(0.2 news x));
    is $done->{code}, 3,  'no object has named any: exit code 3';
    is $done->{out},  '', 'and no id';
    like $done->{err}, qr/this user has no settings for it.*--autostart/, 'the message says what to do';
    ok !-e $shell->folder . '/kept.sock', 'no process was started';

    my $worker = hub('kept', store => {file => $shell->folder . '/kept.db'}, gap_event => 'hole');
    my $id     = $worker->publish(news => 'one');
    kill_process_of($worker);
    like $publish->(qw(20 news two))->{out}, qr/\A\Q${\ $worker->epoch}\E-/, 'the command uses the store of the worker';
    my $client = Testing::Subscriber->open($worker, 'news', {after => $id});
    is_deeply [$client->data(1)], ['two'], 'whose clients receive the event';

    is $shell->run(qw(hub stop kept))->{code},        0,        'a hub is stopped';
    is $publish->(qw(0.2 news x))->{code},            3,        'and its settings are forgotten';
    is $publish->(qw(20 --autostart news x))->{code}, 0,        '--autostart starts it with the defaults';
    is $shell->connect('kept')->stats->{store}{kind}, 'memory', 'without a store';
};

subtest 'an object that was made by root belongs to the user of its process' => sub {
    plan skip_all => 'only root changes its user' if $> != 0;
    my ($user, undef, $uid, $gid) = getpwnam 'nobody' or plan skip_all => 'there is no user nobody';
    delete local $ENV{EVENTSOURCE_RUNTIME_DIR};
    my $name   = "drops$$";
    my $folder = folder_for_all;
    copy_for_all('blib', "$folder/blib");
    my @perl = ($^X, map { "-I$folder/blib/$_" } 'lib', 'arch');
    open my $said, '-|', @perl, '-e', <<'PROGRAM', $name, $uid, $gid or die "perl: $!\n";
use EventSource::Hub;
use POSIX ();
my ($name, $uid, $gid) = @ARGV;
my $hub = EventSource::Hub->new(name => $name, grace => 60, idle_exit => 60);
chdir '/';
POSIX::setgid($gid);
$) = "$gid $gid";
POSIX::setuid($uid);
my $pid   = eval { $hub->publish(news => 'one'); $hub->stats->{process}{pid} };
my $owner = defined $pid ? (stat "/proc/$pid")[4] : $@;
print "$owner\n", $pid || '';
kill TERM => $pid if $pid;
PROGRAM
    my ($owner, $pid) = map { s/\n\z//r } readline $said;
    close $said or die "the child has failed: $?\n";
    is $owner, $uid, "the hub process is that of $user";
    ok wait_until($DEADLINE, sub { !is_running($pid) }), 'it has ended' if $pid;
    is_deeply [grep { -e } map { "$_/$name.sock.lock" } EventSource::Hub::Process->_call('folders')], [],
        'root has made none';
    unlink glob "/tmp/eventsource-$uid/$name.sock.*";
};

subtest 'a job finds the hub of a worker whatever its environment' => sub {
    my $name = "who$$";
    delete local $ENV{EVENTSOURCE_RUNTIME_DIR};
    my $session = new_folder;
    my $epoch   = do { local $ENV{XDG_RUNTIME_DIR} = $session; hub($name)->epoch };
    for my $case (
        ['no session'      => XDG_RUNTIME_DIR => undef],
        ['another session' => XDG_RUNTIME_DIR => new_folder],
        ['another home'    => HOME            => $session],
        ['another TMPDIR'  => TMPDIR          => $session],
    ) {
        my ($what, $variable, $value) = @$case;
        local $ENV{$variable} = $value;
        delete local $ENV{$variable} if !defined $value;
        like run_job($name, $what), qr/\A\Q$epoch\E-/, $what;
    }
    my $command = qx{env -i $^X -Mblib bin/eventsource publish --no-autostart --hub $name news x 2>/dev/null};
    like $command, qr/\A\Q$epoch\E-/, 'no environment at all';
    EventSource::Hub::Process->connect(name => $name)->stop;
    unlink map { glob "$_/$name.sock.*" } EventSource::Hub::Process->_call('folders');
};

done_testing;

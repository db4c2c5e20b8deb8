package Testing::Outlive;
use Testing;

# Streams that outlive the workers of a server: each way in which workers end, while another process publishes numbered events.
# Every stream receives all of them, once and in order, and what its worker has pushed; its connection stays.
#
#   Testing::Outlive->run('Starman');

use Carp             qw(croak);
use Testing::Client  ();
use Testing::Process qw(is_running stop_hub_process);
use EventSource::Hub::Process;
use EventSource::Hub;
use List::Util qw(max);
use Testing::Program;
use Testing::Server;
use Testing::Subscriber qw(blocks);
use Time::HiRes         qw(sleep);

my $WORKERS = 2;
my $GRACE   = 60;       # seconds; a server under load is away for long
my $PAUSE   = 0.002;    # seconds between two events
my $PUSHES  = 150;      # as in the application

# How workers end. recycle is arguments for workers that are replaced after some requests; reload, the signal with which the
# master starts its workers anew. A server of one process, single, is only ended and started. workers is for a server whose
# master does not listen any more when it forks a worker again, so that this one serves nobody: there are enough from the start.
my %HOW = (
    'HTTP::Server::PSGI' => {single  => 1},
    'Twiggy'             => {single  => 1},
    'Feersum'            => {workers => 6},
    'Starman'            => {recycle => [qw(--max-requests 10)],                         reload => 'HUP'},
    'Starlet'            => {recycle => [qw(--max-reqs-per-child 10)],                   reload => 'HUP'},
    'uWSGI'              => {recycle => [qw(--max-requests 10 --min-worker-lifetime 0)], reload => 'HUP'},
);

# As in the application. A client that is not read while its worker ends is not to be a slow one.
my %HISTORY = (keep_history => {events => 100_000, bytes => 1 << 26});

my $PSGI = 't/data/hub_outlive.psgi';

# The body of the process that publishes: numbers, with their ids on the standard output, until it is asked to end.
sub publish {
    my ($socket, $number) = @_;
    my $is_asked;
    local $SIG{TERM} = sub { $is_asked = 1 };
    local $| = 1;
    my $hub = EventSource::Hub->new(name => 'test', socket => $socket, autostart => 0, %HISTORY);
    while (!$is_asked) {
        my $id = $hub->publish(news => $number);
        print "$number $id\n";
        $number++;
        sleep $PAUSE;
    }
    return;
}

# Skips the test file if something that it needs is missing here.
sub require_or_skip_all {
    my ($class, $name) = @_;
    Testing->need('named_hubs');
    return Testing::Server->require_or_skip_all($name);
}

# How the workers of a server end.
sub how { return %{$HOW{$_[1]} || {}} }

# Runs all tests of a server.
sub run {
    my ($class, $name) = @_;
    my %option = $class->how($name);
    $class->require_or_skip_all($name);
    if (!$option{single}) {
        subtest 'workers that end' => sub { _workers_end($class->start($name, %option), %option) };
        my $recycle = $option{recycle};
        subtest 'workers that are replaced after some requests' =>
            sub { _workers_are_replaced($class->start($name, %option, endless => $recycle)) }
            if $recycle;
    }
    for my $signal (qw(TERM KILL)) {
        for my $by_hand (0, 1) {
            my $of = $by_hand ? "a process that was started by hand" : 'a process that a worker has started';
            subtest "the server is ended with $signal and started: streams of $of" =>
                sub { _server_starts_anew($class->start($name, %option, by_hand => $by_hand), $signal) };
        }
    }
    done_testing;
    return;
}

# Starts a server. Options besides those of how: endless, arguments of the server; by_hand, the hub process is started here;
# start, options of the server; env, more of its environment; grace, the seconds of that process.
sub start {
    my ($class, $name, %option) = @_;
    my $self = bless {folder => new_folder, clients => [], published => []}, $class;
    $self->{socket} = "$self->{folder}/hub.sock";
    $self->start_hub($option{grace} // $GRACE) if $option{by_hand};
    my %env = (
        HUB_SOCKET    => $self->{socket},
        HUB_AUTOSTART => $option{by_hand} ? 0 : 1,
        HUB_SECONDS   => $option{grace} // $GRACE,
        %{$option{env} || {}},
    );
    $self->{server} = Testing::Server->start(
        $name, $PSGI,
        workers => $option{single} ? 1 : $option{workers} || $WORKERS,
        args    => $option{endless},
        env     => \%env,
        %{$option{start} || {}},
    );
    return $self;
}

# Starts the hub process.
sub start_hub {
    my ($self, $grace) = @_;
    my @option = ('--name', 'test', '--socket', $self->{socket}, '--grace', $grace, '--idle-exit', 60);
    $self->{hub} =
        Testing::Program->new('eventsource-hub')->run({}, EventSource::Hub::Process->program, 'run', @option);
    return;
}

# Returns the hub, as a process outside of the server has it.
sub hub { return EventSource::Hub->new(name => 'test', socket => $_[0]{socket}, autostart => 0, %HISTORY) }

# Requests a path, and returns the body and the id of the worker; undef if the worker has ended meanwhile.
sub ask {
    my ($self, $path) = @_;
    my $client      = eval { Testing::Client->get($self->{server}->port, $path, headers => [Connection => 'close']) };
    my $is_answered = $client && eval { $client->read_all && $client->complete };
    my @answer      = $is_answered ? ($client->body, $client->header('X-Worker')) : ();
    $client->leave if $client;
    return @answer;
}

# Opens streams of a path until each of the workers has one.
sub open_everywhere {
    my ($self, $path) = @_;
    my %workers;
    wait_until($DEADLINE, sub { $workers{$self->open($path)->{worker}} = 1; return keys %workers >= $self->{workers} });
    is scalar keys %workers, $self->{workers}, "$path: each worker has a stream";
    return;
}

# Opens a stream, and waits until it is subscribed. Options: at, where a proxy in front of the server listens; those of the
# client.
sub open {
    my ($self, $path, %option) = @_;
    my $at     = delete $option{at} // $self->{server}->port;
    my $client = Testing::Client->get($at, $path, %option);
    my $stream = {client => $client, path => $path};
    $client->read_until(qr/^id: .*\n\r?\n/m)
        or croak "no position at $path: ", join ' ', map { $_ // () } $client->status, $client->body,
        $self->{server}->log;
    $stream->{worker} = $client->header('X-Worker');
    push @{$self->{clients}}, $stream;
    return $stream;
}

# Returns the ids of the processes of relays that this server's workers have started: those with its log that lead a session.
sub relays {
    my $self = shift;
    my $log  = $self->{server}{log}->filename;
    my @pids;
    for my $file (glob '/proc/[0-9]*/stat') {
        CORE::open my $stat, '<', $file or next;
        my ($pid, $state, $session) = (readline($stat) // '') =~ /\A([0-9]+) \(.*\) ([A-Z]) (?:-?[0-9]+ ){2}([0-9]+) /s
            or next;
        push @pids, $pid if $session == $pid && $state ne 'Z' && (readlink "/proc/$pid/fd/2" // '') eq $log;
    }
    return @pids;
}

sub start_publisher {
    my $self = shift;
    my $code = 'Testing::Outlive::publish(@ARGV)';
    $self->{publisher} = Testing::Program->new('publisher')
        ->run({}, $^X, '-MTesting::Outlive', -e => $code, $self->{socket}, 1 + @{$self->{published}});
    return;
}

# Ends the publisher, and notes what it has published.
sub stop_publisher {
    my $self      = shift;
    my $publisher = delete $self->{publisher};
    my $status    = $publisher->stop;
    is $status, 0, 'the publisher has not failed' or diag $publisher->log;
    push @{$self->{published}}, map { [split / /] } split /\n/, $publisher->log;
    return;
}

# Waits until the publisher has published some more events.
sub let_publish {
    my $self  = shift;
    my $lines = sub { scalar(() = $self->{publisher}->log =~ /\n/g) };
    my $now   = $lines->();
    my $goes  = wait_until($DEADLINE, sub { $lines->() >= $now + 5 || $self->{publisher}->has_ended });
    return $goes && !$self->{publisher}->has_ended;
}

# Ends the publisher, and checks what each stream has received.
sub check_streams {
    my ($self, $what) = @_;
    $self->stop_publisher;
    my ($last) = @{$self->{published}[-1] || []};
    my %wrong;
    for my $stream (@{$self->{clients}}) {
        my $client   = $stream->{client};
        my $has_last = $client->read_until(qr/^data: $last\r?\n/m);
        my @got      = map { [$_->{data}, $_->{id}] }
            grep { defined $_->{data} && !defined $_->{event} && $_->{data} =~ /\A[0-9]+\z/ } blocks($client->text);
        my $first    = @got ? $got[0][0] : 1;
        my @expected = @{$self->{published}}[$first - 1 .. $#{$self->{published}}];
        my ($got_text, $expected_text) = map {
            join ' ',
                map { "@$_" }
                @$_
        } \@got, \@expected;
        $wrong{'has not the last event'}++ if !$has_last;
        $wrong{'has ended'}++              if $client->ended;

        if ($got_text ne $expected_text) {
            my ($at) = grep { "@{$got[$_] || []}" ne "@{$expected[$_] || []}" } 0 .. max($#got, $#expected);
            my @near = map {
                my $events = $_;
                join ' ', map { "@{$events->[$_] || []}" } max($at - 1, 0) .. $at + 1;
            } \@got, \@expected;
            diag "$stream->{path} of worker $stream->{worker}: $near[0] instead of $near[1]";
            $wrong{'has lost, repeated or changed order'}++;
        }
        $wrong{'has a gap'}++ if $client->text =~ /^event: gap/m;
    }
    my $count = @{$self->{clients}};
    is_deeply \%wrong, {}, "$what: $count streams have all events once and in order, and are open";
    return;
}

sub _workers_end {
    my ($self, %option) = @_;
    $self->{workers} = $WORKERS;
    $self->open_everywhere($_) for qw(/hub /held);
    $self->start_publisher;
    ok $self->let_publish, 'there is a publisher';
    for my $how (qw(exit SEGV KILL)) {
        my ($held) = grep { $_->{path} eq '/held' && is_running($_->{worker}) } @{$self->{clients}};
        $held ||= $self->open('/held');
        my $pid = $held->{worker};
        ok wait_until($DEADLINE, sub { $self->ask("/die?$pid,$how"); return !is_running($pid) }),
            "$how: a worker ends itself";
        my $has_words = $held->{client}->read_until(qr/^data: $PUSHES x+\r?\n/m);
        is_deeply [map { ($_->{data} // "") =~ /\A([0-9]+) x/ } blocks($held->{client}->text)], [1 .. $PUSHES],
            "$how: what the worker has pushed before is received"
            or diag $has_words;
        ok wait_until($DEADLINE, sub { ($self->ask('/plain'))[0] }), "$how: the server answers";
        ok $self->let_publish,                                       "$how: events are published";
    }
    my ($stream) = grep { is_running($_->{worker}) } @{$self->{clients}};
    $stream ||= $self->open('/hub');
    kill KILL => $stream->{worker};
    ok wait_until($DEADLINE, sub { !is_running($stream->{worker}) }), 'a worker is killed from outside';
    ok $self->let_publish,                                            'events are published';
    _reloads($self, $option{reload}) if $option{reload};
    $self->open('/hub');
    ok $self->let_publish, 'events are published';
    $self->check_streams('workers that end');
    $self->end;
    return;
}

# Lets the master start its workers anew.
sub _reloads {
    my ($self, $signal) = @_;
    my $old = $self->open('/held')->{worker};
    kill $signal => $self->{server}->pid;
    ok wait_until($DEADLINE, sub { !is_running($old) }), "$signal: the master replaces its workers";
    ok wait_until($DEADLINE, sub { my ($text, $new) = $self->ask('/plain'); ($new // $old) != $old }),
        "$signal: others answer";
    ok $self->let_publish, "$signal: events are published";
    return;
}

sub _workers_are_replaced {
    my $self = shift;
    $self->{workers} = $WORKERS;
    $self->open_everywhere($_) for qw(/hub /held);
    $self->start_publisher;
    my %seen;
    eventually_ok $DEADLINE, 'many workers have come' => sub {
        my (undef, $worker) = $self->ask('/plain');
        $seen{$worker} = 1 if defined $worker;
        return keys %seen > 3 * $WORKERS;
    };
    my @old = map { $_->{worker} } @{$self->{clients}};
    eventually_ok $DEADLINE, 'the workers that have accepted the streams have gone' => sub {
        $self->ask('/plain');
        !grep { is_running($_) } @old;
    };
    ok $self->let_publish, 'events are published';
    $self->check_streams('workers that are replaced');
    $self->end;
    return;
}

sub _server_starts_anew {
    my ($self, $signal) = @_;
    $self->open($_) for qw(/hub /held /hub /held);
    for (1, 2) {
        $self->start_publisher;
        ok $self->let_publish, 'events are published';
        $self->stop_publisher;    # nobody is connected while the server is away
        $self->{server}->restart($signal);
        $self->open($_) for qw(/hub /held);
    }
    $self->start_publisher;
    ok $self->let_publish, 'events are published';
    $self->check_streams('a server that is started anew');
    $self->end;
    return;
}

# Closes everything, and checks that nothing is left.
sub end {
    my $self = shift;
    $_->{client}->leave for @{$self->{clients}};
    my $hub  = $self->hub;
    my $left = sub { $hub->subscribers('news') };
    ok wait_until($DEADLINE, sub { !$left->() }), 'the streams end when their clients leave' or diag $left->();
    $self->{server}->stop;
    is stop_hub_process(name => 'test', socket => $self->{socket}), undef, "the hub process ends" or return;
    if ($self->{hub}) { is $self->{hub}->stop, 0, 'with status 0' }
    return;
}

1;

package Target;
use strict;
use warnings;

# A server to measure: the application on a real server, or the floor. Its CPU time and memory are those of the process that
# holds the streams.
#
#   my $target = Target->start('Twiggy writer');
#   $target->push(rounds => 10, interval => 0.1, bytes => 64);

use Carp       qw(croak);
use File::Temp ();
use HTTP::Tiny ();
use JSON::PP   qw(decode_json);
use Load;
use Processes ();
use Testing::Server;
use Time::HiRes qw(CLOCK_MONOTONIC clock_gettime);

my $TIMEOUT = 60;    # seconds, for what should be immediate

# Each target: its server, none for the floor; the application's attribute native; true if it has a hub; true if that has a
# process of its own.
my @TARGETS = (
    ['floor'],
    ['Starman hub'         => 'Starman', 'auto', 1],
    ['Starman hub process' => 'Starman', 'auto', 1, 1],
    ['Starman native'      => 'Starman', 'auto'],
    ['Twiggy native'       => 'Twiggy',  'auto'],
    ['Feersum native'      => 'Feersum', 'auto'],
    ['Twiggy writer'       => 'Twiggy',  0],
    ['Feersum writer'      => 'Feersum', 0],
);
my %TARGET = map { ($_->[0] => $_) } @TARGETS;

# More arguments of a server. Starman must not replace its worker after some number of requests.
my %ARGUMENTS = (Starman => [qw(--max-requests 100000000)]);

# Public methods

# Returns the CPU time of the process in seconds, all threads included, and that of the hub process.
sub cpu {
    my $self = shift;
    return Processes::cpu($self->pid, $self->hub_pid // ());
}

# Returns the number of open streams.
sub held {
    my $self = shift;
    return ($self->{floor} ? $self->{floor}->ask('held', $TIMEOUT) : $self->_get('/stats'))->{held};
}

# Returns the id of the hub process; undef if it has none of its own.
sub hub_pid {
    my $self = shift;
    return $self->{socket} && ($self->{hub_pid} //= (Processes::hub($self->{socket}))[0]);
}

# Returns why a target cannot be measured here; undef if it can.
sub missing {
    my ($class, $name) = @_;
    my (undef, $server, $native) = @{$TARGET{$name}};
    return                                     if !$server;
    return 'this module has no native streams' if $native && !Plack::App::EventSource->can('native');
    return Testing::Server->missing($server);
}

sub name { return $_[0]{name} }

sub names {
    return map { $_->[0] } @TARGETS;
}

# Returns the number of native streams; undef if none should be native.
sub native {
    my $self = shift;
    return $TARGET{$self->{name}}[2] ? $self->_get('/stats')->{native} : undef;
}

sub pid { return $_[0]{pid} }

# Returns the ids of all its processes.
sub pids {
    my $self = shift;
    return $self->{server} ? $self->{server}->pids : $self->{pid};
}

# Returns the seconds that an ordinary request takes, connecting included; undef for the floor, which has none.
sub plain {
    my $self = shift;
    return if $self->{floor};
    my $since    = clock_gettime(CLOCK_MONOTONIC);
    my $response = $self->{http}->get($self->{server}->url('/plain'));
    my $took     = clock_gettime(CLOCK_MONOTONIC) - $since;
    croak "/plain: $response->{status} $response->{content}" if $response->{content} ne 'plain';
    return $took;
}

sub port {
    my $self = shift;
    return $self->{floor} ? $self->{port} : $self->{server}->port;
}

# Pushes. Returns when all is pushed; it may not all be received then.
sub push {
    my ($self, %plan) = @_;
    my $timeout = $TIMEOUT + 10 * $plan{rounds} * $plan{interval};
    return $self->{floor}->ask("push $plan{rounds} $plan{interval} $plan{bytes}", $timeout) if $self->{floor};
    return $self->push_at($self->{server}->port, $timeout, %plan);
}

# Pushes by POST /push at a port.
sub push_at {
    my ($class, $port, $timeout, %plan) = @_;
    my $query    = join '&', map { "$_=$plan{$_}" } grep { defined $plan{$_} } qw(rounds interval bytes unawaited);
    my $http     = HTTP::Tiny->new(keep_alive => 0, timeout => $timeout);
    my $response = $http->post("http://127.0.0.1:$port/push?$query", {headers => {'Content-Length' => 0}});
    croak "/push: $response->{status} $response->{content}" if !$response->{success};
    return decode_json($response->{content});
}

# Returns the resident memory of the process in bytes.
sub resident_bytes { return Processes::resident_bytes($_[0]->pid) }

# The socket of the hub process.
sub socket { return $_[0]{socket} }

sub start {
    my ($class, $name) = @_;
    my (undef, $server, $native, $has_hub, $has_process) = @{$TARGET{$name}};
    my $self = bless {name => $name, http => HTTP::Tiny->new(keep_alive => 0, timeout => $TIMEOUT)}, $class;
    if (!$server) {
        $self->{floor} = Load->start('floor', seconds => 3_600);
        $self->{port}  = $self->{floor}->answer($TIMEOUT)->{port};
        $self->{pid}   = $self->{floor}->pid;
        return $self;
    }
    my %option = (workers => $server eq 'Starman' ? 1 : undef, args => $ARGUMENTS{$server});
    my %env    = (BENCH_NATIVE => $native, BENCH_HUB => $has_hub || 0);
    if ($has_process) {
        $self->{folder} = File::Temp->newdir(TEMPLATE => 'bench-XXXXXX', TMPDIR => 1);
        $self->{socket} = $env{BENCH_HUB_SOCKET} = "$self->{folder}/hub";
    }
    $self->{server} = Testing::Server->start($server, 'bench/streams/app.psgi', %option, env => \%env);
    $self->{pid}    = $self->_get('/stats')->{pid};
    return $self;
}

sub stop {
    my $self = shift;
    $_->stop for grep { defined } @$self{qw(floor server)};
    Processes::end_hub($self->{socket}) if $self->{socket};
    return;
}

# Private methods

sub _get {
    my ($self, $path) = @_;
    my $response = $self->{http}->get($self->{server}->url($path));
    croak "$path: $response->{status} $response->{content}" if !$response->{success};
    return decode_json($response->{content});
}

1;

package Peer;
use strict;
use warnings;

# The base class of the servers that bench/peers/run and bench/storm compare, and their lists. Each runs on a free port of
# 127.0.0.1; its streams, GET /events, are subscribed to one channel. Each class in Peer/ starts one server and publishes to its
# channel.
#
#   my $peer = Peer->start('axum', room => 16_384);
#   $peer->push(rounds => 10, interval => 0.1, bytes => 100);

use Carp      qw(croak);
use POSIX     ();
use Processes ();
use Target;

# The peers in the order of measurement. The floor is first, since the others are compared with it.
my @CLASSES = (
    ['floor'                     => 'Peer::Floor'],
    ['EventSource-XS on Starman' => 'Peer::EventSource'],
    ['axum'                      => 'Peer::Axum'],
    ['better-sse'                => 'Peer::BetterSSE'],
    ['nchan'                     => 'Peer::Nchan'],
    ['Pushpin'                   => 'Peer::Pushpin'],
    ['Mojolicious'               => 'Peer::Mojolicious'],
    ['sse-starlette'             => 'Peer::SseStarlette'],
);

# Those whose clients reconnect, with the resume that they offer. A class that has several ways takes options: env, more of the
# environment of its application; http, whether clients with a ticket are served by the hub process; store, where that keeps its
# events (file or redis), which matters only when it is killed.
my %SERVES_TICKETS = (env => {BENCH_TICKET => 600, BENCH_HUB_IS_STARTED => 1}, http => 1);
my @RETURNED_TO    = (
    ['floor'                            => 'Peer::Floor'],
    ['EventSource-XS, application'      => 'Peer::NamedHub'],
    ['EventSource-XS, ticket in worker' => 'Peer::NamedHub', env => {BENCH_TICKET => 600}],
    ['EventSource-XS, ticket in hub'    => 'Peer::NamedHub', %SERVES_TICKETS],
    ['EventSource-XS, file'             => 'Peer::NamedHub', %SERVES_TICKETS, store => 'file'],
    ['EventSource-XS, Redis'            => 'Peer::NamedHub', %SERVES_TICKETS, store => 'redis'],
    ['nchan'                            => 'Peer::Nchan'],
    ['Pushpin'                          => 'Peer::Pushpin'],
    ['better-sse'                       => 'Peer::BetterSSE'],
    ['axum'                             => 'Peer::Axum'],
    ['Mojolicious'                      => 'Peer::Mojolicious'],
    ['sse-starlette'                    => 'Peer::SseStarlette'],
);
my %CLASS  = map { ($_->[0] => $_->[1]) } @CLASSES, @RETURNED_TO;
my %OPTION = map { my ($name, undef, @option) = @$_; ($name => \@option) } @RETURNED_TO;

my $TIMEOUT = 60;    # seconds, for what should be immediate

# Debian installs nginx there, which is not in a user's PATH.
$ENV{PATH} .= ':/usr/sbin';

# Public methods

# Returns the port of the application if clients that return ask another server first.
sub application { return }

# Returns how many requests for streams have reached the application; undef if the server is the application.
sub asked { return }

# Returns the class of a peer.
sub class_of {
    my ($class, $name) = @_;
    my $found = $CLASS{$name} or croak "Peer: unknown peer '$name'";
    eval "require $found; 1" or die $@;    ## no critic (StringyEval)
    return $found;
}

# Returns the CPU time of all its processes and threads, in seconds.
sub cpu { return Processes::cpu($_[0]->pids) }

# Returns the type of the event by which it reports missing events; its documentation has it.
sub gap { return '-' }

# Returns whether its clients can be sent events by a POST.
sub has_publisher { return 1 }

# Returns whether a peer is another one with a store.
sub has_store {
    my ($class, $name) = @_;
    my %option = @{$OPTION{$name} || []};
    return defined $option{store};
}

# Returns the number of open connections at its port, as the kernel counts them.
sub held {
    my $self = shift;
    my $port = sprintf '%04X', $self->port;
    open my $table, '<', '/proc/net/tcp' or croak "/proc/net/tcp: $!";
    return scalar grep { /\A\s*[0-9]+: 0100007F:$port \S+ (?:01|08) / } readline $table;    # ESTABLISHED or CLOSE_WAIT
}

# Returns a command that installs it, if there is one.
sub install_with { return }

# Returns true if its publisher is a separate process, whose CPU time is not the server's.
sub is_published_from_outside { return 0 }

# Kills what holds the events, and starts it again on the same port.
sub kill_hub { return $_[0]{program}->restart('KILL') }

# Returns the memory of all its processes in bytes. Shared memory counts once.
sub memory { return Processes::proportional_bytes($_[0]->pids) }

# Returns why it cannot be measured here and how to install it; undef if it can.
sub missing { return }

sub name { return $_[0]{name} }

sub names {
    return map { $_->[0] } @CLASSES;
}

sub native { return }

# Returns the field that has the number of an event: id or data.
sub number { return 'id' }

# Returns the ids of all its processes.
sub pids { return $_[0]{program}->pids }

# Returns where a POST publishes an event whose data is its body: options of the publisher of bench/load.
sub place_to_publish { return (port => $_[0]->port, path => '/say') }

sub port { return $_[0]{program}->port }

# Returns those of the peers that can be measured. Others are installed, or skipped with a message.
sub present {
    my ($class, $installs, @names) = @_;
    my @present;
    for my $name (@names) {
        my $peer    = $class->class_of($name);
        my $missing = $peer->missing;
        if (defined $missing && $installs && $peer->install_with) {
            system @{$peer->install_with} and print "$name: @{$peer->install_with}: failed\n";
            $missing = $peer->missing;
        }
        if   (defined $missing) { print "skipped $name: $missing\n" }
        else                    { push @present, $name; print "$name: ", $peer->version, "\n" }
    }
    my ($system, undef, $release, undef, $machine) = POSIX::uname();
    print "on $system $release, $machine, cores: ", `nproc`;
    return @present;
}

# Publishes. Returns when all is published; it may not all be received then.
sub push {
    my ($self, %plan) = @_;
    my $timeout = $TIMEOUT + ($plan{timeout} || 0) + 10 * $plan{rounds} * $plan{interval};
    return Target->push_at($self->port, $timeout, %plan) if !$self->is_published_from_outside;
    return $self->{publisher}->ask("push $plan{rounds} $plan{interval} $plan{bytes}", $timeout);
}

# Restarts it as for a new version of the application.
sub reload { return $_[0]{program}->restart('TERM') }

# Returns the names of those whose clients reconnect.
sub returned_to {
    return map { $_->[0] } @RETURNED_TO;
}

# Starts a peer. The option room is the number of events that its history must hold; with resumes it is ready for clients that
# reconnect.
sub start {
    my ($class, $name, %option) = @_;
    my $self = bless {name => $name}, $class->class_of($name);
    $self->open(%option, @{$OPTION{$name} || []});
    return $self;
}

sub stop {
    my $self = shift;
    $_->stop for grep { defined } @$self{qw(publisher program)};
    return;
}

1;

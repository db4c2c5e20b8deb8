package Peer;
use strict;
use warnings;

# What is measured side by side: each a server on a free port of 127.0.0.1 whose streams, GET /events, follow one channel,
# with whatever publishes to that channel. A class on top of this, in Peer/, knows one of them; this is what they have in
# common, and the list of them.
#
#   my $peer = Peer->start('axum', room => 16_384);
#   $peer->push(rounds => 10, interval => 0.1, bytes => 100);

use Carp      qw(croak);
use Processes ();
use Target;

# In the order in which they are measured: the floor first, for the others are compared with it.
my @CLASSES = (
    ['floor'                     => 'Peer::Floor'],
    ['EventSource-XS on Starman' => 'Peer::EventSource'],
    ['axum'                      => 'Peer::Axum'],
    ['better-sse'                => 'Peer::BetterSSE'],
    ['nchan'                     => 'Peer::Nchan'],
    ['Pushpin'                   => 'Peer::Pushpin'],
);
my %CLASS = map { @$_ } @CLASSES;

my $PATIENCE = 60;    # seconds, for what should take none

# Where Debian keeps nginx, out of a user's sight.
$ENV{PATH} .= ':/usr/sbin';

# Public methods

# Its class, by its name.
sub class_of {
    my ($class, $name) = @_;
    my $found = $CLASS{$name} or croak "Peer: there is no peer '$name'";
    eval "require $found; 1" or die $@;    ## no critic (StringyEval)
    return $found;
}

# Seconds of the processor's time of all its processes, in all of their threads.
sub cpu { return Processes::cpu($_[0]->pids) }

# How many connections are open at its port, whatever the server thinks of them.
sub held {
    my $self = shift;
    my $port = sprintf '%04X', $self->port;
    open my $table, '<', '/proc/net/tcp' or croak "/proc/net/tcp: $!";
    return
        scalar grep { /\A\s*[0-9]+: 0100007F:$port \S+ (?:01|08) / }
        readline $table;    # established, or left by its client
}

# A command that gets it, if there is one.
sub install_with { return }

# Whether its publisher is a process of its own, whose time is not the server's.
sub is_published_from_outside { return 0 }

# Bytes of memory of all its processes; what they share counts once.
sub memory { return Processes::proportional_bytes($_[0]->pids) }

# Why it cannot be had here, and how it can be got; undef if it can.
sub missing { return }

sub name { return $_[0]{name} }

sub names {
    return map { $_->[0] } @CLASSES;
}

sub native { return }

# Where its events have their numbers: id or data.
sub number { return 'id' }

# All of its processes.
sub pids { return $_[0]{program}->pids }

sub port { return $_[0]{program}->port }

# Publishes; returns when all is published, which is not when all has come.
sub push {
    my ($self, %plan) = @_;
    my $patience = $PATIENCE + ($plan{patience} || 0) + 10 * $plan{rounds} * $plan{interval};
    return Target->push_at($self->port, $patience, %plan) if !$self->is_published_from_outside;
    return $self->{publisher}->ask("push $plan{rounds} $plan{interval} $plan{bytes}", $patience);
}

# Options: room, how many events its history must have room for.
sub start {
    my ($class, $name, %option) = @_;
    my $self = bless {name => $name}, $class->class_of($name);
    $self->open(%option);
    return $self;
}

sub stop {
    my $self = shift;
    $_->stop for grep { defined } @$self{qw(publisher program)};
    return;
}

1;

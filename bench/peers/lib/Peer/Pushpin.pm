package Peer::Pushpin;
use strict;
use warnings;

# Pushpin with the files of bench/peers/pushpin. Its processes are condure, zurl, pushpin-proxy, pushpin-handler and the
# runner; the origin, which gets one request for each stream, does not count. A separate process publishes through its PULL
# socket of ZeroMQ, which is faster than its HTTP port: that closes the connection after each request. Where clients reconnect,
# the origin keeps the events and publishes them by that port.

use parent 'Peer';
use Carp               qw(croak);
use Testing::Deadline  qw(wait_until);
use Testing::Developer qw(has_command);
use File::Temp         ();
use IO::Socket::INET;
use Load;
use Peer::Program;
use Testing::Server;

my $FOLDER  = 'bench/peers/pushpin';
my $TIMEOUT = 60;                      # seconds

# Public methods

# Returns how many requests for streams have reached the origin.
sub asked { return -s $_[0]{asked}->filename }

# The origin is the application: with clients that reconnect it is part of the cost.
sub pids {
    my $self = shift;
    return ($self->SUPER::pids, $self->{asked} ? $self->{origin}->pids : ());
}

sub place_to_publish { return (port => $_[0]{origin}->port, path => '/say') }

sub install_with {
    return [qw(apt-get install -y --no-install-recommends pushpin)];
}

sub is_published_from_outside { return 1 }

sub missing {
    for my $command (qw(pushpin condure zurl)) {
        return "$command is not installed (apt-get install pushpin)" if !has_command($command);
    }
    return Testing::Server->missing('HTTP::Server::PSGI');
}

sub open {
    my ($self, %option) = @_;
    my $program = $self->{program} = Peer::Program->new('Pushpin');
    my ($push, $control) = map { Peer::Program->new('a port of Pushpin') } 1 .. 2;    # each reserves a free port
    my $origin = $option{resumes} ? 'reliable' : 'origin';
    $self->{asked} = File::Temp->new if $option{resumes};
    my %env = $option{resumes} ? (BENCH_ASKED => $self->{asked}->filename, PUSHPIN_CONTROL => $control->port) : ();
    $self->{origin} = Testing::Server->start('HTTP::Server::PSGI', "$FOLDER/$origin.psgi", env => \%env);
    $program->write_from("$FOLDER/routes", origin => $self->{origin}->port);
    my $config = $program->write_from("$FOLDER/pushpin.conf", push => $push->port, control => $control->port);
    $program->run({}, 'pushpin', "--config=$config");
    wait_until($TIMEOUT, sub { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $push->port) })
        or croak 'Pushpin does not listen for publications';
    return if $option{resumes};
    $self->{publisher} = Load->start('publisher', port => $push->port, way => 'zmq');
    $self->{publisher}->answer($TIMEOUT);
    return;
}

sub stop {
    my $self = shift;
    $self->SUPER::stop;
    $self->{origin}->stop if $self->{origin};
    return;
}

sub version {
    my ($pushpin) = `pushpin --version 2>&1` =~ /([0-9][0-9.]+)/;
    my ($condure) = `condure --version 2>&1` =~ /([0-9][0-9.]+)/;
    return "Pushpin $pushpin, condure $condure";
}

1;

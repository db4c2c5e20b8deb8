package Peer::Pushpin;
use strict;
use warnings;

# Pushpin with the files of bench/peers/pushpin. Its processes are condure, zurl, pushpin-proxy, pushpin-handler and the
# runner; the origin, which gets one request for each stream, does not count. A separate process publishes through its PULL
# socket of ZeroMQ, which is faster than its HTTP port: that closes the connection after each request.

use parent 'Peer';
use Carp               qw(croak);
use Testing::Deadline  qw(wait_until);
use Testing::Developer qw(has_command);
use IO::Socket::INET;
use Load;
use Peer::Program;
use Testing::Server;

my $FOLDER  = 'bench/peers/pushpin';
my $TIMEOUT = 60;                      # seconds

# Public methods

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
    my $self = shift;
    $self->{origin} = Testing::Server->start('HTTP::Server::PSGI', "$FOLDER/origin.psgi");
    my $program = $self->{program} = Peer::Program->new('Pushpin');
    my ($push, $control) = map { Peer::Program->new('a port of Pushpin') } 1 .. 2;    # each reserves a free port
    $program->write_from("$FOLDER/routes", origin => $self->{origin}->port);
    my $config = $program->write_from("$FOLDER/pushpin.conf", push => $push->port, control => $control->port);
    $program->run({}, 'pushpin', "--config=$config");
    wait_until($TIMEOUT, sub { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $push->port) })
        or croak 'Pushpin does not listen for publications';
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

package Peer::Axum;
use strict;
use warnings;

# The peer in bench/peers/axum. It publishes in its own process.

use parent 'Peer';
use Cargo;
use Peer::Program;

my $CRATE = 'bench/peers/axum';

my $program;

# Public methods

sub install_with {
    return ['cargo', 'fetch', '--locked', '--manifest-path', "$CRATE/Cargo.toml"];
}

# Builds it without the network.
sub missing {
    return if $program ||= eval { Cargo->build("$CRATE/Cargo.toml", '--offline') };
    return "cargo cannot build it offline (cargo fetch --locked --manifest-path $CRATE/Cargo.toml)";
}

sub open {
    my ($self, %option) = @_;
    $self->{program} = Peer::Program->new('axum');
    $self->{program}->run({PEER_PORT => $self->port, PEER_ROOM => $option{room}}, $program);
    return;
}

sub version {
    CORE::open my $lock, '<', "$CRATE/Cargo.lock" or return '?';
    my %version = join('', readline $lock) =~ /^name = "(.*)"\nversion = "(.*)"/mg;
    return "axum $version{axum}, hyper $version{hyper}, tokio $version{tokio}";
}

1;

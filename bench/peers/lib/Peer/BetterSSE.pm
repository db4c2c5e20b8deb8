package Peer::BetterSSE;
use strict;
use warnings;

# The peer in bench/peers/better-sse: one process of Node. It publishes in its own process.

use parent 'Peer';
use Testing::Developer qw(has_command);
use JSON::PP           qw(decode_json);
use Peer::Program;

my $FOLDER = 'bench/peers/better-sse';
my $MODULE = "$FOLDER/node_modules/better-sse/package.json";

# Public methods

sub install_with {
    return [qw(npm ci --no-audit --no-fund --prefix), $FOLDER];
}

sub missing {
    return 'node is not installed (apt-get install nodejs npm)' if !has_command('node');
    return "it is not installed (npm ci --prefix $FOLDER)"      if !-e $MODULE;
    return;
}

sub open {
    my ($self, %option) = @_;
    my %env = (PEER_KEEP => $option{resumes} ? $option{room} : 0, NODE_ENV => 'production');
    $self->{program} = Peer::Program->new('better-sse');
    $self->{program}->run({%env, PEER_PORT => $self->port}, 'node', "$FOLDER/server.js");
    return;
}

sub version {
    CORE::open my $package, '<', $MODULE or return '?';
    my $module = decode_json(join '', readline $package);
    return "better-sse $module->{version}, node " . (`node --version` =~ s/\Av|\s+\z//gr);
}

1;

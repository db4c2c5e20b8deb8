package Peer::SseStarlette;
use strict;
use warnings;

# The peer in bench/peers/sse-starlette: one process of uvicorn. A separate process publishes by POSTs.

use parent 'Peer::Posted';

my $FOLDER = 'bench/peers/sse-starlette';
my $PYTHON = "$FOLDER/venv/bin/python";

# Public methods

sub command { return ($PYTHON, "$FOLDER/server.py") }

sub install_with {
    return ['sh', '-c', "python3 -m venv $FOLDER/venv && $FOLDER/venv/bin/pip install -q -r $FOLDER/requirements.txt"];
}

sub missing {
    my $class = shift;
    return -x $PYTHON ? undef : 'it is not installed (' . $class->install_with->[-1] . ')';
}

sub version {
    my %version = `$PYTHON -m pip freeze` =~ /^(.*)==(.*)$/mg;
    return "sse-starlette $version{'sse-starlette'}, uvicorn $version{uvicorn}, " . (`$PYTHON --version` =~ s/\s+\z//r);
}

1;

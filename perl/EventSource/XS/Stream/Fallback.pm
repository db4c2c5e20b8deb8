package EventSource::XS::Stream::Fallback;
use strict;
use warnings;

# On a server that blocks, a stream on the server's writer holds a worker, or a process if it follows a named hub. This
# module says so, with the remedy.

use EventSource::XS::Library;

# Public methods

# Print the reason and the remedy to psgi.errors, once for each code in a process. Does nothing on a server with an event loop
# (psgi.nonblocking), or in a process that serves one request only (psgi.run_once).
sub warn_once {
    my ($class, $env, $obstacle) = @_;
    return if $env->{'psgi.nonblocking'} || $env->{'psgi.run_once'} || !$env->{'psgi.errors'};
    return if !EventSource::XS::_is_first_time("$$ fallback " . $obstacle->code);
    my $remedy = $obstacle->remedy;
    $env->{'psgi.errors'}->print("EventSource::XS: a stream is not native, and holds this worker, or a process if it"
            . " follows a named hub: $obstacle; $remedy (native => 0 or fallback => 'quiet' silences this)\n");
    return;
}

1;

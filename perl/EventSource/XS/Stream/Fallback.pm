package EventSource::XS::Stream::Fallback;
use strict;
use warnings;

# A stream that is not native holds a worker of a server that blocks, or a process if it follows a named hub. If the response is
# collected, its client receives nothing, on any server. This module says so, with the remedy.

use EventSource::XS::Library;

# Public methods

# Print the reason and the remedy to psgi.errors, once for each code in a process. A stream holds nothing on a server with an
# event loop (psgi.nonblocking), or in a process that serves one request only (psgi.run_once).
sub warn_once {
    my ($class, $env, $obstacle) = @_;
    my $is_collected = $obstacle->code eq 'collected';
    return if !$env->{'psgi.errors'};
    return if !$is_collected && ($env->{'psgi.nonblocking'} || $env->{'psgi.run_once'});
    return if !EventSource::XS::_is_first_time("$$ fallback " . $obstacle->code);
    my ($what, $silences) =
        $is_collected
        ? ('the client of a stream receives nothing until it ends', '')
        : ('a stream is not native, and holds this worker, or a process if it follows a named hub', 'native => 0 or ');
    my $remedy = $obstacle->remedy;
    $env->{'psgi.errors'}
        ->print("EventSource::XS: $what: $obstacle; $remedy (${silences}fallback => 'quiet' silences this)\n");
    return;
}

1;

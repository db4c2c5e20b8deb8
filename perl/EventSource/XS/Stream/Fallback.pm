package EventSource::XS::Stream::Fallback;
use strict;
use warnings;

# A stream that is not native occupies a worker of a server that blocks, or a process if it follows a named hub. On any server a
# middleware that collects or filters the response may send nothing. This module says so, with the remedy.

use EventSource::XS::Library;

# Public methods

# Plack::Test returns a response when that has ended, and nobody ends a hub's stream. Call it while the application responds.
sub warn_in_test {
    for (my $depth = 0; my $sub = (caller $depth)[3]; $depth++) {
        next if $sub ne 'HTTP::Message::PSGI::res_from_psgi' || !EventSource::XS->is_first_time('in test');
        warn "EventSource::XS: Plack::Test waits for the end of a hub's stream: test it with Test::EventSource\n";
    }
    return;
}

# Print the reason and the remedy to psgi.errors, once for each code in a process. A stream occupies nothing on a server with an
# event loop (psgi.nonblocking), or in a process that serves one request only (psgi.run_once).
sub warn_once {
    my ($class, $env, $obstacle) = @_;
    my $code = $obstacle->code;
    my $occupies_worker = !$env->{'psgi.nonblocking'} && !$env->{'psgi.run_once'};
    return if !$env->{'psgi.errors'} || !$occupies_worker && $code !~ /\A(?:collected|filter)\z/;
    return if !EventSource::XS->is_first_time("fallback $code");
    my $what =
          $code eq 'collected' ? 'the client of a stream receives nothing until it ends'
        : $occupies_worker ? 'a stream is not native, and occupies this worker, or a process if it follows a named hub'
        :                    'the events of a stream may be held back';
    my $remedy = $obstacle->remedy;
    $env->{'psgi.errors'}->print("EventSource::XS: $what: $obstacle; $remedy (native => 'quiet' silences this)\n");
    return;
}

1;

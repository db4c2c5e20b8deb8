package EventSource::XS::Stream::Fallback;
use strict;
use warnings;

# On a server that blocks, a stream on the server's writer holds a worker, or a process if it follows a hub with a name. This
# module says so, with the remedy.

our $VERSION = '0.100';

use EventSource::XS ();
use EventSource::XS::Stream::Obstacle;

# Public methods

sub warn_once {
    my ($class, $env, $reason) = @_;
    return if $env->{'psgi.nonblocking'} || $env->{'psgi.run_once'} || !$env->{'psgi.errors'};
    my $obstacle = EventSource::XS::Stream::Obstacle->of($reason);
    return if !EventSource::XS::_is_first_time("$$ fallback " . $obstacle->code);
    my $remedy = $obstacle->remedy;
    $env->{'psgi.errors'}->print("EventSource::XS: a stream is not native, and holds this worker, or a process if it"
            . " follows a hub with a name: $obstacle; $remedy (native => 0 or fallback => 'quiet' silences this)\n");
    return;
}

1;
__END__

=encoding utf8

=head1 NAME

EventSource::XS::Stream::Fallback - Warn of streams that hold a worker

=head1 SYNOPSIS

    use EventSource::XS::Stream::Fallback;

    my $env = {'psgi.errors' => \*STDOUT};
    EventSource::XS::Stream::Fallback->warn_once($env, 'the body is filtered');

=head1 DESCRIPTION

A stream that cannot be native goes through the server's writer (L<Plack::App::EventSource/native>). On a server that
blocks it then holds a worker as long as it is open, so a few clients can occupy the whole server. This module says so
once for each reason, with the remedy.

=head1 METHODS

=head2 warn_once

    EventSource::XS::Stream::Fallback->warn_once($env, $obstacle);

Print the reason and the remedy to C<psgi.errors>, once for each code in a process. C<$obstacle> is an
L<EventSource::XS::Stream::Obstacle>, or a string for its method L<of|EventSource::XS::Stream::Obstacle/of>. Does nothing on a
server with an event loop (C<psgi.nonblocking>), or in a process that serves one request only (C<psgi.run_once>).

=head1 SEE ALSO

L<Plack::App::EventSource/fallback>, L<EventSource::XS::Stream::Obstacle>, L<EventSource::XS::Stream::WorkerRecycling>

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut

package EventSource::Stream::Fallback;
use strict;
use warnings;

# On a server that blocks, a stream on the server's writer holds a worker. This module says so, with the remedy.

our $VERSION = '0.100';

use EventSource::XS ();

my $FILTER =
      'exclude text/event-stream from the middleware that filters the body, such as Deflater with a content_type,'
    . ' or mount the stream outside of it';

# What to do about the reasons that do not depend on the server. An adapter has those of its own.
my %REMEDY = (
    'its body is filtered'                     => $FILTER,
    'its head is not understood'               => 'let middleware leave the head alone, and a proxy terminate TLS',
    'its head is too large'                    => 'set fewer headers',
    'its socket cannot be duplicated'          => 'raise the limit of descriptors (ulimit -n)',
    'its socket cannot be replaced'            => 'raise the limit of descriptors (ulimit -n)',
    'its writer is not known'                  => $FILTER,
    'the server cannot be silenced'            => 'raise the limit of descriptors (ulimit -n)',
    'there is no native writer on this system' => 'run it on Linux',
    'there is no socketpair'                   => 'raise the limit of descriptors (ulimit -n)',
);

my $OTHERWISE = 'see NATIVE STREAMS in the documentation of Plack::App::EventSource';

# Public methods

sub remedy {
    my ($class, $adapter, $obstacle) = @_;
    my $kind   = _kind_of($obstacle);
    my %remedy = (%REMEDY, $adapter->remedies);
    return defined $remedy{$kind} ? $remedy{$kind} : $OTHERWISE;
}

sub warn_once {
    my ($class, $env, $adapter, $obstacle) = @_;
    return if $env->{'psgi.nonblocking'} || $env->{'psgi.run_once'} || !$env->{'psgi.errors'};
    return if !EventSource::XS::_is_first_time("$$ fallback " . _kind_of($obstacle));
    $env->{'psgi.errors'}->print("EventSource::XS: a stream is not native, and holds this worker: $obstacle; "
            . $class->remedy($adapter, $obstacle)
            . " (fallback => 'quiet' silences this)\n");
    return;
}

# Private functions

# A reason without the error of the system that may come after it.
sub _kind_of { return $_[0] =~ s/: .*//sr }

1;
__END__

=encoding utf8

=head1 NAME

EventSource::Stream::Fallback - Warn of streams that hold a worker

=head1 SYNOPSIS

    use EventSource::Stream::Fallback;

    my ($env, $adapter) = ({'psgi.errors' => \*STDOUT}, 'EventSource::Adapter');
    EventSource::Stream::Fallback->warn_once($env, $adapter, 'its body is filtered');

=head1 DESCRIPTION

A stream that cannot be native goes through the server's writer (L<Plack::App::EventSource/native>). On a server that
blocks it then holds a worker as long as it is open, so a few clients can occupy the whole server. This module says so
once for each reason, with the remedy.

=head1 METHODS

=head2 remedy

    my $text = EventSource::Stream::Fallback->remedy($adapter, $obstacle);

Return what to do about a reason of L<EventSource::Stream/obstacle> or L<EventSource::Stream/open>. The adapter knows the
reasons of its server (L<EventSource::Adapter/remedies>).

=head2 warn_once

    EventSource::Stream::Fallback->warn_once($env, $adapter, $obstacle);

Print the reason and the remedy to C<psgi.errors>, once for each reason in a process. Does nothing on a server with an
event loop (C<psgi.nonblocking>), or in a process that serves one request only (C<psgi.run_once>).

=head1 SEE ALSO

L<Plack::App::EventSource/fallback>, L<EventSource::Stream::WorkerRecycling>

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut

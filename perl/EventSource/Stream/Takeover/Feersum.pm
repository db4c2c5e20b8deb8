package EventSource::Stream::Takeover::Feersum;
use strict;
use warnings;

# Takes a response over from Feersum, which queues its head and frames its body by itself: when the head is out.

our $VERSION = '0.100';

use B ();
use EventSource::Stream::Native;
use EventSource::Stream::Writer;
use EventSource::XS ();
use POSIX           ();
use Socket          qw(AF_UNIX PF_UNSPEC SOCK_STREAM);

# Seconds between two looks whether Feersum has given up a response whose head is not out.
my $LOOK = 1;

# Public methods

sub begin {
    my ($class, $env, $respond, $response, $setting) = @_;
    my $writer = $respond->($response);
    return (undef, 'its body is filtered', $writer) if ref $writer ne 'Feersum::Connection::Writer';
    return _gone($env, $writer, $setting)           if EventSource::XS::_has_left($writer->fileno);
    my ($stream, $why) = EventSource::Stream::Native->try_open(
        -1, '', %$setting,
        is_loop    => 1,
        is_chunked => $env->{SERVER_PROTOCOL} eq 'HTTP/1.1'    # so Feersum decides, and so its status line says
    );
    return (undef, $why, $writer) if !$stream;

 # If the head never goes out, because the client does not read, the stream ends by itself at its timeout, and Feersum's
 # writer is released. If the client has left, Feersum closes the connection without calling anybody.
    my $patience;
    my $until = EV::now() + $setting->{timeout};
    my $look  = $setting->{timeout} < $LOOK ? $setting->{timeout} : $LOOK;
    $patience = EV::timer(
        $look, $look,
        sub {
            my $is_closed = $writer->fileno < 0;
            return if !$is_closed && EV::now() < $until;
            undef $patience;
            _hang_up($stream) if $is_closed;
            _let_go($writer);
        }
    );
    $writer->poll_cb(
        sub {
            undef $patience;
            _take($_[0], $stream);
            delete $env->{'psgix.io'};    # holds the connection, for which a graceful stop of Feersum's would wait
        }
    );
    return $stream;
}

# psgix.io is magical: whoever fetches it, even by copying the environment, gets a handle on the very descriptor that
# Feersum goes on using and will close. If no one has, no one will; if somebody has, the handle is closed before it can do
# harm, and Feersum's descriptor put back. The same connection at the same number is what its event loop knows.
sub disarm {
    my ($class, $env) = @_;
    return if !exists $env->{'psgix.io'};
    if (B::svref_2object(\$env->{'psgix.io'})->FLAGS & B::SVs_GMG()) {
        delete $env->{'psgix.io'};    # in void context, which runs no magic
        return;
    }
    my $handle = $env->{'psgix.io'};
    my $number = eval { fileno $handle };
    return if !defined $number || $number < 0;
    my $copy = EventSource::XS::_duplicate($number);
    return if !defined $copy;
    CORE::close $handle;
    POSIX::dup2($copy, $number);
    POSIX::close($copy);
    delete $env->{'psgix.io'};
    return;
}

# A scheme may be the client's own word, by way of a middleware that believes X-Forwarded-Proto. It says nothing of a
# Feersum that cannot encrypt.
sub obstacle {
    my ($class, $env) = @_;
    return 'it is encrypted' if $env->{'psgi.url_scheme'} ne 'http' && Feersum->can('set_tls');
    return 'something has fetched psgix.io and used it' if exists $env->{'psgix.io'};
    return;
}

# Private functions

# The client has left before the response began: its head would never be out, and the stream wait for that.
sub _gone {
    my ($env, $writer, $setting) = @_;
    _let_go($writer);
    return EventSource::Stream::Writer->ended('client', $env, %$setting);
}

# Attaches the stream to a socket whose other end is closed, so that the stream ends as any other whose client has left. A stream
# that the application has ended already would otherwise wait for its socket until its timeout.
sub _hang_up {
    my $stream = shift;
    socketpair my $ours, my $theirs, AF_UNIX, SOCK_STREAM, PF_UNSPEC or return $stream->_fail;
    my $socket = EventSource::XS::_duplicate(fileno $ours);
    return                if defined $socket && $stream->_attach($socket);
    POSIX::close($socket) if defined $socket;
    return $stream->_fail;
}

# Nothing more is to come through Feersum.
sub _let_go {
    my $writer = shift;
    local $@;
    eval { $writer->poll_cb(undef); $writer->close };
    return;
}

# The head is out. Where the server cannot be silenced it goes on to end the response, so nothing else may come there.
sub _take {
    my ($writer, $stream) = @_;
    my $number = $writer->fileno;
    my $socket = defined $number ? EventSource::XS::_duplicate($number) : undef;
    if (!defined $socket || !defined EventSource::XS::_silence($number) || !$stream->_attach($socket)) {
        POSIX::close($socket) if defined $socket;
        $stream->_fail;
    }
    _let_go($writer);
    return;
}

1;
__END__

=encoding utf8

=head1 NAME

EventSource::Stream::Takeover::Feersum - Takes a response over from Feersum

=head1 SYNOPSIS

    use EventSource::Stream::Takeover::Feersum;

    my $why = EventSource::Stream::Takeover::Feersum->obstacle({'psgi.url_scheme' => 'https'});
    print "not taken over: $why\n" if defined $why;

=head1 DESCRIPTION

Feersum sends the head of a response when its event loop comes to it. Until then what is written waits in the stream,
however much it is, but not longer than its C<timeout>. If the client leaves before, the stream ends within a second or two. When
the head is out, the stream is attached to a duplicate of the client's socket, F</dev/null> put in
its place, and Feersum's writer closed.

C<psgix.io> is dangerous under Feersum: whoever fetches it, even by copying the environment (C<{%$env}>), gets a handle on
the very descriptor that Feersum goes on using and closes by itself, and when that handle is freed the descriptor is
closed under Feersum, or another one that has its number by then. So L</disarm> takes it out of the environment. What
remains: a copy that was made without C<psgix.io> says nothing of the handle elsewhere, and one that has been closed
already cannot be repaired. Responses that are no streams are not touched.

=head1 METHODS

=head2 disarm

    EventSource::Stream::Takeover::Feersum->disarm($env);

Takes C<psgix.io> out of the environment, without fetching it if nobody has, and repairs what was done if somebody has.
L<EventSource::Stream/open> does so before it responds, whether or not the stream is to be native.

=head2 begin, obstacle

As L<EventSource::Stream::Takeover/METHODS>.

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut

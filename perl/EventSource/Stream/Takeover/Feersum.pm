package EventSource::Stream::Takeover::Feersum;
use strict;
use warnings;

# Takes a response over from Feersum, which queues its head and frames its body by itself: when the head is out.

our $VERSION = '0.100';

use B ();
use EventSource::Stream::Native;
use EventSource::XS ();

# Public methods

sub begin {
    my ($class, $env, $respond, $response, $setting) = @_;
    my $writer = $respond->($response);
    return (undef, 'its body is filtered', $writer) if ref $writer ne 'Feersum::Connection::Writer';
    my $stream = eval {
        EventSource::Stream::Native->open(
            -1, '', %$setting,
            is_loop    => 1,
            is_chunked => $env->{SERVER_PROTOCOL} eq 'HTTP/1.1'
        );
    };
    if (!$stream) {
        (my $trouble = $@) =~ s/ at \S+ line [0-9]+\.?\n\z//;
        return (undef, $trouble, $writer);
    }

    # If its head never goes out the stream ends by itself; Feersum's writer is let go of then.
    my $patience;
    $patience = EV::timer($setting->{timeout}, 0, sub { undef $patience; _let_go($writer) });
    $writer->poll_cb(
        sub {
            undef $patience;
            _take($_[0], $stream);
            delete $env->{'psgix.io'};    # holds the connection, for which a graceful stop of Feersum's would wait
        }
    );
    return $stream;
}

# psgix.io is magical: to fetch it is to take the descriptor, which Feersum will close all the same.
sub obstacle {
    my ($class, $env) = @_;
    return 'it is encrypted' if $env->{'psgi.url_scheme'} ne 'http';
    return 'something has fetched psgix.io'
        if exists $env->{'psgix.io'} && !(B::svref_2object(\$env->{'psgix.io'})->FLAGS & B::SVs_GMG());
    return;
}

# Private functions

# Nothing more is to come through Feersum.
sub _let_go {
    my $writer = shift;
    local $@;
    eval { $writer->poll_cb(undef); $writer->close };
    return;
}

# The head is out.
sub _take {
    my ($writer, $stream) = @_;
    my $number = $writer->fileno;
    my $socket = defined $number ? EventSource::XS::_duplicate($number) : undef;
    if (defined $socket) {
        EventSource::XS::_silence($number);
        $stream->_attach($socket);
    }
    else { $stream->_fail }
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

Feersum sends the head of a response when its event loop comes to it. Until then what is written waits in the stream, but
not longer than its C<timeout>; then the stream is attached to a duplicate of the client's socket, F</dev/null> put in
its place, and Feersum's writer closed.

C<psgix.io> must not be fetched under Feersum by anyone who responds: to fetch it, even by copying the environment
(C<{%$env}>), takes over the number of a descriptor that Feersum closes all the same. Where that has happened streams go
through the server's writer.

=head1 METHODS

=head2 begin, obstacle

As L<EventSource::Stream::Takeover/METHODS>.

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut

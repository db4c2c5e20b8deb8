package EventSource::Stream;
use strict;
use warnings;

# Begins the response to one request as a stream: a native one where that can be, one on the server's writer elsewhere.

our $VERSION = '0.100';

use EventSource::Settings;
use EventSource::Stream::Takeover;
use EventSource::Stream::Writer;
use EventSource::XS ();

# A setting is wrong where the application was made.
our @CARP_NOT = qw(Plack::App::EventSource);

my $SETTINGS = EventSource::Settings->new(__PACKAGE__);

my %DEFAULT = (
    native       => 'auto',
    keepalive    => 15,
    timeout      => 60,
    max_buffered => 4_194_304,
    on_full      => 'block',
    linger       => 2,
);

# The statuses of responses that have no body.
my %HAS_NO_BODY = map { ($_ => 1) } 204, 205, 304;

# Whether a server has said that it has several processes.
my $is_multiprocess = 0;

# Public methods

sub check {
    my ($class, %given) = @_;
    $SETTINGS->seconds($_ => $given{$_}) for qw(keepalive linger timeout);
    $SETTINGS->whole_number($_ => $given{$_}, from => 1) for qw(max_buffered max_streams);
    $SETTINGS->refuse(timeout => 'timeout must not be 0') if defined $given{timeout} && $given{timeout} == 0;
    $SETTINGS->one_of(native  => $given{native},  'auto',  0,            1);
    $SETTINGS->one_of(on_full => $given{on_full}, 'block', 'disconnect', 'drop_oldest');
    return;
}

sub is_multiprocess { return !!$is_multiprocess }

# Why a request cannot be answered by a native stream, as far as it shows in advance; undef if it can.
sub obstacle {
    my ($class, $env) = @_;
    return 'there is no native writer on this system' if !EventSource::XS->can('_next_end');
    _disarm($env);
    return EventSource::Stream::Takeover->obstacle($env);
}

sub open {
    my ($class, $env, $respond, $response, $opening, %given) = @_;
    my %setting = (%DEFAULT, opening => $opening, map { defined $given{$_} ? ($_ => $given{$_}) : () } keys %given);
    $is_multiprocess ||= $env->{'psgi.multiprocess'};
    _disarm($env);
    return $class->_end_at_once($env, $respond, $response, \%setting) if _has_left($env);
    my ($stream, $why, @writer);
    if (!$setting{native}) { $why = 'native is 0' }
    else {
        $why = $class->obstacle($env);
        ($stream, $why, @writer) = EventSource::Stream::Takeover->begin($env, $respond, $response, \%setting)
            if !defined $why;
    }
    _log($env, $stream ? 'native' : "the server's writer, for $why") if $ENV{EVENTSOURCE_XS_DEBUG};
    return $stream                                                   if $stream;
    my $writer = @writer ? $writer[0] : $respond->($response);
    return $class->_without_body($env, $response, $writer, \%setting) if !$writer || $HAS_NO_BODY{$response->[0]};
    $stream = EventSource::Stream::Writer->new($writer, $env, %setting);
    $stream->refuse if !$stream->is_blocking && EventSource::XS->can('_is_short') && EventSource::XS::_is_short();
    return ($stream, $why);
}

# Private methods and functions

# The client has left. A complete response ends the request, whatever the server.
sub _end_at_once {
    my ($class, $env, $respond, $response, $setting) = @_;
    _log($env, 'no stream, for its client has left') if $ENV{EVENTSOURCE_XS_DEBUG};
    $respond->([@$response[0, 1], []]);
    return EventSource::Stream::Writer->ended('client', $env, %$setting);
}

# There is nothing to write to. A middleware has made a response without a body of it, as ConditionalGET does if the client
# says so; or the server could not even write the head.
sub _without_body {
    my ($class, $env, $response, $writer, $setting) = @_;
    my $is_replaced = $response->[2] || $HAS_NO_BODY{$response->[0]};
    _log($env, 'no stream, for ' . ($is_replaced ? 'a middleware has taken its body' : 'its client has left'))
        if $ENV{EVENTSOURCE_XS_DEBUG};
    $writer->close if $writer;
    return EventSource::Stream::Writer->ended($is_replaced ? 'application' : 'client', $env, %$setting);
}

sub _disarm {
    my $env = shift;
    EventSource::Stream::Takeover::Feersum->disarm($env) if exists $env->{'psgix.output.guard'};
    return;
}

sub _has_left {
    my $env = shift;
    return EventSource::XS->can('_has_left') && EventSource::Stream::Takeover->has_left($env);
}

sub _log {
    my ($env, $what) = @_;
    my $path = ($env->{SCRIPT_NAME} || '') . ($env->{PATH_INFO} || '');
    $env->{'psgi.errors'}->print("EventSource::XS: $path by $what\n");
    return;
}

1;
__END__

=encoding utf8

=head1 NAME

EventSource::Stream - The response to one request, as a stream

=head1 SYNOPSIS

    use EventSource::Stream;

    my $app = sub {
        my $env = shift;
        return sub {
            my $respond = shift;
            my $head    = [200, ['Content-Type' => 'text/event-stream']];
            my ($stream, $why) = EventSource::Stream->open($env, $respond, $head, '', keepalive => 15);
            $stream->write("data: hello\n\n");
            $stream->close;
        };
    };

=head1 DESCRIPTION

Responds to a request, and gives a stream for what follows: an L<EventSource::Stream::Native>, which holds no worker,
where the client's socket can be taken over from the server; else an L<EventSource::Stream::Writer>. Both have the same
methods. L<Plack::App::EventSource> does this for you.

=head1 METHODS

=head2 check

    EventSource::Stream->check(%settings);

Croaks if a setting has a value that it cannot have. C<undef> stands for the default.

=head2 is_multiprocess

    my $several = EventSource::Stream->is_multiprocess;

Whether a stream was begun here under a server that says C<psgi.multiprocess>.

=head2 obstacle

    my $why = EventSource::Stream->obstacle($env);

Why the response to this request cannot be native, as far as the environment shows; C<undef> if it may be. Whether the
body is filtered shows only later. Under Feersum C<psgix.io> is taken out of the environment
(L<EventSource::Stream::Takeover::Feersum/disarm>).

=head2 open

    my ($stream, $why) = EventSource::Stream->open($env, $respond, [200, \@headers], $opening, %settings);

Responds by C<$respond>, the responder that PSGI gives, and returns the stream, and if it is not native, why not.
C<$opening> are bytes that are sent first. The settings are those of L<Plack::App::EventSource> with the same names:
C<keepalive>, C<linger>, C<max_buffered>, C<max_streams>, C<native> (here 1 is as C<auto>), C<on_full>, C<retry>,
C<timeout>. A stream over C<max_streams>, or one that begins when few descriptors are left, is one that has ended.

It is also one that has ended, and no reason is returned, if the client is known to have left
(L<EventSource::Stream::Takeover/has_left>) or if a middleware has made a response without a body of it, as
L<Plack::Middleware::ConditionalGET> does. The server is given a complete response then. Dies of what the responder dies of.

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut

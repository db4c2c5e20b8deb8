package EventSource::Stream::Writer;
use strict;
use warnings;

# A client's open response on the PSGI server's own writer. Any class with these methods may be a stream.

our $VERSION = '0.100';

use Errno ();
use EventSource::Adapter;
use EventSource::Loop;
use EventSource::Stream::Native;    # its END block calls finish
use EventSource::XS ();
use IO::Poll        qw(POLLOUT);
use IO::Select;
use Scalar::Util qw(refaddr weaken);
use Socket       qw(MSG_DONTWAIT MSG_PEEK);

# On Linux the kernel says that the client has closed its side, whatever it sent before.
my $IS_HUNG_UP_KNOWN = EventSource::XS->can('_is_hung_up');

# Counters of EventSource::XS->stats.
our %COUNTED = map { ($_ => 0) } qw(opened refused events bytes);    # src/xs counts here too
my %CLOSED;
my $ended = 0;

# Under an event loop a stream lives until its client leaves, whether or not the application holds it.
my %HELD;

# The open streams by address. The references are weak.
my %OPEN;

# Milliseconds after which a refused client is to reconnect, at least, if retry is not set.
my $DEFAULT_RETRY = 2_000;

# How often this interpreter's ancestors were cloned for a new thread. A thread must not end a stream that it has a
# copy of.
my $clones = 0;
sub CLONE { $clones++; %OPEN = (); return }

sub new {
    my ($class, $writer, $env, %setting) = @_;
    my $adapter       = EventSource::Adapter->of($env, $writer);
    my $server_writer = EventSource::Adapter->server_writer($writer);
    my $self          = bless {
        writer      => $writer,
        socket      => scalar $adapter->client_socket($env, $server_writer),
        nonblocking => $env->{'psgi.nonblocking'} ? 1 : 0,
        owner       => $$,
        clones      => $clones,
        on_close    => [],
        settings    => \%setting,
        why         => undef,
    }, $class;
    weaken($OPEN{refaddr $self} = $self);
    $COUNTED{opened}++;
    $self->_send('') if $adapter->sends_head_late;
    $self->{child_writer} = $adapter->child_writer($env, $server_writer, $self->{socket});
    if (!$self->{nonblocking}) { @$self{qw(lease_end lease)} = _lease() }
    else {
        $HELD{refaddr $self} = $self;
        $self->_watch($adapter, $server_writer);
        $self->_keep_alive($setting{keepalive}) if $setting{keepalive};
    }
    $self->_send($setting{opening}) if defined $setting{opening} && length $setting{opening};
    return $self;
}

# Makes a stream that has ended before it began.
sub ended {
    my ($class, $why, $env, %setting) = @_;
    $COUNTED{opened}++;
    $ended++;
    $CLOSED{$why}++;
    return bless {
        nonblocking => $env->{'psgi.nonblocking'} ? 1 : 0,
        owner       => $$,
        clones      => $clones,
        on_close    => [],
        settings    => \%setting,
        why         => $why,
    }, $class;
}

# Public methods

sub close {
    my ($self, $why) = @_;
    return $self->{through}->close($why) if $self->{through};
    $self->end(defined $why ? $why : 'application');
    return;
}

sub counted {
    return {%COUNTED, open => $COUNTED{opened} - $ended, closed => {%CLOSED}};
}

# Under an event loop the stream stays open. Elsewhere it ends, unless a child that was forked meanwhile may be going
# on with it. A thread's stream is a copy.
sub drop {
    my $self = shift;
    return                    if $self->{nonblocking} || $self->{owner} != $$ || $self->{clones} != $clones;
    $self->end('application') if !$self->_is_shared;
    return;
}

# During global destruction no callback runs.
sub end {
    my ($self, $why) = @_;
    return if defined $self->{why};
    $self->{why} = $why;
    delete $self->{watch};      # before its descriptor is closed
    if (!$self->{through}) {    # a native stream that this one goes through counts its own end
        $ended++;
        $CLOSED{$why}++;
    }
    my $writer = delete $self->{writer};
    $writer = $self->{child_writer} if $self->{child_writer} && $self->{owner} != $$;
    local $@;
    eval { $writer->close } if $writer && !$self->{is_abandoned};    # global destruction may have freed it first

    for my $asked (${^GLOBAL_PHASE} eq 'DESTRUCT' ? () : splice @{$self->{on_close}}) {
        my ($callback, $holder, $class, $same) = @$asked;
        EventSource::XS->later_here($callback, $holder || ($class ? $class->closed($self, $same) : $self), $why);
    }
    delete $HELD{refaddr $self};
    delete $OPEN{refaddr $self};
    delete @$self{qw(child_writer keepalive lease lease_end socket through)};
    return;
}

# A stream whose client reads nothing is ended without a close, which might wait for the client.
sub finish {
    my @streams = grep { $_ && !defined $_->{why} && $_->{owner} == $$ } values %OPEN;
    for my $stream (@streams) {
        $stream->{is_abandoned} = $stream->is_full;
        $stream->end('server');
    }
    return;
}

sub is_subscribed { return !!($_[0]{through} && $_[0]{through}->is_subscribed) }

# Both count as one stream. The other one keeps the connection alive.
sub go_through {
    my ($self, $other) = @_;
    $self->{through} = $other;
    $other->enter_handler if $self->{in_handler};
    delete $self->{keepalive};
    $COUNTED{opened}--;
    return;
}

sub hand_on {
    my ($self, $bytes) = @_;
    return $self->_send($bytes);
}

sub is_blocking { return !$_[0]{nonblocking} }

sub is_full {
    my $self   = shift;
    my $socket = $self->{socket};
    return !!0 if !$socket || !defined fileno $socket;
    my $poll = IO::Poll->new;
    $poll->mask($socket => POLLOUT);
    return $poll->poll(0) == 0;
}

sub is_open {
    my $self = shift;
    return $self->is_there && !($self->{through} && !$self->{through}->is_open);
}

sub is_there {
    my $self = shift;
    return !!0 if defined $self->{why};
    return !!1 if !$self->_has_left;
    $self->end('client');
    return !!0;
}

sub on_close {
    my ($self, $callback, $holder, $same) = @_;
    if (defined $self->{why}) { EventSource::XS->later_here($callback, $holder || $self, $self->{why}) }
    else {
        push @{$self->{on_close}}, [$callback, $holder, ref $holder, $same];
        weaken $self->{on_close}[-1][1] if $holder;
    }
    return;
}

# The server decides whether a write blocks. But a stream that this one goes through has to know when the handler
# runs, for all subscriptions of a handler are one request.
sub enter_handler {
    my $self = shift;
    $self->{in_handler} = 1;
    return;
}

sub leave_handler {
    my $self = shift;
    delete $self->{in_handler};
    $self->{through}->leave_handler if $self->{through};
    return;
}

# The retry has a random part, so that refused clients do not reconnect at the same time.
sub refuse {
    my $self  = shift;
    my $retry = $self->{settings}{retry};
    my $least = ref $retry ? $retry->[0] : defined $retry ? $retry : $DEFAULT_RETRY;
    $COUNTED{refused}++;
    $self->_send('retry: ' . ($least + int rand $least + 1) . "\r\n\r\n");
    $self->end('server');
    return;
}

# The end of this stream needs no time.
sub settle { return }

sub settings { return $_[0]{settings} }

sub socket { return $_[0]{socket} }

# write itself is in src/xs. It writes to ordinary streams as _send does, and calls _write_otherwise for all others.
*write = \&_write_otherwise if !__PACKAGE__->can('write');

# Part of an event may have been sent. If the client is still there, the writer died of the application: of its $SIG{ALRM}
# or its filter of the body.
sub writer_died {
    my ($self, $trouble) = @_;
    my $is_there = $self->{socket} && !EventSource::Adapter->is_send_timeout($trouble) && !$self->_has_left;
    $self->end($is_there ? 'error' : 'client');
    die $trouble if $is_there;
    return !!0;
}

# Private methods and functions

sub _write_otherwise {
    my ($self, $bytes) = @_;
    return $self->{through}->write($bytes) if $self->{through};
    $self->_send($bytes) or return !!0;
    $COUNTED{events}++;
    $COUNTED{bytes} += length $bytes;
    return !!1;
}

# Returns true if the client has closed its side, without taking a byte from the server. A client of an event stream
# sends nothing that matters after its request, so the end of its input is its leaving.
sub _has_left {
    my $self   = shift;
    my $socket = $self->{socket} or return !!0;
    return !!1 if !defined fileno $socket;    # the server has closed it; another client may have its number by now
    return EventSource::XS::_is_hung_up(fileno $socket) if $IS_HUNG_UP_KNOWN;
    local $!;
    my $peer = CORE::recv $socket, my $byte, 1, MSG_PEEK | MSG_DONTWAIT;
    return !length $byte if defined $peer;
    return !($!{EAGAIN} || $!{EWOULDBLOCK} || $!{EINTR});
}

# Returns true if a child of this process holds the stream too. A child that has ended or runs another program does not.
sub _is_shared {
    my $self = shift;
    delete $self->{lease};
    return $self->{lease_end} && !IO::Select->new($self->{lease_end})->can_read(0);
}

# Under an event loop, sends a comment after so many seconds of quiet.
sub _keep_alive {
    my ($self, $seconds) = @_;
    weaken $self;
    my $tick = sub {
        return if !$self;
        my $was_quiet = $self->{quiet};
        $self->_send(":\r\n\r\n") if $was_quiet;
        $self->{quiet} = !$was_quiet;
    };
    $seconds /= 2;    # quiet for two ticks
    my $loop = EventSource::Loop->at_hand or return;
    $self->{keepalive} = $loop->every($seconds, $tick);
    return;
}

# Makes a pipe that no process writes to. A fork inherits it and an exec closes it, so its end shows when no other process
# can have the stream.
sub _lease {
    pipe my $end, my $lease or return;
    return ($end, $lease);
}

# Hands bytes to the server. Returns false, and never dies, if the client has left.
sub _send {
    my ($self, $bytes) = @_;
    $self->{quiet} = 0;
    return !!0                              if !$self->is_there;
    $self->{writer} = $self->{child_writer} if $self->{child_writer} && $self->{owner} != $$;
    my $trouble;
    {
        local ($@, $SIG{__DIE__});
        local $| = 1;    ## no critic (RequireLocalizedPunctuationVars) some writers buffer otherwise
        return !!1 if eval { $self->{writer}->write($bytes); 1 };
        $trouble = $@;
    }
    return $self->writer_died($trouble);
}

# Under an event loop, ends the stream when its client leaves. If the server offers no way to see that, the socket is
# watched. Input from the client is read and thrown away, or it would wake the loop forever.
sub _watch {
    my ($self, $adapter, $server_writer) = @_;
    weaken $self;
    return if $adapter->watch($server_writer, sub { $self->end('client') if $self });
    my $socket = $self->{socket} or return;
    my $look   = sub {
        return                      if !$self || !$self->{socket};
        return $self->end('client') if $self->_has_left;
        CORE::recv $self->{socket}, my $ignored, 65_536, MSG_DONTWAIT;
        return;
    };
    my $loop = EventSource::Loop->at_hand or return;
    $self->{watch} = $loop->readable($socket, $look);
    return;
}

sub DESTROY {
    my $self = shift;
    delete $OPEN{refaddr $self} if ${^GLOBAL_PHASE} ne 'DESTRUCT';
    return;
}

1;
__END__

=encoding utf8

=head1 NAME

EventSource::Stream::Writer - A stream on the PSGI server's own writer

=head1 SYNOPSIS

    use EventSource::Stream::Writer;

    my $app = sub {
        my $env = shift;
        return sub {
            my $respond = shift;
            my $writer  = $respond->([200, ['Content-Type' => 'text/event-stream']]);
            my $stream  = EventSource::Stream::Writer->new($writer, $env);
            $stream->write("data: hello\n\n");
            $stream->close;
        };
    };

=head1 DESCRIPTION

One client's open response. L<Plack::App::EventSource> and its connections need no more of a stream than the methods
below.

A client that closes its sending side counts as one that has left, as it does with most servers: a client of an event
stream sends nothing after its request. On a server that blocks, the stream checks that before each write, by polling
the socket, which takes no byte from the server. Under an event loop it learns of it when it happens. The server's
adapter (L<EventSource::Adapter>) knows how. Where a middleware filters the body, Feersum shows no socket: close such
streams after a time.

=head1 METHODS

=head2 new

    my $stream = EventSource::Stream::Writer->new($writer, $env, %settings);

Make a stream from the writer that a PSGI responder has returned, and the request's environment. Settings: C<opening>,
bytes to send first; C<keepalive>, the seconds of quiet after which a comment is sent under an event loop, up to half
as many later; none by default.

=head2 close

    $stream->close;
    $stream->close($why);

End the response. Everything written before is sent first. C<$why> is the reason that L</on_close> reports,
C<application> by default. Does nothing if the stream has ended.

=head2 counted

    my $counts = EventSource::Stream::Writer->counted;

Return the counters of this process for L<EventSource::XS/stats>, as a reference to a hash.

=head2 drop

    $stream->drop;

Release the stream: the application does not hold it any more. Under C<psgi.nonblocking> it stays open until its
client leaves. Elsewhere it is closed, unless a child that was forked since it began still runs the same program, for
that child may still use it.

=head2 end

    $stream->end($why);

End the response at once. What was written to another stream (L</go_through>) and has not been handed on is lost.

=head2 ended

    my $stream = EventSource::Stream::Writer->ended($why, $env, %settings);

Make a stream that has ended before it began, for that reason: for a request whose client has left.

=head2 finish

    EventSource::Stream::Writer->finish;

End all streams of this process with the reason C<server>. Called when the process ends. A response whose client reads
nothing is left as it is.

=head2 is_subscribed

    my $is_subscribed = $stream->is_subscribed;

Return true if the stream goes through a stream that a hub holds (L<EventSource::Stream::Native/is_subscribed>).

=head2 go_through

    $stream->go_through($other);

Pass what is written from now on, and L</close>, to another stream. The reader of that stream's output calls
L</hand_on> with it, and L</end> at its end (L<EventSource::Stream::Relay>).

=head2 hand_on

    my $taken = $stream->hand_on($bytes);

Hand bytes to the server, as L</write> does without another stream in between.

=head2 is_blocking

    my $blocks = $stream->is_blocking;

Return true if a write waits for a slow client: unless the server says C<psgi.nonblocking>.

=head2 is_full

    my $full = $stream->is_full;

Return true if the client's socket takes no bytes now. False if the server shows no socket.

=head2 is_open

    my $open = $stream->is_open;

Return true until the stream was closed or its client is seen to have left.

=head2 is_there

    my $there = $stream->is_there;

As L</is_open>, but also true while bytes of another stream are still to be handed on.

=head2 enter_handler, leave_handler, settle

As L<EventSource::Stream::Native/METHODS>. The server alone decides whether a write waits.

=head2 on_close

    $stream->on_close(sub { my ($stream, $why) = @_; ... });
    $stream->on_close($callback, $holder, \%fields);

Have a callback called once by L<EventSource::XS/dispatch> when the stream has ended, as
L<EventSource::Stream::Native/on_close> does. C<$why> is C<client>, C<application>, C<error> if a L</write> died, or the
reason that L</close> was given.

=head2 refuse

    $stream->refuse;

Send the client a C<retry> between one and two times the setting C<retry>, or two seconds, and end the stream.

=head2 settings

    my $settings = $stream->settings;

Return the settings that L</new> was given, as a reference to a hash.

=head2 socket

    my $socket = $stream->socket;

Return a handle of the client's socket for polling, or C<undef> if the server shows none.

=head2 write

    my $taken = $stream->write($bytes);

Hand bytes to the server. Returns false, and never dies, if the client has left.

If the client is still there, dies of an exception that the application has caused meanwhile, such as that of a
C<$SIG{ALRM}> or a filter of the body, and ends the stream, for part of C<$bytes> may have been sent.

=head2 writer_died

    $stream->writer_died($exception);

End the stream because the server's writer has thrown this exception. Returns false if the client has left, otherwise
dies of the exception.

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut

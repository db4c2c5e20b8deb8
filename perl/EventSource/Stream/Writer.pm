package EventSource::Stream::Writer;
use strict;
use warnings;

# A client's open response on the PSGI server's own writer. Whatever has the methods of this may be a stream.

our $VERSION = '0.100';

use Errno ();
use EventSource::Loop;
use EventSource::Stream::Native;    # the end of the process
use EventSource::Stream::Writer::Socket;
use EventSource::XS ();
use IO::Poll        qw(POLLERR POLLHUP POLLNVAL POLLOUT);
use IO::Select;
use Scalar::Util qw(refaddr weaken);
use Socket       qw(MSG_DONTWAIT MSG_PEEK);

# Linux says in one word that the client has closed its side, whatever it sent before. IO::Poll has no name for it.
my $POLLRDHUP = $^O eq 'linux' ? 0x2000 : 0;

# What was counted: see EventSource::XS->stats.
my %COUNTED = map { ($_ => 0) } qw(opened refused events bytes);
my %CLOSED;
my $ended = 0;

# Under an event loop a stream lives until its client leaves, whether or not the application holds it.
my %HELD;

# Those that have not ended, by address, held by others.
my %OPEN;

# What the writers of HTTP::Server::PSGI and Starlet die with when a client takes nothing for too long. It is as good as
# gone, though its socket does not say so.
my $TIMED_OUT = qr/\Afailed to send all data\n\z/;

# Milliseconds after which a client that is refused is to come back, at least, where no retry is set.
my $COME_BACK = 2_000;

# How often this interpreter's ancestors were cloned for a new thread: a copy of a stream is not that thread's to drop.
my $clones = 0;
sub CLONE { $clones++; %OPEN = (); return }

sub new {
    my ($class, $writer, $env, %setting) = @_;
    my $self = bless {
        writer      => $writer,
        socket      => scalar _socket($env, $writer),
        nonblocking => $env->{'psgi.nonblocking'} ? 1 : 0,
        owner       => $$,
        clones      => $clones,
        on_close    => [],
        settings    => \%setting,
        why         => undef,
    }, $class;
    weaken($OPEN{refaddr $self} = $self);
    $COUNTED{opened}++;
    $self->_begin_uwsgi($env) if ref $env->{'psgi.errors'} eq 'uwsgi::error';
    if (!$self->{nonblocking}) { @$self{qw(lease_end lease)} = _lease() }
    else {
        $HELD{refaddr $self} = $self;
        if   (ref $writer eq 'Twiggy::Writer') { $self->_watch_twiggy }
        else                                   { $self->_watch_socket }
        $self->_keep_alive($setting{keepalive}) if $setting{keepalive};
    }
    $self->_send($setting{opening}) if defined $setting{opening} && length $setting{opening};
    return $self;
}

# A stream that has ended before it began.
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

# The application has let go of its last reference. Under an event loop that changes nothing. Elsewhere the stream ends,
# unless a child that was forked meanwhile may be going on with it. What a thread lets go of is a copy.
sub drop {
    my $self = shift;
    return                    if $self->{nonblocking} || $self->{owner} != $$ || $self->{clones} != $clones;
    $self->end('application') if !$self->_is_shared;
    return;
}

# What was counted, for EventSource::XS->stats.
sub counted {
    return {%COUNTED, open => $COUNTED{opened} - $ended, closed => {%CLOSED}};
}

# Ends the response here and now, whatever else is to go through it. In the destruction of all objects nobody is told.
sub end {
    my ($self, $why) = @_;
    return if defined $self->{why};
    $self->{why} = $why;
    delete $self->{watch};      # before its descriptor is closed
    if (!$self->{through}) {    # which is counted, and for which its own end is
        $ended++;
        $CLOSED{$why}++;
    }
    my $writer = delete $self->{writer};
    $writer = $self->{heir} if $self->{heir} && $self->{owner} != $$;
    local $@;
    eval { $writer->close } if $writer && !$self->{is_abandoned};    # gone first in global destruction

    for my $asked (${^GLOBAL_PHASE} eq 'DESTRUCT' ? () : splice @{$self->{on_close}}) {
        my ($callback, $holder, $class, $same) = @$asked;
        EventSource::XS->_later_here($callback, $holder || ($class ? $class->closed($self, $same) : $self), $why);
    }
    delete $HELD{refaddr $self};
    delete $OPEN{refaddr $self};
    delete @$self{qw(heir keepalive lease lease_end poll socket through)};
    return;
}

# The process ends, and with it all its streams, none of which waits for its client.
sub finish {
    my @streams = grep { $_ && !defined $_->{why} && $_->{owner} == $$ } values %OPEN;
    for my $stream (@streams) {
        $stream->{is_abandoned} = $stream->is_full;
        $stream->end('server');
    }
    return;
}

# Whether it follows channels of a hub.
sub follows_hub { return !!($_[0]{through} && $_[0]{through}->follows_hub) }

# From here on what is written goes through another stream, which has more to say and keeps alive by itself. Who reads
# what comes out of that one hands it on, and ends this one after it.
sub go_through {
    my ($self, $other) = @_;
    $self->{through} = $other;
    $other->enter_handler if $self->{in_handler};
    delete $self->{keepalive};
    $COUNTED{opened}--;    # they are one
    return;
}

sub hand_on {
    my ($self, $bytes) = @_;
    return $self->_send($bytes);
}

sub is_blocking { return !$_[0]{nonblocking} }

# Whether the client takes nothing for now, as far as that shows.
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

# Whether the response has not ended, and the client not left.
sub is_there {
    my $self = shift;
    return !!0 if defined $self->{why};
    return !!1 if !$self->_has_left;
    $self->end('client');
    return !!0;
}

sub on_close {
    my ($self, $callback, $holder, $same) = @_;
    if (defined $self->{why}) { EventSource::XS->_later_here($callback, $holder || $self, $self->{why}) }
    else {
        push @{$self->{on_close}}, [$callback, $holder, ref $holder, $same];
        weaken $self->{on_close}[-1][1] if $holder;
    }
    return;
}

# Whether a write waits is the server's affair. What goes through another stream is told when the handler runs: what that
# subscribes to is one request.
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

# One stream too many: its client is told when to come back, at a time of its own, and the stream ends.
sub refuse {
    my $self  = shift;
    my $retry = $self->{settings}{retry};
    my $least = ref $retry ? $retry->[0] : defined $retry ? $retry : $COME_BACK;
    $COUNTED{refused}++;
    $self->_send('retry: ' . ($least + int rand $least + 1) . "\r\n\r\n");
    $self->end('server');
    return;
}

# What has ended has ended at once.
sub settle { return }

sub settings { return $_[0]{settings} }

# The client's socket, only to be looked at; undef if the server shows none.
sub socket { return $_[0]{socket} }

sub write {
    my ($self, $bytes) = @_;
    return $self->{through}->write($bytes) if $self->{through};
    $self->_send($bytes) or return !!0;
    $COUNTED{events}++;
    $COUNTED{bytes} += length $bytes;
    return !!1;
}

# Private methods

# Hands bytes to the server. False, and never an exception, if the client has left. If it is still there, what the writer
# died of is the application's: its $SIG{ALRM}, its filter of the body. Then part of an event may be out.
sub _send {
    my ($self, $bytes) = @_;
    $self->{quiet} = 0;
    return !!0                      if !$self->is_there;
    $self->{writer} = $self->{heir} if $self->{heir} && $self->{owner} != $$;
    my $trouble;
    {
        local ($@, $SIG{__DIE__});
        local $| = 1;    ## no critic (RequireLocalizedPunctuationVars) FastCGI sends what it has only if this is true
        return !!1 if eval { $self->{writer}->write($bytes); 1 };
        $trouble = $@;
    }
    my $is_there = $self->{socket} && (ref $trouble || $trouble !~ $TIMED_OUT) && !$self->_has_left;
    $self->end($is_there ? 'error' : 'client');
    die $trouble if $is_there;
    return !!0;
}

# uWSGI sends no head before the first byte of the body; a client would wait for its first event to learn that the stream
# is open. And a response of its lives in memory that all workers share: when the worker is done with it, a child that
# goes on with it crashes. What that child can have is the socket itself, for uWSGI does not frame what it sends.
sub _begin_uwsgi {
    my ($self, $env) = @_;
    $self->write('');
    my $plain = ref $self->{writer} eq 'uwsgi::streaming' && $env->{'psgi.url_scheme'} ne 'https';
    $self->{heir} = EventSource::Stream::Writer::Socket->new($plain && $self->{socket});
    return;
}

# A descriptor of our own for a number that is the server's to close.
sub _copy {
    my $number = shift;
    open my $copy, '+<&', $number or return;
    return $copy;
}

# Whether the client has closed its side, seen without taking a byte from the server. A client of an event stream sends
# nothing that counts after its request, so the end of what it sends is the end of it.
sub _has_left {
    my $self   = shift;
    my $socket = $self->{socket} or return !!0;
    return !!1 if !defined fileno $socket;    # the server is done with it; its number may be another client's by now
    local $!;
    if ($POLLRDHUP) {
        my $poll = $self->{poll} ||= IO::Poll->new;
        $poll->mask($socket => $POLLRDHUP) if !$poll->handles;
        return $poll->poll(0) > 0 && !!($poll->events($socket) & ($POLLRDHUP | POLLHUP | POLLERR | POLLNVAL));
    }
    my $peer = CORE::recv $socket, my $byte, 1, MSG_PEEK | MSG_DONTWAIT;
    return !length $byte if defined $peer;
    return !($!{EAGAIN} || $!{EWOULDBLOCK} || $!{EINTR});
}

# Where an event loop runs, a comment after so many seconds of quiet.
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

# Whether a child of this process holds the stream too. One that has ended, or runs another program, does not.
sub _is_shared {
    my $self = shift;
    delete $self->{lease};
    return $self->{lease_end} && !IO::Select->new($self->{lease_end})->can_read(0);
}

# A pipe that nobody writes to. It is inherited by a fork and closed by an exec, so its end is seen when no process but
# this can have the stream.
sub _lease {
    pipe my $end, my $lease or return;
    return ($end, $lease);
}

# The client's socket, only to be looked at.
sub _socket {
    my ($env, $writer) = @_;
    if (exists $env->{'psgix.output.guard'}) {    # Feersum: fetching psgix.io there breaks its own writer
        return ref $writer eq 'Feersum::Connection::Writer' ? _copy($writer->fileno) : undef;
    }
    return _copy(uwsgi::connection_fd()) if ref $env->{'psgi.errors'} eq 'uwsgi::error';
    my $socket = $env->{'psgix.io'};
    return $socket if defined $socket && defined eval { fileno $socket } && defined getsockname $socket;
    return;
}

# Feersum does not look at a client that it writes to, nor does Twiggy where a filter of the body hides its handle. What the
# client sends is read and forgotten, or it would wake the loop for ever.
sub _watch_socket {
    my $self   = shift;
    my $socket = $self->{socket} or return;
    weaken $self;
    my $look = sub {
        return                      if !$self || !$self->{socket};
        return $self->end('client') if $self->_has_left;
        CORE::recv $self->{socket}, my $forgotten, 65_536, MSG_DONTWAIT;
        return;
    };
    my $loop = EventSource::Loop->at_hand or return;
    $self->{watch} = $loop->readable($socket, $look);
    return;
}

# Twiggy reads nothing from a client that it writes to, and dies in its event loop when that client leaves.
sub _watch_twiggy {
    my $self   = shift;
    my $handle = $self->{writer}{handle} or return;
    weaken $self;
    my $left = sub { $self->end('client') if $self };
    $handle->on_error($left);
    $handle->on_eof($left);
    $handle->on_read(sub { $_[0]{rbuf} = '' });
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
stream sends nothing after its request. Where a server blocks that is seen before each write, by a look at the socket
that takes no byte from the server; under Twiggy and Feersum it is seen when it happens. Where a middleware filters the
body, Feersum gives nothing to look at: close such streams after a time.

=head1 METHODS

=head2 new

    my $stream = EventSource::Stream::Writer->new($writer, $env, %settings);

Takes the writer that a PSGI responder has returned and the request's environment. Settings: C<opening>, bytes that are
sent first; C<keepalive>, seconds of quiet after which a comment is sent under an event loop, and half as many more
at most; none by default.

=head2 close

    $stream->close;
    $stream->close($why);

Ends the response. What has been written is sent first. C<$why> is what L</on_close> is told, C<application> unless
given. Does nothing if the stream has ended.

=head2 counted

    my $counts = EventSource::Stream::Writer->counted;

What was counted in this process, for L<EventSource::XS/stats>: a reference to a hash.

=head2 drop

    $stream->drop;

The application holds the stream no longer. Under C<psgi.nonblocking> it stays open until its client leaves; elsewhere
it is closed, unless a child that was forked since it began is still running the same program, for that may be going on with it.

=head2 end

    $stream->end($why);

Ends the response here and now: what goes through another stream (L</go_through>) and has not been handed on is lost.

=head2 ended

    my $stream = EventSource::Stream::Writer->ended($why, $env, %settings);

A stream that has ended before it began, for that reason: the stream of a request whose client has left.

=head2 finish

    EventSource::Stream::Writer->finish;

Ends all streams of this process, with the reason C<server>. It is called when the process ends. A response whose client
takes nothing is left as it is.

=head2 follows_hub

    my $follows = $stream->follows_hub;

Whether it goes through a stream that a hub holds (L<EventSource::Stream::Native/follows_hub>).

=head2 go_through

    $stream->go_through($other);

From here on what is written, and L</close>, go to another stream. Who reads what comes out of that one gives it to
L</hand_on>, and calls L</end> after it (L<EventSource::Stream::Relay>).

=head2 hand_on

    my $taken = $stream->hand_on($bytes);

Hands bytes to the server, as L</write> does without another stream in between.

=head2 is_blocking

    my $waits = $stream->is_blocking;

Whether a write waits for a slow client: true unless the server says C<psgi.nonblocking>.

=head2 is_full

    my $full = $stream->is_full;

Whether the client's socket takes nothing for now; false where the server shows none.

=head2 is_open

    my $open = $stream->is_open;

False once the stream was closed or its client is seen to have left.

=head2 is_there

    my $there = $stream->is_there;

The same, but true while something is still to be handed on.

=head2 enter_handler, leave_handler, settle

As L<EventSource::Stream::Native/METHODS>; but whether a write waits is the server's affair.

=head2 on_close

    $stream->on_close(sub { my ($stream, $why) = @_; ... });
    $stream->on_close($callback, $holder, \%fields);

As L<EventSource::Stream::Native/on_close>: has a callback called once when the stream has ended, by L<EventSource::XS/dispatch>. C<$why> is C<client>,
C<application>, C<error> if a L</write> died, or what L</close> was given.

=head2 refuse

    $stream->refuse;

Tells the client when to come back, between one and two times the setting C<retry> or two seconds, and ends the stream.

=head2 settings

    my $settings = $stream->settings;

What it was made with: a reference to a hash.

=head2 socket

    my $socket = $stream->socket;

A handle of the client's socket, only to be looked at; undef where the server shows none.

=head2 write

    my $taken = $stream->write($bytes);

Hands bytes to the server. False, and never an exception, if the client has left.

If it is still there, dies of what the application has caused meanwhile, as a C<$SIG{ALRM}> that dies or a filter of the
body does, and ends the stream, for part of C<$bytes> may have been sent.

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut

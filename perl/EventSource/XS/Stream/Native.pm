package EventSource::XS::Stream::Native;
use strict;
use warnings;

# A client's open response, written by the reactor's thread of this process. Most of its methods are in src/xs.
#
# Methods and functions that src/xs defines and whose names begin with an underscore, such as _attach here or
# EventSource::XS::_duplicate, are the interface between the modules of this distribution and its library. Modules of this
# distribution may call them across packages; applications must not.

our $VERSION = '0.100';

use EventSource::Error;
use EventSource::XS ();
use EventSource::XS::Loop;
use Scalar::Util qw(weaken);
use Time::HiRes  qw(CLOCK_MONOTONIC clock_gettime);

# The callbacks of on_close by the stream's name: the stream, then three values for each callback.
my %ON_CLOSE;

# The reasons of streams that end with another process, by the stream's name: code that returns the reason.
my %REASON_OF;

# Callbacks that belong to the parent process.
my @forgotten;

# One shared array [class] per holder class, for holders without fields. It saves an array per stream.
my %KIND;

# The perl interpreter that the reactor reports ends to, until it is destroyed; and the process in which the event
# loop watches the notification descriptor.
my $interpreter =
    bless \(my $number = EventSource::XS->can('_new_interpreter') ? EventSource::XS::_new_interpreter() : 0),
    'EventSource::XS::Stream::Native::Interpreter';
my $watched = 0;
my $watch;

# Milliseconds to wait for the end of a stream that a handler has closed, before the handler's request is over.
my $END_TIMEOUT = 100;

# Seconds that one system call waits at most: ever, and without a notification descriptor.
my ($LONGEST_WAIT, $CHECK_INTERVAL) = (86_400, 0.1);

# A new thread is notified of the streams that it opens. All others stay with the thread that it was cloned from.
sub CLONE {
    $$interpreter = EventSource::XS::_new_interpreter() if EventSource::XS->can('_new_interpreter');
    $watched      = 0;
    %ON_CLOSE     = ();
    %REASON_OF    = ();
    return;
}

# Ends the streams of this process and runs their callbacks, before global destruction frees what the callbacks may use.
END {
    local ($?, $!, $@);
    EventSource::XS::_finish()              if EventSource::XS->can('_finish');
    EventSource::XS::Stream::Relay->finish  if $INC{'EventSource/XS/Stream/Relay.pm'};
    EventSource::XS::Stream::Writer->finish if $INC{'EventSource/XS/Stream/Writer.pm'};
    __PACKAGE__->collect                    if EventSource::XS->can('_next_end');
    EventSource::XS->dispatch               if EventSource::XS->has_later_here;
    EventSource::XS->tell_losses;
}

# Public methods

sub close {
    my ($self, $reason) = @_;
    $self->_close(defined $reason ? $reason : 'application');
    return;
}

sub collect {
    my $count = 0;
    while (my ($name, $reason) = EventSource::XS::_next_end($$interpreter)) { $count += _queue($name, $reason) }
    return $count;
}

# A child calls this for a stream of its parent. What the callbacks hold is not freed: destructors are the parent's.
sub forget_callbacks {
    my $self = shift;
    push @forgotten, delete $ON_CLOSE{$self->_name};
    return;
}

# The callbacks run when the other stream, the leash, has ended.
sub hand_over {
    my ($self, $leash, $reason) = @_;
    if ($leash) {
        my $name = $leash->_name;
        $ON_CLOSE{$name}  = delete $ON_CLOSE{$self->_name} || [$self];
        $REASON_OF{$name} = $reason;
        $self->watch;
        _queue($name, 'error') if defined $leash->_want_end;
    }
    $self->_hand_over;
    return;
}

sub interpreter { return $interpreter }

sub is_native { return !!1 }

sub needs_serving { return !!0 }

# The reactor sends this thread a signal while collect has something to do.
sub notify_by_signal {
    my ($class, $number) = @_;
    EventSource::XS::_set_end_signal($number, $$interpreter);
    return;
}

# The descriptor is readable while collect has something to do.
sub notify_number { return EventSource::XS::_notify_descriptor($$interpreter) }

sub on_close {
    my ($self, $callback, $holder, $same) = @_;
    my $reason = $self->_want_end;
    if (defined $reason) { EventSource::XS->later_here($callback, $holder || $self, $reason) }
    else {
        my $waiting = $ON_CLOSE{$self->_name} ||= [$self];
        my $class   = ref $holder;
        push @$waiting, $callback, $holder, $same ? [$class, $same] : ($KIND{$class} ||= [$class]);
        weaken $waiting->[-2] if $holder;
        $self->watch          if !$self->is_blocking;
    }
    return;
}

sub open {
    my $class = shift;
    my ($stream, $error) = $class->try_open(@_);
    EventSource::Error->throw(code => 'unavailable', message => $error) if !$stream;
    return $stream;
}

# The settings as the library reads them. They are the same for all streams of an application.
sub native_settings {
    my ($class, %setting) = @_;
    my $retry = $setting{retry};
    return {
        keepalive    => $setting{keepalive} || 0,
        timeout      => $setting{timeout},
        retry        => !defined $retry ? 2000 : ref $retry ? $retry->[0] : $retry,
        max_buffered => $setting{max_buffered},
        max_streams  => $setting{max_streams} || 0,
        drops_oldest => $setting{on_full} eq 'drop_oldest',
        waits        => $setting{on_full} eq 'block',
        may_wait     => $setting{has_handler},
        is_lf        => ($setting{line_end} || '') eq 'lf',
    };
}

# Opens the stream of a response that EventSource::XS::Stream::Takeover has captured.
sub open_captured {
    my ($class, $capture, $probe, $setting, $opening, $is_loop, $takes_chunks) = @_;
    my $native = $class->shared_settings($setting);
    return $capture->_open($class, $$interpreter, $native, $opening, $is_loop, $takes_chunks, $probe);
}

# Opens the stream of a response whose head the server sends, in an event loop. Its socket is attached later.
sub open_without_socket {
    my ($class, $setting, $opening, $is_chunked) = @_;
    my $native = $class->shared_settings($setting);
    my ($self, $error) = $class->_open(-1, '', $$interpreter, $native, $opening, 1, $is_chunked);
    return $self ? $self : (undef, "EventSource::XS::Stream::Native: $error");
}

# Makes the settings for the library at the first stream of an application, and keeps them with the others.
sub shared_settings {
    my ($class, $setting) = @_;
    return $setting->{native_settings} if $setting->{native_settings};
    EventSource::XS::_linger($setting->{linger});
    return $setting->{native_settings} = $class->native_settings(%$setting);
}

# As soon as the library has taken the descriptor, the caller's variable is undefined: $_[1] is the variable itself.
sub try_open {
    my ($class, undef, $head, %setting) = @_;
    my $native = $setting{native_settings} || $class->native_settings(%setting);
    my ($self, $error) =
        $class->_open($_[1], $head, $$interpreter, $native, @setting{qw(opening is_loop is_chunked)});
    return (undef, "EventSource::XS::Stream::Native: $error") if !$self;
    EventSource::XS::_linger($setting{linger});
    return $self;
}

# The notification descriptor becomes readable when this stream or another one has ended.
sub wait {
    my ($self, $handle, $seconds) = @_;
    my $until  = defined $seconds ? clock_gettime(CLOCK_MONOTONIC) + $seconds : undef;
    my $notify = eval { EventSource::XS->notify_fd };
    my $limit  = defined $notify ? $LONGEST_WAIT  : $CHECK_INTERVAL;
    my $number = defined $handle ? fileno $handle : undef;
    my $bits   = '';
    vec($bits, $_, 1) = 1 for grep { defined } $notify, $number;
    $self->_want_end;    # from now on its end makes the descriptor readable

    while ($self->is_open) {
        my $left      = defined $until ? $until - clock_gettime(CLOCK_MONOTONIC) : $LONGEST_WAIT;
        my $count     = select my $ready = $bits, undef, undef, _at_least_0($left, $limit);
        my $is_closed = $count < 0 && $!{EBADF};    # a handler of a signal or a callback has closed the handle
        $ready = '' if $count < 0;                  # otherwise it was a signal
        EventSource::XS->dispatch if defined $notify && vec $ready, $notify, 1;
        last                      if !$self->is_open;
        return 'readable'         if $is_closed || defined $number && vec $ready, $number, 1;
        return 'timeout'          if $left <= 0;
    }
    return 'gone';
}

# The handler has returned. If it has closed the stream, the callbacks can mostly run now.
sub wait_for_end_briefly {
    my $self = shift;
    $self->_wait_for_end($END_TIMEOUT) if !$self->is_open && $ON_CLOSE{$self->_name};
    return;
}

# Watches for ended streams in the event loop, which then calls dispatch. If there is no event loop yet, or no
# descriptor, the next stream tries again.
sub watch {
    _watch() if $watched != $$;
    return;
}

# Private functions

# The smaller of two numbers of seconds, which must not be negative.
sub _at_least_0 {
    my ($one, $other) = @_;
    my $smaller = $one < $other ? $one : $other;
    return $smaller < 0 ? 0 : $smaller;
}

# Queues the callbacks of a stream that has ended. Returns their number.
sub _queue {
    my ($name, $reason) = @_;
    my $waiting = delete $ON_CLOSE{$name} or return 0;
    my $stream  = shift @$waiting;
    my $count   = @$waiting / 3;
    $reason = (delete $REASON_OF{$name})->() if $REASON_OF{$name};
    while (my ($callback, $holder, $kind) = splice @$waiting, 0, 3) {
        EventSource::XS->later_here($callback, $holder || _stand_in_for_holder($stream, $kind), $reason);
    }
    return $count;
}

# Returns the argument of a callback whose holder has been freed: the stream itself, or an object of the holder's class.
sub _stand_in_for_holder {
    my ($stream, $kind) = @_;
    my ($class,  $same) = @$kind;
    return $class ? $class->closed($stream, $same) : $stream;
}

sub _watch {
    local $@;
    my $number = eval { EventSource::XS->notify_fd };
    return if !defined $number;
    my $loop = EventSource::XS::Loop->current or return;
    $watch   = $loop->readable($number, sub { EventSource::XS->dispatch });
    $watched = $$;
    return;
}

sub EventSource::XS::Stream::Native::Interpreter::DESTROY {
    my $self = shift;
    EventSource::XS::_remove_interpreter($$self) if EventSource::XS->can('_remove_interpreter');
    return;
}

1;
__END__

=encoding utf8

=head1 NAME

EventSource::XS::Stream::Native - A stream that holds no worker

=head1 SYNOPSIS

    use EventSource::XS::Stream;

    my %streams;
    my $app = sub {
        my $env = shift;
        return sub {
            my $respond = shift;
            my $stream  = EventSource::XS::Stream->open($env, $respond, [200, ['Content-Type' => 'text/event-stream']], '');
            $streams{$stream} = $stream;
            $stream->on_close(sub { my ($stream, $reason) = @_; delete $streams{$stream} });
        };
    };
    $_->write("data: to all\n\n") for values %streams;

=head1 DESCRIPTION

One client's open response, taken over from the server. The reactor, a thread of this process, writes to the client and
sees when the client disconnects. The worker continues with other requests. A process has one such thread, started by
its first stream. The thread runs no Perl code and no signal handler, and sleeps when there is nothing to do.

What a write has taken is sent in order and in whole events, unless the stream ends before. Then it is counted as lost
(L<EventSource::XS/stats>), and L</on_close> reports the reason.

When the process ends in a way that runs C<END> blocks (exit, the end of the program, an uncaught exception, a signal
that the server handles), each client is sent a C<retry> of its own, the buffers are sent, and the streams end one
after the other, all within the time of L<Plack::App::EventSource/linger>. Then the callbacks of L</on_close> run.
uWSGI runs no C<END> blocks: there a handler of the C library's C<exit> does the same, without the callbacks. A signal
that ends the process at once, C<POSIX::_exit> and C<exec> lose the buffers.

A forked child may continue a stream that it has inherited. Its first write makes the stream the child's, and starts a
thread in the child. On a server that blocks, a fork waits up to two seconds until the events of the running handler are
sent. If a stream had unsent bytes at the fork, the child cannot continue it: its write returns false. Only one of the
two processes may write. When the parent releases its handle, the connection stays the child's.

=head1 METHODS

=head2 buffered

    my $bytes = $stream->buffered;

Return the number of bytes that are buffered for the client: heads, comments and framing included.

=head2 close

    $stream->close;
    $stream->close($reason);

End the stream when its buffer is sent. C<$reason> is the reason that L</on_close> reports, C<application> by default.
Croaks if it is not one of those reasons.

=head2 collect

    my $count = EventSource::XS::Stream::Native->collect;

Queue the callbacks of streams that have ended for L<EventSource::XS/dispatch>, which calls this first. Returns their
number.

=head2 default_max_streams

    my $count = EventSource::XS::Stream::Native::default_max_streams();

Return how many streams a process may hold by default: its soft limit of descriptors, less 256 or a quarter of the
limit, whichever is less.

=head2 drop

    $stream->drop;

Release the stream: the application does not hold it any more. Where the server blocks, it ends when its buffer is sent,
unless a forked child may still use it. Under an event loop nothing changes.

=head2 enter_handler

    $stream->enter_handler;

Say that the handler begins to run: its subscriptions take effect when it returns or pushes
(L<EventSource::Hub/subscribe>).

=head2 forget_callbacks

    $stream->forget_callbacks;

In a child: leave the callbacks of L</on_close> to the parent.

=head2 hand_over

    $stream->hand_over($leash, sub { return $reason });

Give the stream to a forked child: here it has ended, and the connection stays open. Its callbacks run when another
native stream of this process, C<$leash>, has ended, with the reason that the code returns.

=head2 interpreter

    my $interpreter = EventSource::XS::Stream::Native->interpreter;

Return a reference to the number of the perl interpreter that the reactor reports ends to. A new thread has a number of its
own.

=head2 end_with_retry

    $stream->end_with_retry;

Send the client a reconnection time, and end the stream with the reason C<server>.

=head2 is_attached

    my $is_attached = $stream->is_attached;

Return true if the stream has got its descriptor.

=head2 is_blocking

    my $blocks = $stream->is_blocking;

Return true if the stream was opened under a server that blocks, and so ends with its handle.

=head2 is_handed_over

    my $outlives = $stream->is_handed_over;

Return true if the stream lives in the process of a hub (L<EventSource::Hub/name>), and so outlives this one.

=head2 is_lf

    my $is_lf = $stream->is_lf;

Return true if the lines of the stream end in LF, false if they end in CRLF (L<Plack::App::EventSource/line_end>).

=head2 is_native

Return true.

=head2 is_open

    my $open = $stream->is_open;

Return true until the stream was closed or its client has disconnected. Makes no system call.

=head2 is_subscribed

    my $is_subscribed = $stream->is_subscribed;

Return true if the stream has subscriptions to a hub. A client must then be able to resume with the ids of its events.

=head2 leave_handler

    $stream->leave_handler;

Say that the handler has returned: from now on no write waits for the client, and the handler's subscriptions take
effect.

=head2 native_settings

    my $native = EventSource::XS::Stream::Native->native_settings(%settings);

Return the settings in the form in which the library reads them, for all streams of an application.

=head2 needs_serving

Return false: the reactor sends to the stream, whatever its handler does.

=head2 notify_by_signal

    EventSource::XS::Stream::Native->notify_by_signal($number);

Have this thread sent a signal, whose handler is installed, while streams have ended that L</collect> has not queued.
0 ends that. For L<EventSource::XS/notify_signal>.

=head2 notify_number

    my $number = EventSource::XS::Stream::Native->notify_number;

Return the descriptor of L<EventSource::XS/notify_fd>. Returns C<undef> and sets C<$!> if there is none.

=head2 on_close

    $stream->on_close(sub { my ($stream, $reason) = @_; ... });
    $stream->on_close($callback, $holder, \%fields);

Have a callback called once by L<EventSource::XS/dispatch> when the stream has ended. It is given the stream, or the
C<$holder> if there is one. The holder is not kept alive for it; if it has been freed, the callback is given what the
method C<closed> of its class returns for the stream and the fields. C<$reason> is C<client> (the client has
disconnected), C<slow> (C<max_buffered> was exceeded), C<timeout> (the client read or acknowledged nothing for too
long), C<error>, C<server> (the process ends, or holds as many streams as it may) or C<application>.

=head2 open

    my $stream = EventSource::XS::Stream::Native->open($number, $head, %settings);

Open a stream on a descriptor, which belongs to the stream from then on; -1 for a descriptor that comes later.
C<$head> is sent first. The settings are those of L<EventSource::XS::Stream/open>, which calls this. Throws an
L<EventSource::Error> with the code C<unavailable> if there is no memory, descriptor or thread for it; then the
descriptor is unchanged. When the stream has taken the descriptor, C<$number> is undefined, even if this dies later,
of a signal's handler.

=head2 open_captured

    my ($stream, $obstacle) = EventSource::XS::Stream::Native->open_captured(
        $takeover, $probe, \%settings, $opening, $is_loop, $takes_chunks);

Open the stream of a response whose server has written its head and C<$probe> to an L<EventSource::XS::Stream::Takeover>.
C<$opening> are the first bytes of the body. C<$is_loop> is true under an event loop, and C<$takes_chunks> if the client
takes chunks. Returns C<undef> and the obstacle if something filters the body, or if the
system refuses.

=head2 open_without_socket

    my ($stream, $error) = EventSource::XS::Stream::Native->open_without_socket(\%settings, $opening, $is_chunked);

Open a stream under an event loop before the server has sent its head. What is pushed is buffered until the stream is
attached to its socket. C<$opening> are the first bytes of the body. Returns C<undef> and the error as text if the system
refuses.

=head2 shared_settings

    my $native = EventSource::XS::Stream::Native->shared_settings(\%settings);

Return L</native_settings>, which it makes once and keeps in C<%settings>. From then on the end of the process waits as
long as C<linger> says.

=head2 try_open

    my ($stream, $error) = EventSource::XS::Stream::Native->try_open($number, $head, %settings);

Open a stream as L</open> does, but return C<undef> and the error as text if the system refuses. Rethrows any other
exception, such as one that a signal's handler throws meanwhile.

=head2 wait

    my $what = $stream->wait($handle, $seconds);

Wait as L<Plack::App::EventSource::Connection/wait> does.

=head2 wait_for_end_briefly

    $stream->wait_for_end_briefly;

Wait 100 milliseconds at most for the end of a stream that was closed and has callbacks, so that
L<EventSource::XS/dispatch> may run them now.

=head2 watch

    EventSource::XS::Stream::Native->watch;

Have the event loop call L<EventSource::XS/dispatch> when streams have ended. Does nothing if there is no event loop yet.

=head2 write

    my $taken = $stream->write($bytes);

Take bytes, one event, to be sent. Returns true if they were taken. Returns false, and never dies, if the stream has
ended or ends now because its buffer is full. In a handler on a server that blocks it may wait for the client instead
(L<Plack::App::EventSource/on_full>); signal handlers run meanwhile, and if one dies, nothing of this event is sent.
Croaks if it is given anything but bytes.

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut

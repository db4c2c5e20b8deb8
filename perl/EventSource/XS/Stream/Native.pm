package EventSource::XS::Stream::Native;
use strict;
use warnings;

# A client's open response, written by the reactor's thread of this process. Most of its methods are in src/xs.
#
# Methods and functions that src/xs defines and whose names begin with an underscore, such as _attach here or
# EventSource::XS::_duplicate, are the interface between the modules of this distribution and its library. Modules of this
# distribution may call them across packages; applications must not.

use EventSource::Error;
use EventSource::XS::Library;
use EventSource::XS::Loop;
use EventSource::XS::Stream::CloseCallbacks;
use EventSource::XS::Stream::Obstacle;
use IO::Poll    qw(POLLIN);
use List::Util  qw(max min);
use Time::HiRes qw(CLOCK_MONOTONIC clock_gettime);

# The streams of this thread whose ends callbacks wait for, by the names under which the reactor reports ends: mostly the
# stream's own, or that of a leash, another stream that ends with what has taken the stream over.
#
# A name ends with the slot of its stream, and an array of slots is smaller than a hash. If a slot has another stream already,
# as it may in a forked child, or if a leash ends, the stream stands under its whole name.
my (@IN_SLOT, %BY_NAME);

# Code that returns the reason of an end by the name of a leash.
my %REASON_OF;

# Callbacks that belong to the parent process.
my @forgotten;

# The perl interpreter that the reactor reports ends to, until it is destroyed; and the process in which the event
# loop watches the notification descriptor.
my $interpreter = bless \(my $number = EventSource::XS::_new_interpreter()),
    'EventSource::XS::Stream::Native::Interpreter';
my $watched = 0;
my $watch;

# A comment that shows what the server does to the body, for a takeover. It has letters of both cases, because a filter may
# change one.
my %PROBE = (crlf => ": Probe\r\n", lf => ": Probe\n");

# Milliseconds to wait for the end of a stream that a handler has closed, before the handler's request is over.
my $END_TIMEOUT = 100;

# On Linux this bit says that the client has closed its side, whatever it sent before. IO::Poll has no name for it.
my $POLLRDHUP = $^O eq 'linux' ? 0x2000 : undef;

# Seconds that one system call waits at most: ever, where the end of the stream cannot be waited for, and in a handler that
# occupies its worker.
my ($LONGEST_WAIT, $CHECK_INTERVAL, $LOOK_INTERVAL) = (86_400, 0.5, 1);

# A new thread is notified of the streams that it opens. The others stay with their thread.
sub CLONE {
    @IN_SLOT      = %BY_NAME = %REASON_OF = ();
    $$interpreter = EventSource::XS::_new_interpreter();
    $watched      = 0;
    return;
}

# Before global destruction frees what the callbacks may use.
END {
    local ($?, $!, $@);
    __PACKAGE__->end_all;
}

# Public methods

# The callbacks that a stream of Stream::Writer had become those of its relay, which has just been opened.
sub add_callbacks {
    my ($self, $pairs) = @_;
    return if !@$pairs;
    $self->_keep_callbacks($pairs);
    _await_end($self);
    $self->watch                  if !$self->is_blocking;
    _queue($self->_name, 'error') if defined $self->_want_end;
    return;
}

# End the stream when its buffer is sent. $reason is the reason that on_close reports, application by default. Croaks if it
# is not one of those reasons.
sub close {
    my ($self, $reason) = @_;
    $self->_close(defined $reason ? $reason : 'application');
    return;
}

# Queue the callbacks of streams that have ended for EventSource::XS::dispatch, which calls this first. Returns their
# number.
sub collect {
    my $count = 0;
    while (my ($name, $reason) = EventSource::XS::_next_end($$interpreter)) { $count += _queue($name, $reason) }
    return $count;
}

# End the streams of this process, which is to end, and run their callbacks.
sub end_all {
    EventSource::XS::_finish();
    EventSource::XS::Stream::Relay->copy_all_at_once if $INC{'EventSource/XS/Stream/Relay.pm'};
    EventSource::XS::Stream::Writer->end_all         if $INC{'EventSource/XS/Stream/Writer.pm'};
    __PACKAGE__->collect                             if EventSource::XS->can('_next_end');
    EventSource::XS->dispatch                        if EventSource::XS->has_later_here;
    EventSource::XS->tell_losses;
    return;
}

# A child calls this for a stream of its parent. What the callbacks keep is not freed: destructors are the parent's.
sub forget_callbacks {
    my $self = shift;
    _take_awaited($self->_name);
    push @forgotten, EventSource::XS::Stream::CloseCallbacks::forget($self);
    return;
}

# The callbacks run when the other stream, the leash, has ended, for the reason that the code returns then.
sub hand_over {
    my ($self, $leash, $reason) = @_;
    if ($leash) {
        my $name = $leash->_name;
        _take_awaited($self->_name);
        $BY_NAME{$name}   = $self;
        $REASON_OF{$name} = $reason;
        $self->watch;
        _queue($name, 'error') if defined $leash->_want_end;
    }
    $self->_hand_over;
    return;
}

sub interpreter { return $interpreter }

sub is_native { return !!1 }

# A holder of a callback of on_close is being freed.
*keep_attributes = \&EventSource::XS::Stream::CloseCallbacks::keep_attributes_of_stream;

# The reactor sends this thread a signal while collect has something to do.
sub notify_by_signal {
    my ($class, $number) = @_;
    EventSource::XS::_set_end_signal($number, $$interpreter);
    return;
}

# The descriptor is readable while collect has something to do.
sub notify_number {
    return defined &EventSource::XS::_notify_descriptor ? EventSource::XS::_notify_descriptor($$interpreter) : undef;
}

# Calls a callback once, by EventSource::XS::dispatch, when the stream has ended. It is given the stream, or the $holder if
# there is one (EventSource::XS::Stream::CloseCallbacks), and the reason: client (the client has disconnected), slow
# (max_buffered was exceeded), timeout (the client read or acknowledged nothing for too long), error, server (the process
# ends, or has as many streams as it may) or application.
sub on_close {
    my ($self, $callback, $holder) = @_;
    my $reason = $self->_want_end;
    if (defined $reason) {
        my $given = EventSource::XS::Stream::CloseCallbacks::given($holder || 0, $self);
        EventSource::XS->later_here($callback, $given, $reason);
    }
    else {
        _await_end($self) if !$self->_callbacks;
        EventSource::XS::Stream::CloseCallbacks::add_to_stream($self, $callback, $holder);
        $self->watch if !$self->is_blocking;
    }
    return;
}

# Open a stream on a descriptor, which belongs to the stream from then on; -1 for a descriptor that comes later. $head is
# sent first. The settings are those of Stream::open, which calls this. Throws an EventSource::Error with the code
# unavailable if there is no memory, descriptor or thread for it; then the descriptor is unchanged.
sub open {
    my $class = shift;
    my ($stream, $error) = $class->try_open(@_);
    EventSource::Error->throw(code => 'unavailable', message => $error) if !$stream;
    return $stream;
}

# The least and the greatest reconnection time, in milliseconds, that the setting retry stands for; without it they are those of
# 2 s. Clients whose streams end together get different ones, so one number stands for up to a fifth more.
sub range_of_retry {
    my $retry = shift // 2000;
    return ref $retry ? @$retry : ($retry, $retry + int $retry / 5);
}

# The field that tells a client when to come back: a random time, so that not all come at once.
sub retry_field {
    my ($least) = range_of_retry(shift);
    return "retry: " . ($least + int rand $least + 1);
}

# The settings as the library takes them, and those that a passport has (EventSource::XS::Hub::Ticket). They are made at the
# first stream of an application, and kept with the others.
sub shared_settings {
    my ($class, $setting) = @_;
    return $setting->{native_settings} if $setting->{native_settings};
    EventSource::XS::_linger($setting->{linger});
    my ($on_full, $line_end) = ($setting->{on_full}, $setting->{line_end} // 'crlf');
    my ($retry) = range_of_retry($setting->{retry});
    my %native = (
        keepalive    => $setting->{keepalive} || 0,
        timeout      => $setting->{timeout},
        retry        => $retry,
        max_buffered => $setting->{max_buffered},
        drops_oldest => $on_full eq 'drop_oldest',
        probe        => $PROBE{$line_end},
    );
    my @numbers = (
        @native{qw(keepalive timeout)},
        $retry / 1000,
        $setting->{handler_limit} || 0,
        $native{max_buffered}, map { $_ || 0 } @$setting{qw(max_streams coding_number)}
    );
    my @flags = ($native{drops_oldest}, $line_end eq 'lf', $on_full eq 'block', $setting->{has_handler});
    return $setting->{native_settings} = {%native, made => _settings(@numbers, @flags)};
}

# As soon as the library has taken the descriptor, the caller's variable is undefined: $_[1] is the variable itself.
sub try_open {
    my ($class, undef, $head, %setting) = @_;
    my @settings = ($class->shared_settings(\%setting), @setting{qw(opening is_loop is_chunked)});
    my ($self, $error) = $class->_open($_[1], $head, $$interpreter, @settings);
    return $self || (undef, EventSource::XS::Stream::Obstacle->new(limit => "EventSource::XS::Stream::Native: $error"));
}

# Waits for a handle, for the end of this stream, and for ends of others, whose callbacks run then. The end of a native stream
# makes the notification descriptor readable. Stream::Writer has this method, too: there the client's socket shows the end. A
# handler that occupies its worker looks now and then whether that is to end.
sub wait {
    my ($self, $handle, $seconds) = @_;
    my $until  = defined $seconds ? clock_gettime(CLOCK_MONOTONIC) + $seconds : undef;
    my $number = EventSource::XS::Stream::Native->notify_number;
    my $client = $self->is_native ? undef : $POLLRDHUP && $self->socket;
    my $ends;
    undef $ends if !defined $number || !CORE::open($ends, '<&', $number);
    my $limit = defined($self->is_native ? $ends : $client) ? $LONGEST_WAIT : $CHECK_INTERVAL;
    $limit = min($limit, $LOOK_INTERVAL) if $EventSource::XS::Stream::BusyWorker::running;
    my $poll = IO::Poll->new;
    $poll->mask(@$_) for grep { defined $_->[0] } [$handle, POLLIN], [$client, $POLLRDHUP], [$ends, POLLIN];
    $self->_want_end;    # from now on its end makes the descriptor readable

    while ($self->is_open) {
        my $left  = defined $until ? $until - clock_gettime(CLOCK_MONOTONIC) : $LONGEST_WAIT;
        my $count = $poll->poll(max(0, min $left, $limit));
        EventSource::XS->dispatch if $ends && $count > 0 && $poll->events($ends);
        last                      if !$self->is_open;
        return 'readable'         if $handle && (!defined fileno $handle || $count > 0 && $poll->events($handle));
        return 'timeout'          if $left <= 0;
        last if $EventSource::XS::Stream::BusyWorker::running && EventSource::XS::Stream::BusyWorker->is_over;
    }
    return 'gone';
}

# The handler has returned. If it has closed the stream, the callbacks can mostly run now.
sub wait_for_end_briefly {
    my $self = shift;
    $self->_wait_for_end($END_TIMEOUT) if !$self->is_open && $self->_callbacks;
    return;
}

# Watches for ended streams in the event loop, which then calls dispatch. If there is no event loop yet, or no
# descriptor, the next stream tries again.
sub watch {
    return if $watched == $$;
    local $@;
    my $number = __PACKAGE__->notify_number;
    return if !defined $number;
    my $loop = EventSource::XS::Loop->current or return;
    $watch   = $loop->readable($number, sub { EventSource::XS->dispatch }) or return;
    $watched = $$;
    return;
}

# Private functions

sub _await_end {
    my $stream = shift;
    my $name   = $stream->_name;
    my $slot   = _slot_of($name);
    if   ($IN_SLOT[$slot]) { $BY_NAME{$name} = $stream }
    else                   { $IN_SLOT[$slot] = $stream }
    return;
}

# Forgets the stream that ends under a name. Returns it, and the code for the reason if there is one; nothing if nobody waits.
sub _take_awaited {
    my $name   = shift;
    my $slot   = _slot_of($name);
    my $is_own = $IN_SLOT[$slot] && $IN_SLOT[$slot]->_name eq $name;
    my $stream = $is_own ? delete $IN_SLOT[$slot] : delete $BY_NAME{$name};
    my $reason = delete $REASON_OF{$name};
    return $stream ? ($stream, $reason) : ();
}

sub _slot_of { return ($_[0] =~ /([0-9]+)\z/)[0] }

# Queues the callbacks of a stream that has ended. Returns their number.
sub _queue {
    my ($name,   $reason)    = @_;
    my ($stream, $reason_of) = _take_awaited($name) or return 0;
    my @callbacks = EventSource::XS::Stream::CloseCallbacks::take_from_stream($stream);
    $reason = $reason_of ? $reason_of->() : $stream->_want_end;
    EventSource::XS->later_here(@$_, $reason) for @callbacks;
    return scalar @callbacks;
}

sub EventSource::XS::Stream::Native::Interpreter::DESTROY {
    my $self = shift;
    EventSource::XS::_remove_interpreter($$self);
    return;
}

1;

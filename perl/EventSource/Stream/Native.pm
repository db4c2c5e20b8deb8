package EventSource::Stream::Native;
use strict;
use warnings;

# A client's open response, written by the reactor's thread of this process. Most of its methods are in src/xs.

our $VERSION = '0.100';

use EventSource::Loop;
use EventSource::XS ();
use Scalar::Util    qw(weaken);

# What is to be called when streams end, by their names: the stream, then for each callback what it was asked with.
my %ON_CLOSE;

# Of which class who asked was; mostly there is nothing more to remember, and all share one.
my %KIND;

# Who is told, until it is gone, and of which process the event loop watches our descriptor.
my $interpreter =
    bless \(my $number = EventSource::XS->can('_new_interpreter') ? EventSource::XS::_new_interpreter() : 0),
    'EventSource::Stream::Native::Interpreter';
my $watched = 0;
my $watch;

# Milliseconds for a stream that a handler has ended to be sent to its end, before the handler's request is over.
my $SETTLE = 100;

# A new thread is told of the streams that it opens; the others are those of the thread that it was made from.
sub CLONE {
    $$interpreter = EventSource::XS::_new_interpreter() if EventSource::XS->can('_new_interpreter');
    $watched      = 0;
    %ON_CLOSE     = ();
    return;
}

# The streams of this process end, and those who asked are told, while all that they may need is there.
END {
    local ($?, $!, $@);
    EventSource::XS::_finish()          if EventSource::XS->can('_finish');
    EventSource::Stream::Relay->finish  if $INC{'EventSource/Stream/Relay.pm'};
    EventSource::Stream::Writer->finish if $INC{'EventSource/Stream/Writer.pm'};
    __PACKAGE__->collect                if EventSource::XS->can('_next_end');
    EventSource::XS->dispatch           if EventSource::XS->_waits_here;
}

# Public methods

# What has ended since it was asked last, as callbacks that wait for dispatch. Returns how many.
sub collect {
    my $count = 0;
    while (my ($name, $why) = EventSource::XS::_next_end($$interpreter)) {
        my $waiting = delete $ON_CLOSE{$name} or next;
        my $stream  = shift @$waiting;
        while (my ($callback, $holder, $kind) = splice @$waiting, 0, 3) {
            EventSource::XS->_later_here($callback, $holder || _like_holder($stream, $kind), $why);
            $count++;
        }
    }
    return $count;
}

sub close {
    my ($self, $why) = @_;
    $self->_close(defined $why ? $why : 'application');
    return;
}

sub is_native { return !!1 }

sub on_close {
    my ($self, $callback, $holder, $same) = @_;
    my $why = $self->_want_end;
    if (defined $why) { EventSource::XS->_later_here($callback, $holder || $self, $why) }
    else {
        my $waiting = $ON_CLOSE{$self->_name} ||= [$self];
        my $class   = ref $holder;
        push @$waiting, $callback, $holder, $same ? [$class, $same] : ($KIND{$class} ||= [$class]);
        weaken $waiting->[-2] if $holder;
        _watch()              if !$self->is_blocking && $watched != $$;
    }
    return;
}

# A descriptor that is readable while collect has something to do; undef, with $!, if there is none.
sub notify_number { return EventSource::XS::_notify_descriptor($$interpreter) }

# The handler is done with the stream. If it has ended it, what waits for that end can mostly be told at once.
sub settle {
    my $self = shift;
    $self->_wait_for_end($SETTLE) if $ON_CLOSE{$self->_name} && !$self->is_open;
    return;
}

# Opens a stream on a descriptor, which is its own from here on; -1 for one that comes later. Dies if it cannot. As soon
# as the descriptor has been taken the caller's variable is undefined.
sub open {
    my ($class, undef, $head, %setting) = @_;
    my $is_loop = $setting{is_loop};
    my $on_full = $setting{on_full};
    my $opening = $setting{opening};
    $opening = sprintf "%x\r\n%s\r\n", length $opening, $opening if $setting{is_chunked} && length $opening;
    my $self = $class->_open(
        $_[1],
        $head . $opening,
        $$interpreter,
        {
            keepalive => $setting{keepalive} || 0,
            timeout   => $setting{timeout},
            come_back => defined $setting{retry} ? (ref $setting{retry} ? $setting{retry}[0] : $setting{retry}) : 2000,
            max_buffered     => $setting{max_buffered},
            max_streams      => $setting{max_streams} || default_max_streams(),
            is_chunked       => $setting{is_chunked},
            drops_oldest     => $on_full eq 'drop_oldest',
            waits            => $on_full eq 'block' && !$is_loop,
            ends_with_handle => !$is_loop,
        }
    );
    EventSource::XS::_linger($setting{linger});
    return $self;
}

# As open, but returns undef and the reason if the system refuses. It still dies of an exception that is not open's own:
# the handler of a signal may have thrown it.
sub try_open {
    my $class  = shift;
    my $stream = eval { $class->open(@_) };
    return $stream if $stream;
    my $trouble = $@;
    die $trouble
        if ref $trouble && ref $trouble ne 'EventSource::Error' || $trouble !~ /\AEventSource::Stream::Native: /;
    $trouble =~ s/ at \S+ line [0-9]+(?:, <.*> line [0-9]+)?\.?\n\z//;
    return (undef, $trouble);
}

# The rest is for what accepts connections, for databases and files.
sub default_max_streams {
    my $limit  = EventSource::XS::_descriptor_limit();
    my $others = $limit / 4 < 256 ? int $limit / 4 : 256;
    return $limit - $others;
}

# Private functions

# Who is told of the end if who asked is not there any more: the stream itself, or something of the asker's class.
sub _like_holder {
    my ($stream, $kind) = @_;
    my ($class,  $same) = @$kind;
    return $class ? $class->closed($stream, $same) : $stream;
}

# Has the event loop that runs here call dispatch when a stream has ended. If there is none yet, or no
# descriptor for that, the next stream looks again.
sub _watch {
    local $@;
    my $number = eval { EventSource::XS->notify_fd };
    return if !defined $number;
    my $loop = EventSource::Loop->at_hand or return;
    $watch   = $loop->readable($number, sub { EventSource::XS->dispatch });
    $watched = $$;
    return;
}

sub EventSource::Stream::Native::Interpreter::DESTROY {
    my $self = shift;
    EventSource::XS::_forget_interpreter($$self) if EventSource::XS->can('_forget_interpreter');
    return;
}

1;
__END__

=encoding utf8

=head1 NAME

EventSource::Stream::Native - A stream that holds no worker

=head1 SYNOPSIS

    use EventSource::Stream;

    my %streams;
    my $app = sub {
        my $env = shift;
        return sub {
            my $respond = shift;
            my $stream  = EventSource::Stream->open($env, $respond, [200, ['Content-Type' => 'text/event-stream']], '');
            $streams{$stream} = $stream;
            $stream->on_close(sub { my ($stream, $why) = @_; delete $streams{$stream} });
        };
    };
    $_->write("data: to all\n\n") for values %streams;

=head1 DESCRIPTION

One client's open response, taken over from the server: a thread of this process, the reactor, writes it and sees when
the client leaves. The worker goes on with other requests. There is one such thread in a process, started by its first
stream; it runs no Perl code and no signal handler, and sleeps when there is nothing to do.

What a write has taken is sent in order, whole events only, unless the stream ends before; then it is counted as lost
(L<EventSource::XS/stats>) and L</on_close> says why.

When the process ends in a way that runs C<END> blocks (exit, the end of the program, an uncaught exception, a signal
that the server handles), each client is sent a C<retry> of its own, what waits is sent, and the streams end one after
the other, all within the time that L<Plack::App::EventSource/linger> gives; then L</on_close> is told. uWSGI runs no
C<END> blocks: there a handler of the C library's C<exit> does the same, but nobody is told. A signal that ends the
process at once, and C<POSIX::_exit>, lose what waits; an C<exec> too.

A child that is forked may go on with a stream that it has inherited: its first write makes the stream the child's, with
a thread there. What a running handler has pushed is sent before the fork (within two seconds, where the server blocks).
If some of what another stream had taken was on its way at the fork, the child cannot go on with it: its write returns
false. Only one of the two may write; when the parent lets go of its handle the connection stays the child's.

=head1 METHODS

=head2 open

    my $stream = EventSource::Stream::Native->open($number, $head, %settings);

Opens a stream on a descriptor, which belongs to it from then on; L<EventSource::Stream/open> does so, and its settings
are meant. C<$head> is what is sent first. Dies if there is no memory, descriptor or thread for it; then the descriptor
is as it was. When it has been taken C<$number> is undefined, also if this dies later, of a signal.

=head2 buffered

    my $bytes = $stream->buffered;

How many bytes wait to be sent, heads, comments and framing included.

=head2 close

    $stream->close;
    $stream->close($why);

Ends the stream when all is sent. C<$why> is the reason that L</on_close> is told, C<application> unless given; croaks
if it is none of those.

=head2 collect

    my $count = EventSource::Stream::Native->collect;

Has the callbacks of streams that have ended wait for L<EventSource::XS/dispatch>, which does this first, and returns
how many there were.

=head2 default_max_streams

    my $count = EventSource::Stream::Native::default_max_streams();

How many streams a process may hold unless it is told: its soft limit of descriptors, less 256, or less a quarter of it
if that is fewer.

=head2 drop

    $stream->drop;

The application holds the stream no longer. Where the server blocks it ends when all is sent, unless a forked child may
be going on with it; in an event loop nothing changes.

=head2 follows_hub

    my $follows = $stream->follows_hub;

Whether a hub holds the stream: then its ids have to be such that its client can resume by them.

=head2 is_blocking

    my $blocks = $stream->is_blocking;

Whether the stream was begun under a server that blocks, and so ends with its handle.

=head2 is_native

True.

=head2 is_open

    my $open = $stream->is_open;

False once the stream was closed or its client has left. Costs no system call.

=head2 enter_handler

    $stream->enter_handler;

The handler begins to run: what it subscribes the stream to becomes effective when it returns or pushes
(L<EventSource::Hub/subscribe>).

=head2 leave_handler

    $stream->leave_handler;

The handler has returned: from here on no write waits for the client, and what it has subscribed to begins.

=head2 notify_number

    my $number = EventSource::Stream::Native->notify_number;

What L<EventSource::XS/notify_fd> returns; C<undef>, and C<$!> says why, if there is none.

=head2 on_close

    $stream->on_close(sub { my ($stream, $why) = @_; ... });
    $stream->on_close($callback, $holder, \%fields);

Has a callback called once when the stream has ended, by L<EventSource::XS/dispatch>. It is given the stream or, if there
is a C<$holder>, that object, which is not kept alive for it; if it is gone, what the method C<closed> of its class
returns for the stream and the fields. C<$why> is C<client> (it has
left), C<slow> (more waited than may), C<timeout> (it took or acknowledged nothing for too long), C<error>, C<server>
(the process ends, or holds as many streams as it may) or C<application>.

=head2 settle

    $stream->settle;

Waits a moment, 100 milliseconds at most, for a stream that was closed and has callbacks to be sent to its end, so that
L<EventSource::XS/dispatch> may run them now.

=head2 try_open

    my ($stream, $why) = EventSource::Stream::Native->try_open($number, $head, %settings);

As L</open>, but returns C<undef> and the reason if the system refuses. It dies of any other exception, such as one that
a signal's handler throws meanwhile.

=head2 write

    my $taken = $stream->write($bytes);

Takes bytes, one event, to be sent. True if they were taken, false, and never an exception, if the stream has ended, or
ends now because more would wait than may. In a handler on a server that blocks it may wait for the client instead
(L<Plack::App::EventSource/on_full>); then signals run their handlers, and if one dies nothing of this event is sent.
Croaks if it is given anything but bytes.

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut

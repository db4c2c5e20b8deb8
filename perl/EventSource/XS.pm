package EventSource::XS;
use strict;
use warnings;

# Formats events, runs queued callbacks, counts streams. The native library and the queue are in EventSource/XS/Library.pm.

our $VERSION = '0.100';

use EventSource::XS::Library;
use Exporter qw(import);

our @EXPORT_OK = qw(format_event);

# The counters where there are no native streams, and the reasons for the end of a stream.
my @COUNTED = qw(buffered bytes events longest_delay lost opened refused wakeups);
my @REASONS = qw(client slow timeout error server application);

# Public methods

sub notify_fd {
    require EventSource::XS::Notification;
    return EventSource::XS::Notification->descriptor;
}

sub notify_signal {
    my ($class, $name) = @_;
    require EventSource::XS::Notification;
    EventSource::XS::Notification->send_signal(@_ == 1 ? 'URG' : $name, \&EventSource::XS::_run_callbacks);
    return;
}

sub see_request {
    my ($class, $env) = @_;
    require EventSource::XS::Notification;
    EventSource::XS::Notification->see_request($env);
    return;
}

sub stats {
    my $class  = shift;
    my $stats  = $class->can('_stats')                   ? _stats() : {native => 0, map { ($_ => 0) } @COUNTED};
    my $others = $INC{'EventSource/XS/Stream/Writer.pm'} ? EventSource::XS::Stream::Writer->counted : {};
    $stats->{open} = $stats->{native} + ($others->{open} || 0);
    $stats->{$_}         += $others->{$_}         || 0 for qw(opened refused events bytes);
    $stats->{closed}{$_} += $others->{closed}{$_} || 0 for @REASONS;
    return $stats;
}

1;
__END__

=encoding utf8

=head1 NAME

EventSource::XS - Server-sent events for PSGI applications, native

=head1 SYNOPSIS

    use EventSource::XS qw(format_event);

    my $bytes = format_event(event => 'ping', id => 7, retry => 5000, data => "two\nlines");
    # "event: ping\nid: 7\nretry: 5000\ndata: two\ndata: lines\n\n"

    $bytes = format_event(json => {text => 'any structure'});
    # "data: {\"text\":\"any structure\"}\n\n"

=head1 DESCRIPTION

This module loads the native library and provides the formatter. The distribution also has:

=over

=item L<Plack::App::EventSource>

Streams of events in a Plack application; a drop-in for the module of that name.

=item L<EventSource::Hub>

Channels: publish once, and every subscribed stream receives the event. A client that reconnects receives the events that
it missed.

=item L<Plack::App::EventSource::PubSub>

Channels with URLs: GET subscribes, POST publishes.

=item L<EventSource::Server>

One supply of events for any number of clients, with the interface of the Raku module of that name.

=item L<HTTP::ServerEvent>

Formats an event as the module of that name does.

=item L<Test::EventSource>

Tests an application that streams.

=item L<EventSource::Parser>

Reads a stream of events.

=back

=head1 FUNCTIONS

Nothing is exported unless asked for.

=head2 format_event

    my $bytes = format_event(data => $text);
    my $bytes = format_event(\%event);
    my $bytes = format_event(event => $name, id => $id, retry => $milliseconds, data => [@lines], comment => $note);
    my $bytes = format_event(json => $structure);
    my $bytes = format_event(data => $utf8, bytes => 1);

Encode one event (WHATWG HTML, section 9.2.5) and return it as a string of UTF-8 bytes, with the blank line at its end, unless
it is a comment alone. Lines end in LF. Arguments are names and values, or a reference to a hash of them. If a name is given
twice, the last value counts. A field that is C<undef> is left out. Strings are characters; those that are not Unicode
(surrogates, numbers above U+10FFFF) become U+FFFD.

=over

=item data

A string, or a reference to an array of strings. Each line of each string (lines end in CR, LF or CRLF) becomes a line
of the event, the empty ones too, so that a client receives what was given, its lines joined by LF. Without data a
client dispatches no event; its C<id> and C<retry> count all the same.

=item json

Any structure that L<JSON::MaybeXS> encodes (objects with C<TO_JSON> too), sent as data. C<undef> is C<null>. Excludes
C<data> and C<bytes>.

=item event

The event's type, one line; empty or left out means C<message>.

=item id

The last event ID from here on, one line; empty resets it.

=item retry

The reconnection time in milliseconds: ASCII digits, from 0, without an upper bound.

=item comment

Text that no client dispatches, sent first, a comment line for each of its lines.

=item bytes

If true, strings are UTF-8 already, and that is checked. False by default.

=back

Throws an L<EventSource::Error> with the code C<invalid> and the name of the field, at the caller's line, with a message
such as C<EventSource::XS: id must not contain a line break>, if

=over

=item *

C<event> or C<id> contains a line break or NUL, or C<retry> is not a number;

=item *

a string should be UTF-8 and is not;

=item *

a value is a reference other than an object with overloading (or, for C<data>, an array), or an element of that array is
undefined;

=item *

a field is unknown, there is no field at all, or the arguments are neither pairs nor one hash;

=item *

C<json> is given beside C<data> or C<bytes>, or cannot be encoded.

=back

=head1 METHODS

=head2 dispatch

    my $count = EventSource::XS->dispatch;

Run the queued callbacks and return their number (L</WHEN CALLBACKS RUN>). A callback that dies causes a warning, and the
next one runs.

=head2 has_later_here

    my $has_callbacks = EventSource::XS->has_later_here;

Return true if callbacks of L</later_here> that this process and thread queued have not run yet. Copies of another
process's or thread's callbacks are dropped.

=head2 later

    EventSource::XS->later($code, @arguments);

Queue a call of C<$code> with C<@arguments> for the next L</dispatch> (L</WHEN CALLBACKS RUN>). Returns nothing.

=head2 later_here

    EventSource::XS->later_here($code, @arguments);

Queue a call of C<$code> as L</later> does, but for this process only. A child that is forked before the call has a copy of
the callback and does not run it.

=head2 notify_fd

    my $number = EventSource::XS->notify_fd;

Return the number of a descriptor that is readable while callbacks of native streams are queued for L</dispatch>. AnyEvent,
EV, Mojo::IOLoop and IO::Async watch it by themselves. Another event loop can watch it, for example POE with C<select_read>.
It belongs to this thread of this process: call this again after a fork. Do not read from it or close it.

Throws an L<EventSource::Error>: C<unavailable> if the process has no descriptor left, C<unsupported> if the system has no
native streams.

=head2 notify_signal

    EventSource::XS->notify_signal('URG');
    EventSource::XS->notify_signal;           # URG
    EventSource::XS->notify_signal(undef);    # ends that

Have callbacks of native streams run in an idle worker of a server that blocks, usually within a second. The native thread
sends a signal to the thread of this interpreter while ends of streams are queued, for the first time after a tenth of a
second. Its handler, one of perl's safe handlers, runs L</dispatch>. A worker that is busy with requests mostly gets no
signal, because a request has run the callbacks before. A worker that waits for a request continues to wait afterwards.

A signal interrupts what the worker waits for. Starlet and HTTP::Server::PSGI repeat it. Starman takes an interrupted read for
an error, loses the request, and ends a worker that was interrupted thirty times while it waits for a client. So from the
first request on no signal is sent on Starman, on HTTP::Server::PSGI with TLS, and on any server without an event loop that is
not known to bear it: the worker warns once, and its callbacks wait for its next
request.

Call it once, in the application (L<Plack::Middleware::EventSource/notify_signal> does), before or after a server forks its
workers: each process sends signals to itself only. A signal whose handler was removed or replaced is not sent, so it never
ends a process. A callback then interrupts whatever perl runs, between two statements, but no C<push> and no other callback.
System calls of the application may be interrupted (C<EINTR>): repeat them. A C<sleep> is cut short.

The names are C<URG>, C<USR1>, C<USR2>, C<WINCH>, C<IO> and the real-time signals (C<RTMIN>, C<NUM35> to C<NUM63>,
C<RTMAX>). Take C<URG>, the default: no server uses it, and a process without a handler ignores it. Do not take C<USR1> on
Starlet and C<WINCH> where a terminal belongs to the process. Under AnyEvent, EV, Mojo::IOLoop and IO::Async none is needed.

An idle worker of uWSGI waits outside of perl, where no handler of perl runs. There no signal is sent: a timer of the master
does it, once a second, for which C<notify_signal> registers uWSGI's own signal of the same number (C<URG> is 23 on most
systems). It needs C<--master>; without one, callbacks wait for the next request. The timer stays until the server ends.

Returns nothing. Throws an L<EventSource::Error>: C<invalid> for another signal, such as C<KILL> or C<TERM>; C<state> if the
signal has a handler already; C<unsupported> without native streams or with C<PERL_SIGNALS=unsafe>.

=head2 see_request

    EventSource::XS->see_request($env);

Find out by a request whether its server bears the signal of L</notify_signal>. The modules of this distribution call it.

=head2 stats

    my $stats = EventSource::XS->stats;

Return the counters of this process, as a reference to a hash:

=over

=item open, native

Streams that are open, and how many of them are native.

=item opened, refused

Streams that were opened; of those, streams that were over L<Plack::App::EventSource/max_streams>, or came when few
descriptors were left.

=item closed

A hash: streams that have ended, by reason (L<Plack::App::EventSource::Connection/on_close>).

=item events, bytes

Native streams: events that were handed to the kernel whole, and all bytes that were, heads, comments and framing included.
Streams on the server's writer: events that were written to it, and their bytes. What is pushed to a stream that a hub process
has counts when it is on its way there.

=item lost

Accepted events that were not handed to the kernel whole. A native stream loses events if it ends before they are sent, or
drops them with C<< on_full => 'drop_oldest' >>. A published event is lost if the native thread dies of an internal error
before the event has reached its hub. An event that was published with C<< wait => 0 >> to a named hub is
lost if that process was not known to have it when the connection broke, or has refused it (L<EventSource::Hub/publish>).

=item buffered

Bytes that are buffered for the clients of native streams.

=item wakeups

How often the thread that writes native streams was woken from its sleep.

=item longest_delay

The longest delay so far, in seconds. A delay is the time for which a client took nothing and then continued, or the time
for which the native thread was busy without a break.

=back

=head2 tell_losses

    EventSource::XS->tell_losses;

Warn of events that a named hub has perhaps not got (L<EventSource::Hub/publish>), unless this process has
warned already. L</dispatch> and the end of the process call it.

=head1 WHEN CALLBACKS RUN

Callbacks are those of L<Plack::App::EventSource::Connection/on_close>, and those of L</later>. They are queued and run in
the thread that registered them, one after the other, never inside a C<push> or inside another callback:

=over

=item *

in an event loop (AnyEvent, EV, Mojo::IOLoop, IO::Async): soon;

=item *

at a request to an application of this distribution, before its handler and after it;

=item *

at a request through L<Plack::Middleware::EventSource>, before the application and after it;

=item *

at the end of C<publish>, C<subscribe>, C<serve>, C<drain>, C<epoch>, C<stats> and C<subscribers> of any
L<EventSource::Hub>. With nothing queued that costs C<publish> two reads of memory;

=item *

while L<Plack::App::EventSource::Connection/wait> waits;

=item *

in an idle worker of a server that blocks: only with L</notify_signal>, otherwise at the next of the moments above;

=item *

when the process ends, in an C<END> block, after all streams have ended. What a callback publishes then reaches nobody:
C<publish> returns C<undef>. Not under uWSGI, which runs no C<END> blocks;

=item *

in L</dispatch>.

=back

A callback that dies causes a warning. C<$@>, C<$!> and C<$?> are the same after a hub's method as before.

=head1 SIGNALS

Ordinary handlers (C<$SIG{ALRM} = sub { ... }>) are safe: they may die, push and publish. perl delays them until no native
code runs, and a push that waits for its client lets them run while it waits.

Immediate handlers are not delayed (L<perlipc/"Deferred Signals (Safe Signals)">): those of L<POSIX/sigaction> whose
action is not C<safe>, and all handlers under C<PERL_SIGNALS=unsafe>. Such a handler must not die, and must not call any
function of this distribution: it may run in the middle of a push or a publish. To die there leaves locks taken and a queue
half written; the next call may wait for ever, or the process may crash. Make the action safe:

    use POSIX ();
    my $action = POSIX::SigAction->new(sub { die "timeout\n" });
    $action->safe(1);
    POSIX::sigaction(POSIX::SIGALRM(), $action);

The native thread blocks all signals but those of a fault of its own, so no handler of perl's ever runs there.

=head1 ENVIRONMENT

C<EVENTSOURCE_XS_DEBUG>, if true, has each stream say to C<psgi.errors> whether it is native, and if not, why. If it is
set when this module is loaded, an event that is made of characters also gives a warning if one of its strings looks like
bytes in UTF-8 and is about to be encoded twice, once for each line of the application.

Building honours C<CARGO>, C<RUSTC>, C<CC> and whatever else cargo reads. It is for the perl that runs Makefile.PL.

=head1 SEE ALSO

L<EventSource::Parser>, L<EventSource::Error>, L<EventSource::Hub>, L<Plack::App::EventSource>,
L<https://html.spec.whatwg.org/multipage/server-sent-events.html>

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut

package EventSource::XS;
use strict;
use warnings;

# Loads the native library, which provides format_event, and queues callbacks until they may run.

our $VERSION = '0.100';

use Config;
use EventSource::Error ();
use EventSource::XS::Loop;
use EventSource::XS::Settings;
use Exporter      qw(import);
use JSON::MaybeXS ();
use XSLoader;

our @EXPORT_OK = qw(format_event);

# An error reports the line of the application. These packages pass its events on.
our @CARP_NOT = qw(
    EventSource::Hub EventSource::XS::Hub::ChannelNames EventSource::Server EventSource::Server::Emitter
    EventSource::Server::Event EventSource::Server::Supply HTTP::ServerEvent Plack::App::EventSource::Connection
    Plack::App::EventSource::PubSub
);

XSLoader::load(__PACKAGE__, $VERSION);

# False where there are no native streams.
my $HAS_NATIVE = defined &_has_callbacks;

# The fields that each function knows.
my @OF_EVENT = qw(bytes comment data event id json retry);
my %FIELDS   = (
    as_string    => [qw(data event id retry)],
    format_event => \@OF_EVENT,
    publish      => [@OF_EVENT, 'key'],
    push         => \@OF_EVENT,
);

# What a name is that a beginner may take for one of a field.
my $NAME  = qr/\A(?![A-Z]+[(]0x)[^=]+\z/;
my %MEANT = (
    (map { ($_ => 'data') } qw(body content message msg payload text value)),
    (map { ($_ => 'event') } qw(name type)),
);

# The invocants in the usage of methods of src/xs, by the last part of their class.
my %INVOCANT = (Connection => '$conn', Hub => '$hub', Native => '$stream', Parser => '$parser');

my $SETTINGS = EventSource::XS::Settings->new(__PACKAGE__);

my $JSON = JSON::MaybeXS->new(utf8 => 0, allow_nonref => 1, allow_blessed => 0, convert_blessed => 1);

# Queued callbacks: [is_here, code, arguments]. Callbacks with is_here, for the ends of streams, belong to this process and
# thread. A forked child or a new thread runs its copy of the others.
my @LATER;
my $process = $$;

# The process that has told of a loss.
my $has_told = 0;

# True if an event loop has been asked to call dispatch.
my $is_asked = 0;

# True in a push and in a callback. src/xs/stream.h sets the first one too.
## no critic (ProhibitPackageVars)
our $is_pushing     = 0;
our $is_dispatching = 0;
## use critic

# The signal of notify_signal and its handler. No program gives another meaning to these signals by itself. And the process that
# has asked whether its server bears the signal.
my ($signal, $on_signal);
my $has_asked_server = 0;
my %MAY_NOTIFY       = map { ($_ => 1) } qw(URG USR1 USR2 WINCH IO RTMIN RTMAX), map { "NUM$_" } 34 .. 64;

# The counters where there are no native streams, and the reasons for the end of a stream.
my @COUNTED = qw(buffered bytes events longest_delay lost opened refused wakeups);
my @REASONS = qw(client slow timeout error server application);

sub CLONE {
    _count(scalar @LATER);    # the copies
    _forget_others();
    ($signal, $on_signal) = ();
    return;
}

# Public methods

# Called for each request, so it asks at once whether there is anything to do at all.
sub dispatch {
    my $is_due = @LATER || $HAS_NATIVE && _has_callbacks();
    if (!$is_due && !$INC{'EventSource/XS/Stream/Relay.pm'} && !$INC{'EventSource/Hub/Lease.pm'}) {
        $is_asked = 0;
        return 0;
    }
    EventSource::XS::Stream::Native->collect if $HAS_NATIVE && $is_due && $INC{'EventSource/XS/Stream/Native.pm'};
    EventSource::XS::Stream::Relay->collect  if $INC{'EventSource/XS/Stream/Relay.pm'};
    __PACKAGE__->tell_losses;
    EventSource::Hub::Lease->collect if $INC{'EventSource/Hub/Lease.pm'};
    $is_asked = 0;
    return 0         if !@LATER;
    _forget_others() if $process != $$;
    my @callbacks = splice @LATER;    # callbacks that these queue run at the next dispatch
    _count(-@callbacks);
    local $@;
    local $is_dispatching = 1;

    for my $callback (@callbacks) {
        my (undef, $code, @arguments) = @$callback;
        eval { $code->(@arguments); 1 } or warn "EventSource::XS: a callback died: $@";
    }
    return scalar @callbacks;
}

# Drops callbacks that were queued by another process or thread: a forked child or a new thread has copies of them.
sub has_later_here {
    _forget_others() if $process != $$;
    return scalar grep { $_->[0] } @LATER;
}

sub later {
    my ($class, $code, @arguments) = @_;
    $SETTINGS->refuse(code => 'later takes a code reference') if !defined $SETTINGS->code(code => $code);
    _queue(0, $code, @arguments);
    return;
}

sub later_here {
    my ($class, $code, @arguments) = @_;
    _queue(1, $code, @arguments);
    return;
}

sub notify_fd {
    my $class = shift;
    EventSource::Error->throw(
        code    => 'unsupported',
        message => 'EventSource::XS: there are no native streams on this system'
    ) if !$class->can('_notify_descriptor');
    require EventSource::XS::Stream::Native;
    my $number = EventSource::XS::Stream::Native->notify_number;
    EventSource::Error->throw(
        code    => 'unavailable',
        message => "EventSource::XS: there is no descriptor for notify_fd: $!"
    ) if !defined $number;
    return $number;
}

sub notify_signal {
    my ($class, $name) = @_;
    $name = 'URG' if @_ == 1;
    _check_signal($name);
    require EventSource::XS::Adapter;
    require EventSource::XS::Stream::Native;
    if (defined $signal && !(defined $name && $name eq $signal)) {
        EventSource::XS::Stream::Native->notify_by_signal(0);
        $SIG{$signal} = 'DEFAULT' if _is_handler($SIG{$signal});
        $signal = undef;
    }
    return if !defined $name;
    $on_signal ||= \&_run_callbacks;
    $SIG{$name} = $on_signal;    ## no critic (RequireLocalizedPunctuationVars) for good
    my $number    = _signal_number($name);
    my $has_timer = EventSource::XS::Adapter->run_in_idle_workers($number, $on_signal);
    EventSource::XS::Stream::Native->notify_by_signal($has_timer ? 0 : $number);
    ($signal, $has_asked_server) = ($name, 0);
    return;
}

# A server is known at its first request. One that may take an interrupted read for an error is sent no signal.
sub see_request {
    my ($class, $env) = @_;
    return if !defined $signal || $has_asked_server == $$;
    $has_asked_server = $$;
    return if $env->{'psgi.nonblocking'};
    my ($adapter) = EventSource::XS::Adapter->of_caller;
    $adapter ||= EventSource::XS::Adapter->of_env($env);
    return if $adapter->bears_signals($env);
    EventSource::XS::Stream::Native->notify_by_signal(0);
    warn 'EventSource::XS: notify_signal sends no signal on this server ('
        . $adapter->name
        . "), which may take an interrupted read for an error; callbacks of an idle worker run at its next request\n";
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

# What was accepted for the process of a hub and is lost is told once in a process.
sub tell_losses {
    my $class = shift;
    my ($count, $cause) = $class->can('_take_losses') ? _take_losses() : ();
    return if !$count || $has_told == $$;
    $has_told = $$;
    warn
        "EventSource::Hub: $count events or subscriptions for a hub in a process of its own are lost: $cause; later losses are"
        . " only counted (EventSource::XS->stats->{lost})\n";
    return;
}

# Private functions

# Throws an exception unless the process may be sent a signal as a notification.
sub _check_signal {
    my $name = shift;
    EventSource::Error->throw(
        code    => 'unsupported',
        message => 'EventSource::XS: notify_signal needs native streams and the safe signals of perl'
    ) if !__PACKAGE__->can('_set_end_signal') || ($ENV{PERL_SIGNALS} || '') eq 'unsafe';
    return if !defined $name;
    $SETTINGS->refuse(signal => 'notify_signal takes the name of a signal: URG, USR1, USR2, WINCH, IO or a real-time'
            . " signal, such as RTMIN; not $name")
        if !$MAY_NOTIFY{$name} || !defined _signal_number($name);
    EventSource::Error->throw(
        code    => 'state',
        field   => 'signal',
        message => "EventSource::XS: this process has a handler of SIG$name already: choose another signal"
    ) if !_is_handler($SIG{$name}) && _has_handler($name);
    return;
}

# Counts queued callbacks for the methods of hubs, which run them.
sub _count {
    my $added = shift;
    _count_callbacks($added) if defined &_count_callbacks;
    return;
}

# Drops the callbacks that belong to another process or thread.
sub _forget_others {
    my $before = @LATER;
    @LATER = grep { !$_->[0] } @LATER;
    _count(@LATER - $before);
    $process  = $$;
    $is_asked = 0;
    return;
}

# True if a signal has a handler: of the application, or of a library in C.
sub _has_handler {
    my $name = shift;
    return !!1 if defined $SIG{$name} && $SIG{$name} !~ /\A(?:|DEFAULT|IGNORE)\z/;
    return _signal_action(_signal_number($name)) > 1;
}

# True for our own handler.
sub _is_handler {
    my $handler = shift;
    return !!($on_signal && ref $handler && $handler == $on_signal);
}

# Called by format_event: encodes a structure as JSON, in characters.
sub _json {
    my $structure = shift;
    my $text      = eval { $JSON->encode($structure) };
    return $text if defined $text;
    (my $error = $@) =~ s/ at \S+ line \d+\.?\n\z//;
    return EventSource::Error->throw(code => 'invalid', field => 'json', message => "EventSource::XS: json: $error");
}

# Called by the methods of hubs and by the signal of notify_signal. The reactor repeats the signal until this has run.
sub _run_callbacks {
    return if $is_pushing || $is_dispatching || ${^GLOBAL_PHASE} eq 'DESTRUCT';
    local ($!, $?, $@);
    eval { __PACKAGE__->dispatch; 1 } or warn "EventSource::XS: a callback died: $@";
    return;
}

sub _signal_number {
    my $name    = shift;
    my @names   = split ' ', $Config{sig_name};
    my ($index) = grep { $names[$_] eq $name } 0 .. $#names;
    return defined $index ? (split ' ', $Config{sig_num})[$index] : undef;
}

# Called by src/xs for an exception: the text for a field that a function does not know.
sub _unknown_field {
    my ($name, $function) = @_;
    return "EventSource::XS: $function takes names and values, or a hash of them; '$name' is no name" if $name !~ $NAME;
    return "EventSource::XS: unknown field '$name'"
        . EventSource::XS::Settings->hint($name, $FIELDS{$function}, \%MEANT);
}

# Called by src/xs: the usage of a function, with the parameters that it has there.
sub _usage {
    my ($package, $name, $parameters) = @_;
    my ($class) = $package =~ /(\w+)\z/;
    my @given   = map { $_ eq '...' ? '@messages' : "\$$_" } grep { !/=/ } split /, /, $parameters;
    my $call  = @given && $given[0] eq '$self'  ? (shift(@given), $INVOCANT{$class} || '$self')[1] . "->$name"  : $name;
    my $event = grep({ $_ eq '$event' } @given) ? ', where $event is a string, or a hash such as {data => ...}' : '';
    return "$package: usage: $call" . (@given || $call eq $name ? '(' . join(', ', @given) . ')' : '') . $event;
}

# Called by src/xs: a push of names and values that are not in a hash.
sub _warn_bare_fields {
    my ($name, undef, @place) = @_;
    EventSource::XS::Settings->warn_once(
        bare_fields =>
            "EventSource::XS: push takes messages, and '$name' is one of them; did you mean push({$name => ...})?",
        @place
    );
    return;
}

# Called by src/xs when debugging: a field has bytes of UTF-8 where characters are expected.
sub _warn_encoded {
    my ($field, undef, @place) = @_;
    EventSource::XS::Settings->warn_once(
        encoded =>
            "EventSource::XS: $field looks like bytes in UTF-8, and is encoded once more; decode it, or set bytes => 1",
        @place
    );
    return;
}

# Called by src/xs: a drop-in sends a reference as perl shows it.
sub _warn_reference {
    my ($what, $function, @place) = @_;
    my $remedy = $function eq 'push' ? 'did you mean json => ...?' : 'encode it first, as JSON for example';
    EventSource::XS::Settings->warn_once(
        reference => "EventSource::XS: $function: $what, and is sent as text such as HASH(0x...); $remedy",
        @place
    );
    return;
}

# Called by src/xs: a drop-in ignores fields that it does not know.
sub _warn_unknown_fields {
    my ($names, $function, @place) = @_;
    my %option = (meant => \%MEANT, place => \@place);
    $SETTINGS->warn_unknown("$function ignores the unknown field", $names, $FIELDS{$function}, %option);
    return;
}

# During global destruction nothing runs any more, and a new reference to an object would end it with an error.
sub _queue {
    return           if ${^GLOBAL_PHASE} eq 'DESTRUCT';
    _forget_others() if $process != $$;
    push @LATER, [@_];
    _count(1);

    my $loop = !$is_asked && EventSource::XS::Loop->current or return;
    $is_asked = $loop->next_tick(sub { __PACKAGE__->dispatch });    # it may not run yet
    return;
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

Encode one event (WHATWG HTML, section 9.2.5) and return it as a string of UTF-8 bytes, with the blank line at its end.
Lines end in LF. Arguments are names and values, or a reference to a hash of them. If a name is given twice, the last value
counts. A field that is C<undef> is left out. Strings are characters; those that are not Unicode (surrogates, numbers above
U+10FFFF) become U+FFFD.

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
Streams on the server's writer: events that were written to it, and their bytes.

=item lost

Accepted events that were not handed to the kernel whole. A native stream loses events if it ends before they are sent, or
drops them with C<< on_full => 'drop_oldest' >>. A published event is lost if the native thread dies of an internal error
before the event has reached its hub. An event that was published with C<< wait => 0 >> to a hub in a process of its own is
lost if that process was not known to have it when the connection broke, or has refused it (L<EventSource::Hub/publish>).

=item buffered

Bytes that are buffered for the clients of native streams.

=item wakeups

How often the thread that writes native streams was woken from its sleep.

=item longest_delay

The longest delay so far, in seconds. A delay is the time for which a client took nothing and then went on, or the time
for which the native thread was busy without a break.

=back

=head2 tell_losses

    EventSource::XS->tell_losses;

Warn of events that a hub in a process of its own has perhaps not got (L<EventSource::Hub/publish>), unless this process has
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

at the end of C<publish>, C<subscribe>, C<serve>, C<unsubscribe>, C<drain>, C<epoch>, C<stats> and C<subscribers> of any
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

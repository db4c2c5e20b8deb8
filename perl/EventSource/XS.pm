package EventSource::XS;
use strict;
use warnings;

# Formats events, runs queued callbacks, counts streams. The native library and the queue are in EventSource/XS/Library.pm.

our $VERSION = '0.100';

use EventSource::XS::Address;
use EventSource::XS::Library;
use Exporter qw(import);

our @EXPORT_OK = qw(format_event);

# The counters where there are no native streams, and the reasons for the end of a stream.
my @COUNTED = qw(buffered bytes events longest_delay lost opened refused wakeups);
my @REASONS = qw(client slow timeout error server application);

my $SETTINGS = EventSource::XS::Settings->new(__PACKAGE__);

# Public methods

sub client_address {
    my ($class, $env, $bits) = @_;
    $SETTINGS->refuse(bits => 'the bits of client_address must be a whole number from 0 to 128')
        if ($bits //= 128) !~ /\A[0-9]{1,3}\z/ || $bits > 128;
    return EventSource::XS::Address->text($env->{REMOTE_ADDR}, $bits);
}

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
    my $class = shift;
    my @texts =
        $class->can('_next_end') ? EventSource::Hub::Process->_call('stats') : map { ($_ => 0) } native => @COUNTED;
    my $stats  = $class->counts_of(@texts);
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

    $bytes = format_event(json => {text => 'hello'});    # "data: {\"text\":\"hello\"}\n\n"

=head1 DESCRIPTION

The manuals of EventSource-XS:

=head2 Where to begin

    EventSource::Tutorial            from nothing to a deployment
    EventSource::Cookbook            whole applications
    EventSource::Deployment          servers, proxies, stores, releases, installation
    EventSource::Services            units of systemd, containers
    EventSource::Monitoring          probes, metrics, logs, alerts
    EventSource::Compression         streams in fewer bytes
    EventSource::Troubleshooting     problems, by symptom
    EventSource::Migration           from the originals, Mojolicious' write_sse, nchan
    eventsource                      the command line

=head2 To send events

    EventSource::Hub                 channels, state, members
    EventSource::NamedHub            one hub for all workers
    EventSource::Stores              history in a file or in Redis
    EventSource::Presence            who is here: members, counts, wills
    EventSource::Wire                ids, gaps, positions, bytes of a stream
    EventSource::Outbox              events exactly if a transaction commits
    EventSource::Hub::Process        the same hub, for jobs and commands
    EventSource::Hub::Lease          elects one worker for a task
    Plack::App::EventSource          a handler for each stream
    Plack::App::EventSource::Connection    the stream that a handler pushes to
    Plack::App::EventSource::PubSub  channels with URLs
    Plack::Middleware::EventSource   runs callbacks at every request
    EventSource::Framework           plugins: EventSource::Framework::Dancer2, EventSource::Framework::Mojolicious
    EventSource::Server              one supply for all clients, as in Raku; EventSource::Server::Emitter,
                                     EventSource::Server::Event, EventSource::Server::Supply
    EventSource::XMPP                the items of an XMPP service
    EventSource::Datastar            events for pages with Datastar
    HTTP::ServerEvent                formats an event

=head2 To read events

    EventSource::Browser             the script for pages
    EventSource::Client              reads the stream of any server
    EventSource::Parser              reads a stream piece by piece
    EventSource::Clients             libraries of other languages

=head2 To test and to handle errors

    Test::EventSource                tests an application, with streams of Test::EventSource::Stream
    EventSource::Error               an exception with a code and a field
    EventSource::Gone                ends the handler of a client that has left

=head1 FUNCTIONS

Nothing is exported unless asked for.

=head2 format_event

    my $bytes = format_event(event => $name, id => $id, retry => $milliseconds, data => [@lines], comment => $note);
    my $bytes = format_event(\%event);

Encode one event (WHATWG HTML, section 9.2.5) in UTF-8, with the blank line at its end, unless it is a comment alone. Lines end
in LF. C<undef> leaves a field out. Strings are characters; those that are not Unicode (surrogates, numbers above U+10FFFF)
become U+FFFD.

=over

=item data

A string, or an array of strings. Each line (ended by CR, LF or CRLF) becomes one of the event. Without data a client
dispatches no event; C<id> and C<retry> count all the same.

=item json

Any structure, sent as data. C<undef> is C<null>. Not together with C<data> or C<bytes>. An object is what its C<TO_JSON>
returns, the number of a L<Math::BigInt> or L<Math::BigFloat>, or the string that it overloads; any other one throws C<invalid>.
So does a number that is infinite or NaN, because JSON has no such number.

=item event

The type, one line; empty or left out means C<message>.

=item id

The last event ID from here on, one line; empty resets it.

=item retry

The reconnection time in milliseconds: ASCII digits, from 0, without an upper bound.

=item comment

Text for no client, sent first.

=item bytes

If true, strings are UTF-8 already, which is checked. False by default.

=back

Throws an L<EventSource::Error> with the code C<invalid> and the name of the field if a value is wrong, C<event> or C<id> has
NUL, a field is unknown, or there is none. References other than objects with overloading and arrays of defined C<data> are
wrong.

=head1 METHODS

=head2 client_address

    my $address = EventSource::XS->client_address($env);
    my $network = EventSource::XS->client_address($env, 64);

Return C<REMOTE_ADDR> of a request in one form: C<192.0.2.7> also for C<::ffff:192.0.2.7> and C<192.0.2.7:51234>. Of an IPv6
address only so many first bits are kept. Without an address it is C<undef>, as on a Unix socket, whatever the server calls
that (C<unix>, C<unix/>, C<0.0.0.0>).

=head2 dispatch

    my $count = EventSource::XS->dispatch;

Run the queued callbacks and return their number (L</WHEN CALLBACKS RUN>).

=head2 later

    EventSource::XS->later($code, @arguments);

Queue a call of C<$code> with C<@arguments> for the next L</dispatch>.

=head2 notify_fd

    my $number = EventSource::XS->notify_fd;

Return the number of a descriptor that is readable while callbacks are queued for L</dispatch>, for event loops such as POE
(C<select_read>) that L</WHEN CALLBACKS RUN> does not name. It belongs to this thread: do not read or close it.

Throws C<unavailable> if no descriptor is left, C<unsupported> without native streams.

=head2 notify_signal

    EventSource::XS->notify_signal;           # URG
    EventSource::XS->notify_signal(undef);    # ends that

Have callbacks run in an idle worker of a server that blocks, usually within a second, by a signal that the process sends
itself. Call it once, before or after the fork of workers, or set L<Plack::Middleware::EventSource/notify_signal>.

    Starlet, HTTP::Server::PSGI     callbacks run
    uWSGI with --master             they run once a second, by uWSGI's own signal of the same number (URG is mostly 23)
    uWSGI without it                they wait for the next request
    HTTP::Server::PSGI with TLS,    they wait, and the worker warns once: a signal would lose requests
      Starman, any other

A callback interrupts perl between two statements. System calls may be interrupted (C<EINTR>): repeat them.

The names are C<URG>, C<USR1>, C<USR2>, C<WINCH>, C<IO> and the real-time signals (C<RTMIN>, C<NUM35> to C<NUM63>, C<RTMAX>).
No server uses C<URG>, the default. Do not take C<USR1> on Starlet, or C<WINCH> where a terminal belongs to the process.

Throws C<invalid> for another signal, C<state> if the signal has a handler already, C<unsupported> without native streams or
with C<PERL_SIGNALS=unsafe>.

=head2 stats

    my $stats = EventSource::XS->stats;

Return the counters of this process:

    open, native       open streams; of these, the native ones
    opened, refused    streams that were opened; of these, those beyond max_streams or the descriptors
    closed             a hash: ended streams, by the reasons of on_close
    events, bytes      events that the kernel or the server's writer took whole; all bytes, with heads and framing
    lost               accepted events that it did not: the stream ended or dropped them (on_full); lost ones of wait => 0
    buffered           bytes that are buffered for the clients of native streams
    wakeups            how often the thread that writes native streams was woken
    longest_delay      the most seconds for which a client took nothing and then continued, or the thread was busy

=head1 WHEN CALLBACKS RUN

Callbacks of L<Plack::App::EventSource::Connection/on_close> and L</later> run in the thread that registered them, never
inside a C<push> or another callback:

=over

=item *

in an event loop (AnyEvent, EV, Mojo::IOLoop, IO::Async);

=item *

before and after a request to an application of this distribution, or through L<Plack::Middleware::EventSource>;

=item *

at the end of C<publish>, C<subscribe>, C<drain>, C<epoch>, C<stats> and C<subscribers> of any L<EventSource::Hub>;

=item *

in L<Plack::App::EventSource::Connection/wait> and L</dispatch>;

=item *

in an idle worker of a server that blocks: only with L</notify_signal>;

=item *

when the process ends, after all streams, but not under uWSGI. C<publish> reaches nobody then.

=back

A callback that dies causes a warning. The methods of a hub and of L<EventSource::Hub::Process>, C<push> and L</format_event>
keep C<$@>, C<$!> and C<$?>; an exception is in C<$@>.

=head1 SIGNALS

Ordinary handlers (C<$SIG{ALRM} = sub { ... }>) may die, push and publish, and run while a push waits.

Immediate handlers are those of L<POSIX/sigaction> without C<< $action->safe(1) >>, and all under C<PERL_SIGNALS=unsafe>.
B<They must not die, and must not call any function of this distribution>: the next call may wait for ever, or the process may
crash.

=head1 THREADS

A new ithread shares each L<EventSource::Hub> with its parent. The methods of its copies of parsers, native streams and
connections to hub processes throw C<state>; a stream on the server's writer has ended, a lease is not held, and there is no
copy of an L<EventSource::Client>.

=head1 ENVIRONMENT

C<EVENTSOURCE_XS_DEBUG>, if true, has each stream say to C<psgi.errors> whether it is native, or why not. If it is set when
this module is loaded, each line that encodes a string as UTF-8 twice also warns once. The build honours C<CARGO>, C<RUSTC>
and C<CC>.

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut

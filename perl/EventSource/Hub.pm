package EventSource::Hub;
use strict;
use warnings;

# Channels: what is published to one goes to every stream that follows it. The hub itself is native; publish, epoch, stats
# and subscribers are in src/xs.

our $VERSION = '0.100';

use Carp qw(croak);
use EventSource::Hub::ChannelNames;
use EventSource::Hub::Pattern;
use EventSource::Stream;
use EventSource::Stream::Relay;
use EventSource::XS ();
use Scalar::Util    qw(blessed);
use overload        ();

# A setting is wrong where the hub was made.
our @CARP_NOT = qw(EventSource::Hub::App Plack::App::EventSource Plack::Component);

my %HISTORY       = (events => 1000,    bytes => 1_048_576,  seconds => 3600);
my %TOTAL_HISTORY = (events => 100_000, bytes => 67_108_864, seconds => undef);

# How many channels and patterns a stream may be subscribed to.
my $MAX_TOPICS = 1000;

# In the order of their numbers in eventsource.h.
my @ON_SLOW = qw(disconnect gap newest);
my @START   = qw(newest oldest);

# What the streams of an application of ours are told of what the hub was.
my @OF_STREAMS = qw(headers keepalive linger max_streams native preamble retry start timeout);

sub new {
    my ($class, @given) = @_;
    croak 'EventSource::Hub: new takes settings, as names and values or in a hash'
        if @given % 2 && !(@given == 1 && ref $given[0] eq 'HASH');
    croak 'EventSource::Hub: there are no hubs on this system: they need Linux' if !$class->can('_attach');
    my %given   = @given == 1 && ref $given[0] eq 'HASH' ? %{$given[0]} : @given;
    my %raw     = (_history(\%given), gap_event => 'gap', max_topics => $MAX_TOPICS, on_slow => 0);
    my $on_slow = delete $given{on_slow};
    if (defined $on_slow) {
        ($raw{on_slow}) = grep { $ON_SLOW[$_] eq $on_slow } 0 .. $#ON_SLOW;
        croak "EventSource::Hub: on_slow must be 'disconnect', 'gap' or 'newest'" if !defined $raw{on_slow};
    }
    if (defined(my $name = delete $given{gap_event})) {
        croak 'EventSource::Hub: gap_event must be one line that is not empty' if $name !~ /\A[^\r\n\0]+\z/;
        $raw{gap_event} = $name;
    }
    if (defined(my $most = delete $given{max_topics})) {
        croak 'EventSource::Hub: max_topics must be a whole number, from 1' if $most !~ /\A[1-9][0-9]{0,14}\z/;
        $raw{max_topics} = $most;
    }
    $raw{opaque_ids} = delete $given{opaque_ids} ? 1 : 0;
    my $self = bless {per_process => delete $given{per_process}, max_topics => $raw{max_topics}}, $class;
    EventSource::Hub::ChannelNames->take_over($self, delete $given{show_channel});
    $self->{of_streams} = {map { exists $given{$_} ? ($_ => delete $given{$_}) : () } @OF_STREAMS};
    my ($unknown) = sort keys %given;
    croak "EventSource::Hub: unknown setting '$unknown'" if defined $unknown;
    _check_start($self->{of_streams}{start});
    require EventSource::Hub::App;
    EventSource::Hub::App->check(%{$self->{of_streams}});
    $self->_attach(\%raw);
    return $self;
}

# Public methods

sub drain {
    my ($self, $seconds) = @_;
    croak 'EventSource::Hub: drain takes a number of seconds'
        if !defined $seconds || $seconds !~ /\A(?:[0-9]+\.?[0-9]*|\.[0-9]+)\z/;
    $self->_drain($seconds);
    return;
}

sub serve {
    my ($self, $connection, @channels) = @_;
    my $stream  = _stream($connection, 'serve');
    my $follows = $self->_begin($stream, $connection->last_event_id, @channels);
    EventSource::Stream::Relay->serve_stream($stream) if _is_served($stream);
    return $follows;
}

sub pattern {
    my ($class, $pattern) = @_;
    return EventSource::Hub::Pattern->new($pattern);
}

sub subscribe {
    my ($self, $connection, @channels) = @_;
    my $stream = _stream($connection, 'subscribe');
    croak 'EventSource::Hub: this stream goes through the writer of a server that blocks: call serve instead'
        if _is_served($stream);
    return $self->_begin($stream, $connection->last_event_id, @channels);
}

sub to_app {
    my ($self, @given) = @_;
    croak 'EventSource::Hub: to_app takes options, as names and values or in a hash'
        if @given % 2 && !(@given == 1 && ref $given[0] eq 'HASH');
    my %given = @given == 1 ? %{$given[0]} : @given;
    for my $name (sort keys %given) {
        croak "EventSource::Hub: unknown option '$name' of to_app" if !grep { $_ eq $name } 'channels', @OF_STREAMS;
    }
    require EventSource::Hub::App;
    return EventSource::Hub::App->new(%{$self->{of_streams}}, %given, hub => $self)->to_app;
}

sub unsubscribe {
    my ($self, $connection, @channels) = @_;
    my $stream = _stream($connection, 'unsubscribe');
    my $native = $stream->can('is_native') ? $stream : EventSource::Stream::Relay->native_of($stream);
    $self->_unsubscribe($native, @channels ? _names(@channels) : undef) if $native;
    return;
}

# Private methods and functions

# Has a stream follow channels. It is given the id after which to go on, if the options do not say.
sub _begin {
    my ($self, $stream, $after, @channels) = @_;
    my %option = ref $channels[-1] eq 'HASH' ? %{pop @channels} : ();
    $after = delete $option{after} if exists $option{after};
    my $start = delete $option{start};
    my ($unknown) = sort keys %option;
    croak "EventSource::Hub: unknown option '$unknown'"     if defined $unknown;
    croak 'EventSource::Hub: there is no channel to follow' if !@channels;
    my $names = $self->_topics(@channels);
    my ($kind, $last) = _check_start(defined $start ? $start : $self->{of_streams}{start});
    $after = _string('after', $after);
    return !!0        if !$stream->is_open;
    $self->_warn_once if EventSource::Stream->is_multiprocess;
    my $native = $stream->can('is_native') ? $stream : EventSource::Stream::Relay->of($stream)->native;
    return $self->_subscribe($native, $names, $after, $kind, $last);
}

# Where streams begin: a number for it, and of how many events.
sub _check_start {
    my $start = shift;
    return (0, 0) if !defined $start;
    my ($kind) = grep { $START[$_] eq $start } 0 .. $#START;
    return ($kind,         0)  if defined $kind;
    return (scalar @START, $1) if $start =~ /\A-([1-9][0-9]{0,8})\z/;
    croak "EventSource::Hub: start must be 'newest', 'oldest' or a number of events, such as -10";
}

sub _history {
    my $given = shift;
    my %raw;
    for my $asked (['history', '', \%HISTORY], ['total_history', '_in_total', \%TOTAL_HISTORY]) {
        my ($setting, $suffix, $default) = @$asked;
        my $value = delete $given->{$setting};
        croak "EventSource::Hub: $setting must be a hash" if defined $value && ref $value ne 'HASH';
        my %bound = (%$default, map { defined $value->{$_} ? ($_ => $value->{$_}) : () } keys %{$value || {}});
        my ($unknown) = grep { !exists $default->{$_} } sort keys %{$value || {}};
        croak "EventSource::Hub: unknown bound '$unknown' of $setting" if defined $unknown;
        for my $name (qw(events bytes)) {
            croak "EventSource::Hub: $name of $setting must be a whole number, from 0"
                if $bound{$name} !~ /\A[0-9]{1,15}\z/;
            $raw{$name . $suffix} = $bound{$name};
        }
        croak "EventSource::Hub: seconds of $setting must be a number"
            if defined $bound{seconds} && $bound{seconds} !~ /\A(?:[0-9]+\.?[0-9]*|\.[0-9]+)\z/;
        $raw{seconds} = $bound{seconds}
            if defined $bound{seconds} && (!defined $raw{seconds} || $bound{seconds} < $raw{seconds});
    }
    return %raw;
}

# Whether a stream has to be served by the handler that it belongs to.
sub _is_served {
    my $stream = shift;
    return !$stream->can('is_native') && $stream->is_blocking;
}

# What a stream is to be subscribed to, checked.
sub _topics {
    my ($self, @channels) = @_;
    my $most = $self->{max_topics};
    croak "EventSource::Hub: a stream may have at most $most channels and patterns (max_topics)" if @channels > $most;
    return _names(@channels);
}

# Names of channels, checked, and patterns. Whatever else is a reference is a mistake, unless it has a string to give.
sub _names {
    my @channels = @_;
    return [map { _name($_) } @channels];
}

sub _name {
    my $channel = shift;
    return $channel if blessed $channel && $channel->isa('EventSource::Hub::Pattern');
    croak 'EventSource::Hub: a channel is a string, or what EventSource::Hub->pattern makes, not undef'
        if !defined $channel;
    my $name = _string('a channel', $channel);
    croak "EventSource::Hub: a channel's name must not be empty" if !defined $name;
    my $utf8 = $name;
    utf8::encode($utf8);
    croak "EventSource::Hub: a channel's name must have at most 1024 bytes in UTF-8" if length $utf8 > 1024;
    return $name;
}

sub _stream {
    my ($connection, $method) = @_;
    my $stream =
        blessed $connection && $connection->isa('Plack::App::EventSource::Connection') && $connection->{stream};
    croak "EventSource::Hub: $method takes a Plack::App::EventSource::Connection that has a stream" if !$stream;
    return $stream;
}

# What was given as a string; undef, if that is empty.
sub _string {
    my ($what, $given) = @_;
    return undef if !defined $given;
    croak "EventSource::Hub: $what must be a string, not a reference to " . ref $given
        if ref $given && !overload::Overloaded($given);
    return length "$given" ? "$given" : undef;
}

# Each process has a hub of its own, and who publishes in one does not reach the streams of another.
sub _warn_once {
    my $self = shift;
    return if $self->{per_process};
    $self->{per_process} = 1;
    warn
        'EventSource::Hub: this server has several processes, and what is published in one reaches the streams of that one'
        . " alone (per_process => 1 says that this is meant)\n";
    return;
}

1;
__END__

=encoding utf8

=head1 NAME

EventSource::Hub - Channels: publish once, and every stream that follows has it

=head1 SYNOPSIS

    use EventSource::Hub;
    use Plack::Builder;

    my $hub = EventSource::Hub->new(history => {events => 1000, seconds => 3600}, retry => 2000);

    my $app = builder {
        mount '/events' => $hub->to_app(channels => sub { my $env = shift; return ('news', 'user/7') });
        mount '/hello'  => sub {
            my $id = $hub->publish(news => {event => 'greeting', data => 'hello'});
            return [200, ['Content-Type' => 'text/plain'], ["published as $id\n"]];
        };
    };

=head1 DESCRIPTION

An application publishes an event to a channel, and every stream that follows the channel is sent it. It is encoded once,
however many streams there are, and written by a thread of the process next to the interpreter: to publish costs the
application a microsecond or two, and no stream holds a worker.

=head2 Order, resume, gaps

A hub has one sequence. Each stream is sent the events of the channels that it follows in the order in which they were
published, each once. Its first block holds nothing but an C<id>, its position, and each event has an id, so a client that
comes back says by its C<Last-Event-ID> (WHATWG HTML, section 9.2.4) what it has received last, whatever the channels, and
is sent first what it has missed, then what is new. When it is quiet the comment that keeps the connection alive is such a
position too.

An id is the hub's epoch, a dash and a number: C<o6grvhtu-17>. An event may be given an id of its own instead; it must not
be used twice in a channel, nor begin as the hub's own do. The last 65,536 of those are remembered, at most 4 MiB with the
names of their channels. Such an id says something only to a stream that is subscribed to the channel of its event; to
any other it is an unknown one.

Such an id has 1 to 1,024 bytes in UTF-8, and any characters with which it can come back in an HTTP header: all but control
characters (U+0000 to U+001F and U+007F; a TAB may stand within it), and no space or TAB at its beginning or end. To a header
with a control character servers answer 400, after which a browser never reconnects; blanks at the ends they remove, which
makes it another id.

=head2 What ids reveal

The number in an id is the event's position among all events of the hub. From two ids, a reader of any channel can tell how
many events were published between them, to all channels together. L</opaque_ids> hides this.

A client can invent an id. If it sends the first id of an epoch (C<o6grvhtu-0>), it receives what C<< start => 'oldest' >>
gives: everything in the history of the channels that the application lets it follow, and never more. C<start> is where a
client without an id begins. It does not protect older events. With L</opaque_ids> a client cannot invent an id. It can only
repeat one.

Where a client has missed something that is no longer in the L</history> it is told: an event named C<gap>
(L</gap_event>), whose data is C<{"reason":"forgotten"}>; then comes all that is left. It is told so too if its id says
nothing to this hub, because it is of another one (that of another process, or of before a restart), ahead of the newest
event, or nonsense (C<"unknown">); then it begins where L</start> says. And if it was slower than the history is long
(C<"slow">, see L</on_slow>). A page does best to load its state anew then:

    const source = new EventSource('/events')
    source.addEventListener('gap', () => location.reload())

One that is cut off before the first block has come has no id, and begins anew. A client that has missed nothing is never
told of a gap, with one exception: of channels that have vanished with history
the hub remembers 65,536, and of older ones only that there were some.

=head2 Processes

A hub lives in one process. A forked child has one of its own, with an epoch of its own, so on a server with several
workers what is published in one reaches the streams of that one alone; that is warned of once. The streams that a hub
holds are its process's: a child that pushes to one, or closes it, changes nothing, and is answered as if it had ended.

=head2 Which streams

All that are native (L<Plack::App::EventSource/NATIVE STREAMS>). One that goes through the server's writer can follow a
hub all the same, with the same ids, order and replay: under Twiggy and Feersum as any other, on a server that blocks
within its handler (L</serve>), which is then busy for as long as its client stays. Such a stream costs two descriptors
more.

=head1 ATTRIBUTES

All are for L</new>.

=head2 gap_event

    gap_event => 'gap'

The name of the event that tells of a gap: one line that is not empty. L</publish> takes no event of that name: its readers
could not tell it from the hub's own.

=head2 history

    history => {events => 1000, bytes => 1_048_576, seconds => 3600}

How much each channel remembers: how many events and how many bytes of them, whole numbers from 0, and for how many seconds,
fractions allowed. These are the defaults. A single event may have more bytes than that. It bounds what can be replayed, and
how far a slow client may lag; a client that keeps up is sent everything, whatever the history. An event that expires is gone
a sixteenth of its time later at the latest.

=head2 total_history

    total_history => {events => 100_000, bytes => 67_108_864}

How much all channels remember together, C<seconds> too, if given; C<bytes> includes the keys of events, and the name of
each channel that has any. The oldest event of all goes first.

=head2 on_slow

    on_slow => 'disconnect'

What becomes of a stream that history overtakes, for its client is slow:

=over

=item C<disconnect>

It ends, with the reason C<slow>. The client comes back and is told of the gap. The default.

=item C<gap>

It is told of the gap, and goes on with what is left.

=item C<newest>

It is sent only the newest event of each channel, or of each C<key> (L</publish>), of what it has not been sent yet, and is
told nothing, for its client wants to know how things stand. Those are kept beyond the history, within the same bounds;
where even that did not suffice it is told of a gap.

=back

=head2 max_topics

    max_topics => 1000

The maximum number of channels and patterns of one stream, a whole number from 1; 1,000 by default. A request for more
croaks.

=head2 opaque_ids

    opaque_ids => 1

Encrypts the number in each id, so that the id reveals only its epoch (AES-128, with a random key for each epoch). An id
then has 35 characters. False by default. To encrypt an id takes well under a microsecond.

=head2 per_process

    per_process => 1

Says that it is meant that each process has a hub of its own, so that nothing is warned of.

=head2 show_channel

    show_channel => 'event'

Has events say which channel they came from: with C<event> by their type, if they have none of their own; with C<data> the
data becomes JSON, an object with C<channel> and C<data>, which is the event's data, or its C<json>. Not by default, and not
for a subclass.

=head2 start

    start => 'newest'

Where a stream begins whose client says nothing of what it has received: C<newest>, with what is published from now on, the
default; C<oldest>, with all that is in the history; or -10, with the last ten events.

=head2 headers, keepalive, linger, max_streams, native, preamble, retry, timeout

For the streams of L</to_app>, as L<Plack::App::EventSource> has them.

=head1 METHODS

=head2 new

    my $hub = EventSource::Hub->new(%attributes);

Takes attributes as names and values, or as a reference to a hash. Croaks if one is unknown or has a value that it cannot
have, and where there is no Linux. When the object is gone its streams end.

=head2 drain

    $hub->drain(30);

Has the streams of this process end one after the other, spread over so many seconds, so that their clients do not all come
back at once: each is told its position and when to come back, after one to two times the C<retry> of its application (2
seconds unless given). Streams that come later are sent away the same way at once. Returns at once. Croaks unless it is
given a number of seconds, from 0.

=head2 epoch

    my $epoch = $hub->epoch;

What the ids of this process's hub begin with: eight characters, drawn when it is first used.

=head2 serve

    my $taken = $hub->serve($connection, @channels);
    my $taken = $hub->serve($connection, @channels, {after => $id, start => 'newest'});

As L</subscribe>; but where the stream goes through the writer of a server that blocks, serves it until its client leaves
or the hub ends it. So a handler that ends with this works everywhere.

=head2 pattern

    my $pattern = EventSource::Hub->pattern('news/*');

What stands for all channels whose names match, those that come later included: C<*> stands for any characters but C</>,
C<**> for any at all. Wherever a channel may be followed such a pattern may. A name by itself never is one.

=head2 publish

    my $id = $hub->publish($channel, $data);
    my $id = $hub->publish($channel, {event => $type, data => $data, key => $key});

Publishes an event, and returns its id. A channel's name is any string that is not empty, of at most 1,024 bytes in UTF-8.
An event is data, a string or a reference to an array of strings, or a reference to a hash of what
L<EventSource::XS/format_event> takes; besides those C<key>, a string of at most 1,024 bytes in UTF-8, says what it is the
newest of, for C<< on_slow => 'newest' >>.

It does not wait for clients. If more than 64 MiB are on their way to the thread that writes it waits for that.

Croaks, at the caller's line, as C<format_event> does, and if the channel's name or the key is too long, if the name is
empty, if the id is none that a client can bring back (L</Order, resume, gaps>) or begins as the hub's own do, if C<event> is
the name of the hub's own event for gaps (L</gap_event>), if C<retry> is more than 86,400,000 milliseconds, a day, if there is
neither data nor a hash, or if the system cannot run the thread, or the process is ending, as it is after our C<END> block;
then nothing is published.

=head2 stats

    my $stats = $hub->stats;

What was counted in this process, all that was published before included, as a reference to a hash:

=over

=item streams

Streams that follow something.

=item channels, patterns

Channels that have followers or history, and patterns that have followers.

=item published, delivered

Events that were published, and events that were handed to the kernel, for each stream by itself.

=item history

A hash: C<events> and C<bytes> that are held, keys and names included.

=item resumed, gaps

Streams that began with an id of the client's, and gaps that were told.

=item slow

A hash: how many streams were overtaken by history, and were ended (C<disconnect>), told of the gap (C<gap>), or sent only
the newest (C<newest>).

=back

=head2 subscribe

    my $taken = $hub->subscribe($connection, @channels);
    my $taken = $hub->subscribe($connection, @channels, {after => $id, start => 'newest'});

Subscribe the stream of a L<Plack::App::EventSource::Connection> to channels, in addition to those that it follows already.
The stream resumes after the event with the id C<after>, by default the id that the client sent (C<last_event_id>). Without
an id, C<start> says where it begins. Returns false if the stream has ended.

From now on the hub holds the stream: it stays open until its client leaves or the connection is closed, even if the
application does not hold the connection. An event that is pushed to the connection is sent before events that are still in
the hub.

B<All subscriptions of one handler are one request.> The hub sends the stream nothing of them before the handler returns. So
no id claims that the client has events of a channel to which the handler has not subscribed yet. If the handler goes on
after it has subscribed, the subscriptions become effective with its next C<push> to the connection, after five seconds, or
when a history is about to drop an event that the stream is to receive.

B<Later subscriptions>, made after the handler has returned or pushed, are effective at once. The new channels may have events
after C<after> that are older than the last event that the stream was sent. Then the stream goes back: the client
receives the position C<after>, then those events, then the position from which the stream went back. A client that loses its
connection in between resumes after the last of them that it has received. It loses no event, but it may receive events of the other
channels twice. A client that loses its connection before it has received the position C<after> was not subscribed yet: its
id says nothing about the new channels. Where that matters, subscribe to everything before the handler returns.

If a client reads nothing and more than L<Plack::App::EventSource/max_buffered> is buffered for it, a later subscription that has
something to send to the stream ends it with the reason C<slow>, whatever L</on_slow> says.

Croaks if no channel is given, if a channel is neither a string nor a pattern, if the stream would have more than
L</max_topics> channels and patterns, if an option is wrong, or if the stream goes through the writer of a server that blocks
(use L</serve> there).

=head2 subscribers

    my $count = $hub->subscribers($channel);

How many streams of this process follow a channel, by its name or by a pattern.

=head2 to_app

    my $app = $hub->to_app(channels => sub { my $env = shift; ... });
    my $app = $hub->to_app(channels => $code, keepalive => 30, headers => ['Access-Control-Allow-Origin' => '*']);

A PSGI application whose streams follow the channels that the callback returns for a request: names and patterns. If it
returns a PSGI response instead, an array or a code reference, that is the answer; if it returns nothing, a 404 is. Further
attributes take the place of the hub's: C<headers>, C<keepalive>, C<linger>, C<max_streams>, C<native>, C<preamble>,
C<retry>, C<start>, C<timeout>.

A stream resumes by the header C<Last-Event-ID>, or, for polyfills that cannot send it, by one of the query parameters
C<last_event_id>, C<lastEventId>, C<evs_last_event_id>; these have to stand in the first 8,192 bytes of the query.

=head2 unsubscribe

    $hub->unsubscribe($connection, @channels);
    $hub->unsubscribe($connection);

Unsubscribes a stream from channels. What was published to them before is still sent. Without any channel, it is subscribed to
nothing and is the connection's again, which it ends with where the server blocks.

=head1 SEE ALSO

L<Plack::App::EventSource>, L<EventSource::XS>, L<https://html.spec.whatwg.org/multipage/server-sent-events.html>

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut

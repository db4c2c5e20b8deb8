package EventSource::Hub;
use strict;
use warnings;

# Channels: each stream that is subscribed to a channel is sent the events that are published to it. The hub itself is
# native: publish, epoch, stats and subscribers are in src/xs.

our $VERSION = '0.100';

use EventSource::Error;
use EventSource::Hub::Process;
use EventSource::XS ();
use EventSource::XS::Hub::Absence;
use EventSource::XS::Hub::ChannelNames;
use EventSource::XS::Hub::Forgotten;
use EventSource::XS::Hub::Limit;
use EventSource::XS::Hub::Member;
use EventSource::XS::Hub::Pattern;
use EventSource::XS::Hub::ProcessSettings;
use EventSource::XS::Hub::Retention;
use EventSource::XS::Hub::Subscription;
use EventSource::XS::Settings;
use EventSource::XS::Stream;
use EventSource::XS::Stream::Relay;
use Scalar::Util qw(blessed);

# An error reports the line of the application. These packages call the hub for it.
our @CARP_NOT = qw(EventSource::XS::Hub::App Plack::App::EventSource Plack::Component);

my $SETTINGS     = EventSource::XS::Settings->new(__PACKAGE__);
my $SUBSCRIPTION = 'EventSource::XS::Hub::Subscription';
my $MEMBER       = 'EventSource::XS::Hub::Member';

# The largest number of topics, and of milliseconds of a retry.
my $MAX_BOUND = 999_999_999_999_999;

# The latest time of the clock, in nanoseconds.
my $MAX_CLOCK = ~0 >> 1;

my $MAX_MAX_RELAYS = 10_000;
my $MAX_RELAYS     = 100;      # processes of relays of a named hub

# The results of a subscription, in the order of their numbers (esx_hub_subscribe in src/xs/hub.rs): the stream has
# ended; is subscribed; or waits for the hub process.
my @SUBSCRIBED = qw(ended now waits);

# The native hub takes these as numbers, in the order of src/xs/eventsource.h.
my @GAP_REASONS = qw(evicted unknown slow);

# Both new and to_app have channels, which differ.
my @HUB_SETTINGS = qw(
    gap_data gap_event grace history idle_exit max_members max_relays max_topics name on_slow opaque_ids per_process position_event
    publish_timeout show_channel socket spawn state store total_history total_state
);

my @APP_OPTIONS = qw(label member methods origins);
my @STREAM_SETTINGS =
    qw(compress fallback headers keepalive linger max_age max_streams max_streams_per native position preamble retry start
    timeout);

sub new {
    my ($class, @given) = @_;
    my %given = $SETTINGS->parse('new takes settings', @given);
    EventSource::Error->throw(
        code    => 'unsupported',
        message => 'EventSource::Hub: there are no hubs on this system: they need Linux'
    ) if !$class->can('_attach');
    for my $name (grep { exists $given{$_} } @APP_OPTIONS) {
        $SETTINGS->refuse($name, "$name is an option of to_app, not a setting of new");
    }
    $SETTINGS->known(\%given, ['channels', @HUB_SETTINGS, @STREAM_SETTINGS]);
    my %native = _native_settings(%given);
    my $self   = bless {
        absence        => EventSource::XS::Hub::Absence->new($given{name}),
        gap_event      => $native{gap_event},
        max_topics     => $native{max_topics},
        name           => $native{name},
        per_process    => $given{per_process} || defined $given{name},
        position_event => $native{position_event},
        socket         => $given{socket},
    }, $class;
    my $most = defined $given{max_relays} ? $given{max_relays} : $MAX_RELAYS;
    $self->{relays} = EventSource::XS::Stream::Relay::Process->bound($most, @given{qw(name socket)})
        if defined $given{name};
    EventSource::XS::Hub::ChannelNames->enable($self, $given{show_channel});
    $self->{stream_settings} = {map { exists $given{$_} ? ($_ => $given{$_}) : () } @STREAM_SETTINGS};
    require EventSource::XS::Hub::App;
    EventSource::XS::Hub::App->check(%{$self->{stream_settings}});
    $self->_attach(\%native);
    return $self;
}

# Public methods

sub absence { return $_[0]{absence} }

# The hub process bounds all streams that it holds. It does not know which application has accepted one.
sub check_max_streams {
    my ($self, $given) = @_;
    $SETTINGS->refuse(
        max_streams => 'max_streams bounds all streams of a named hub together: give it to new of the hub,'
            . ' or bound the streams of a client with max_streams_per')
        if defined $given && length $self->{name};
    return;
}

sub check_topics {
    my ($self, @topics) = @_;
    $SUBSCRIPTION->topics(ref $self ? $self->{max_topics} : undef, @topics);
    return;
}

sub drain {
    my ($self, $seconds) = @_;
    $SETTINGS->refuse(seconds => 'drain takes a number of seconds') if !$SETTINGS->is_seconds($seconds);
    $self->_drain($seconds);
    EventSource::XS::_call_callbacks();
    return;
}

sub end {
    my ($self, @given) = @_;
    my ($labels, $topics, $finish) = $SUBSCRIPTION->options_of_end(@given);
    $self->_warn_of_several_processes if EventSource::XS::Stream->is_multiprocess;
    my $count = $self->_end($labels, $topics, $finish);
    EventSource::XS::_call_callbacks();
    return $count;
}

sub forget {
    my ($self, $channel, $key, $event, @options) = @_;
    return $self->publish($channel, EventSource::XS::Hub::Forgotten->event($key, $event, $self->{show_channel}),
        @options);
}

sub gap_event { return $_[0]{gap_event} }

# The channels of a stream, by how it begins there.
sub groups {
    my ($self, @channels) = @_;
    return $SUBSCRIPTION->groups($self->{max_topics}, @channels);
}

# Change the data of a member.
sub member {
    my ($self, $channel, $id, $change) = @_;
    my $is_here = $self->_update_member($MEMBER->change_of($self, $channel, $id, $change));
    EventSource::XS::_call_callbacks();
    return $is_here;
}

sub members {
    my ($self, $channel) = @_;
    my ($name, $from, @members) = ($MEMBER->channel_of($channel), '');
    do {
        ($from, my @found) = @{$self->_members($name, $from)};
        while (my @member = splice @found, 0, 5) { push @members, $MEMBER->info_of(@member) }
    } while length $from;
    EventSource::XS::_call_callbacks();
    return @members;
}

sub members_count {
    my ($self, $channel) = @_;
    my $count = $self->_count_members($MEMBER->channel_of($channel));
    EventSource::XS::_call_callbacks();
    return $count;
}

sub metrics_app {
    my ($self, @given) = @_;
    $SETTINGS->refuse(undef, "metrics_app is a method of an object: $self->new(...)->metrics_app") if !ref $self;
    require EventSource::XS::Hub::Metrics;
    return EventSource::XS::Hub::Metrics->app($self, @given);
}

sub pattern {
    my ($class, $pattern) = @_;
    return EventSource::XS::Hub::Pattern->new($pattern);
}

# Where each process has a hub of its own, an event reaches only its own streams.
sub position { return $_[0]{stream_settings}{position} }

sub position_event { return $_[0]{position_event} }

sub process {
    my $self = shift;
    EventSource::Error->throw(
        code    => 'state',
        message => 'EventSource::Hub: only a named hub has a process'
    ) if !length $self->{name};
    my %place = map { defined $self->{$_} ? ($_ => $self->{$_}) : () } qw(name show_channel socket);
    return EventSource::Hub::Process->connect(%place, spawn => 0);
}

sub reaches_one_process { return !$_[0]{per_process} }

sub relays { return $_[0]{relays} }

sub script_app {
    my ($class, @given) = @_;
    require EventSource::XS::Hub::Script;
    return EventSource::XS::Hub::Script->app(@given);
}

sub serve {
    my ($self, $connection, @topics) = @_;
    my $stream = _stream_of($connection, 'serve');
    my ($member, @given) = $self->_with_member($self->_with_default_id($connection, @topics));
    $connection->remember_member($self, $member)
        if $member;    # before serve_stream, which may return at the stream's end
    my $is_subscribed = $self->serve_stream($stream, @given);
    EventSource::XS::_call_callbacks();
    return $is_subscribed;
}

sub serve_stream {
    my ($self, $stream, @topics) = @_;
    my $is_subscribed = $self->subscribe_stream($stream, @topics);
    EventSource::XS::Stream::Relay->serve_stream($stream, $self->{relays}, $self->{absence}->patience)
        if $stream->needs_serving;
    return $is_subscribed;
}

# The fields of an event of a channel in the form in which the hub sends it: show_channel changes them. The hash that is given
# is the method's own.
sub shown { return $_[2] }

sub subscribe {
    my ($self, $connection, @topics) = @_;
    my $stream = _stream_of($connection, 'subscribe');
    EventSource::Error->throw(
        code    => 'state',
        field   => 'connection',
        message => 'EventSource::Hub: this stream goes through the writer of a server that blocks: call serve instead'
    ) if $stream->needs_serving;
    my ($member, @given) = $self->_with_member($self->_with_default_id($connection, @topics));
    my $is_subscribed = $self->subscribe_stream($stream, @given);
    $connection->remember_member($self, $member) if $member && $is_subscribed;
    EventSource::XS::_call_callbacks();
    return $is_subscribed;
}

sub subscribe_stream {
    my ($self, $stream, @topics) = @_;
    my %option = ref $topics[-1] eq 'HASH' ? %{pop @topics} : ();
    $SETTINGS->known(\%option, [qw(after asked_at counted_by keeps_id label max_age member position retry start will)],
        'option %s');
    $SETTINGS->refuse(channels => 'there is no channel to subscribe to') if !@topics;
    my $topics  = $SUBSCRIPTION->topics($self->{max_topics}, @topics);
    my $default = $self->{stream_settings}{start};
    my ($start, $count) = $SUBSCRIPTION->start(defined $option{start} ? $option{start} : $default);
    my $after = $SETTINGS->string(after => $option{after});
    $after = undef if defined $after && !length $after;
    my $member = $MEMBER->of($self, $option{member});
    my %access = (
        $self->_access(%option),
        member => $member && $member->native,
        will   => $MEMBER->will_of($self, $option{will})
    );
    return !!0                                              if !$stream->is_open;
    ($start, $count) = _later_start($after, $option{start}) if _has_begun($stream);
    $self->_warn_of_several_processes                       if EventSource::XS::Stream->is_multiprocess;
    my %first_block = ($self->_first_block($stream, %option), %access);
    my $native      = $stream->is_native ? $stream : EventSource::XS::Stream::Relay->native_of_or_create($stream);
    my $subscribed  = $SUBSCRIBED[$self->_subscribe($native, $topics, $after, $start, $count, \%first_block)];
    $self->_log_refused_members if $access{member};
    return $self->_note_subscription($stream, $subscribed);
}

sub to_app {
    my ($self, @given) = @_;
    my %given = $SETTINGS->parse('to_app takes options', @given);
    $SETTINGS->refuse(undef, "to_app is a method of an object: $self->new(...)->to_app(...)") if !ref $self;
    for my $name (grep { exists $given{$_} } @HUB_SETTINGS) {
        $SETTINGS->refuse($name, "$name is a setting of new, not an option of to_app");
    }
    $SETTINGS->known(\%given, ['channels', @APP_OPTIONS, @STREAM_SETTINGS], 'option %s of to_app');
    $self->check_max_streams($given{max_streams});
    require EventSource::XS::Hub::App;
    return EventSource::XS::Hub::App->new(%{$self->{stream_settings}}, %given, hub => $self)->to_app;
}

sub type_of {
    my ($self, $channel, $event) = @_;
    return ref $event eq 'HASH' ? $event->{event} : undef;
}

# Private methods and functions

# The labels, age and time of a reader, as the native hub takes them.
sub _access {
    my ($self, %option) = @_;
    my $max_age = defined $option{max_age} ? $option{max_age} : $self->{stream_settings}{max_age};
    $SUBSCRIPTION->max_age($max_age);
    my $asked_at = $SETTINGS->whole_number(asked_at => $option{asked_at}, from => 0, to => $MAX_CLOCK);
    $asked_at = $self->clock if !defined $asked_at;
    my $labels  = $SUBSCRIPTION->labels($option{label});
    my @counted = @{$option{counted_by} || []};
    $SETTINGS->refuse(label => 'there may be at most 63 labels beside two limits of max_streams_per')
        if @counted > 1 && @$labels > 63;
    push @$labels, @counted;
    return (labels => $labels, max_age => $max_age || undef, asked_at => $asked_at);
}

# The first block of a stream, as the native hub takes it. A client that the application has given an id of its own keeps it.
sub _first_block {
    my ($self, $stream, %option) = @_;
    my $position = defined $option{position} ? $option{position} : $self->{stream_settings}{position};
    my $retry = $SETTINGS->whole_number(retry => $option{retry}, from => 0, to => $MAX_BOUND, unit => 'milliseconds');
    my $is_custom = $option{keeps_id} || $stream->can('has_pushed_id') && $stream->has_pushed_id;
    return (position => $SUBSCRIPTION->position($position), retry => $retry, keeps_id => $is_custom ? 1 : 0);
}

# The data of gap events by the native hub's numbers of their reasons; undef if the application gives none.
sub _gap_data {
    my ($gap_data, $gap_event) = @_;
    return undef if !defined $gap_data;
    return [map { _gap_data_for($_, $gap_data, $gap_event) } @GAP_REASONS];
}

sub _gap_data_for {
    my ($reason, $gap_data, $gap_event) = @_;
    my $is_code = ref $gap_data eq 'CODE';
    my $data    = $is_code ? $gap_data->({event => $gap_event, reason => $reason}) : $gap_data;
    $SETTINGS->refuse(gap_data => "gap_data must return the data of the event, not undef, for the reason '$reason'")
        if !defined $data;
    return $SETTINGS->string($is_code ? 'what gap_data returns' : 'gap_data', $data, field => 'gap_data');
}

# Where a later subscription begins: with new events.
sub _later_start {
    my ($after, $start) = @_;
    my ($late) =
        defined $after ? 'after' : defined $start && $start ne 'latest' ? 'start' : return $SUBSCRIPTION->start(undef);
    return EventSource::Error->throw(
        code    => 'state',
        field   => $late,
        message =>
            "EventSource::Hub: $late is for a stream that has not begun. A later subscription begins with new events:"
            . " leave $late out, or subscribe in the handler before it pushes and returns"
    );
}

# The settings of the native hub.
sub _native_settings {
    my %given = @_;
    $SETTINGS->one_line($_ => $given{$_}) for qw(gap_event position_event);
    my $gap_event      = defined $given{gap_event}      ? $given{gap_event}      : 'gap';
    my $position_event = defined $given{position_event} ? $given{position_event} : 'position';
    $SETTINGS->refuse(position_event => "position_event must not be '$gap_event', the name of the event for gaps")
        if $position_event eq $gap_event && !_is_for_process(%given);
    $SETTINGS->whole_number(max_relays => $given{max_relays}, from => 0, to => $MAX_MAX_RELAYS);
    $SETTINGS->whole_number(max_topics => $given{max_topics}, from => 1, to => $MAX_BOUND);
    return (
        EventSource::XS::Hub::Retention->native(%given),
        gap_data    => _gap_data($given{gap_data}, $gap_event),
        gap_event   => $gap_event,
        max_streams => $given{max_streams} || 0,
        named       => join(' ', grep { defined $given{$_} } sort keys %given),    # a hub process keeps these
        max_topics  => defined $given{max_topics} ? $given{max_topics} : $SUBSCRIPTION->max_topics,
        EventSource::XS::Hub::ProcessSettings->native(%given),
        opaque_ids             => $given{opaque_ids} ? 1 : 0,
        position_event         => $position_event,
        refuses_position_event => defined $given{position} && $given{position} ne 'event' ? 0 : 1,
    );
}

# Returns true if the hub process has the name of an event of its own that this object does not name: the process compares them.
sub _is_for_process {
    my %given = @_;
    return defined $given{name} && 2 > grep { defined } @given{qw(gap_event position_event)};
}

# Returns true if a subscription of a stream would be a later one: the stream is subscribed, and its handler is over.
sub _has_begun {
    my $stream = shift;
    my $native = $stream->is_native ? $stream : EventSource::XS::Stream::Relay->native_of($stream);
    return $native && $native->_has_begun;
}

# Returns true if an id is one of this hub. While its process is away, all that look like ids of hubs are.
sub _is_own_id {
    my ($self, $id) = @_;
    my $epoch = $self->_known_epoch;
    return length $epoch ? index($id, "$epoch-") == 0 : $id =~ /\A[0-9a-v]{8,12}-[0-9a-v]+\z/;
}

# Logs once that a stream of this process has opened without its member. A hub process logs that itself.
sub _log_refused_members {
    my $self = shift;
    return if $self->{has_logged_refused_members} || !$self->_has_refused_members;
    $self->{has_logged_refused_members} = 1;
    warn
        'EventSource::Hub: a stream has opened without its member: a channel has max_members, the state is full, or the '
        . "application retains an event without a key where members are counted.\n";
    return;
}

# Returns true if a stream is subscribed, or will be when the hub process answers.
sub _note_subscription {
    my ($self, $stream, $subscribed) = @_;
    if   ($subscribed eq 'waits') { $self->{absence}->note }
    else                          { $self->{absence}->end }
    return !!0 if $subscribed eq 'ended';
    EventSource::XS::Stream::Relay->pass_on_in_loop($stream, $self->{relays})
        if $self->{relays} && !$stream->is_native && !$stream->is_blocking;
    return !!1;
}

sub _stream_of {
    my ($connection, $method) = @_;
    my $stream = blessed $connection && $connection->isa('Plack::App::EventSource::Connection') && $connection->stream;
    $SETTINGS->refuse(connection => "$method takes a Plack::App::EventSource::Connection that has a stream")
        if !$stream;
    return $stream;
}

# Each process has a hub of its own, so an event that is published in one process reaches no stream of another.
sub _warn_of_several_processes {
    my $self = shift;
    return if $self->{has_warned} || !$self->reaches_one_process;
    $self->{has_warned} = 1;
    warn
        'EventSource::Hub: this server has several processes. An event reaches only the streams of the process that publishes'
        . " it. Give the hub a name (name => 'shop'): then it has a hub process, which all of them share. Or set"
        . " per_process => 1 if that is intended.\n";
    return;
}

# The member of a subscription, checked, before its topics and options.
sub _with_member {
    my ($self, @given) = @_;
    my %option = ref $given[-1] eq 'HASH' ? %{pop @given} : ();
    my $member = $MEMBER->of($self, $option{member});
    return ($member, @given, {%option, member => $member});
}

# Topics and options. The stream resumes after the id that its client sent, unless the options say otherwise: then that id
# may be one of the application, which resumes the client itself. Who may read was decided when the request came. A stream that
# has begun does not resume, and its application decides anew.
sub _with_default_id {
    my ($self, $connection, @topics) = @_;
    return @topics if _has_begun($connection->stream);
    my %option    = ref $topics[-1] eq 'HASH' ? %{pop @topics} : ();
    my $id        = $connection->last_event_id;
    my $is_other  = exists $option{after} && (!defined $option{after} || defined $id && "$option{after}" ne $id);
    my $is_custom = $is_other && defined $id && length $id && !$self->_is_own_id($id);
    my %own       = $is_custom ? (keeps_id => 1) : ();
    $own{asked_at} = $connection->{asked_at} if $connection->{asked_at};
    return (@topics, {after => $id, %own, %option});
}

1;
__END__

=encoding utf8

=head1 NAME

EventSource::Hub - Channels: publish an event once, and every subscribed stream receives it

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

An application publishes an event to a channel, and the hub sends it to every stream that is subscribed to the channel.
The event is encoded once for all streams. A native thread of the process writes it, so publishing takes the application
a microsecond or two, and no stream occupies a worker.

=head2 Order, resume, gaps

A hub has one sequence of events. Each stream receives the events of its channels in the order in which they were
published, each of them once. Each event has an id. A client that reconnects sends the last id that it received as
C<Last-Event-ID> (WHATWG HTML, section 9.2.4). It first receives the events that it missed, then new ones, whatever its
channels are. The first block of a stream is the position at which the stream begins (L</position>), so that a client
that receives no event can resume too.

An id is the hub's epoch, a dash and a number: C<o6grvhtu-17>. The application may give an event an id of its own
instead. An id must not be used twice in a channel, and it must not begin as the hub's own ids do. The hub keeps the
last 65,536 ids of the application, at most 4 MiB with the names of their channels. An id of the application is known
only to streams that are subscribed to the channel of its event. For any other stream it is an unknown id.

An id of the application has 1 to 1,024 bytes in UTF-8. It must be able to come back in an HTTP header, so it has no control
characters (U+0000 to U+001F and U+007F; a TAB may stand within it) and no space or TAB at its beginning or end. It is not
that of finished streams (L<Plack::App::EventSource::Connection/finished_id>), with which no client comes back. Servers
answer a header with a control character with 400, after which a browser never reconnects. They remove blanks at the ends,
which makes it another id.

A client that missed events which the L</history> no longer has receives a C<gap> event (L</gap_event>). Its data is the
reason, in JSON:

=over

=item C<{"reason":"evicted"}>

The history no longer has all events after the client's id. The stream continues with the retained ones. With a L</store> in
Redis it also takes the place of an event that only a later version can read
(L<EventSource::Deployment/Machines with different versions>).

=item C<{"reason":"unknown"}>

The client's id says nothing to this hub: it is the id of another hub (of another process, or before a restart), it is
ahead of the newest event, or it is not an id of a hub. The stream begins where L</start> says. Also if a slow
handler subscribes
to more channels after the stream has begun (L</subscribe>).

=item C<{"reason":"slow"}>

The client read too slowly, and events were evicted before they were sent to it (L</on_slow>).

=back

A page whose state is not that of channels (L</State>) does best to load it again then:

    import { connect } from '/hub.js'
    connect('/events').addEventListener('gap', () => location.reload())

A client that loses its connection before it has received the first block has no id, and begins anew.

A client that missed no event receives no C<gap> event, with one exception. The hub keeps a tombstone for each channel
that was removed when its history expired or was evicted: at most 65,536 of them. Older tombstones are merged into one,
so a client of such a channel may receive a C<gap> event though it missed nothing.

=head2 State

A page often needs what is now, then what changes. Publish each change with a C<key> and C<< retain => 1 >>: the hub keeps the
newest event of each key of a channel beyond its history. A stream with C<< start => 'state' >> begins with these events of its
channels and patterns, in the order of their ids. Then comes one position, as an event (L</position_event>) even if
L</position> is C<id>: the state is complete. What is published meanwhile follows, so no event is missing between the two, and
none comes twice. With C<< position => 'none' >> nothing says that the state is complete.

    $hub->publish(stock => {key => 'item/7', json => {left => 3}, retain => 1});
    $hub->forget(stock => 'item/7');

A client that comes back within the history receives what it has missed, as any other. If it has missed more, it receives a
C<gap>, the state, and what comes: the gap means that it has to clear what it knows, for keys may have been forgotten meanwhile.
It never has to load anything anew (L<EventSource::Cookbook/A PAGE THAT SHOWS STATE>).

A slow client receives the same, unless L</on_slow> ends its stream: C<latest> has the effect of C<gap> for a stream that starts
with the state. A stream that the application has ended cannot begin with the state again: if its client is slow, it ends with
the reason C<slow>, and the client receives the gap when it comes back.

A client receives the state as of the moment when its stream began, however slowly it reads and whatever is published and
forgotten meanwhile: no gap interrupts it, unless the stream also reads the history of channels, which is evicted. If events
were evicted meanwhile, what has changed since follows before the position: the newest events of the keys that have changed, and
those that forget keys. Events without C<retain> that were published since the stream began come, too, except those that their
channel has evicted. For a client that reads faster than the state changes this ends where the history begins. For another one
it ends after a few times the size of the state: its state is complete as of the position, and from there on the client is slow
as any other (L</on_slow>). For clients that are still sent the state the hub keeps what was replaced or forgotten meanwhile: at
most four times what it holds otherwise, and 1 MiB. Beyond that the client that began first receives a gap and begins again. So
do clients that are sent the state during an upgrade.

A stream may begin with the state of some channels and with the history of others, by C<channels> of L</to_app>, and in a
handler by calls of L</subscribe> of their own:

    $hub->to_app(channels => sub { (['room/7', {start => -50}], ['room/7/people', {start => 'state'}]) });

    $hub->subscribe($conn, 'room/7',        {start => -50});
    $hub->subscribe($conn, 'room/7/people', {start => 'state'});

At a C<gap> the state of the one comes again, and the others continue: their events may come twice if the stream ends in the
middle of that.

The state survives what the history survives (L</Stores>): with a L</store> in a file, the end of the hub process in any way;
with Redis, where it is that of all machines, also the end of all hubs and of the epoch; without a store, only an upgrade of the
process. Forgetting survives as publishing does. If the store loses the end of its history (a file up to the last second at a
loss of power, Redis what it had not written or replicated at a failure), keys that were forgotten there are back, and clients
that come back receive a gap and the state. With C<< when_down => 'queue' >> (L</store>) an event that waited in one machine is
stored after one that another machine has published later: it can bring back a key that the other one has forgotten.

=head2 Members

A page often needs who is here. A stream may have a member, which the application knows by an id in a channel:

    my $app = $hub->to_app(
        channels => sub { ('room/7', 'room/7/people') },
        member   => sub {
            my $env = shift;
            return {id => $env->{REMOTE_USER}, channel => 'room/7/people', json => {name => name_of($env)}};
        },
        start => 'state',
    );

The first stream of a member publishes an event of the type C<join> to that channel, retained with the id as its key
(L</State>). When its last stream has ended and no other one has come for C<linger> seconds, an event of the type C<leave>
forgets the key. So a page that is loaded anew does not leave, twenty tabs are one member, and each join is followed by one
leave. Who is here is the state of a channel like any other: C<< start => 'state' >>, patterns, resume and gaps work on it, and
only a stream that is subscribed to it is told. The data of C<join> is JSON with the C<id> and the fields of C<json>, that of
C<leave> has the C<id>:

    import { connect } from '/hub.js'
    const people = connect('/room/7').members()    // a Map, from ids to {id, name}
    people.addEventListener('change', show)

The script is that of L<EventSource::Browser>. It also leaves the stream of a page that its user has left and that the browser
keeps (back/forward cache). A page without it has to do so itself: otherwise a member stays until the browser drops that page.

The hash of a member has these fields:

=over

=item id, channel

The member and the channel of its events: a string of 1 to 1,024 bytes in UTF-8 each. Both come from the application, never from
the client. The channel may be one that the stream itself is subscribed to. A stream has at most 64 members, of as many
subscriptions.

=item json, data

What others may know of the member: a hash that can be JSON, or a text, which is then the data of C<join> and C<update> as it
is. It has at most 65,536 bytes, as has each event of a member and a will.

=item linger

How many seconds a member stays when its last stream has ended: from 0 to 86,400, fractions allowed, 5 by default.

=item join, update, leave

Each a hash of fields of that event (C<event>, and C<data> or C<json>), which replace the default. C<< join => 'count' >> is for
large rooms: instead of a join and a leave each, the channel is sent an event of the type C<count> whose data is the number of
its members, at most once a second. It has no key, and is retained while somebody is here. So in such a channel the application
can retain no event without a key: a L</publish> with C<retain>, or a L</forget>, without C<key> throws C<invalid> there, and
where such an event is retained already, streams open without a member that is counted.

=back

A member can change while it is here (L</member>): streams receive an event of the type C<update> with the same key. So they do
if a further stream of a member has other data than the member; C<update> is the form of that event. A call of L</member> gives
the form of its own. L</members> and L</members_count> say who is here. A L</publish> with C<retain>, or a L</forget>, whose key
is that of a member who is here throws C<invalid>; a will with such a key is sent, and not retained.

A stream enters when its subscription takes effect: when its handler has returned. A client that leaves before was not here,
and its will is not published. If the stream reads that channel itself, the C<join>
that it causes comes after its first position. It leaves when it has ended, for whatever reason; a client that is gone without a
word is noticed with the next keepalives. With a L</name> the hub process knows all this: a worker that ends, or is replaced,
changes nothing, and neither does an upgrade of the process. If that process is killed, everything begins anew: clients
reconnect, receive a C<gap>, and join. A hub without a name has its members in each process.

With a L</store> a killed hub process changes nothing for members that come back while they linger: nobody leaves or joins. The
others leave once. With a file the time for which a member has lingered already counts, by the clock of the system, but no clock
that jumps lets a member linger for longer than C<linger>; members that had streams linger from the start of the next process
on. With Redis the members are those of all machines: one with streams on two of them joins once and leaves once, and the
members of a machine that dies, or of a process that has ended, leave within some 15 seconds in which another process runs.
What members say waits while the store cannot be reached, and so do
up to 10,000 wills, also those of streams that end because the store has lost its history. When the hub process is stopped, it
ends its streams first and has the store take their wills, for up to 5 seconds. A will that is lost nevertheless, the log
reports (L<EventSource::Deployment/The log of a hub process>). A process that is killed publishes and reports none. The number
of C<< join => 'count' >> is that of all machines, too; when the machine that has changed it dies, another one publishes it some
seconds later.

A channel has at most L</max_members>. A stream beyond that, or whose C<join> does not fit into the L</state>, opens without its
member. L</stats> counts that, and the log says it once.

B<A will> is an event that the hub publishes when a stream ends in any way other than by the application's own decision
(C<close>, C<finish>, L</end>): the option C<will> of L</subscribe>. The decision counts, even if the client leaves before it
was sent everything. The age of a stream (L</max_age>) and L</drain> are no such decision.

    $hub->subscribe($conn, 'game/7', {will => ['game/7', {event => 'gave up', json => {player => 2}}]});

=head2 What ids reveal

The number in an id is the event's position among all events of the hub. From two ids, a reader of any channel can tell
how many events were published between them, to all channels together. L</opaque_ids> hides this.

A client can invent an id. If it sends the first id of an epoch (C<o6grvhtu-0>), it receives what
C<< start => 'oldest' >> gives: everything in the history of the channels that the application lets it subscribe to, and
never more. C<start> is where a client without an id begins. It does not protect older events. With L</opaque_ids> a
client cannot invent an id. It can only repeat one.

=head2 On the wire

The bytes of a stream are such that as many client libraries as possible read them in the same way, also those that
follow the standard only in part.

    event: position
    retry: 2315
    data:
    id: o6grvhtu-16

    event: greeting
    data: hello
    id: o6grvhtu-17

    :

All lines of a stream have the same end. It is LF for L</to_app> and L<Plack::App::EventSource::PubSub>. Some clients
take the first line end for that of the whole stream. On a stream of L<Plack::App::EventSource> it is CRLF, as in the
original, unless L<Plack::App::EventSource/line_end> says otherwise; the events of the hub are then copied for each
stream, which costs time and memory. Lines that are pushed to a connection end as the others of the stream do.

The fields of an event are in the order C<event>, C<retry>, C<data>, C<id>, after a comment. Some clients take an id
when its line arrives. Because the id is last, such a client never resumes after an event that it has received in part.
An event is not divided between two writes as long as the socket takes it whole.

The keepalive is a comment, a line with a colon. It has no blank line, for which some clients report an empty message, and
neither has a reconnection time without other fields: it counts when its line ends (WHATWG HTML, section 9.2.6). If the
position of the stream has advanced since the last id that the client received, the position is sent instead (L</position>).

=head2 Processes

A hub with a L</name> lives in a hub process, which all processes of this user on this machine share: an event of any
of them reaches all streams. A worker hands the streams that subscribe to it over to that process. They stay open when
the worker ends, is recycled or is killed.

Without a name a hub lives in one process. A forked child has a hub of its own, with an epoch of its own. On a server
with several workers, an event that is published in one worker reaches only the streams of that worker. The hub warns
of this once (L</per_process>). The streams of a hub belong to its process: if a child pushes to one or closes it,
nothing changes, and the methods return what they return for a stream that has ended.

=head2 Stores

The hub process keeps its history in memory. With a L</store> it keeps it in a file or in Redis, too, and begins with it.

                      memory                file                        Redis
    an id means       the process has it    the file has it             Redis has it
    order             one for the hub       one for the hub             one for all machines
    worker is killed  streams stay open     streams stay open           streams stay open
    process killed    new epoch, a gap      ids continue, replay    ids continue, replay
    what is retained  ends with the process outlives the process    outlives all hubs
    loss of power     new epoch, a gap      at most the last second is  a gap if Redis has lost
                                            lost, and told by a gap     anything
    Redis is away     -                     -                           streams stay open, publish
                                                                        throws unavailable

In every case a client receives each event once and in order, or it receives a gap. Where C<once> is given, a publish that
failed as C<unknown> can be repeated (L</publish>): with a file or Redis it remains one event even if the hub process or
Redis was restarted in between.

Redis may lose events that it has acknowledged: when it crashes without C<appendfsync always>, when a replica takes over that
has not received them, when it evicts, or when somebody deletes keys. The hub finds that out, begins another epoch, and tells
the clients of a gap. Ids of several machines are those of one sequence; numbers increase, but not by one.

=head2 Which streams

A hub sends to all native streams (L<Plack::App::EventSource/NATIVE STREAMS>). A stream that goes through the server's
writer can be subscribed as well, with the same ids, order and replay. Under Twiggy and Feersum it behaves as any other.
On a server that blocks, its handler must serve it (L</serve>) and is busy until the client disconnects. Such a stream
costs two more descriptors.

If the hub has a L</name>, a process of its own takes such a stream over from the worker on Starman, Starlet,
HTTP::Server::PSGI, uWSGI, Twiggy and Feersum, and under L<Plack::Handler::FCGI>: L</serve> returns at once, the worker is
free, and the stream outlives it as a native one does. That process is a forked copy of the worker that does nothing but copy
to the server's writer; it shares the memory that neither changes. It ends with its stream. So a stream costs a process where
a native one costs some kilobytes. L</max_relays> bounds their number. A stream stays with its worker if that bound is
reached, if the server has threads (C<psgi.multithread>: uWSGI with C<threads>), because a process must not be forked there, if
uWSGI itself encrypts, frames or changes responses (C<https-socket>, C<fastcgi-socket>, C<route>), if the
application runs the loop of Twiggy itself, if Feersum is a version that can encrypt, and on all other servers.

=head2 Who reads

An application decides at the request for a stream who may read. The stream may then outlive the session, the worker and
the release of the application. So a right that is withdrawn has to end streams: L</end>. It finds them by the topics
that they are subscribed to, or by labels that the application gives them:

    my $app = $hub->to_app(
        channels => \&channels_of,
        label    => sub { my $env = shift; return "user/$env->{REMOTE_USER}" },
    );

    # at a logout
    $hub->end(label => "user/$user", finish => 1);

A label is a string of 1 to 256 bytes in UTF-8 that does not begin with a NUL, such as C<user/7> or C<session/4f1c>. A
stream has at most 64 of them, which stay until it ends. They cost nothing for a stream without. Where rights may also be
withdrawn where nobody calls C<end>, let the application be asked again from time to time: L</max_age>.
L<EventSource::Cookbook/LOGOUT AND CHANGED RIGHTS> is a whole application.

B<The order.> Withdraw the right first, where the application looks for it; then call C<end>. When it has returned, no
stream that it means is sent anything that is published from then on. That includes a stream whose handler still runs,
one that is being handed over to a hub process (L</name>), and one that subscribes later, but whose
application was asked before C<end> was carried out (when its request came, whether C<channels> or a handler decides):
for 60 seconds, and as long as less than 1,000 calls and 1 MiB of labels and topics came meanwhile. A stream whose request comes
later is a new reader, and so is a stream that has begun when it subscribes to further channels.

=head1 ATTRIBUTES

L</new> takes all of them. C<undef> stands for the default.

=head2 channels

    channels => {
        'user/*' => {history => {events => 100, seconds => 86_400}},
        stock    => {history => {events => 1}, state => {keys => 50_000}, on_slow => 'gap'},
    }
    channels => ['user/admin' => {history => {events => 10}}, 'user/*' => {history => {events => 100}}]

Settings of some channels: a hash or an array of names or patterns (L</pattern>), each with a hash of C<history>, C<state> and
C<on_slow>, at most 100. The first that matches a channel's name counts. Each setting and each bound that it leaves out is
that of the hub (L</history>, L</state>, L</on_slow>), and so is everything of a channel that none matches.

In an array the order is that of the list. A hash has none: a name comes before all patterns, then the pattern whose text
before the first star is longer, then the one that comes first in the order of the characters. So the narrower one counts:
C<user/7>, C<user/7/*>, C<user/*>, C<**>.

L</total_history> and L</total_state> bound all channels together, so C<seconds> of C<total_history> is also the longest time
of any channel.

A stream that is subscribed to several channels ends if it has missed events of one with C<< on_slow => 'disconnect' >>.
Otherwise it receives a C<gap> event if it has missed events of one with C<gap>. Only of those with C<latest> it receives the
latest events.

C<channels> of L</to_app> is another thing: the channels of a stream.

=head2 gap_data

    gap_data => '{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"warning","data":"gap"}}'
    gap_data => sub { my $gap = shift; return "elements <div id=gap>reload: $gap->{reason}</div>" },

The data of the event that reports a gap, for clients that understand events of a certain form only, such as those of
Turbo, Datastar or MCP: a string of characters, or a code reference. The code is called in L</new>, once for each reason,
because a native thread sends the event later. Its argument is a reference to a hash of C<reason> (C<evicted>, C<unknown>
or C<slow>) and C<event> (the type of the event, L</gap_event>). It returns a string of characters; an exception of it is
one of C<new>. Each line of the string is a line of data. The default is the JSON above (L</Order, resume, gaps>).

With C<gap_data>, L</publish> accepts events of the type L</gap_event>, because the readers of a gap read other events in
the same form. L<Plack::App::EventSource::PubSub> refuses them from its clients in any case.

=head2 gap_event

    gap_event => 'gap'
    my $type = $hub->gap_event;

The type of the event that reports a gap: one line that is not empty; C<gap> by default. L</publish> refuses events of
that type, because their readers could not tell them from the hub's own, unless there is L</gap_data>. The method of this
name returns the type that the object names, or the default.

=head2 grace

    grace => 30

For a hub with a L</name>: how many seconds (from 0, fractions allowed) its streams stay open when the last worker has
gone; 30 by default. Then each client is sent a C<retry> and its stream ends. The newest worker's value counts, for
L</idle_exit> too.

A worker counts from its first call on, and without a call from a second after its start: so workers that follow others on a
quiet site keep the streams. L<EventSource::Deployment/What survives which restart> says which workers do that.

=head2 history

    history => {events => 1000, bytes => 1_048_576, seconds => 3600}

The retention of each channel: a number of events and of bytes (whole numbers from 0 to 999,999,999,999,999), and a
number of seconds (from 0, fractions allowed). These are the defaults. A single event may have more bytes than that. The
history bounds what can be replayed and how far a slow client may lag. A client that keeps up is sent everything,
whatever the history. An event that expires is evicted a sixteenth of its time later at the latest. L</channels> may have
another one.

=head2 idle_exit

    idle_exit => 60

For a hub with a L</name>: after how many seconds (from 0, fractions allowed) without worker and stream its process ends, if
nothing was published meanwhile; 60 by default. Its history ends with it, unless it has a L</store>. A command that only asks,
such as C<eventsource hub check>, keeps neither the process nor, beyond L</grace>, its streams.

=head2 max_age

    max_age => 3600

How many seconds (from 0, fractions allowed) a stream stays open at most; 0, the default, means as long as its client
and its application want. The application (L</to_app>) or a stream (L</subscribe>) may have another one. A stream ends
after three quarters of that time at the earliest and at the end of it at the latest, at random, so that streams which
began together do not come back together. Its client is sent a C<retry>, comes back with its id, misses nothing, and the
application is asked again (L</Who reads>). The hub keeps the time: neither the end of the worker nor an upgrade changes
it.

=head2 max_members

    max_members => 10_000

The most members of a channel (L</Members>), a whole number from 0 to 999,999,999,999,999. This is the default. Those of other
machines count, as far as the store has told this one of them: who joins on two machines at the same moment may exceed it.
The retained events of members count for L</state> and L</total_state>. What the hub keeps of a member beside them, its data and
its event C<leave>, does not: at most 65,536 bytes each, so this setting bounds it.

=head2 max_relays

    max_relays => 100

For a hub with a L</name>: how many streams on the server's writer may have a process of their own at the same time (L</Which
streams>), whichever workers have accepted them: a whole number from 0 to 10,000; 100 by default. Further ones are served by
their worker and end with it, and the worker warns of it once. With 0 all are.

=head2 max_streams

    max_streams => 10_000

The maximum number of native streams, a whole number from 1: those of one process (L<Plack::App::EventSource/max_streams>),
and for a hub with a L</name> those that its hub process holds, whichever workers have accepted them. By default the hub process
holds as many as its descriptors allow. It raises its limit to the hard one, of which an eighth, at most 128, stays free.
A client that comes when there are that many receives the status 200, a C<retry> and the end. L</stats> counts such streams
(C<refused> of C<process>), and the process says once that there are any.

=head2 max_streams_per

    max_streams_per => [sub { my $env = shift; return $env->{REMOTE_ADDR} }, 20]

The maximum number of streams that have a key in common, such as an address, a user or a session: a callback that returns the
key of a request, and a whole number from 1 to 999,999,999. A client with as many streams receives the status 429 instead of
another one, with one line of text and C<Retry-After>, a random number of seconds from 10 to 30, which a page must obey itself:
L<EventSource::Clients/A STREAM THAT IS REFUSED>. With C<origins> a page of another origin may read it, too. By default there is
no limit. It is for the streams of L</to_app> and L<Plack::App::EventSource::PubSub>, not for those of L</subscribe> and
L</serve>.

A key is any string; C<undef> stands for no limit of this request. The callback is called before the response begins, after
C<channels>, C<label> and C<member>. An exception of it is an exception of the request.

All applications of a hub count the streams of a key together, each up to its own limit: give keys a prefix to count them apart.
Streams without the option are not counted. Without a L</name> a hub counts those of its process; with one, those of all
workers, also of workers that have ended. A stream counts until its connection is closed, and several requests at once do not
take the same place. A client that leaves before its stream is subscribed may hold the place for 10 seconds.
An upgrade of the hub process keeps the counts. If that process is killed, they begin anew with the streams that come
back. If it does not answer within a second, streams may begin, and count when they are subscribed. A limit that becomes lower
ends no stream. With a L</store> in Redis each machine counts its own streams.

The streams of some channels may have a limit besides (C<channels> of L</to_app>). C<limited> of L</stats> counts the refused
streams. L<EventSource::Deployment/LIMITS> says how to choose a key behind a proxy.

=head2 max_topics

    max_topics => 1000

The maximum number of channels and patterns of one stream: a whole number from 1 to 999,999,999,999,999; 1,000 by
default. A subscription to more throws an exception. Each pattern that no other stream has is compared once with the
names of the channels that begin with its text before the first star. A pattern that begins with a star is compared with
all names, some milliseconds for 50,000 of them: let clients name few of these. All subscriptions and events that come
after such a one wait for it.

=head2 name

    name => 'shop'

Give the hub a hub process, which all processes of this user on this machine reach by this name: 1 to 64 ASCII
letters, digits, C<_>, C<-> and C<.>, beginning with a letter, a digit or C<_>. By default a hub has no name and lives in
the process that has created it. A fork, a worker of the server, a job of cron and a script all use the same hub:

    my $hub = EventSource::Hub->new(name => 'shop');
    $hub->publish(news => 'sold out');    # in any process

The first call that needs the hub connects to its process, and starts it if none runs (L</spawn>). L</publish> then
waits until that process has the event, for some tens of microseconds. A stream that is subscribed is handed over to that
process, which holds its socket from then on: pushes and C<close> of the worker are forwarded in order, and C<on_close> is
called in the worker that has opened the stream, while it lives. A stream stays open when its worker ends. A worker that
exits sends what was pushed before; of a worker that is killed the last pushes may be missing. A stream that goes through
the server's writer (L</Which streams>) stays open too if a process of its own has taken it over; otherwise it ends with its
worker, and its client resumes without loss. If the hub process
ends, its streams end with the reason C<error> or C<server>, and the next call starts another one. Without a L</store> its
history is lost, and the other one has another epoch, so that clients receive a gap.

The process lives for as long as L</idle_exit> and L</grace> say. It belongs to the cgroup of the process that started
it, so C<systemctl restart> of a service ends it, too, unless it is a service by itself
(L<EventSource::Deployment/The hub process>). After an upgrade of this distribution, C<eventsource hub upgrade NAME> has it
continue as the new program, without an end of a stream
(L<EventSource::Deployment/From one release to the next>).

An object takes the settings that it does not name as they are: those of the running process, then those that were named
before, then the defaults. So a job needs a name only, and may come before the workers:

=over

=item *

Of L</history>, L</total_history>, L</state>, L</total_state>, L</channels>, L</max_topics>, L</max_streams>, L</grace> and
L</idle_exit> the newest named value counts.

=item *

C<gap_event>, C<gap_data>, C<position_event>, L</position>, C<opaque_ids>, C<on_slow> and L</store> are decided by the first
object that names them while the process lives. If the hub runs with another value, which nobody has named, it begins anew
with the named one, and its streams end. Their clients come back and receive a gap. A hub without a store takes its events
along, in their order, with other ids: they are history, and no client is sent them as new ones. Those of a store stay there
(L<EventSource::Deployment/From one store to another>). An object that names another value than that is refused: its calls
throw C<refused>. So are those of a process with another version of the protocol.

=item *

The process keeps what was named in a file beside its socket, F<NAME.sock.settings>, which only the user may read. The next
process begins with it. C<eventsource hub stop NAME> deletes the file; a reboot does, too, as it empties
F</run> and F</tmp>.

=item *

What the process was started with (C<--store>, C<--grace>, C<--idle-exit>, C<EVENTSOURCE_STORE>) goes before all this.

=item *

Commands of L<eventsource> and L<EventSource::Hub::Process> name no settings. They start the process only if there is such a
file: if an object of this user has used the hub before.

=back

Methods of such a hub also throw C<unavailable>, if its process cannot be reached or started and nothing was done, C<full>,
and C<unknown>, if the connection broke or no answer came within L</publish_timeout>: the call has perhaps had its effect
(L</publish>). If the connection breaks before a call was sent, the call connects anew, and starts the process again if need
be, until its time is over. A stream whose socket was not sent yet stays in the worker until then.

All objects with the same name, socket and settings share the connection of a process.

On Twiggy and Feersum a stream may have no socket yet when C<subscribe> returns. It is subscribed all the same: its client
receives what is published from then on.

=head3 When the process is away

This is so if nobody serves the hub, if its L</store> is away when its process starts, or if a signal has stopped that
process. Then streams hold neither a worker nor an event loop. The first request of a stream waits for the process for 50 ms,
so that an error is thrown to its caller; the next ones do not wait until the process has answered. Their streams are open,
and in the worker: they are sent their head and what is pushed, and are subscribed as soon as the process answers. If it
refuses a subscription then, the stream ends with the reason C<error>, and the worker warns of the first one, as of events
that are lost (L</publish>). If the answer takes longer than L</publish_timeout>, they end with a C<retry>, between one and
two times the setting, and their clients come back. For a second after a process could not be reached, a stream of L</to_app>
ends so at once; C<subscribe> and C<serve> throw C<unavailable>. On a server that blocks, a stream that goes through the
server's writer (L</Which streams>) always ends so, the first one after half a second. The worker warns once: C<the hub
process 'shop' does not answer>.

The status of such a response is 200, not 503 with C<Retry-After>: an C<EventSource> that is answered 503 fails for good
(WHATWG HTML, section 9.2.3) and does not read C<Retry-After>. It comes back after a stream that ends.

L</publish> waits for its id, and so do the other methods that return something: an event loop stands as long as they
wait. Under an event loop publish with C<< wait => 0 >>, which never waits.

=head2 on_slow

    on_slow => 'disconnect'

The policy for a stream of a slow client when events are evicted before they were sent to it. L</channels> may have another
one.

=over

=item C<disconnect>

The stream ends with the reason C<slow>: when the next event of its channels is published, or before that if its client reads.
The client reconnects and receives a C<gap> event. This is the default.

=item C<gap>

The stream receives a C<gap> event and continues with what the history still has, or with the L</State>.

=item C<latest>

Of the events that were not sent yet, the stream receives only the latest of each channel, or of each C<key>
(L</publish>). It receives no C<gap> event, because its client wants the latest state only. The hub keeps those events
beyond the history, within the same bounds. If these bounds do not suffice, the stream receives a C<gap> event.

=back

=head2 opaque_ids

    opaque_ids => 1

Encrypt the number in each id, so that the id reveals only its epoch (AES-128, with a random key for each epoch). An id
then has 35 characters, or 39 with a L</store> in Redis. False by default. Encrypting an id takes well under a microsecond.

=head2 per_process

    per_process => 1

If true, each process has a hub of its own on purpose, and the hub does not warn of it. False by default.

=head2 position

    position => 'event'

The form in which streams receive their position: first, and when a quiet stream's position has advanced. An application
(L</to_app>) or a stream (L</subscribe>) may have another one.

=over

=item C<event>

An event of the type L</position_event> with empty data, and the id last. This is the default. All clients take its id, and
only listeners for that type see it. The application's C<retry> is part of the first one.

=item C<id>

A block with the C<retry> and the id, without data. By the standard it sets the last event ID and dispatches no event
(WHATWG HTML, section 9.2.6). A third of the client libraries ignore its id, and some report an empty message.

=item C<none>

No position is sent. Without C<retry> a stream then begins with its first event, as clients of OpenAI's format expect. A
client resumes after the last event that it received. One that has received none has no id and begins anew. After a gap,
a client that loses its connection may receive the gap again.

=back

A position never replaces an id of the application, because the client may return to another process, which knows that
id but not this hub's position. So a client that resumes after an id of the application receives that id as its position,
and no other one before an event with an id of the hub. The same holds for the id of an event that was pushed to the
connection, and for an id that the client sent if C<after> has another value (L</subscribe>); then no first position is
sent at all.

=head2 position_event

    position_event => 'position'

The type of the events that carry a position: one line that is not empty, not that of L</gap_event>; C<position> by
default. L</publish> refuses events of that type, unless L</position> of the hub is C<id> or C<none>.

=head2 publish_timeout

    publish_timeout => 5

For a hub with a L</name>: how many seconds (above 0, fractions allowed) a call waits for its process, while that is started,
too; 5 by default.

perl runs no signal handler while a call waits: a C<TERM> or C<ALRM> that the program handles has its effect when the call
returns, so at most this time later. A process that answers does so within microseconds; one that hangs delays a worker that
is to end.

=head2 show_channel

    show_channel => 'event'

Include the name of the channel in each event: of L</publish>, L</forget>, members and wills. With C<event>, the name is the
type of events that have no type. With C<data>, the data becomes JSON: an object with C<channel>, and with C<data>, which is the
event's data as a string, or the structure that was given as C<json>. An event without either is published as it is; C<bytes> is
refused, because JSON is made of characters. Off by default. Not for a subclass.

With C<data>, an event that changes the state of its channel (L</State>) also has its C<key>, so that one page can follow
several channels without knowing their events:

    {"channel":"stock","data":{"left":3},"key":"item/7"}                  publish with retain; without a key it is ""
    {"channel":"stock","forget":true,"key":"item/7"}                      forget, with data only if it is given
    {"channel":"room/7/people","data":{"id":"ann"},"key":"ann"}           join and update of a member
    {"channel":"room/7/people","data":{"id":"ann"},"forget":true,"key":"ann"}  leave

It is the publishing object that puts the names in. So a job that publishes with L<EventSource::Hub::Process/connect>, or with
the command L<eventsource>, names the same C<show_channel>. The event C<count> of a channel (L</Members>) has its number as data
in any case.

=head2 socket

    socket => '/run/shop/hub.sock'

For a hub with a L</name>: the absolute path of the socket of its process, of at most 107 bytes in UTF-8 (a string of bytes, or
of characters). All processes must name the same one. Other files of the hub are beside it, so no other user may write to its
folder. Only a socket of this user to which nobody listens makes room for another; anything else at the path is C<invalid>. By
default it is F<NAME.sock> in the first of these folders that belongs to this user alone: F</run/user/UID/eventsource>,
F</run/eventsource/UID>, F</tmp/eventsource-UID>. A hub that runs already is found in any of them. The user is that of the
process when it first uses the hub. Of the environment only the variable C<EVENTSOURCE_RUNTIME_DIR> counts: it names another
folder instead, by its absolute path, for tests (see L<Test::EventSource/private_hub>). A service with C<PrivateTmp> needs a
path outside of F</tmp>.

=head2 spawn

    spawn => 1

For a hub with a L</name>: start its process if none runs. True by default. If false, a call waits for it as long as
L</publish_timeout> says, and throws C<unavailable> then. The program, C<eventsource-hub>, is installed beside the native
library if there is cargo 1.85 or newer when this distribution is built.

=head2 start

    start => 'latest'

The position at which a stream begins if its client sends no id: C<latest>, at the next event, by default; C<oldest>,
with the whole history; a negative whole number from -1 to -999,999,999, such as -10 for the last ten events; or C<state>, with
the retained events of its channels (L</State>).

=head2 state

    state => {keys => 10_000, bytes => 16_777_216}

How much of each channel is retained (L</State>): keys, and bytes of their events and of the keys themselves (whole numbers from
0 to 999,999,999,999,999). These are the defaults. L</channels> may have other ones. With Redis each machine counts what it has
read and what it publishes itself: machines that publish at the same moment may exceed the bounds together, by what the others
have on its way.

=head2 store

    store => 'memory'
    store => {file => '/var/lib/shop/events.db', sync => 'second'}
    store => {redis => 'rediss://shop:secret@redis.example:6380/0', replicas => 1, ca => '/etc/ssl/redis-ca.pem'}
    store => {redis => 'redis-sentinel://10.0.0.1:26379,10.0.0.2:26379,10.0.0.3:26379/mymaster'}

For a hub with a L</name>: where its process keeps its events beside its memory. L</Stores> says what each store promises,
L<EventSource::Deployment/STORES> how to choose and run one. C<memory> is the default. A reference to a hash is a file or
Redis.

A file of this machine (SQLite), which only one process may use:

=over

=item file

The path of the file. It is created if it does not exist; its folder must exist and be writable, for SQLite writes a log beside
it, whose name has C<-wal> at its end. A relative path counts from the working directory of the process that calls C<new>. It
must be in UTF-8, and on a local disk: not on NFS, and not on a tmpfs if it is to survive a reboot.

=item sync

What survives a loss of power. C<second>, the default: the disk has all events but those of the last second. C<event>: the disk
has each event before L</publish> returns, which makes a publish wait for the disk. C<never>: the system decides. A process
that is killed loses nothing in any case.

=back

Redis 6.2 or later, or Valkey, which the hubs of several machines may share: those with the same L</name>, C<prefix> and
database are one hub.

=over

=item redis

The URL: C<redis://>, or C<rediss://> for TLS, then C<USER:PASSWORD@>, or C<:PASSWORD@> of the default user, if there is one,
host, port (6379 by default) and the number of the database (0 by default). C<redis-sentinel://> or C<rediss-sentinel://>
names several Sentinels with their ports, and behind them the name of the master. In user and password the characters
C<:/?#@%> are encoded (C<%40> for C<@>). No message, log or statistic of this distribution shows user and password.

=item sentinel_login

With C<redis-sentinel://> or C<rediss-sentinel://>: user and password of the Sentinels, C<USER:PASSWORD>, or C<:PASSWORD> of
their default user, encoded as in the URL. By default they are asked without a password; if they need one, it is that of the
URL.

=item replicas

How many replicas of Redis have an event before L</publish> returns (C<WAIT>): a whole number from 0 to 100, 0 by default.
L<EventSource::Deployment/Redis> says what that guards against.

=item when_down

What L</publish> does while Redis cannot be reached. C<refuse>, the default: it waits L</publish_timeout>, then throws
C<unavailable> or C<unknown>. C<queue>: the hub process holds events until Redis is back; a call with
C<< wait => 0 >> returns at once, and one that waits for the id throws C<unknown> after L</publish_timeout>, for the event is
published later.

=item queue

How many events are held with C<< when_down => 'queue' >>: a whole number from 1 to 1,000,000, 10,000 by default, and at most
256 MiB of them. More are refused with C<full>. While they wait, workers subscribe, push and read statistics as ever.

=item prefix

The first part of all keys in Redis: 1 to 64 ASCII letters, digits, C<_>, C<->, C<.> and C<:>; C<es> by default.

=item ca

With TLS: the path of a PEM file with the certificates of the authorities that Redis' certificate is checked with. Those of the
system by default.

=item cert, key

With TLS: the paths of PEM files with the client's certificate and its key, both or none.

=back

All processes that use the hub must name the same store, or none: the calls of one with another store throw C<refused>.
The program C<eventsource-hub run> can be given the store instead (L<eventsource/hub>); then that one counts.

=head2 total_history

    total_history => {events => 100_000, bytes => 67_108_864}

The retention of all channels together, in the units of L</history>. These are the defaults; C<seconds> has no default.
C<bytes> includes the keys of events, and the name of each channel that has events. The oldest event of all channels is
evicted first.

=head2 total_state

    total_state => {keys => 100_000, bytes => 67_108_864}

The same of all channels together.

=head2 compress, fallback, headers, keepalive, linger, max_streams, native, preamble, retry, timeout

The settings of the streams of L</to_app>; see L<Plack::App::EventSource>.

=head1 METHODS

Wrong arguments throw an L<EventSource::Error> with the code C<invalid> and, as its field, the name of the argument or
setting.

=head2 new

    my $hub = EventSource::Hub->new(%attributes);
    my $hub = EventSource::Hub->new(\%attributes);

Create a hub. Its streams end when the object is destroyed, unless it has a L</name>: then only its connection ends.

Throws C<invalid> if an attribute is unknown or has a wrong value, C<unsupported> if the system is not Linux, or if the
program for L</name> is not installed. A missing folder of the L</socket> is an error of the first method that needs it.

=head2 check_topics

    $hub->check_topics(@topics);
    EventSource::Hub->check_topics(@topics);

Throw C<invalid> unless each value is a pattern or a channel's name (L</publish>) and there are at most L</max_topics>
of them, or 1,000 if the class is asked.

=head2 drain

    $hub->drain(30);

End the streams of this process, or with a L</name> all streams of the hub process, one after the other, spread over a
number of seconds (from 0, fractions allowed), so that their clients do not all reconnect at once (WHATWG HTML, section
9.2.3). Each client first receives its position, if that has advanced, and a C<retry> in one block: one to two times the
C<retry> of its application (2,000 milliseconds by default). Streams that come later are ended at once in the same way.
Returns at once. A client that does not read keeps its stream until its C<timeout>.

A hub with a L</name> is drained for all workers, until the last of them has gone: the first that comes then has its streams
accepted again. C<eventsource hub stop> ends a drain, too.

Throws C<invalid> if the argument is not a number of seconds.

=head2 end

    my $count = $hub->end(label => 'user/7');
    my $count = $hub->end(label => ['user/7', 'user/8'], finish => 1);
    my $count = $hub->end(topics => ['orders/7', EventSource::Hub->pattern('invoices/*')]);

End streams: those that have one of the labels, and those that read a channel of one of the topics. Give at least one of
these options, each a single value or an array:

=over

=item label

At most 64 labels.

=item topics

At most 1,000 channels, by their names, and patterns (L</pattern>). A stream is meant if it could be sent an event of a
channel that a topic names: a channel means the streams that are subscribed to it or to a pattern that matches it; a
pattern means those that are subscribed to a channel that it matches, or to a pattern that matches one of the same
names. The whole stream ends, also if it has other topics beside.

=item finish

If it is true, the clients are not to come back: each is sent the event of
L<Plack::App::EventSource::Connection/finish>, and a client that reconnects all the same receives the response that
C<channels> returns, if it does, and otherwise the status 204. By default each client is sent a C<retry> (one to two
times the C<retry> of its application) and comes back with its id; then the application is asked again, and those who may
still read miss nothing.

=back

A stream that waits in a worker because the hub process is away (L</publish_timeout>) ends too, when it reaches the
process that the call has reached. A process that ends, or is killed, before that has forgotten the call: end the
streams once more when the method has thrown, or when C<pid> in L</stats> has changed.

Streams that keep up are sent the events that were published before. A stream that lags is sent the rest of an event that was
sent in part, and what is in its own buffer, but nothing more of the history; one that takes nothing ends after its
C<timeout>. C<on_close> has the reason C<application>.

With a L</name> this means the streams of all workers, also of those that have ended; without one, those of this process.
With a L</store> in Redis it means those of all machines: this machine ends its streams at once, the others end theirs when
they read the request from Redis, in its order among the events. A stream that has begun there just before, for a client
that came back, ends once more; with C<finish> it ends for good, for example that of a user who has logged in again
meanwhile. Labels of sessions avoid that, because the next session has another one (L<EventSource::Cookbook/LOGOUT AND
CHANGED RIGHTS>). A hub that is away then has no streams, or reads the request when it is back; if Redis has evicted it
meanwhile, the hub begins anew, and all of its streams end with a C<retry>. Returns how many streams were ended on this
machine. Streams that were ending already do not count. In Redis a call takes the place of an event in the
history, as long as it is not evicted.

Throws C<invalid> if neither a label nor a topic is given, or if one is wrong; and what every method of a hub with a
L</name> throws. If Redis is away it throws what L</publish> throws then: the streams of this machine have ended, but
others perhaps do not know of it. A call can be repeated. With C<when_down> C<queue> it throws C<unknown>, and the request
is in the queue: the others read it when Redis is back.

=head2 epoch

    my $epoch = $hub->epoch;

Return the epoch of this process's hub, with which its ids begin: eight characters. It is drawn at random when it is first used.
With a L</store> it is that of the store, and continues when the hub process is started anew; in Redis it has twelve
characters.

=head2 forget

    my $id = $hub->forget($channel, $key);
    my $id = $hub->forget($channel, $key, {event => $type, data => $data});

Remove the retained event of a key, and publish an event that says so to the channel. By default its type is C<forget> and its
data the key; the hash has other fields of it, as for L</publish>, which this method calls: what that returns and throws, this
does, and it takes the same options after the hash. The event is published even if nothing of the key is retained.

=head2 member

    my $is_here = $hub->member($channel, $id, {json => {name => 'Ann', typing => \1}});

Change the data of a member (L</Members>), from any process for a hub with a L</name>: a hash with C<json> or C<data>, and
perhaps the type C<event> of the event that says so, C<update> by default. The same data publishes nothing. Returns false if the
member is not here. Throws C<invalid> if an argument is wrong, C<full> if the event does not fit into the L</state>, and what
L</publish> throws if the hub process cannot be reached.

=head2 members

    my @members = $hub->members($channel);

Return the members of a channel (L</Members>) in the order of their ids, each a hash: C<id>; C<json> or C<data>, as the
application gave it; C<since>, when it has joined, as C<time> counts; C<streams>, how many it has on this machine, 0 while it
lingers. All streams count whose subscriptions took effect before the call. Throws as L</member>.

=head2 members_count

    my $count = $hub->members_count($channel);

Return the number of members of a channel. Throws as L</member>.

=head2 metrics_app

    use Plack::Builder;
    builder {
        mount '/metrics' => $hub->metrics_app;
        mount '/events'  => $hub->to_app(channels => sub { 'news' });
    };

Return a PSGI application that answers C<GET> with the counts of the hub as text of OpenMetrics 1.0, which Prometheus and
others read: L<EventSource::Deployment/METRICS> lists the metrics. With a L</name> they are those of the hub process, whichever
worker answers, and survive the workers. Without one each process has counts of its own: let a server with several workers
have a named hub. If the hub process does not answer, the answer is a 503.

=over

=item allow

Who may read the metrics: a reference to an array of addresses, such as C<['192.0.2.7', '192.0.2.0/24', '2001:db8::/32']>, or a
code reference that is called with the PSGI environment and returns true or false. Default: the addresses of this machine
(127.0.0.0/8 and ::1). Others receive a 403. The address is C<REMOTE_ADDR>. A request that a proxy has forwarded, with a header
C<Forwarded>, C<Via>, C<X-Forwarded-For> or C<X-Real-IP>, receives a 403, too, because the address is then that of the proxy;
only code may allow it. A proxy on this machine must set one of these headers, or its clients are taken for this machine.

=item hosts

The names under which monitors may ask, without ports, such as C<['shop.example', 'app']>: a reference to an array. Addresses,
C<localhost> and the name of this machine need not be named, nor need a monitor send C<Host>. A request for another name
receives a 403. Otherwise a page whose name is made to stand for 127.0.0.1 could read the metrics with the browser of this
machine (DNS rebinding). Default: none.

=item channels

The channels and patterns (L</pattern>) that are told apart by a label, a reference to an array of at most 100. A pattern stands
for the sum of all channels that it matches. Default: none, because the names of channels are without bound.

=back

Throws C<invalid> if an option is unknown or has a wrong value.

=head2 pattern

    my $pattern = EventSource::Hub->pattern('news/*');

Create a pattern. It stands for all channels whose names match it, including channels that appear later. C<*> matches
any characters but C</>, C<**> matches any characters. A pattern may be given wherever a channel can be subscribed to. A
string is always the name of one channel, never a pattern.

Throws C<invalid> unless the argument is a string that is not empty, of at most 1,024 bytes in UTF-8. The part between two
C<**> may have at most 16 slashes if it has a C<*>, too.

=head2 publish

    my $id = $hub->publish($channel, $data);
    my $id = $hub->publish($channel, {event => $type, data => $data});
    my $id = $hub->publish($channel, {key => $key, data => $data, retain => 1});
    my $id = $hub->publish($channel, $event, {wait => 1, once => $key});

Publish an event to a channel, and return its id. The name of a channel is any string that is not empty, of at most
1,024 bytes in UTF-8. The event is its data (a string or a reference to an array of strings) or a reference to a hash of
the fields that L<EventSource::XS/format_event> takes. The field C<key>, a string of at most 1,024 bytes in UTF-8, says
which events of the channel replace each other: those with the same key, and those without one. It counts for
C<< on_slow => 'latest' >> and for retained events.

With a true C<retain> the event is retained (L</State>) in the place of the one with its key that was. If a channel or the hub
would retain more than its L</state> or L</total_state> allows, C<full> is thrown, and nothing was published; with a L</name>
and C<< wait => 0 >> such an event is lost. An event without C<retain> changes nothing of the state.

The options are a reference to a hash:

=over

=item wait

If it is false, return true instead of the id, and do not wait for the hub process (L</name>): the event is sent
to it later, in order with all others of this process. True by default. A hub without a name never waits for its events to be
published, so C<wait> makes no difference there but for what is returned.

=item once

A string of 1 to 256 bytes in UTF-8. If an event was published with the same C<once> before, to any channel, nothing is
published, and the id of that event is returned. The hub remembers as many of these keys as L</total_history> has events (at
most 1,048,576), each for the C<seconds> of L</history>, or the most of L</channels>. So a publisher that does not know whether
its event was published (C<unknown>) can publish it again. The keys are those of one epoch: a child has a hub of its own if
there is no L</name>. A hub process that is started anew remembers none without a L</store>; with one, it knows the keys of the
events that the store has retained.

=back

It does not wait for clients. If more than 64 MiB are on their way to the native thread, it waits for that thread.

With C<< wait => 0 >> the event is lost if the connection to the hub process breaks, or cannot be made, before that
process has answered for it, or if that process refuses it. For a second after that process could not be reached,
C<unavailable> is thrown. Such events are counted (C<lost> of L<EventSource::XS/stats>), whether
they were published in the end or not. A warning reports the first loss in a process, when a method of a hub or
L<EventSource::XS/dispatch> is called next, or at the end of the process. A process that ends waits up to
L</publish_timeout> for these answers; one that is ended by C<POSIX::_exit> or a signal does not.

If it throws an exception other than C<unknown>, nothing was published. It throws what C<format_event> throws, and C<invalid> if

=over

=item *

the channel's name or the key is too long, or the name is empty,

=item *

C<id> is one that a client cannot send back (L</Order, resume, gaps>), is that of finished streams, or begins as the hub's
own ids do,

=item *

C<event> is the type of the hub's own event for gaps (L</gap_event>) or positions (L</position_event>); with a L</name> the
process compares, for another object may have named the type: with C<< wait => 0 >> such an event is lost,

=item *

C<retry> is more than 86,400,000 milliseconds, a day,

=item *

there is neither data nor a hash,

=item *

or an option is unknown or has a wrong value.

=back

It throws C<unavailable> if the system cannot run the thread. A hub with a L</name> may also throw (L<EventSource::Error/code>)

=over

=item C<unavailable>

Its process cannot be reached or started within L</publish_timeout> (with C<< wait => 0 >>: it could not, within the last
second), or its L</store> takes no events: Redis cannot be
reached, the disk is full. The event was not published.

=item C<full>

More than 8 MiB of requests of this process wait for that process, which does not take them, or of events for its L</store>.
With C<< wait => 0 >> it is thrown at once, otherwise after L</publish_timeout>. Also if the C<queue> of L</store> is full.
The event was not published.

=item C<refused>

That process has other settings than this hub (L</name>); L<EventSource::Error/field> names one of them. Or it has another
version of the protocol: then there is no field, and the message says which side is to be renewed. The event was not published.

=item C<unknown>

The connection broke, or no answer came within L</publish_timeout>: the event was perhaps published. Publish it again with
the same C<once>.

=back

When the process is ending, after this distribution's C<END>
block, all streams have ended: C<publish> then returns C<undef> and does nothing, so that a callback of
L<Plack::App::EventSource::Connection/on_close> may publish at any time.

In a spawned handler a hub without a L</name> throws C<state>, as the other methods do
(L<Plack::App::EventSource::Connection/spawn>): no stream of the worker would receive the event.

At its end it runs queued callbacks, as other methods do (L<EventSource::XS/WHEN CALLBACKS RUN>).

=head2 process

    my $process = $hub->process;

Return an L<EventSource::Hub::Process>, another connection to the hub process (L</name>). It does not start the process. Throws
C<state> if the hub has no name, and what L<EventSource::Hub::Process/connect> throws.

=head2 reaches_one_process

    my $is_mistaken = $hub->reaches_one_process;

Return true if an event reaches only the streams of the process that publishes it, and the application has not said that
this is intended: if the hub has neither a L</name> nor L</per_process>. On a server of one process that is right.

=head2 script_app

    use Plack::Builder;
    builder {
        mount '/hub.js' => EventSource::Hub->script_app;
        mount '/events' => $hub->to_app(channels => sub { 'news' });
    };

Return a PSGI application that serves the browser's half of a hub, an ES module: C<import { connect } from '/hub.js'>. It
answers C<GET> and C<HEAD> with an C<ETag>, as gzip if the client accepts that, and lets pages of all origins load the script.
A method of the class or of an object. The hub need not run in the same application.

A browser keeps the script for an hour, and then asks whether it has changed. A page that has the version of this distribution
in the query, C<< '/hub.js?v=' . EventSource::Hub->VERSION >>, receives it once, to keep for good, and each new version at once.
All pages of a site must name the script alike: browsers share one stream among pages of the same script.

=over

=item classic

If true, serve a classic script, for pages that load no modules. It defines the global C<EventSourceHub>, with C<connect> and
C<Parser>. False by default.

=back

The distribution installs the same files, as a package for npm, in F<auto/share/dist/EventSource-XS>, where
L<File::ShareDir> finds them.

Throws C<invalid> if an option is unknown, and C<unsupported> if the files are not installed.

=head2 serve

    my $is_open = $hub->serve($connection, @topics);
    my $is_open = $hub->serve($connection, @topics, {after => $id, start => 'latest'});

Subscribe a stream as L</subscribe> does. If the stream goes through the writer of a server that blocks, send it events
until its client disconnects or the hub ends it, and return then. If a process takes the stream over (L</Which streams>), return
at once: the connection can be pushed to and closed as that of a native stream. A handler that ends with this call works on
every server. Throws what L</subscribe> throws.

=head2 stats

    my $stats = $hub->stats;

Return the counts of this process's hub as a reference to a hash. They include all events that were published before the
call.

=over

=item streams

The streams that are subscribed to a channel or a pattern.

=item channels, patterns

The channels that have subscribers, a history or a state, and the patterns that have subscribers.

=item published, delivered

The events that were published; the events that were handed to the kernel, counted for each stream.

=item history

A hash: C<events> and C<bytes> that are retained, keys and names included.

=item state

A hash: C<keys> that are retained, and C<bytes> of those of their events that the history has no longer.

=item members

A hash: how many are C<here>, in all channels, and how many streams have opened without the member that they were to have
(C<refused>).

=item compression

A hash: the bytes of events that were sent to streams with a content coding (L<Plack::App::EventSource/compress>), C<before>
they were encoded and C<after>. What is pushed to one stream, and keepalives, do not count.

=item limited

The streams that were refused because of L</max_streams_per>.

=item resumed, gaps

The streams that began with an id of the client; the C<gap> events that were sent.

=item process

Only for a hub with a L</name>: a hash of what its process counts. C<pid> is its process id, C<workers> the processes that
are connected (without those in other PID namespaces, as in other containers), C<open> its open streams, C<refused> those
beyond L</max_streams> or its descriptors, C<buffered> the bytes that are buffered for them, C<cut_off> the connections that it
has ended because they broke the rules of the protocol.

=item store

Only for a hub with a L</name>: a hash of the health of its L</store>.

=over

=item kind, place

C<memory>, C<file> or C<redis>; the path of the file, or the URL of Redis without user and password.

=item up, since

1 if the store takes events and reports those of other machines, otherwise 0; since when that is so, as C<time> counts.

=item pending, failed

How many events wait to be stored; how many could not be stored.

=item lag

The seconds between the storing of the last event and its arrival in this process, fractions included.

=item events, bytes

The size of the store. Redis is asked for the events every second, and for the bytes every 10 seconds.

=item reconnects, epoch_changes

How often the connection was made anew; how often history was lost, so that another epoch has begun.

=item last_error, last_error_age

The text of the last error and the seconds since then; C<undef> if there was none.

=back

=item slow

A hash: how many streams were overtaken by evictions and were ended (C<disconnect>), received a C<gap> event (C<gap>),
or received only the latest events (C<latest>).

=back

=head2 subscribe

    my $is_open = $hub->subscribe($connection, @topics);
    my $is_open = $hub->subscribe($connection, @topics, {after => $id, start => 'latest'});

Subscribe the stream of a L<Plack::App::EventSource::Connection> to channels and patterns, in addition to those that it is
subscribed to already. It stays subscribed until it ends. The stream resumes after the event with the id C<after>, by default
the id that the client sent (C<last_event_id>). Without an id, C<start> says where it begins (L</start>). The option C<position>
of a stream's first subscription replaces the L</position> of the hub. The option C<label>, a string or an array of strings,
gives the stream labels (L</Who reads>); C<max_age> replaces L</max_age>. The option C<member> is the stream's member, a hash;
C<will>, an array of a channel and an event (data or a hash of fields, C<key> and C<retain> among them, but no C<id>), is what
is published when the stream is gone (L</Members>). A later will replaces an earlier one. Returns false if the stream has ended.
A stream that is given more than 64 labels by several calls ends with the reason C<error>.

From now on the hub holds the stream: it stays open until its client disconnects or the connection is closed, even if
the application does not hold the connection. An event that is pushed to the connection is sent before events that are
still in the hub.

B<All subscriptions of one handler are one request.> The hub sends the stream nothing of them before the handler
returns. So no id claims that the client has events of a channel to which the handler has not subscribed yet. If the
handler continues after it has subscribed, the subscriptions become effective with its next C<push> to the connection,
after five seconds, or when a history is about to drop an event that the stream is to receive.

B<Later subscriptions>, made after the stream has begun, take effect at once and begin with new events, in the order of the
hub. They take neither C<after> nor a C<start> other than C<latest>: these throw C<state>. A stream begins when the handler
that has subscribed it returns or pushes; if the handler subscribes it to nothing, with its first subscription, which takes
both. A handler that subscribes more than five seconds after its first subscription may find that the stream has begun: then
the client receives a C<gap> event with the reason C<unknown> if it has missed events of the new channels.

A client that reconnects runs the handler anew, so what the handler subscribes to then decides what it receives: all events
of these channels after its last id, also those from before a later subscription of the earlier stream; nothing of a channel
to which only a later subscription belonged, and no C<gap> event for that. Subscribe to everything in the handler where that
matters.

Throws C<invalid> if no channel is given, if a channel is neither a string nor a pattern, if the stream would have more
than L</max_topics> channels and patterns, or if an option is wrong. Throws C<state> if a later subscription has an
option for the beginning, if the stream is subscribed to another hub, or if it goes through the writer of a server that
blocks (use L</serve> there).

=head2 subscribers

    my $count = $hub->subscribers($channel);

Return how many streams of this process, or with a L</name> of the hub process, are subscribed to a channel, by its name or
by a pattern; 0 when the process is ending. Throws C<invalid> if the name is not one of a channel (L</publish>). The callback
C<channels> of L</to_app> may bound the streams of a user with it (L<EventSource::Cookbook/NOTIFICATIONS BEHIND A LOGIN>).

=head2 to_app

    my $app = $hub->to_app(channels => sub { my $env = shift; ... });
    my $app = $hub->to_app(channels => $code, keepalive => 30, origins => 'https://shop.example', methods => ['POST']);
    my $app = $hub->to_app(channels => sub { (['room/7', {start => -50}], ['room/7/people', {start => 'state'}]) });

Return a PSGI application, a L<Plack::App::EventSource>. It subscribes each stream to the channels and patterns (L</pattern>)
that the callback C<channels> returns for the request. If the callback returns a PSGI response instead, an array or a code
reference, the application sends that. If it returns nothing, the application answers with 404. The callback is called before
the response begins. With L<Plack::Request> it can read the body, on every server. An exception of it is an exception of the
request.

An element of the list may be an array of one or more channels and patterns, and, last, a hash of options for these:

=over

=item start

Where the stream begins in these channels (L</start>), instead of the C<start> of the application. A number of events is counted
in these channels together.

=item max_streams_per

A limit like L</max_streams_per>, of the streams that have a key in common and these channels. Streams count together whose
array has the same channels in the same order, whatever else they read and whichever application of the hub accepts them. A
stream beyond one of its limits is refused as a whole, with 429, and may hold its place in the others for 10 seconds.

=back

    channels => sub {
        my $env = shift;
        return (['room/7', {start => -50, max_streams_per => [sub { $_[0]{REMOTE_USER} }, 3]}],
            ['room/7/people', {start => 'state'}], 'news');
    }

All are one request, as the subscriptions of a handler are (L</subscribe>): the stream is sent each event once, in the order of
the hub, and a client that comes back resumes in all of them. If it has missed events of any of them, it receives one C<gap>,
then the state of those that begin with it, and of the others what is left. A channel that two elements name begins as the first
says. (The C<channels> of L</new> are settings of channels, not those of a stream.)

C<methods> are the methods that are allowed, C<['GET']> by default: with C<['POST']>, for example, C<channels> can read the
channels from the body (L<Plack::App::EventSource/methods>). C<origins> are the origins whose pages may read the responses
(L<Plack::App::EventSource/origins>). C<label> is a callback that returns the labels of a stream for its request, a list of
strings; C<undef> and nothing stand for none (L</Who reads>). C<member> is one that returns the member of a stream, a hash;
C<undef> and nothing stand for none (L</Members>). The other options replace attributes of the hub for these streams:
C<fallback>, C<headers>, C<keepalive>, C<linger>, C<max_age>, C<max_streams>,
C<max_streams_per>, C<native>, C<position>, C<preamble>, C<retry>, C<start>, C<timeout>. For a hub with a L</name>
C<max_streams> is no option: its process bounds the streams of all applications together (L</max_streams>). There C<linger> is
for streams which that process has not taken yet.

A stream resumes after the id in the header C<Last-Event-ID> (WHATWG HTML, section 9.2.4). Polyfills that cannot set the
header send the id in one of the query parameters C<last_event_id>, C<lastEventId> and C<evs_last_event_id>, within the
first 8,192 bytes of the query. An id that is longer than any event may have is an unknown id: the client receives a C<gap>
event (L</Order, resume, gaps>).

Throws C<invalid> if an option is unknown, has a wrong value, or would have no effect. A request throws C<invalid>, at the
line of this call, if C<channels> returns something that is neither a list of channels nor a response, C<label> something that
is no list of labels, C<member> something that is no member, or the callback of L</max_streams_per> a reference.

=head2 type_of

    my $type = $hub->type_of($channel, $event);

Return the type with which an event of a channel is sent, which L</show_channel> may make of the channel; C<undef> if it has
none.

=head1 SEE ALSO

L<EventSource::Server>, L<Plack::App::EventSource>, L<Plack::App::EventSource::PubSub>,
L<EventSource::Error>, L<https://html.spec.whatwg.org/multipage/server-sent-events.html>

=cut

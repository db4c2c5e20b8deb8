package EventSource::Hub;
use strict;
use warnings;

# Channels: each stream that is subscribed to a channel is sent the events that are published to it. The hub itself is
# native: publish is in src/xs. EventSource::XS::Hub::Calls has the other methods that a connection to a hub process has, too.

our $VERSION = '0.100';

use parent 'EventSource::XS::Hub::Calls';
use EventSource::Hub::Process;
use EventSource::XS ();
use EventSource::XS::ErrorLog;
use EventSource::XS::Hub::Absence;
use EventSource::XS::Hub::Member;
use EventSource::XS::Hub::Name;
use EventSource::XS::Hub::Settings;
use EventSource::XS::Hub::Subscription;
use EventSource::XS::Settings;
use EventSource::XS::Stream;
use EventSource::XS::Stream::Relay;
use Scalar::Util qw(blessed);

my $SETTINGS     = EventSource::XS::Settings->new(__PACKAGE__);
my $SUBSCRIPTION = 'EventSource::XS::Hub::Subscription';
my $MEMBER       = 'EventSource::XS::Hub::Member';

my $TO_APP = q{$hub->to_app(channels => sub { return 'news' })};

# A hub in the place of an application, as in mount.
use overload
    '&{}'    => sub { $SETTINGS->refuse(undef, "a hub is no application: write $TO_APP in its place") },
    fallback => 1;

# The largest number of milliseconds of a retry.
my $MAX_RETRY = 999_999_999_999_999;

# The latest time of the clock, in nanoseconds.
my $MAX_CLOCK = ~0 >> 1;

my $MAX_RELAYS = 100;    # processes of relays of a named hub

my @HUB_SETTINGS = qw(
    autostart gap_data gap_event grace idle_exit keep_history keep_state keep_total_history keep_total_state max_members
    max_relays max_topics name on_slow opaque_ids per_channel per_process position_event publish_timeout show_channel socket store
);

my @APP_OPTIONS = qw(channels label member methods origins ticket);
my @STREAM_SETTINGS =
    qw(compress headers keepalive linger max_age max_streams max_streams_per native position preamble retry start
    timeout);

sub new {
    my ($class, @given) = @_;
    my %given = $SETTINGS->parse('new takes settings', @given);
    $SETTINGS->throw(unsupported => 'there are no hubs on this system: they need Linux') if !$class->can('_attach');
    $SETTINGS->refuse($_, "$_ is an option of to_app, not a setting of new")
        for grep { exists $given{$_} } @APP_OPTIONS;
    $SETTINGS->known(\%given, [@HUB_SETTINGS, @STREAM_SETTINGS]);
    my @native = EventSource::XS::Hub::Settings->native(%given);
    my $self   = bless {
        absence   => EventSource::XS::Hub::Absence->new($given{name}),
        autostart => $given{autostart},
        EventSource::XS::Hub::Settings->event_names(%given),
        max_topics   => $given{max_topics},
        name         => defined $given{name} ? "$given{name}" : '',
        per_process  => $given{per_process} || defined $given{name},
        show_channel => $given{show_channel},
        socket       => $given{socket},
    }, $class;
    my $most = defined $given{max_relays} ? $SETTINGS->plain_number($given{max_relays}) : $MAX_RELAYS;
    $self->{relays} = EventSource::XS::Stream::Relay::Process->bound($most, @given{qw(name socket)})
        if defined $given{name};
    $self->{stream_settings} = {map { exists $given{$_} ? ($_ => $given{$_}) : () } @STREAM_SETTINGS};
    require EventSource::XS::Hub::App;
    EventSource::XS::Hub::App->check(%{$self->{stream_settings}});
    $self->_attach(@native);
    return $self;
}

# Public methods

sub absence { return $_[0]{absence} }

sub admin_app {
    my ($self, @given) = @_;
    $SETTINGS->refuse(undef, "admin_app is a method of an object: $self->new(...)->admin_app") if !ref $self;
    require EventSource::XS::Hub::Admin;
    return EventSource::XS::Hub::Admin->app($self, @given);
}

sub check_topics {
    my ($self, @topics) = @_;
    $SUBSCRIPTION->check_number(ref $self ? $self->{max_topics} : undef, @topics);
    $SUBSCRIPTION->topic($_) for @topics;
    return;
}

sub end {
    my ($self, @given) = @_;
    $self->_warn_of_several_processes if EventSource::XS::Stream->is_multiprocess;
    return $self->SUPER::end(@given);
}

# The channels of a stream, by how it begins there.
sub groups {
    my ($self, @channels) = @_;
    return $SUBSCRIPTION->groups($self->{max_topics}, @channels);
}

sub has_process { return length($_[0]{name} // '') > 0 }

# Where each process has a hub of its own, an event reaches only its own streams.
sub is_unshared { return !$_[0]{per_process} }

sub metrics_app {
    my ($self, @given) = @_;
    $SETTINGS->refuse(undef, "metrics_app is a method of an object: $self->new(...)->metrics_app") if !ref $self;
    my @names  = qw(allow channels hosts token);
    my %given  = $SETTINGS->options('metrics_app takes options', \@given, 'option %s of metrics_app', @names);
    my @topics = $self->topics_of_metrics($given{channels});
    require EventSource::XS::MetricsApp;
    return EventSource::XS::MetricsApp->new($SETTINGS, \%given,
        sub { scalar $self->_call('metrics', $self->{name}, @topics) });
}

sub pattern {
    my ($class, $pattern) = @_;
    return EventSource::XS::Hub::Name->pattern($pattern);
}

sub position { return $_[0]{stream_settings}{position} }

sub process {
    my ($self, @given) = @_;
    my %given = $SETTINGS->options('process takes options', \@given, 'option %s of process', 'timeout');
    $SETTINGS->throw(state => 'only a named hub has a process') if !length $self->{name};
    my %place = map { defined $self->{$_} ? ($_ => $self->{$_}) : () } qw(name show_channel socket);
    return EventSource::Hub::Process->connect(%place, %given, autostart => 0);
}

sub relays { return $_[0]{relays} }

sub script_app {
    my ($class, @given) = @_;
    require EventSource::XS::Hub::Script;
    return EventSource::XS::Hub::Script->app(@given);
}

# Seal a ticket of a subscription: groups of topics, and options; for so many seconds; and what else it says. Return its bytes;
# undef if they are more than that.
sub seal_ticket {
    my ($self, $groups, $option, $seconds, $most, @ticket) = @_;
    my ($sealed) = $self->_call('seal_ticket', $seconds, $most, @ticket, $self->_subscription($groups, $option));
    return $sealed;
}

# On the writer of a server that blocks the end of the handler serves the stream.
sub subscribe {
    my ($self, $connection, @topics) = @_;
    my $stream = blessed $connection && $connection->isa('Plack::App::EventSource::Connection') && $connection->stream;
    $SETTINGS->refuse(connection => 'subscribe takes a Plack::App::EventSource::Connection that has a stream')
        if !$stream;
    my $option        = $self->_with_default_id($connection, ref $topics[-1] eq 'HASH' ? %{pop @topics} : ());
    my $member        = $option->{member} = $MEMBER->of($option->{member});
    my $is_subscribed = $self->subscribe_groups($stream, [{topics => \@topics, option => {}}], $option);
    $connection->remember_member($self, $member) if $member && $is_subscribed;
    EventSource::XS::_call_callbacks();
    return $is_subscribed;
}

# Subscribe a stream to groups of topics, which begin each with its own option, as one request.
sub subscribe_groups {
    my ($self, $stream, $groups, $option) = @_;
    my $after = $SETTINGS->string(after => $option->{after});
    $after = undef if defined $after && !length $after;
    my %later;
    if ($stream->is_open && $stream->_has_begun) {
        _check_later($after, $option->{start});
        %later = (start => 'latest');
    }
    my @native = $self->_subscription($groups, {%$option, %later});
    return !!0 if !$stream->is_open;
    push @native, keeps_id => 1 if $stream->can('has_pushed_id') && $stream->has_pushed_id;
    return $self->_subscribe_native($stream, $option->{member}, undef, after => $after, @native);
}

# Subscribe a stream as an opened ticket says, after the id and with the reconnection time and the poll of its request.
sub subscribe_by_ticket {
    my ($self, $stream, $opened, $after, $retry, $poll) = @_;
    return !!0 if !$stream->is_open;
    my $id         = defined $after && length $after ? $after : undef;
    my @of_request = (after => $id, retry => $retry, $poll ? $poll->native : ());
    return $self->_subscribe_native($stream, 1, $opened, @of_request);
}

sub to_app {
    my ($self, @given) = @_;
    my %given = $SETTINGS->parse('to_app takes options', @given);
    $SETTINGS->refuse(undef, "to_app is a method of an object: $self->new(...)->to_app(...)") if !ref $self;
    $SETTINGS->refuse($_,    "$_ is a setting of new, not an option of to_app")
        for grep { exists $given{$_} } @HUB_SETTINGS;
    $SETTINGS->known(\%given, [@APP_OPTIONS, @STREAM_SETTINGS], 'option %s of to_app');

    # The hub process bounds all streams that it has. It does not know which application has accepted one.
    $SETTINGS->refuse(
        max_streams => 'max_streams bounds all streams of a named hub together: give it to new of the hub,'
            . ' or bound the streams of a client with max_streams_per')
        if defined $given{max_streams} && $self->has_process;
    require EventSource::XS::Hub::App;
    return EventSource::XS::Hub::App->new(%{$self->{stream_settings}}, %given, hub => $self)->to_app;
}

sub shows_keys { return ($_[0]{show_channel} // '') eq 'data' }

sub type_of {
    my ($self, $channel, $event) = @_;
    my $type = ref $event eq 'HASH' && exists $event->{event} ? $event->{event} : undef;
    return defined $type || ($self->{show_channel} // '') ne 'event' ? $type : $SETTINGS->name(channel => $channel);
}

# Private methods and functions

# The labels, age and time of a reader, as the native hub takes them.
sub _access {
    my ($self, %option) = @_;
    my $max_age  = $SETTINGS->seconds(max_age => $option{max_age});
    my $asked_at = $SETTINGS->whole_number(asked_at => $option{asked_at}, from => 0, to => $MAX_CLOCK);
    $asked_at = $self->clock if !defined $asked_at;
    my $labels = $SUBSCRIPTION->labels($option{label});
    my @limits = @{$option{counted_by} || []};            # each is a label, and the number of its streams
    push @$labels, map { $_->[0] } @limits;
    return (
        (map { (label => $_) } @$labels), (map { (limit => @$_) } @limits),
        max_age  => $max_age || undef,
        asked_at => $asked_at
    );
}

# A later subscription begins with new events.
sub _check_later {
    my ($after, $start) = @_;
    my ($late) = defined $after ? 'after' : defined $start && $start ne 'latest' ? 'start' : return;
    return $SETTINGS->throw(
        state => "$late is for a stream that has not begun. A later subscription begins with new events:"
            . " leave $late out, or subscribe in the handler before it pushes and returns",
        $late
    );
}

# Returns true if an id is one of this hub. While its process is away, all that look like ids of hubs are.
sub _is_own_id {
    my ($self, $id) = @_;
    my $epoch = $self->_call('known_epoch');
    return length $epoch ? index($id, "$epoch-") == 0 : $id =~ /\A[0-9a-v]{8,12}-[0-9a-v]+\z/;
}

# Logs once that a stream of this process has opened without its member. A hub process logs that itself.
sub _log_refused_members {
    my $self = shift;
    return if $self->{has_logged_refused_members} || !$self->_call('has_refused_members');
    $self->{has_logged_refused_members} = 1;
    EventSource::XS::ErrorLog->warn(
        "EventSource::Hub: a stream has opened without its member: a channel has max_members, or the state is full.\n");
    return;
}

# Subscribes a stream, which is native or a relay then: by an opened ticket, if there is one, perhaps with a member. Returns
# true if it is subscribed, or will be when the hub process answers.
sub _subscribe_native {
    my ($self, $stream, $member, @native) = @_;
    $self->_warn_of_several_processes if EventSource::XS::Stream->is_multiprocess;
    EventSource::XS::Stream::Relay->begin($stream);
    my $subscribed = $self->_subscribe($stream, @native);
    $self->_log_refused_members if $member;
    if   ($subscribed eq 'waits') { $self->{absence}->note }
    else                          { $self->{absence}->end }
    return !!0                                       if $subscribed eq 'ended';
    $stream->may_pass_on(@$self{qw(relays absence)}) if $self->{relays} && !$stream->is_native;
    return !!1;
}

# A subscription as the native hub takes it: names, each with its texts behind it (src/xs/subscribe.rs).
sub _subscription {
    my ($self, $groups, $option) = @_;
    my %option = %$option;
    my $poll   = blessed $option{poll} ? delete $option{poll} : undef;    # of EventSource::XS::Request
    $SETTINGS->known(\%option, [qw(after asked_at counted_by keeps_id label max_age member position retry start will)],
        'option %s');
    $option{$_} //= $self->{stream_settings}{$_} for qw(max_age position start);
    my @topics = map { @{$_->{topics}} } @$groups;
    $SETTINGS->refuse(channels => 'there is no channel to subscribe to') if !@topics;
    $SUBSCRIPTION->check_number($self->{max_topics}, @topics);
    my @native;

    for my $group (@$groups) {
        my $start = $group->{option}{start} // $option{start};
        push @native, start => $SUBSCRIPTION->start($start), $SUBSCRIPTION->native_topics(@{$group->{topics}});
    }
    my $retry = $SETTINGS->whole_number(retry => $option{retry}, from => 0, to => $MAX_RETRY, unit => 'milliseconds');
    push @native, position => $SUBSCRIPTION->position($option{position}), retry => $retry;
    push @native, keeps_id => $option{keeps_id} ? 1 : 0, $self->_access(%option), $poll ? $poll->native : ();
    my $member = $MEMBER->of($option{member});
    push @native, member => $member->native                 if $member;
    push @native, will   => $MEMBER->will_of($option{will}) if defined $option{will};
    return @native;
}

# Each process has a hub of its own, so an event that is published in one process reaches no stream of another.
sub _warn_of_several_processes {
    my $self = shift;
    return if $self->{has_warned} || !$self->is_unshared;
    $self->{has_warned} = 1;
    EventSource::XS::ErrorLog->warn(
        'EventSource::Hub: this server may have several processes. An event reaches only the streams of the process that'
            . " publishes it. Give the hub a name (name => 'shop'): then it has a hub process, which all of them share. Or set"
            . " per_process => 1 if that is intended, or if there is one process.\n");
    return;
}

# The options of a subscription. The stream resumes after the id that its client sent, unless the options say otherwise: then
# that id may be one of the application, which resumes the client itself. Who may read was decided when the request came. A
# stream that has begun does not resume, and its application decides anew.
sub _with_default_id {
    my ($self, $connection, %option) = @_;
    return \%option if $connection->stream->_has_begun;
    my $id        = $connection->last_event_id;
    my $is_other  = exists $option{after} && (!defined $option{after} || defined $id && "$option{after}" ne $id);
    my $is_custom = $is_other && defined $id && length $id && !$self->_is_own_id($id);
    my %own       = $is_custom ? (keeps_id => 1) : ();
    $own{asked_at} = $connection->{asked_at} if $connection->{asked_at};
    return {after => $id, %own, %option};
}

*serve = \&subscribe;

EventSource::XS->keep_errors(qw(admin_app end metrics_app new process script_app serve subscribe to_app));

1;
__END__

=encoding utf8

=head1 NAME

EventSource::Hub - Channels: publish an event once, and every subscribed stream receives it

=head1 SYNOPSIS

    use EventSource::Hub;
    use Plack::Builder;

    my $hub = EventSource::Hub->new(keep_history => {events => 1000, seconds => 3600}, retry => 2000);

    my $app = builder {
        mount '/events' => $hub->to_app(channels => sub { ('news', 'user/7') });
        mount '/hello'  => sub {
            my $id = $hub->publish(news => {event => 'greeting', data => 'hello'});
            return [200, ['Content-Type' => 'text/plain'], ["published as $id\n"]];
        };
    };

=head1 DESCRIPTION

=head2 Publish and subscribe

You publish events to channels; streams subscribe to them. L</to_app> makes an application of streams: its callback C<channels>
returns the channels of each request, or a L</pattern> of names. A handler of L<Plack::App::EventSource> calls L</subscribe>.

A hub without a L</name> belongs to its process: an event reaches only the streams of the worker that publishes it, and the hub
warns once. All workers and scripts share a named hub.

=head2 Names

Channels, patterns, labels, ids of members, keys, C<once>, the keys of L</max_streams_per> and the names of
L<leases|EventSource::Hub::Lease> are characters. A string without perl's UTF8 flag that is valid UTF-8 stands for these
characters: the bytes of C<REMOTE_USER> and C<'josé'> under C<use utf8> are one name. Other bytes are characters (Latin-1).

A string with the flag is taken as it is: do not join decoded strings and bytes. The hub returns characters. Data, types and
ids of events are not names (L<EventSource::XS/format_event>).

Names are Unicode, without halves of surrogate pairs and numbers above U+10FFFF: a page would have the same character in the
place of each. The name of a channel must not begin with a NUL, and a key must not contain a CR.

=head2 Order, resume, gaps

A hub has one sequence of events, with ids such as C<o6grvhtu-17> (L<EventSource::Wire/IDS>). Each stream receives those of
its channels in this order, each once.

A client that reconnects sends its last id as C<Last-Event-ID>. It receives the events that it missed, from the history
(L</keep_history>), then new ones. A stream begins with its L</position>, so a client without events can resume, too.

If some are gone, it receives a C<gap> event (L</gap_event>) with the reason as its data:
C<{"reason":"evicted"}> if the history was too short, the rest of which follows; C<{"reason":"unknown"}> if the id is from
before a restart, from another hub, ahead of the newest event, or no id of a hub, and the stream begins at L</start>;
C<{"reason":"slow"}> if the client read too slowly (L</on_slow>). A page then loads its state, unless that is the L</State>
of channels.

=head2 State

Publish each change with a C<key> and C<< retain => 1 >>: the hub keeps the newest event of each key of a channel beyond its
history.

    $hub->publish(stock => {key => 'item/7', json => {left => 3}, retain => 1});
    $hub->forget(stock => 'item/8');
    my $stock = $hub->to_app(channels => sub { 'stock' }, start => 'state');

A stream with C<< start => 'state' >> begins with these events, in the order of their ids. Then comes one position, as an
event unless L</position> is C<none>: the state is complete (L<EventSource::Wire/THE STATE>). What is published meanwhile
follows.

A client that comes back within the history, also from the middle of the state, receives what it has missed, then its
position; otherwise a C<gap>, at which it clears what it knows, and the state (L<EventSource::Cookbook/A PAGE THAT SHOWS
STATE>).

=head2 Members

A stream may have a member, which the application knows by an id in a channel (L<EventSource::Presence>). The first stream of
a member publishes an event C<join> to that channel, retained with the id as its key. When the last one has ended, and none
has come for 5 seconds (C<leave_after>), an event C<leave> forgets the key.

A page without L<EventSource::Browser> must close its stream at C<pagehide>: otherwise the member stays while the browser
caches the page.

=head2 Who reads

When a right is withdrawn, L</end> streams by topics, or by labels:

    my $orders = $hub->to_app(
        channels => sub { 'orders' },
        label    => sub { "user/$_[0]{REMOTE_USER}" },
    );
    $hub->end(label => 'user/7', finish => 1);    # at a logout

A label is a string of 1 to 256 bytes in UTF-8 without a leading NUL. A stream has at most 64. An application:
L<EventSource::Cookbook/LOGOUT AND CHANGED RIGHTS>.

B<Withdraw the right first>; then call C<end>. From then on no stream that it means is sent what is published, nor one that
was requested before and subscribes later; after an hour, 1,000 calls or 1 MiB of labels and topics any such stream
ends. A stream that has begun is a new reader when it subscribes to further channels.

=head1 ATTRIBUTES

Most applications need only these eight. C<undef> stands for the default. Unless said otherwise, seconds (with fractions) and
whole numbers begin at 0, the latter up to 999,999,999,999,999.

=head2 keep_history

    keep_history => {events => 1000, bytes => 1_048_576, seconds => 3600}

The retention of each channel; these are the defaults. A single event may have more bytes.

=head2 keep_state

    keep_state => {keys => 10_000, bytes => 16_777_216}

How many keys of each channel are retained (L</State>), and bytes of them and their events; these are the defaults.

=head2 keepalive, retry

The quiet seconds after which a comment is sent, and the reconnection time in milliseconds, as in L<Plack::App::EventSource>.

=head2 max_age

A stream ends after so many seconds, at random up to a quarter earlier; by default (0) never. Its client comes back, and the
application is asked again.

=head2 name

    name => 'shop'

Give the hub a hub process, which workers, jobs and scripts of this user on this machine reach by this name: 1 to 64 ASCII
letters, digits, C<_>, C<-> and C<.>, beginning with a letter, a digit or C<_>.

The first call connects to the process, or starts it. L</publish> waits until it has the event. Streams are handed over to it,
and outlive their worker (L<EventSource::Deployment/What survives which restart>).

A job needs a name only, and L</show_channel> if the hub has that (L<EventSource::NamedHub/SETTINGS>).

Methods of a named hub also throw C<refused>, C<unavailable>, C<full> and C<unknown>. After C<unknown> the call has perhaps
had its effect.

=head2 start

Where a stream begins if its client sends no id: C<latest>, at the next event, by default; C<oldest>, with the whole history;
a whole number from -1 to -999,999,999, -10 for the last ten events; or C<state>, with the L</State> of its channels.

=head2 store

    store => {file => '/var/lib/shop/events.db', sync => 'second'}

Where the process keeps events (L<EventSource::Stores>).

=head1 ATTRIBUTES OF CHANNELS AND EVENTS

=head2 gap_data

    gap_data => sub { "elements <div id=gap>reload: $_[0]{reason}</div>" }

The data of the L</gap_event>, for clients such as Datastar: a string of characters, or code that returns one, which L</new>
calls for each reason, with a hash of C<reason> and C<event> (the type). The default is JSON (L</Order, resume, gaps>).

=head2 gap_event

    gap_event => 'gap'
    my $type = $hub->gap_event;

The type of the event that reports a gap: one line that is not empty, not C<eventsource-hub>; C<gap> by default. L</publish>
refuses events of that type, unless there is L</gap_data>.

=head2 keep_total_history

    keep_total_history => {events => 100_000, bytes => 67_108_864}

The retention of all channels together, as L</keep_history>; these are the defaults, and C<seconds> has none. The oldest event
of all channels is evicted first.

=head2 keep_total_state

    keep_total_state => {keys => 100_000, bytes => 67_108_864}

The L</keep_state> of all channels together; these are the defaults.

=head2 max_members

The most members of a channel (L</Members>), with those of other machines; 10,000 by default.

=head2 on_slow

What happens when events of a slow client are evicted unsent.

=over

=item C<disconnect>

The default: the stream ends (C<slow>). Its client reconnects and receives a C<gap>.

=item C<gap>

The stream receives a C<gap>, then the history or the L</State>.

=item C<latest>

Of what was not sent, the stream receives only the latest event of each channel, or C<key>, if the history has them;
otherwise, and if it starts with the state, as C<gap>.

=back

=head2 opaque_ids

Encrypt the number in each id (AES-128): it reveals only the epoch (L<EventSource::Wire/WHAT IDS REVEAL>). An id then has 35
characters, or 39 with a L</store> in Redis. False by default.

=head2 per_channel

    per_channel => {
        'user/*' => {keep_history => {events => 100, seconds => 86_400}},
        stock    => {keep_history => {events => 1}, keep_state => {keys => 50_000}, on_slow => 'gap'},
    }

Settings of some channels: a hash or an array of at most 100 names or patterns (L</pattern>), each with a hash of
C<keep_history>, C<keep_state> and C<on_slow>; the rest is as for the hub. The first that matches a channel counts: in an array
in its order; in a hash a name, then the pattern with the longer text before its first star.

A stream that has missed events of several channels ends if one has C<disconnect>; otherwise it receives a C<gap> if one has
C<gap>.

=head2 per_process

If true, the hub does not warn that each process has its own.

=head2 position

How streams receive their position, first and when it has advanced in a quiet stream (L<EventSource::Wire/POSITIONS>).

=over

=item C<event>

The default: an event of the type L</position_event> with empty data and the id.

=item C<id>

A block with the C<retry> and the id, without data, which is not an event. A third of the client libraries ignore it; some
report an empty message.

=item C<none>

No position, except after an event with an id of the application (L<EventSource::Wire/IDS>). A client that has received no
event begins anew.

=back

=head2 position_event

The type of positions: one line that is not empty, not that of L</gap_event>, not C<eventsource-hub>; C<position> by default.
L</publish> refuses events of that type, unless L</position> of the hub is C<id> or C<none>. The end of a L</State> has this
type also with C<id>.

=head2 show_channel

Include the name of the channel in each event, off by default. With C<event>, it is the type of events that have none. With
C<data>, the data becomes a JSON object, which has the C<key> if the event changes the state; C<data> in it is a string, or
the structure of C<json>. An event without either is published as it is.

    {"channel":"stock","data":{"left":3},"key":"item/7"}          publish with retain (key "" for none), join, update
    {"channel":"stock","forget":true,"key":"item/7"}              forget, with data only if it is given
    {"channel":"room/7/people","data":{"id":"ann"},"forget":true,"key":"ann"}  leave
    {"channel":"hall","data":4711,"key":null}                     count (EventSource::Presence, "LARGE ROOMS")

All publishers of a named hub name it alike: events of others are C<refused>.

With C<data>, each stream L<begins by saying so|EventSource::Wire/THE WORD OF THE HUB>, and the maps of L<EventSource::Browser>
believe nothing else. So publishers of text cannot change them. An event that a handler itself
L<pushes|Plack::App::EventSource::Connection/push> with an id counts as the hub's: push a text of others without an id. The
history and the state are not written anew: if texts of others were published before, begin with another L</name> or L</store>.

=head1 ATTRIBUTES OF STREAMS

=head2 compress, headers, linger, native, preamble, timeout

Settings of the streams of L</to_app>, as in L<Plack::App::EventSource>.

=head2 max_streams

The most native streams, from 1: of one process (L<Plack::App::EventSource/max_streams>), of a named hub those of all workers.
By default the hub process takes what its hard limit of descriptors allows, of which an eighth, at most 128, stays free.

=head2 max_streams_per

    max_streams_per => [sub { EventSource::XS->client_address($_[0], 64) }, 20]

The most streams with a key in common, such as an address: a callback that returns the key of a request, a string, or C<undef>
for no limit, and a whole number from 1 to 999,999,999; no limit by default. For L</to_app> and
L<Plack::App::EventSource::PubSub> only.

A further stream receives the status 429 and C<Retry-After>, 10 to 30 seconds at random, which an C<EventSource> ignores
(L<EventSource::Clients/A STREAM THAT IS REFUSED>).

All applications of a hub, and all workers of a named hub on this machine, count together, each up to its own limit: prefix
keys to count them apart. Behind a proxy see L<EventSource::Deployment/LIMITS>.

A stream leaves its place when the hub has seen that its client has gone. A page that is reloaded opens its next stream at that
very moment, so allow one place more than a client needs. The place of a stream that was about to begin when its worker was
killed is free after ten seconds.

If the hub process does not answer within a second, streams begin without a place. When it answers again, the hub ends each of
them that is one too many, with a C<retry> of 10 to 30 seconds at random. Its connection is told the reason C<server>. The hub
counts these streams and the refused ones as C<limited> (L</stats>).

=head2 max_topics

The most channels and patterns of a stream, from 1 to 65,536; 1,000 by default.

=head1 ATTRIBUTES OF NAMED HUBS

=head2 autostart

Start the process if none runs, true by default. If false, a call throws C<unavailable> after L</publish_timeout>.

=head2 grace

How many seconds streams stay open when the last worker has gone; 30 by default. Then they end with a C<retry>.

=head2 idle_exit

After how many seconds without worker, stream and publish the process ends, with its history unless it has a L</store>; 60 by
default.

=head2 max_relays

How many streams on the server's writer, of all workers, the hub takes over: from 0 to 10,000; 100 by default. Workers serve
further ones, and warn once.

=head2 publish_timeout

How many seconds (above 0) a call waits for the process, while that is started, too; 5 by default. A call without an answer
throws C<unknown>.

=head2 socket

    socket => '/run/shop/hub.sock'

The absolute path of the socket, of at most 107 bytes in UTF-8, which all processes name alike. No other user may write to its
folder (L<EventSource::NamedHub/SOCKET>, L<EventSource::Deployment/Where the socket is>).

By default it is F<NAME.sock> in the first of these folders that belongs to this user alone: F</run/user/UID/eventsource>,
F</run/eventsource/UID>, F</tmp/eventsource-UID>.

=head1 METHODS

Wrong arguments throw an L<EventSource::Error> with the code C<invalid> and the argument or setting as its field; methods of a
named hub also what L</name> says.

=head2 new

    my $hub = EventSource::Hub->new(%attributes);
    my $hub = EventSource::Hub->new(\%attributes);

Create a hub. Its streams end when the object is destroyed, unless it has a L</name>. Throws C<unsupported> without Linux, or
the program for L</name>.

=head2 admin_app

    mount '/admin' => $hub->admin_app(allow => sub { $_[0]{REMOTE_USER} eq 'ann' });
    mount '/admin' => $hub->admin_app(allow => ['127.0.0.1', '::1'], token => $ENV{ADMIN_TOKEN});

Return L<EventSource::Monitoring/ADMIN PAGE> as a PSGI application. C<allow>, C<hosts> and C<token> are as for L</metrics_app>.
Pages of other sites are refused.

Let the application ask for the password, also behind a proxy that does: who reaches the application itself needs it, too.

    mount '/admin' => builder {
        enable 'Auth::Basic', authenticator => \&is_operator;
        $hub->admin_app(allow => sub { defined $_[0]{REMOTE_USER} }, hosts => ['shop.example']);
    };

The log says once if C<allow> is code that allows everybody, and a client has come past the proxy.

=head2 drain

    $hub->drain(30);

End the streams of this process, of a named hub those of all workers, spread over a number of seconds (from 0). Each
client receives its position, if that has advanced, and a C<retry> of one to two times its application's (2,000 milliseconds
by default). So do streams that come later, with a named hub until its last worker has gone, or until C<eventsource hub stop>.
An upgrade changes nothing of that.
A client that does not read ends after its C<timeout>.

=head2 end

    my $count = $hub->end(label => ['user/7', 'user/8'], finish => 1);
    my $count = $hub->end(topics => ['orders/7', EventSource::Hub->pattern('invoices/*')]);

End the streams (L</Who reads>) that have one of the labels, or could be sent an event of the topics. A stream ends with all
its topics.

=over

=item label, topics

At most 64 labels, 1,000 channels and patterns: one or both, each a value or an array.

=item finish

If true, clients do not come back: each is sent the event of L<Plack::App::EventSource::Connection/finish>, and one that
reconnects receives the response of C<channels>, or a 204. By default each is sent a C<retry>, and comes back; a client that
may still read misses nothing.

A client that polls is told so within 15 seconds, too, when it comes with its next poll. A page that polls after a new login
within this time, from the L</last_id> at which the poll before ended, is taken for that client: it has to be loaded again.
A hub process that ends, other than for an upgrade, forgets who polls: C<channels> decides then.

=back

Streams that keep up are sent what was published before; others the rest of their buffer, until their C<timeout>, also through
an upgrade of the hub process. With Redis, a stream is sent the events that its own machine has read by then: they come within
milliseconds, but an event that another machine has published just before may miss it. C<on_close> has the reason
C<application>. Those of all workers of a named hub end, with Redis of all machines (L<EventSource::Stores/SEVERAL MACHINES>).
Returns how many ended on this one. Call it again if it has thrown, or C<pid> of L</stats> has changed.

=head2 epoch

    my $epoch = $hub->epoch;

Return the epoch, with which the hub's ids begin: eight random characters, in Redis twelve.

=head2 forget

    my $id = $hub->forget($channel, $key, {event => $type, data => $data});

Remove the retained event of a key, and always publish an event of the type C<forget> with the key as
data, unless the optional hash has others. Options of L</publish> follow.

=head2 history, oldest

    my @events = $hub->history($channel, last => 50);
    my $oldest = $hub->oldest($channel);

C<history> returns the events that are kept (L</keep_history>), or the last ones: hashes of C<key> and the fields.

C<oldest> returns a hash of the first event's C<id> (the hub's) and C<time> (seconds since 1970), or C<undef> if the history
is empty. A client that was sent this event, or a later one of the hub, resumes without a C<gap>.

=head2 last_id

    my $id   = $hub->last_id;
    my @rows = $dbh->selectall_array('SELECT ...');

Return the id of the hub's last event, in whichever channel, or of its beginning. A stream that begins after it, with any
channels (L<EventSource::Browser/lastEventId>, or C<?lastEventId=> in the URL), receives what is published from now on. For a
page that is rendered first: take the id, then the data, so that nothing is missed in between.

=head2 members, members_count

    my @members = $hub->members($channel);
    my $count   = $hub->members_count($channel);

Return a channel's members, by their ids, or their number. Each is a hash: C<id>, C<json> or C<data>, C<since>, the time of
its C<join>, and C<streams>, how many it has on this machine, 0 while it lingers.

=head2 metrics_app

    mount '/metrics' => $hub->metrics_app(allow => ['192.0.2.0/24', '2001:db8::/32'], token => $ENV{METRICS_TOKEN});

Return a PSGI application that answers C<GET> with the hub's counts in OpenMetrics 1.0
(L<EventSource::Monitoring/METRICS>), or with 503 if the hub process does not answer.

=over

=item allow

Who may read, required; others receive a 403, as the log says once: an array of addresses, with a C<token>; or code that is
called with the PSGI environment. Only code may allow a request with a header C<Forwarded>, C<Via>, C<X-Forwarded-For> or
C<X-Real-IP>, which comes from a proxy. B<Behind a proxy that sets none of them each client has its address>.

=item token

A secret, required with addresses: 16 characters of ASCII or more, without blanks. The client sends C<Authorization: Bearer
TOKEN>; a browser asks its user for it, as a password, and any name. Only TLS encrypts it.

=item hosts

An array of further host names (L<EventSource::Monitoring/Who may read them>).

=item channels

An array of at most 100 channels and patterns with counts of their own.

=back

=head2 pattern

    my $pattern = EventSource::Hub->pattern('news/*');

Create a pattern of channels' names, later ones too. C<*> matches anything but C</>, C<**> anything. A pattern has 1 to 1,024
bytes in UTF-8.

=head2 process

    my $process = $hub->process(timeout => 1);

Return a new L<EventSource::Hub::Process>, which starts no process. C<timeout> is that of
L<EventSource::Hub::Process/connect>. Throws C<state> without a name.

=head2 publish

    my $id = $hub->publish($channel, $data);
    my $id = $hub->publish($channel, {event => $type, data => $data, key => $key, retain => 1});
    my $id = $hub->publish($channel, $event, {wait => 1, once => $key});

Publish an event, and return its id. A channel is any string of 1 to 1,024 bytes in UTF-8. The event is its data (a string or
an array of strings) or a hash of the fields of L<EventSource::XS/format_event> and these:

=over

=item key

A string of at most 1,024 bytes in UTF-8. Events of a channel with the same key, or without one, replace each other in the
state, and with C<< on_slow => 'latest' >>.

=item retain

If true, the event is retained (L</State>).

=back

The options:

=over

=item wait

If false, return true instead of the id, without waiting for the hub process. Events stay in order. B<They may be lost>, with
a warning (L<EventSource::NamedHub/WHEN THE PROCESS IS AWAY>). True by default.

=item once

A string of 1 to 256 bytes in UTF-8. If an event of any channel had the same C<once>, nothing is published, and its id is
returned: repeat a call that threw C<unknown>. The hub remembers as many as L</keep_total_history> has events (at most
1,048,576), for the longest C<seconds> of L</keep_history> and L</per_channel>; a new process those in its L</store>.

=back

If it throws, nothing was published, except with C<unknown> (L<EventSource::Error/code>):

=over

=item C<invalid>

C<id> is not allowed (L<EventSource::Wire/IDS>) or comes without C<data>, C<event> is the L</gap_event> or L</position_event>,
C<retry> is more than 86,400,000 milliseconds, or another argument is wrong.

=item C<unavailable>

The hub process cannot be reached or started within L</publish_timeout> (with C<< wait => 0 >>: could not within the last
second), or its L</store> takes no events.

=item C<full>

The event would exceed L</keep_state> or L</keep_total_state>, or more than 8 MiB wait for the hub
process or its store, after L</publish_timeout> (with C<< wait => 0 >> at once).

=item C<state>

A spawned handler publishes to a hub without a name (L<Plack::App::EventSource::Connection/spawn>).

=back

=head2 script_app

    mount '/hub.js' => EventSource::Hub->script_app;

Return a PSGI application that serves L<EventSource::Browser>, an ES module; with C<< classic => 1 >> a classic script. Pages
of all origins may load it; those that name it differently share no streams.

A browser asks for changes once an hour; with C<< '?v=' . EventSource::Hub->VERSION >> never. Throws C<unsupported> if the
script is not installed.

=head2 serve

    my $is_open = $hub->serve($connection, @topics);

As L</subscribe>.

=head2 state

    my @events = $hub->state($channel);

Return the retained events (L</State>), as L<C<history>|/"history, oldest"> does.

=head2 stats

    my $stats = $hub->stats;

Return the hub's counts, with all events published before:

    streams, channels, patterns, published, delivered, resumed, gaps, limited
    polls                      {waiting, mute, silent, refused, cut, other}
    history                    {events, bytes}
    state                      {keys, bytes}
    members                    {here, refused}
    slow                       {disconnect, gap, latest}
    compression                {before, after}: bytes of published events for streams with a content coding
    tickets                    {issued, too_large, accepted, expired, limited, unknown, withdrawn}
    process                    of a named hub:
      pid, workers             process id; connected processes
      open, refused, buffered, cut_off
    store                      of a named hub:
      kind, place              memory, file or redis; path, or URL without user and password
      source                   who has named it: option (the process was started with it), worker, or kept (from before)
      up, since, pending, failed, lag, reconnects, epoch_changes
      events, bytes            its size; of Redis as of the last second, the last 10 seconds
      last_error, last_error_age   its last error; seconds since then

The others are the metrics with these names (L<EventSource::Monitoring/METRICS>). At an upgrade, C<published>, C<delivered>
and the C<age> of L<EventSource::Hub::Process/stats> begin anew, although the hub process keeps its C<pid>.

=head2 subscribe

    my $is_open = $hub->subscribe($connection, @topics);
    my $is_open = $hub->subscribe($connection, @topics, {after => $id, start => 'latest'});

Subscribe the stream of a L<Plack::App::EventSource::Connection> to further channels and patterns, also if the application
drops the connection. Returns false if it has ended. What is pushed comes before events of the hub. The options:

=over

=item after

Resume after the event with this id of the hub; by default the one that the client sent.

=item start, position, max_age

Instead of those of the hub; L</position> of the first subscription.

=item label

A string or an array: labels (L</Who reads>). If several calls give more than 64, the stream ends with the reason C<error>.

=item member, will

The member of the stream, a hash, and its will, an array (L<EventSource::Presence>).

=back

B<All subscriptions of one handler are one request.> The hub sends nothing of them before the handler returns or pushes, or
five seconds have passed. A slower handler may cause a C<gap> of the reason C<unknown>.

B<Later subscriptions> begin with new events: C<after>, and a C<start> other than C<latest>,
throw C<state>. (A stream without any from its handler begins with its first subscription.) A client that reconnects
receives what it missed only of channels that the handler names.

B<On the writer of a server that blocks> the worker sends the stream its events when the handler has returned, until the stream
ends. What the handler pushes after it has subscribed waits for that, up to L<Plack::App::EventSource/max_buffered>; beyond
that the stream ends with the reason C<slow>.

Throws C<state> also if the stream follows another hub and, unless it is native, in a child that the handler has forked.

=head2 subscribers

    my $count = $hub->subscribers($channel);

Return how many streams follow a channel, by its name or a pattern.

=head2 to_app

    my $app = $hub->to_app(channels => $code, keepalive => 30, origins => 'https://shop.example', methods => ['POST']);
    my $app = $hub->to_app(channels => sub { (['room/7', {start => -50}], ['room/7/people', {start => 'state'}], 'news') });

Return a L<Plack::App::EventSource>. Its options:

=over

=item channels

A callback that returns channels and patterns for a request, a PSGI response, which is sent instead, or nothing, for a 404. It
may read the body with L<Plack::Request>.

An element may be an array of channels and, last, a hash: C<start> for these channels, whose events a number counts together,
and C<max_streams_per>, a limit of streams with a key and just these channels in common. A channel of two elements begins as
the first says.

Each event is sent once. At a gap of any channel the stream receives one C<gap>, the state of those that begin with it, and of
others what is left: if it ends meanwhile, some of that may come twice.

=item label, member

Callbacks that return the stream's labels, a list (L</Who reads>, L<EventSource::Browser/Who reads>), and its member, one
hash (L<EventSource::Presence/MEMBERS>), or C<undef>. For members in several channels call L</subscribe> for each, in a
handler.

=item methods, origins

As of L<Plack::App::EventSource>.

=item ticket

    ticket => {seconds => 600, cookies => ['session'], headers => ['X-User'], around => sub { My::Session->wrap($_[0]) }}

Seconds, up to 3,600, or a hash: for so long (up to a fifth less, at most L</max_age>) a client with a stream comes back
by a cookie, without a callback. It counts for this hub (without a store: process), path, query, host, origin, C<Authorization>,
C<REMOTE_USER>, all cookies or those named, and named headers: B<name all by which callbacks tell users apart>. L</end>
withdraws it; its streams end with it, and change no member. C<around> wraps callbacks in middleware. While the hub process
does not answer, as in a long upgrade, a worker waits for L</publish_timeout> and asks the callbacks.

Each path has a cookie. Browsers keep some 180 of a site: Chromium removes tickets first, but B<Firefox may remove the
session> of a client that opens streams of so many paths within C<seconds>. Put the name of a room or a job into the query then.

=item attributes of streams

L</max_age>, L</max_streams_per>, L</position>, L</start>, and the settings from C<compress> to C<timeout> (L</ATTRIBUTES>),
instead of the hub's. A named hub takes C<max_streams> in L</new> only.

=back

Options without effect are C<invalid>; so, at a request, is what a callback returns wrongly.

B<Clients whose streams are held back may poll>, as L<EventSource::Browser> does: with C<Prefer: wait=20>
(RFC 7240; at most 60), perhaps C<; reason=mute> (C<silent>, C<refused>, C<cut>). The stream ends once it has sent what
is new, 256 KiB, or nothing in three quarters of that time or more. It is a stream otherwise, but its member stays for at
least 15 seconds, and C<position> is not C<none>. C<Preference-Applied> says so, and echoes C<request>.

=head2 update_member

    my $is_here = $hub->update_member($channel, $id, {json => {name => 'Ann', typing => \1}});

Change a member's data: a hash of C<json> or C<data>, and C<event>, C<update> by default. The same data publishes nothing.
Returns false if the member is not here. Throws C<full> if the event does not fit into the state.

=cut

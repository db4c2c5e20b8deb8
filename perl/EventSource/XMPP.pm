package EventSource::XMPP;
use strict;
use warnings;

# The items of nodes of an XMPP service (XEP-0060) as events of a named hub.
#
# AnyEvent::XMPP 0.55 (2014) speaks XMPP. It is in Debian, depends on expat and on nothing heavy, runs in the event loop of the
# bridge, and knows clients and components. What it lacks was found by running it against Prosody, and stands where it is
# mended: EventSource::XS::XMPP::Connection and Parser. Net::XMPP 1.05 (2014) was the other one: it has no components, blocks,
# reads XML with regular expressions (XML::Stream: "&amp;amp;lt;" becomes "<"), decodes UTF-8 piece by piece too, and warns of
# undefined values at each connection. A crate would be a program of its own with tokio, for what is not busy.
#
# A line of what happens: the lease is held -> _begin loads what was published -> _connect -> _discover finds nodes -> _follow
# subscribes to one and fetches its items -> _synchronize publishes those that are new; from then on _take_message. With each
# poll, _compare_subscriptions finds those that the service has ended. _publish is the one place that publishes to the hub.

our $VERSION = '0.100';

use EventSource::Error;
use EventSource::Hub::Lease;
use EventSource::XS ();
use EventSource::XS::Hub::Name;
use EventSource::XS::Settings;
use EventSource::XS::XMPP::Publisher;
use JSON::MaybeXS ();
use List::Util    qw(first min);
use Scalar::Util  qw(blessed weaken);

my $SETTINGS = EventSource::XS::Settings->new(__PACKAGE__);
my $JSON     = JSON::MaybeXS->new(utf8 => 0, canonical => 1);

my @REQUIRED = qw(hub jid nodes password service);
my @OPTIONAL =
    qw(ca events format host max_items max_stanza newest_first on_refused poll port prefix publish report start tls);

my %EVENTS  = (delete => 'delete', purge => 'purge', retract => 'retract');
my @FORMATS = qw(json text xml);

my $MAX_ITEMS     = 256;         # Prosody's pubsub_max_items, unless its configuration says otherwise
my $MAX_STANZA    = 64 << 20;    # bytes: all items of a node come in one
my $MAX_QUEUED    = 8 << 20;     # bytes of payloads that wait for the hub
my $PER_TURN      = 100;         # events, before the event loop gets its turn
my $POLL          = 30;          # seconds
my $SAVE_AFTER    = 1;           # seconds; what was not saved is not published twice (EventSource::XS::XMPP::Known)
my $FIRST_PAUSE   = 1;           # seconds, doubled with each attempt
my $MAX_PAUSE     = 60;
my $LONG_PAUSE    = 300;         # if the credentials are wrong
my $MAX_HUB_PAUSE = 5;

sub new {
    my ($class, @given) = @_;
    my %given = $SETTINGS->parse('new takes settings', @given);
    $SETTINGS->known(\%given, [@REQUIRED, @OPTIONAL]);
    _check(%given);
    my ($names, $patterns) = _topics($given{nodes});
    my $self = bless {
        events       => {%EVENTS, %{$given{events} || {}}},
        format       => defined $given{format} ? $given{format} : 'text',
        hub          => $given{hub},
        max_items    => defined $given{max_items} ? $given{max_items} : $MAX_ITEMS,
        names        => $names,
        newest_first => $given{newest_first},
        on_refused   => $given{on_refused},
        patterns     => $patterns,
        poll         => defined $given{poll}   ? $given{poll}     : $POLL,
        prefix       => defined $given{prefix} ? "$given{prefix}" : '',
        publish      => $given{publish},
        report       => $given{report} || sub { warn __PACKAGE__ . ": $_[0]\n" if $_[1] },
        service      => lc $given{service},
        start        => defined $given{start} ? $given{start} : 'oldest',
        connection   => {
            (map { defined $given{$_} ? ($_ => $given{$_}) : () } qw(ca host jid password port)),
            max_stanza => defined $given{max_stanza} ? $given{max_stanza} : $MAX_STANZA,
            tls        => !defined $given{tls} || $given{tls},
        },
        %{_idle()},
    }, $class;
    return $self;
}

# Public methods

sub is_connected { return !!($_[0]{connection_now} && $_[0]{connection_now}->is_ready) }

sub publisher {
    my ($class, @given) = @_;
    my %given = $SETTINGS->parse('publisher takes settings', @given);
    %given = (map({ $_ => $class->{$_} } qw(hub prefix service)), %given) if ref $class;
    $SETTINGS->known(\%given, [qw(hub payload prefix service)], 'option %s of publisher');
    _check_hub($given{hub});
    _check_service($given{service});
    $SETTINGS->code(payload => $given{payload});
    my $service = lc $given{service};
    my $prefix  = defined $given{prefix} ? "$given{prefix}" : '';
    return EventSource::XS::XMPP::Publisher->new(
        hub     => $given{hub},
        channel => _channel($service, $prefix, 'publish'),
        payload => $given{payload},
        prefix  => $prefix
    );
}

sub start {
    my $self = shift;
    return $self if $self->{lease};
    _load();
    AnyEvent::detect();
    weaken(my $weak = $self);
    $self->{lease} = EventSource::Hub::Lease->new(
        hub       => $self->{hub},
        name      => $self->_channel_of('bridge'),
        on_change => sub { $weak->_follow_lease if $weak },
    );
    return $self;
}

sub stop {
    my $self = shift;
    $self->_save;
    $self->_end_session;
    delete $self->{lease};
    return;
}

sub DESTROY {
    my $self = shift;
    return if ${^GLOBAL_PHASE} eq 'DESTRUCT' || !$self->{lease};
    local ($@, $!, $?, $SIG{__DIE__});
    eval { $self->_end_session };
    return;
}

# Private methods: the lease and the connection

sub _begin {
    my $self = shift;
    require EventSource::XS::XMPP::Positions;
    my $positions = EventSource::XS::XMPP::Positions->new($self->{hub}, $self->_channel_of('nodes'));
    my %saved;
    my $is_loaded = do {
        local $SIG{__DIE__};
        eval { %saved = $positions->load; 1 }
    };
    if (!$is_loaded) {
        $self->_say('the hub: ' . _message_of($@));
        return $self->_later($self->_pause('hub_attempts', $MAX_HUB_PAUSE), '_begin');
    }
    delete $self->{hub_attempts};
    $self->{positions} = $positions;
    $self->{is_fresh}  = !%saved;
    $self->{known}     = {map { $_ => EventSource::XS::XMPP::Known->new($saved{$_}, $self->{max_items}) } keys %saved};
    return $self->_connect;
}

sub _connect {
    my $self = shift;
    return $self->_later($FIRST_PAUSE, '_connect') if @{$self->{output}};    # a list says nothing of what waits
    weaken(my $weak = $self);
    my $kind = $self->{connection}{jid} =~ /\@/ ? 'Client' : 'Component';
    $self->{nodes}          = {};
    $self->{connection_now} = "EventSource::XS::XMPP::Connection::$kind"->open(
        %{$self->{connection}},
        on_ready   => sub { $weak->_begin_session       if $weak },
        on_message => sub { $weak->_take_message($_[0]) if $weak },
        on_end     => sub { $weak->_reconnect(@_)       if $weak },
    );
    return;
}

sub _end_session {
    my $self       = shift;
    my $connection = delete $self->{connection_now};
    $connection->close if $connection;
    %$self = (%$self, %{_idle()});
    return;
}

sub _follow_lease {
    my $self = shift;
    return $self->_end_session if !$self->{lease} || !$self->{lease}->is_held;
    return $self->_begin;
}

# The fields of a bridge that does nothing.
sub _idle {
    my %nothing = map { $_ => undef } qw(connection_now outbox outbox_watch positions);
    return {%nothing, dirty => {}, known => {}, nodes => {}, output => [], queued => 0, timers => {}};
}

sub _begin_session {
    my $self = shift;
    $self->_report('connected as ' . $self->{connection_now}->own_jid, !!0);
    return $self->_discover;
}

# Calls a method after some seconds, unless the session has ended.
sub _later {
    my ($self, $seconds, $method) = @_;
    weaken(my $weak = $self);
    $self->{timers}{$method} = AnyEvent->timer(after => $seconds, cb => sub { $weak->$method if $weak });
    return;
}

# The next pause of an attempt, with jitter, so that many bridges do not come back at the same moment.
sub _pause {
    my ($self, $counter, $most) = @_;
    my $pause = min($most, $FIRST_PAUSE * 2**min($self->{$counter}++, 20));
    return $pause * (0.5 + rand 0.5);
}

sub _reconnect {
    my ($self, $reason, $is_final) = @_;
    delete @$self{qw(connection_now outbox outbox_watch)};
    delete $self->{timers}{$_} for qw(_discover _open_outbox);
    if ($is_final) {
        return $self->{on_refused}->($reason) if $self->{on_refused} && !$self->{was_ready};
        $self->_say("the server refuses the login ($reason); the next attempt is in some minutes");
        return $self->_later($LONG_PAUSE * (0.5 + rand 0.5), '_connect');
    }
    $self->_say("no connection: $reason");
    return $self->_later($self->_pause('attempts', $MAX_PAUSE), '_connect');
}

# Private methods: nodes

# Asks for the nodes again and again. An answer also says that the connection lives; without one it ends. Subscriptions are
# compared before: those that the service has ended are made again with those to new nodes.
sub _discover {
    my $self       = shift;
    my $connection = $self->{connection_now} or return;
    $self->{was_ready} = 1;
    $self->_compare_subscriptions;
    weaken(my $weak = $self);
    $self->_ask(
        get => EventSource::XS::XMPP::Stanza->ask_for_nodes,
        sub {
            my ($answer, $problem) = @_;
            return $connection->disconnect('no answer') if !$answer && $problem eq 'remote-server-timeout';
            $weak->_later($weak->{poll}, '_discover');
            delete @$weak{qw(attempts said)}                                  if $answer && $weak->{attempts};
            $weak->_say("$weak->{service} does not list its nodes: $problem") if !$answer;
            my @listed = $answer ? EventSource::XS::XMPP::Stanza->nodes_of($answer) : ();
            $weak->_miss(@listed) if $answer;
            $weak->_follow($_) for grep { !$weak->{nodes}{$_} } @{$weak->{names}}, grep { $weak->_matches($_) } @listed;
            delete $weak->{is_fresh};
            $weak->_open_outbox;
        }
    );
    return;
}

sub _ask {
    my ($self, $type, $content, $code) = @_;
    weaken(my $weak = $self);
    my $connection = $self->{connection_now};
    $connection->ask($self->{service}, $type, $content,
        sub { $code->(@_) if $weak && $weak->{connection_now} && $weak->{connection_now} == $connection });
    return;
}

# An owner can end a subscription (XEP-0060, section 8.8.2), and a service can lose what it knows. A service need not notify
# of it, and then no item would come any more. Only the subscriptions of before the question count.
sub _compare_subscriptions {
    my $self  = shift;
    my @nodes = grep { $_->{is_subscribed} } values %{$self->{nodes}} or return;
    weaken(my $weak = $self);
    $self->_ask(
        get => EventSource::XS::XMPP::Stanza->ask_for_subscriptions,
        sub {
            my ($answer, $problem) = @_;
            return if !$answer && $problem eq 'remote-server-timeout';    # _discover ends the connection
            my @own       = $answer ? $weak->_own_subscriptions($answer) : ();
            my %is_listed = map  { $_->[1] eq 'subscribed' ? ($_->[0] => 1) : () } @own;
            my @lost      = grep { !$is_listed{$_->{name}} } @nodes;
            $problem = 'none is there' if $answer && @lost && !@own && $weak->{lists_none}++;
            return $weak->_say(
                "$weak->{service} does not list subscriptions, and one that it ends may stay unnoticed: $problem")
                if defined $problem;
            $weak->{lists_none} = 0 if @own;
            $weak->_lose_subscription($_) for @lost;
        }
    );
    return;
}

sub _lose_subscription {
    my ($self, $node) = @_;
    my $name = $node->{name};
    return if ($self->{nodes}{$name} || 0) != $node;
    delete $self->{nodes}{$name};
    return $self->_say(_loss_of($name));
}

sub _own_subscriptions {
    my ($self, $stanza) = @_;
    my $own = lc $self->{connection_now}->own_jid;
    return grep { !defined $_->[2] || lc $_->[2] eq $own } EventSource::XS::XMPP::Stanza->subscriptions_of($stanza);
}

# Subscribes first, then asks for the items: an item that comes in between is in the list, or is notified of later.
sub _follow {
    my ($self, $name) = @_;
    my $problem = EventSource::XS::Hub::Name->problem($self->{prefix} . $name);
    return $self->_say("the node $name: a channel $problem") if defined $problem;
    my $node = $self->{nodes}{$name} = {name => $name, queue => [], wanted => {}};
    $node->{is_old} = $self->{is_fresh} && $self->{start} eq 'latest';
    weaken(my $weak = $self);
    $self->_ask(
        set => EventSource::XS::XMPP::Stanza->subscribe($name, $self->{connection_now}->own_jid),
        sub {
            my ($answer, $problem) = @_;
            my $state = $answer ? EventSource::XS::XMPP::Stanza->subscription_of($answer) : $problem;
            $node->{is_subscribed} = $state eq 'subscribed';
            delete $weak->{said}{_loss_of($name)} if $node->{is_subscribed};    # once more at most with each poll
            return $weak->_fetch($node)           if $node->{is_subscribed};
            delete $weak->{nodes}{$name};
            $weak->_miss_node($name) if $state eq 'item-not-found' && $weak->{known}{$name};
            $weak->_say("no subscription to the node $name: $state");
            $weak->_open_outbox;
        }
    );
    return;
}

# Asks for the items of a node. A list that is too long is asked for in halves of its newest items.
sub _fetch {
    my ($self, $node, $most) = @_;
    $most = $self->{max_items} if !defined $most;
    $node->{is_live} = 0;
    weaken(my $weak = $self);
    $self->_ask(
        get => EventSource::XS::XMPP::Stanza->ask_for_items($node->{name}, $most),
        sub {
            my ($answer, $problem) = @_;
            return                                     if ($weak->{nodes}{$node->{name}} || 0) != $node;
            return $weak->_fetch($node, int $most / 2) if !$answer && $problem eq 'too-long' && $most > 1;
            $weak->_say("the items of the node $node->{name} cannot be read: $problem") if !$answer;
            my @items = $answer ? EventSource::XS::XMPP::Stanza->items_of($answer) : ();
            $weak->_synchronize($node, !$answer || @items >= $most, @items);
        }
    );
    return;
}

sub _known {
    my ($self, $name) = @_;
    return $self->{known}{$name} ||= EventSource::XS::XMPP::Known->new(undef, $self->{max_items});
}

sub _matches {
    my ($self, $name) = @_;
    return scalar grep { $name =~ $_ } @{$self->{patterns}};
}

# Nodes that were followed before and are not listed any more were deleted.
sub _miss {
    my ($self, @listed) = @_;
    my %is_listed = map { $_ => 1 } @listed, @{$self->{names}};
    $self->_miss_node($_) for grep { !$is_listed{$_} && $self->_matches($_) } sort keys %{$self->{known}};
    return;
}

sub _miss_node {
    my ($self, $name) = @_;
    delete $self->{nodes}{$name};
    return
        if $self->{known}{$name}->has('', 'delete')
        || grep { $_->[0] eq 'delete' && $_->[1] eq $name } @{$self->{output}};
    return $self->_output(['delete', $name]);
}

# Publishes what is new in the list of a node. What was notified of since the subscription comes after it: an item in both is
# published from the notification, for the list says only how the item is now.
sub _synchronize {
    my ($self, $node, $is_part, @items) = @_;
    my ($name, $known, $queue) = ($node->{name}, $self->_known($node->{name}), $node->{queue});
    my %is_queued = map { defined $_->[2] ? ($_->[2] => 1) : () } @$queue;
    @items = reverse @items if $self->{newest_first};
    my @list   = map { [$_->[0], _digest_of($_->[1]), $_->[1]] } grep { !$is_queued{$_->[0]} } @items;
    my $wanted = $node->{wanted};
    $node->{wanted} = {};
    delete $wanted->{$_->[0]} for @items;
    $known->note('') if $known->has('', 'delete');    # the node was created again

    if ($known->is_new && $node->{is_old}) {
        $known->note_seen(@$_[0, 1]) for @list;
        $self->_is_dirty($name);
    }
    else {
        $self->_output($self->_gone($known, $name, $queue, @items)) if !$is_part;
        $self->_output(map { ['item', $name, @$_[0, 2], 1] } $known->missing_of(@list));
    }
    $self->_output(['order', $name, [map { $_->[0] } @list]], @$queue, map { ['item', $name, $_] } sort keys %$wanted);
    $node->{queue}   = [];
    $node->{is_live} = 1;
    $self->_open_outbox;
    return;
}

# The retractions that were missed: items that are not in the list although older ones are. If none is there, all were purged.
# Items that are older than the list may have made room for newer ones.
sub _gone {
    my ($self, $known, $name, $queue, @items) = @_;
    my %is_here = map { $_->[0] => 1 } @items;
    my @ids     = $known->ids or return;
    return @items || @$queue ? () : ['purge', $name, undef, undef, 1] if !grep { $is_here{$_} } @ids;
    shift @ids while !$is_here{$ids[0]};
    my %is_queued = map { defined $_->[2] ? ($_->[2] => 1) : () } @$queue;
    return map { ['retract', $name, $_, undef, 1] } grep { !$is_here{$_} && !$is_queued{$_} } @ids;
}

sub _take_message {
    my ($self, $message) = @_;
    return if lc($message->attr('from') || '') ne $self->{service};
    return if lc($message->attr('to')   || '') ne lc $self->{connection_now}->own_jid;
    for my $subscription (grep { $_->[1] ne 'subscribed' } $self->_own_subscriptions($message)) {
        my $node = $self->{nodes}{$subscription->[0]};
        $self->_lose_subscription($node) if $node && $node->{is_subscribed};
    }
    my @events = EventSource::XS::XMPP::Stanza->events_of($message);
    for my $event (@events) {
        my ($kind, $name, $id, $payload) = @$event;
        my $node = $self->{nodes}{$name} or next;
        if ($kind eq 'item' && !$payload) {    # the node notifies without payloads
            $node->{wanted}{$id} = 1;
            $self->_fetch($node) if $node->{is_live};
            next;
        }
        if   ($node->{is_live}) { $self->_output($event) }
        else                    { push @{$node->{queue}}, $event }
        delete $self->{nodes}{$name} if $kind eq 'delete';
    }
    return;
}

# Private methods: what is published to the hub

sub _is_dirty {
    my ($self, $name) = @_;
    $self->{dirty}{$name} = 1;
    $self->_later($SAVE_AFTER, '_save') if !$self->{timers}{_save};
    return;
}

# Publishes what waits, until the hub takes no more.
sub _drain {
    my $self = shift;
    return if $self->{is_draining} || $self->{timers}{_drain_again};
    local $self->{is_draining} = 1;
    for (1 .. $PER_TURN) {
        my $event   = $self->{output}[0] or return;
        my $problem = $self->_publish($event);
        if (defined $problem) {
            $self->_say("the hub takes no events: $problem");
            return $self->_later($self->_pause('hub_attempts', $MAX_HUB_PAUSE), '_drain_again');
        }
        delete $self->{hub_attempts};
        shift @{$self->{output}};
        $self->{queued} -= _bytes_of($event);
    }
    return $self->_later(0, '_drain_again');
}

sub _drain_again {
    my $self = shift;
    delete $self->{timers}{_drain_again};
    return $self->_drain;
}

# The fields of the event for an item, as publish takes them; undef if there is to be none.
sub _fields_of {
    my ($self, $name, $id, $payload) = @_;
    my $text   = $payload ? EventSource::XS::XMPP::Stanza->text_of($payload) : $id;
    my $xml    = $payload ? $payload->as_string                              : undef;
    my $format = $self->{format};
    if (ref $format) {
        my $fields = $format->({id => $id, node => $name, text => $text, xml => $xml});
        return ref $fields eq 'HASH' ? $fields : defined $fields ? {data => $fields} : undef;
    }
    my ($what, $value) = defined $text ? (text => $text) : (xml => $xml);
    return {data => $JSON->encode({id => $id, node => $name, $what => $value})} if $format eq 'json';
    return {data => $format eq 'xml' && defined $xml ? $xml : $value};
}

# Events are arrays: item, retract, purge or delete; the node; the id of the item, and its payload; true if the event comes
# from a list, which may say what is known already. After those of a list comes order, with all ids of the list.
sub _output {
    my ($self, @events) = @_;
    push @{$self->{output}}, @events;
    $self->{queued} += _bytes_of($_) for @events;
    $self->_drain;
    $self->{connection_now}->disconnect('too much waits for the hub')
        if $self->{queued} > $MAX_QUEUED && $self->{timers}{_drain_again} && $self->{connection_now};
    return;
}

# Returns undef if the event is published, or is to be left out; otherwise why it has to wait.
sub _publish {
    my ($self, $event) = @_;
    my ($kind, $name, $id, $payload, $is_listed) = @$event;
    my $known = $self->_known($name);
    return $known->note_order(@$id) if $kind eq 'order';
    $id = '' if !defined $id;
    my $digest = $kind eq 'item' ? _digest_of($payload) : $kind;
    return undef if $is_listed && !_is_news($known, $kind, $id, $digest);
    my $problem = $known->needs_saving($id) ? $self->_problem_of_saving($name) : undef;
    return $problem if defined $problem;
    my $error;
    {
        local ($@, $SIG{__DIE__});
        $error = $@ if !eval {
            $self->_publish_fields($event, $known->key("$self->{service}\0$self->{prefix}$name", $id, $digest));
            1;
        };
    }
    if (defined $error) {
        my $is_error = blessed $error && $error->isa('EventSource::Error');
        return _message_of($error) if $is_error && $error->code ne 'invalid';
        my $what = $kind . ($id eq '' ? '' : " $id") . " of the node $name";
        $self->_report("the $what is not published: " . _message_of($error), !!1);
    }
    $known->note_purge if $kind eq 'purge' || $kind eq 'delete';
    my $is_urgent = $known->note($id, $kind eq 'retract' ? undef : $digest);
    $self->_is_dirty($name) if !$is_urgent || defined $self->_problem_of_saving($name);
    return undef;
}

sub _publish_fields {
    my ($self, $event, $once) = @_;
    my ($kind, $name, $id, $payload) = @$event;
    my $fields = $kind eq 'item' ? $self->_fields_of($name, $id, $payload) : undef;
    if ($kind ne 'item' && defined $self->{events}{$kind}) {
        $fields = {event => $self->{events}{$kind}, data => defined $id ? $id : $name};
    }
    return if !$fields;
    my %key = defined $id && !defined EventSource::XS::Hub::Name->problem($id) ? (key => $id) : ();
    $self->{hub}->publish($self->{prefix} . $name, {%key, %$fields}, {once => $once});
    return;
}

# Saves what was published of a node. Returns why that is not possible, or undef.
sub _problem_of_saving {
    my ($self, $name) = @_;
    my $known = $self->_known($name);
    local ($@, $SIG{__DIE__});
    return _message_of($@) if !eval { $self->{positions}->save($name, $known->saved); 1 };
    $known->note_saved;
    delete $self->{dirty}{$name};
    return undef;
}

# Saves what was published. What cannot be saved now is saved later.
sub _save {
    my $self = shift;
    delete $self->{timers}{_save};
    return if !$self->{positions};
    for my $name (sort keys %{$self->{dirty}}) {
        my $problem = $self->_problem_of_saving($name);
        next if !defined $problem;
        $self->_say("what was published cannot be saved in the hub: $problem");
        return $self->_later($MAX_HUB_PAUSE, '_save');
    }
    return;
}

# Reports a problem once, until the connection is there again.
sub _say {
    my ($self, $text) = @_;
    $self->_report($text, !!1) if !$self->{said}{$text}++;
    return;
}

# A publisher chooses the ids of items and the names of nodes, and no line of a log.
sub _report {
    my ($self, $text, $is_problem) = @_;
    $self->{report}->(EventSource::XS::Reason->visible($text), $is_problem);
    return;
}

# Private methods: items for the service

# Takes the items that wait, and those that come, when all nodes are read: then an item that the service has already, because
# only its answer was lost, is known.
sub _open_outbox {
    my $self = shift;
    return if !$self->{publish} || $self->{outbox} || !$self->is_connected;
    return if grep { !$_->{is_live} } values %{$self->{nodes}};
    require EventSource::XS::XMPP::Follower;
    my ($outbox, @events);
    my $begin = sub {
        $outbox = EventSource::XS::XMPP::Follower->new($self->{hub}, $self->_channel_of('publish'));
        @events = $outbox->state;
    };
    my $has_begun = do {
        local $SIG{__DIE__};
        eval { $begin->(); 1 }
    };
    if (!$has_begun) {
        $self->_say('the hub: ' . _message_of($@));
        return $self->_later($MAX_HUB_PAUSE, '_open_outbox');
    }
    @$self{qw(outbox sent)} = ($outbox, {});
    weaken(my $weak = $self);
    $self->{outbox_watch} =
        AnyEvent->io(fh => $outbox->stream, poll => 'r', cb => sub { $weak->_read_outbox if $weak });
    $self->_send_item($_) for @events;
    return;
}

sub _read_outbox {
    my $self   = shift;
    my $events = $self->{outbox}->take;
    if (!$events) {
        delete @$self{qw(outbox outbox_watch)};
        return $self->_later($FIRST_PAUSE, '_open_outbox');
    }
    $self->_send_item($_) for @$events;
    return;
}

sub _send_item {
    my ($self, $event) = @_;
    my $item = EventSource::XS::XMPP::Publisher->item_of($event) or return;
    my $key  = EventSource::XS::XMPP::Publisher->key_of($item);
    return if !$self->is_connected || $self->{sent}{$key}++;
    my ($name, $id) = @$item{qw(node id)};
    my $done = sub {
        my $problem = shift;
        $self->_say("the item $id of the node $name is not published to $self->{service}: $problem")
            if defined $problem;
        delete $self->{sent}{$key};
        local $SIG{__DIE__};
        eval { $self->{hub}->forget($self->_channel_of('publish'), $key); 1 }
            or $self->_say('the hub: ' . _message_of($@));
    };
    return $done->()                    if $self->{known}{$name} && grep { $_ eq $id } $self->{known}{$name}->ids;
    return $done->('it is not allowed') if ref $self->{publish}  && !$self->{publish}->($name);
    $self->_ask(
        set => EventSource::XS::XMPP::Stanza->publish($name, $id, $item->{payload}),
        sub {
            my ($answer, $problem) = @_;
            $done->($answer ? undef : $problem) if $answer || $problem ne 'remote-server-timeout';
        }
    );
    return;
}

# Private functions

sub _bytes_of { return $_[0][3] ? length $_[0][3]->as_string : 0 }

sub _channel {
    my ($service, $prefix, $what) = @_;
    return join '/', __PACKAGE__, $service, $what, $prefix;
}

sub _channel_of { return _channel(@{$_[0]}{qw(service prefix)}, $_[1]) }

sub _check {
    my %given = @_;
    for my $name (grep { !defined $given{$_} } @REQUIRED) {
        $SETTINGS->refuse($name, "$name is required");
    }
    _check_hub($given{hub});
    _check_service($given{service});
    $SETTINGS->one_line($_ => $given{$_}) for grep { defined $given{$_} } qw(ca host jid password);
    $SETTINGS->refuse(jid => "jid must be the domain of a component, or user\@domain/resource, not '$given{jid}'")
        if $given{jid} !~ m{\A(?:[^\@/\s]+\@[^\@/\s]+(?:/.+)?|[^\@/\s]+)\z};
    $SETTINGS->refuse(prefix => 'prefix must be a string of less than 1,024 bytes')
        if defined $given{prefix}
        && (ref $given{prefix} || length $given{prefix} >= EventSource::XS::Hub::Name->max_bytes);
    $SETTINGS->whole_number(port       => $given{port},       from => 1,      to => 65_535);
    $SETTINGS->whole_number(max_items  => $given{max_items},  from => 1,      to => 100_000);
    $SETTINGS->whole_number(max_stanza => $given{max_stanza}, from => 65_536, to => 1 << 30, unit => 'bytes');
    $SETTINGS->seconds(poll => $given{poll}, is_above_zero => 1);
    $SETTINGS->one_of(start  => $given{start},  qw(oldest latest));
    $SETTINGS->one_of(format => $given{format}, @FORMATS) if ref $given{format} ne 'CODE';
    $SETTINGS->code($_      => $given{$_}) for qw(on_refused report);
    $SETTINGS->code(publish => $given{publish}) if ref $given{publish};
    my $events = $given{events} || {};
    $SETTINGS->refuse(events => 'events must be a hash, such as {retract => \'gone\'}') if ref $events ne 'HASH';
    $SETTINGS->known($events, [keys %EVENTS], 'event %s');
    $SETTINGS->one_line("events: $_" => $events->{$_}, field => 'events')
        for grep { defined $events->{$_} } sort keys %$events;
    return;
}

sub _check_hub {
    my $hub = shift;
    $SETTINGS->refuse(hub => 'hub must be a named EventSource::Hub')
        if !blessed $hub || !$hub->isa('EventSource::Hub') || !$hub->_has_process;
    return;
}

sub _check_service {
    my $service = shift;
    $SETTINGS->refuse(service => 'service must be the JID of a pubsub service, such as pubsub.example.org')
        if !defined $service || $service !~ m{\A[^\s\0]+\z};
    return;
}

sub _digest_of {
    my $payload = shift;
    return EventSource::XS::XMPP::Known->digest(EventSource::XS::XMPP::Stanza->canonical($payload));
}

# Returns true if an event that was found in a list is still news. Others may have waited before it.
sub _is_news {
    my ($known, $kind, $id, $digest) = @_;
    return !$known->has($id, $digest) if $kind eq 'item';
    return scalar grep { $kind eq 'purge' || $_ eq $id } $known->ids;
}

# AnyEvent::XMPP is not a prerequisite: few applications need it.
sub _load {
    local ($@, $SIG{__DIE__});
    my @modules = map { "EventSource/XS/XMPP/$_.pm" } qw(Connection Follower Known Positions Stanza);
    return if eval { require $_ for @modules; 1 };
    my $error = $@;
    die $error if $error !~ /\ACan't locate (?:AnyEvent|Object|XML|Net|Authen)\b/;
    return EventSource::Error->throw(
        code    => 'unsupported',
        message => __PACKAGE__ . ': AnyEvent::XMPP is not installed (on Debian: libanyevent-xmpp-perl)'
    );
}

sub _loss_of {
    my $name = shift;
    return "the service has ended the subscription to the node $name; the bridge subscribes again";
}

sub _message_of {
    my $error = shift;
    my $text  = blessed $error && $error->isa('EventSource::Error') ? $error->message : "$error";
    $text =~ s/\AEventSource::[A-Za-z:]+: //;
    $text =~ s/\s+\z//;
    return $text;
}

# The names, and the regular expressions of the patterns.
sub _topics {
    my $given = shift;
    my @given = ref $given eq 'ARRAY' ? @$given : ($given);
    my (@names, @patterns);
    for my $topic (@given) {
        if (blessed $topic && $topic->isa('EventSource::XS::Hub::Pattern')) { push @patterns, _regex_of($$topic); next }
        my $name = $SETTINGS->string(nodes => $topic);
        $SETTINGS->refuse(nodes => 'each of nodes must be a name or a pattern') if !defined $name || !length $name;
        push @names, $name;
    }
    $SETTINGS->refuse(nodes => 'nodes must name a node, or have a pattern') if !@given;
    return (\@names, \@patterns);
}

# "pattern" in EventSource::Hub: * stands for any characters but /, ** for any characters.
sub _regex_of {
    my $pattern = shift;
    my $regex = join '', map { /\A[*]{2,}\z/ ? '.*' : $_ eq '*' ? '[^/]*' : quotemeta } grep { length } split /([*]+)/,
        $pattern;
    return qr/\A$regex\z/s;
}

1;
__END__

=encoding utf8

=head1 NAME

EventSource::XMPP - The items of nodes of an XMPP service as events of a hub

=head1 SYNOPSIS

    use EventSource::Hub;
    use EventSource::XMPP;

    my $hub    = EventSource::Hub->new(name => 'shop');
    my $bridge = EventSource::XMPP->new(
        hub      => $hub,
        service  => 'pubsub.example.org',
        nodes    => ['news', EventSource::Hub->pattern('weather/*')],
        jid      => 'bridge.example.org',
        host     => '127.0.0.1',
        password => 'the secret of the component',
    );
    # $bridge->start;    # in an application that runs in an event loop; or run `eventsource xmpp`

=head1 DESCRIPTION

A bridge connects to an XMPP server, subscribes to nodes of a publish-subscribe service (XEP-0060), and publishes each item to a
channel of a named hub, which has the name of the node. The page of L<Prosody|https://prosody.im/>'s mod_pubsub_eventsource
works with the channels, if L<Plack::App::EventSource::PubSub> gives them the same URLs:

    const source = new EventSource('/eventsource/news');
    source.onmessage = event => console.log(event.data);

Run C<eventsource xmpp> (L<eventsource/xmpp>) as a service of its own, or L</start> the bridge in each worker of a server with
an event loop: all that serve the same hub elect one of them (L<EventSource::Hub::Lease>), and when it ends, another one
continues. A hub needs one bridge for a service and a L</prefix>. A bridge needs AnyEvent::XMPP (on Debian:
libanyevent-xmpp-perl), which is loaded when it starts.

=head2 What is published

=over

=item an item (XEP-0060, sections 7.1.2 and 12.4)

The data is the text of the payload (L</format>), and the event has no type: C<onmessage> receives it. Its key
(L<EventSource::Hub/publish>) is the item's id. An item that is published again under its id is another event, whatever its
payload. An item without payload has its id as the data.

=item a retraction (section 7.2), C<retract>

The data is the item's id.

=item a purge (section 8.5), C<purge>, and the deletion of a node (section 8.4), C<delete>

The data is the name of the node.

=back

=head2 Once, and in order

Each event is published once, in the order of the service, whatever happens to the connection, the server, the bridge or a hub:

=over

=item *

The bridge subscribes to a node before it asks for its items (section 6.5), so that none is missed in between. It publishes
those that it has not published yet. It asks again whenever it connects, and looks for new nodes every L</poll> seconds.

=item *

It keeps in the hub which items of a node it has published: the last 256 (L</max_items>) at least, with a digest of their
payloads, as the state (L<EventSource::Hub/State>) of the channel C<EventSource::XMPP/SERVICE/nodes/PREFIX>. Whoever holds the
lease next, on this machine or on another one that shares the hub's store, continues there. It is as durable as the hub: if a
hub without a L<store|EventSource::Hub/store> ends, the next one has no history, and receives again what the nodes have. No
page has to read this channel: with a L</prefix>, and the same one as L<Plack::App::EventSource::PubSub/prefix>, it has no URL.

=item *

What was published in the second before a crash may not be kept there yet. So each event is published with C<once>
(L<EventSource::Hub/publish>), with a key that is made of the item's id, its payload, and how often the id was published. The
hub remembers these keys for the time of its history, so this second is covered unless the bridge is away for longer than
that.

=item *

A service may end a subscription: its owner removes it (section 8.8.2), or the service loses its data. The bridge takes the
notification, and compares its subscriptions with those that the service lists (section 5.6) every L</poll> seconds. It
L<reports|/report> the loss, subscribes again with the next poll, and publishes what it has missed. A service that does not list
subscriptions is reported, too: then only a notification tells.

=item *

While the hub takes no events, the bridge waits, and tries again. If more than 8 MiB wait, it closes its connection, and fetches
the rest later.

=back

These are the bounds. A node has the items that its service keeps: what it has dropped before the bridge came back is lost (with
Prosody the last 20, unless the node is configured to have more, C<pubsub#max_items>). Of several versions of an item that were
published while the bridge was away there is the last. That an item was retracted while the bridge was away is seen from its
absence among newer and older ones; if only the oldest are absent, they may have made room. A retraction is missed if its item
was published in the second before a crash, and is gone when the bridge comes back; if that item is published again as it was,
there is no second event. Two machines with one store have a bridge each, and what both publish comes once: the second one has
to begin a second after the first has published something, or later.

=head2 The account

A B<component> (XEP-0114) has a domain and a secret, no account, and no TLS: its server is on the same machine, or behind a
tunnel. A B<client> has an account with a password. The connection is encrypted, and the certificate must be that of the
domain of the JID. The password is sent over TLS only, by SASL: PLAIN with the SASL library of Debian 12, which has no SCRAM.
The client sends no presence, so nobody sees it, and receives what is sent to its full JID only. Give the bridge an account of
its own.

The service must let the JID subscribe to the nodes and read their items: the access model C<open> does, with C<whitelist> the
JID needs the affiliation C<member>, for L</publish> C<publisher>.

=head1 METHODS

=head2 new

    my $bridge = EventSource::XMPP->new(%settings);
    my $bridge = EventSource::XMPP->new(\%settings);

Create a bridge, which does nothing before L</start>. Throws an L<EventSource::Error> with the code C<invalid> if a setting is
unknown, missing or wrong.

=over

=item hub

The L<EventSource::Hub>, which must have a name. Required.

=item service

The JID of the service, such as C<pubsub.example.org>. Required.

=item nodes

The names of nodes, and patterns of names (L<EventSource::Hub/pattern>), in an array. A name is followed as soon as there is
such a node, a pattern if the service lists its nodes (section 5.2). Required.

=item jid, password

The domain of a component and its secret, or the JID of an account, C<user@example.org/resource>, and its password. Required.

=item host, port

Where the server is, if it is not found by the JID's domain: for a client by SRV records and port 5222, for a component port
5347.

=item ca

The path of a file with certificates of authorities, instead of those of the system.

=item tls

False lets a client send its password without TLS. True by default.

=item prefix

A string before the name of a node that makes it the name of the channel; empty by default.

=item format

What the data of an item is:

C<text>, the default: the text of JSON (C<json>, XEP-0335), of C<data> (C<https://prosody.im/protocol/data>), and of an entry of
Atom, where it is the first of C<content>, C<summary> and C<title> that is not empty; the XML of any other payload.

C<xml>: the XML of the payload, as mod_pubsub_eventsource sends it.

C<json>: an object with C<node>, C<id>, and C<text> or C<xml>.

Code that is given a hash with C<node>, C<id>, C<text> (undef if C<text> would be the XML) and C<xml>, and returns the data,
or a hash of the fields of L<EventSource::Hub/publish> (not C<id>), or undef if nothing is to be published. C<retain> with the
item's id as the C<key>, which is the default, makes the items the state of the channel. If the code dies, the item is
reported and left out.

=item events

    events => {retract => 'gone', purge => undef}

Other types of the events. With undef they are not published.

=item start

What to do with the items that nodes have when a bridge reads a service for the first time: with C<oldest>, the default, publish
them; with C<latest> only those that come later, also of nodes that come later.

=item max_items

How many items of a node are asked for, and remembered: a whole number from 1 to 100,000, 256 by default. Choose what the
service keeps.

=item max_stanza

The longest stanza of the server in bytes: a whole number from 65,536 to 1,073,741,824, 67,108,864 by default. All items of a
node come in one; if that is too long, the newest half is asked for, and so on. A longer notification is skipped.

=item newest_first

True if the service lists the newest item first, as ejabberd does. False by default: Prosody lists the oldest first.

=item poll

Every so many seconds the bridge asks for the nodes and for its subscriptions; above 0, fractions allowed, 30 by default. It
also finds out so that the connection is dead, in a minute more.

=item publish

True lets applications publish items (L</publisher>), or a callback that returns true for the name of a node to which they may.
False by default.

=item on_refused

    on_refused => sub { my $reason = shift; ... }

Called instead of the next attempt, if the server refuses the first login.

=item report

    report => sub { my ($text, $is_problem) = @_; ... }

What takes a line of text, without control characters, about a connection that is made, or a problem. By default a problem is
a warning. Each is reported once until the connection is there again.

=back

=head2 is_connected

    my $is_connected = $bridge->is_connected;

Return true if this bridge has a connection on which it has logged in.

=head2 publisher

    my $publisher = $bridge->publisher;
    my $publisher = EventSource::XMPP->publisher(hub => $hub, service => 'pubsub.example.org', prefix => $prefix);

    my $app = Plack::App::EventSource::PubSub->new(hub => $publisher, authorize => $code)->to_app;

Return an object that takes the place of the hub in a L<Plack::App::EventSource::PubSub>. A C<POST> to a node, if C<authorize>
allows it, publishes an item to the service; when it comes back from there, the channel has it. It works in any process that
has the hub. The item waits in the hub, in the state of a channel of its own, for the bridge, whose setting C<publish> must be
true: it is published when the bridge and the service are there, once, in order. The response has its id, which is the C<id>
of the request, or a new one.

Data that is JSON, an object or an array, has the payload C<< <json xmlns="urn:xmpp:json:0"> >>, other data
C<< <data xmlns="https://prosody.im/protocol/data"> >>. The option C<payload> is code that returns the payload's XML instead; it
is given the channel and the event, a hash.

    my $id = $publisher->publish($channel, $event);

does the same. Throws C<invalid> if the event has another field than C<data>, C<json> and C<id>, or a character that XML cannot
have, and what L<EventSource::Hub/publish> throws.

=head2 start

    $bridge->start;

Ask for the lease, and connect as soon as this process holds it. The process must run an event loop that AnyEvent knows.
Returns the bridge; when it is freed, it ends. A connection that is lost is made again, after 1 second at first and up to a
minute later, with jitter. If the server refuses the login, the next attempt is in two to five minutes (L</on_refused>).

Throws C<unsupported> if AnyEvent::XMPP is not installed.

=head2 stop

    $bridge->stop;

Save what was published, end the connection, and give the lease back.

=head1 SEE ALSO

L<EventSource::Hub>, L<Plack::App::EventSource::PubSub>, L<eventsource>,
L<https://xmpp.org/extensions/xep-0060.html>, L<https://xmpp.org/extensions/xep-0114.html>

=cut

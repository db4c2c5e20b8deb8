package EventSource::XS::XMPP::Session;
use strict;
use warnings;

# A connection to the service and what it is told there: finds nodes, subscribes to them, reads their items, and appends what
# has happened to the queue for the hub.

use AnyEvent;
use EventSource::XS::Hub::Name;
use EventSource::XS::Reason;
use EventSource::XS::XMPP::Connection;
use EventSource::XS::XMPP::Event;
use EventSource::XS::XMPP::Node;
use EventSource::XS::XMPP::Publisher;
use EventSource::XS::XMPP::Stanza;
use EventSource::XS::XMPP::Timer;
use IO::Handle   ();
use Scalar::Util qw(weaken);

my $STANZA    = 'EventSource::XS::XMPP::Stanza';
my $PUBLISHER = 'EventSource::XS::XMPP::Publisher';

my $OUTBOX_ENDED = 1;    # seconds until the items for the service are read again
my $OUTBOX_FAILS = 5;

# Options: options, positions and queue, the parts of the bridge that live longer; lists, a hash of the same life; on_ready,
# called with our JID; on_nodes, called each time when the service has listed its nodes; on_end, called with what
# EventSource::XS::XMPP::Connection says.
sub open {
    my ($class, %option) = @_;
    my $self = bless {%option, nodes => {}}, $class;
    $self->{$_} = EventSource::XS::XMPP::Timer->new($self) for qw(outbox_timer poll_timer);
    my %connection = $self->{options}->connection;
    my $kind       = $connection{jid} =~ /\@/ ? 'Client' : 'Component';
    weaken(my $weak = $self);
    $self->{connection} = "EventSource::XS::XMPP::Connection::$kind"->open(
        %connection,
        on_ready   => sub { $weak->_begin            if $weak },
        on_message => sub { $weak->_take_message(@_) if $weak },
        on_end     => sub { $weak->_end(@_)          if $weak },
    );
    return $self;
}

# Public methods

# Ends the connection. Nothing is called any more.
sub close {
    my $self       = shift;
    my $connection = $self->_release or return;
    $connection->close;
    return;
}

sub is_ready { return !!($_[0]{connection} && $_[0]{connection}->is_ready) }

# Private methods: the connection

# Appends events to the queue. If more waits than may, the connection ends, and the rest is fetched later.
sub _append {
    my ($self, @events) = @_;
    $self->{queue}->append(@events);
    $self->{connection}->disconnect('too much waits for the hub') if $self->{connection} && $self->{queue}->is_full;
    return;
}

# Asks the service. The code is called with this session, the answer, and the problem if there is no answer. After the end it is
# not called.
sub _ask {
    my ($self, $type, $content, $code) = @_;
    my $connection = $self->{connection} or return;
    weaken(my $weak = $self);
    $connection->ask($self->{options}{service},
        $type, $content, sub { $weak->$code(@_) if $weak && $weak->{connection} });
    return;
}

sub _begin {
    my $self = shift;
    $self->{on_ready}->($self->{connection}->own_jid);
    return $self->_discover;
}

sub _end {
    my ($self, @why) = @_;
    $self->_release;
    $self->{on_end}->(@why);
    return;
}

# Stops everything else, and returns the connection.
sub _release {
    my $self = shift;
    $self->{$_}->stop for qw(outbox_timer poll_timer);
    delete @$self{qw(outbox outbox_watch)};
    return delete $self->{connection};
}

# Private methods: nodes

# Asks for the nodes again and again. An answer also says that the connection lives; without one it ends. Subscriptions are
# compared before: those that the service has ended are made again with those to new nodes.
sub _discover {
    my $self = shift;
    return if !$self->{connection};
    $self->_compare_subscriptions;
    return $self->_ask(
        get => $STANZA->ask_for_nodes,
        sub {
            my ($session, $answer, $problem) = @_;
            return $session->{connection}->disconnect('no answer') if !$answer && $problem eq 'remote-server-timeout';
            $session->{poll_timer}->after($session->{options}{poll}, '_discover');
            return $session->_take_nodes($STANZA->nodes_of($answer)) if $answer;

            # Without a list, the nodes that are followed by their names can be there.
            $session->{options}->report_once($session->{options}{service} . " does not list its nodes: $problem");
            return $session->_follow_new;
        }
    );
}

sub _take_nodes {
    my ($self, @listed) = @_;
    $self->{on_nodes}->();
    my %is_listed = map { $_ => 1 } @listed, @{$self->{options}{names}};
    $self->_note_deletion($_)
        for grep { !$is_listed{$_} && $self->{options}->has_pattern_for($_) } $self->{positions}->nodes;
    return $self->_follow_new(@listed);
}

sub _follow_new {
    my ($self, @listed) = @_;
    my $options = $self->{options};
    $self->_follow($_)
        for grep { !$self->{nodes}{$_} } @{$options->{names}}, grep { $options->has_pattern_for($_) } @listed;
    $self->{positions}{is_first_reading} = 0;
    return $self->_open_outbox;
}

# Subscribes first, then asks for the items (EventSource::XS::XMPP::Node).
sub _follow {
    my ($self, $name) = @_;
    my $options    = $self->{options};
    my $connection = $self->{connection} or return;
    my $wrong      = EventSource::XS::Hub::Name->problem($options->{prefix} . $name);
    return $self->{options}->report_once("the node $name: a channel $wrong") if defined $wrong;
    my $node = $self->{nodes}{$name} = EventSource::XS::XMPP::Node->new(
        $name,
        is_newest_first => $options->{newest_first},
        skips_old_items => $self->{positions}{is_first_reading} && $options->{start} eq 'latest',
    );
    return $self->_ask(
        set => $STANZA->subscribe($name, $connection->own_jid),
        sub {
            my ($session, $answer, $problem) = @_;
            my ($made) = $answer ? $STANZA->subscriptions_of($answer) : {state => $problem};
            my $state = $made ? $made->{state} : 'subscribed';
            return $session->_give_up_node($node, $state) if $state ne 'subscribed';
            $node->{is_subscribed} = 1;
            $session->{options}->forget_reports(_loss_of($name));    # once more at most with each poll
            return $session->_fetch($node);
        }
    );
}

# There is no subscription to the node.
sub _give_up_node {
    my ($self, $node, $state) = @_;
    my $name = $node->name;
    delete $self->{nodes}{$name};
    $self->_note_deletion($name) if $state eq 'item-not-found' && $self->{positions}->is_known($name);
    $self->{options}->report_once("no subscription to the node $name: $state");
    return $self->_open_outbox;
}

# Asks for the items of a node. A list that is too long is asked for in halves of its newest items.
sub _fetch {
    my ($self, $node, $most) = @_;
    $most = $self->{options}{max_items} if !defined $most;
    $node->begin_list;
    return $self->_ask(
        get => $STANZA->ask_for_items($node->name, $most),
        sub {
            my ($session, $answer, $problem) = @_;
            return                                        if !$session->_has_node($node);
            return $session->_fetch($node, int $most / 2) if !$answer && $problem eq 'too-long' && $most > 1;
            $session->{options}->report_once('the items of the node ' . $node->name . " cannot be read: $problem")
                if !$answer;
            my @items = $answer ? $STANZA->items_of($answer) : ();
            my $known = $session->{positions}->known($node->name);
            $session->{positions}->mark_changed($node->name) if $node->skips_list($known);
            $session->_append($node->take_list($known, !$answer || @items >= $most, @items));
            return $session->_open_outbox;
        }
    );
}

sub _has_node {
    my ($self, $node) = @_;
    return ($self->{nodes}{$node->name} || 0) == $node;
}

# A node that was followed before, and is not there any more, was deleted.
sub _note_deletion {
    my ($self, $name) = @_;
    delete $self->{nodes}{$name};
    return if $self->{positions}->known($name)->has('', 'delete') || $self->{queue}->has_deletion_of($name);
    return $self->_append(EventSource::XS::XMPP::Event->new(kind => 'delete', node => $name));
}

sub _take_message {
    my ($self, $message) = @_;
    return if lc($message->attr('from') || '') ne $self->{options}{service};
    return if lc($message->attr('to')   || '') ne lc $self->{connection}->own_jid;
    for my $subscription (grep { $_->{state} ne 'subscribed' } $self->_own_subscriptions($message)) {
        my $node = $self->{nodes}{$subscription->{node}};
        $self->_drop_subscription($node) if $node && $node->{is_subscribed};
    }
    for my $event (map { EventSource::XS::XMPP::Event->new(%$_) } $STANZA->events_of($message)) {
        my $node = $self->{nodes}{$event->node} or next;
        $self->_append($node->take_notification($event));
        $self->_fetch($node)                if $node->needs_list;
        delete $self->{nodes}{$event->node} if $event->kind eq 'delete';
    }
    return;
}

# Private methods: subscriptions

# Only the subscriptions of before the question count.
sub _compare_subscriptions {
    my $self  = shift;
    my @nodes = grep { $_->{is_subscribed} } values %{$self->{nodes}} or return;
    return $self->_ask(
        get => $STANZA->ask_for_subscriptions,
        sub {
            my ($session, $answer, $problem) = @_;
            return if !$answer && $problem eq 'remote-server-timeout';    # _discover ends the connection
            my @own     = $answer ? $session->_own_subscriptions($answer) : ();
            my $missing = $answer ? $session->_missing_of(\@own, @nodes)  : undef;
            $problem = 'none is there' if $answer;
            return $session->{options}->report_once($session->{options}{service}
                    . " does not list subscriptions, and one that it ends may stay unnoticed: $problem")
                if !$missing;
            $session->_drop_subscription($_) for @$missing;
        }
    );
}

# Returns those of the nodes whose subscriptions are not in the list of the service, as an array; undef if that is not believed.
# An owner can end one (XEP-0060, section 8.8.2), and a service can lose its data. It need not notify of it, and then no item
# would come any more. Some services list none although they have them: an empty list is believed once, until another list has
# some.
sub _missing_of {
    my ($self, $list, @nodes) = @_;
    my %is_listed = map  { $_->{state} eq 'subscribed' ? ($_->{node} => 1) : () } @$list;
    my @missing   = grep { !$is_listed{$_->name} } @nodes;
    $self->{lists}{empty} = 0 if @$list;
    return @$list || !@missing || !$self->{lists}{empty}++ ? \@missing : undef;
}

# The service has ended the subscription. The next poll makes another one.
sub _drop_subscription {
    my ($self, $node) = @_;
    return if !$self->_has_node($node);
    delete $self->{nodes}{$node->name};
    return $self->{options}->report_once(_loss_of($node->name));
}

sub _loss_of {
    my $name = shift;
    return "the service has ended the subscription to the node $name; the bridge subscribes again";
}

sub _own_subscriptions {
    my ($self, $stanza) = @_;
    my $own = lc $self->{connection}->own_jid;
    return grep { !defined $_->{jid} || lc $_->{jid} eq $own } $STANZA->subscriptions_of($stanza);
}

# Private methods: items for the service

# Reads the items that wait in the hub for the service (EventSource::XS::XMPP::Publisher), and those that come, when all nodes
# are read: an item that the service has already, because only its answer was lost, is known then.
sub _open_outbox {
    my $self    = shift;
    my $options = $self->{options};
    return if !$options->may_publish || $self->{outbox} || !$self->is_ready;
    return if grep { !$_->is_live } values %{$self->{nodes}};
    local $SIG{__DIE__};
    my $channel = $options->channel('publish');
    if (!eval { $self->{outbox} = $options->{hub}->process->follow($channel, {start => 'state'}) }) {
        $options->report_once('the hub: ' . EventSource::XS::Reason->message_of($@));
        return $self->{outbox_timer}->after($OUTBOX_FAILS, '_open_outbox');
    }
    $self->{asked} = {};
    my $socket = $self->{outbox}->socket;
    $socket->blocking(0);
    weaken(my $weak = $self);
    $self->{outbox_watch} = AnyEvent->io(fh => $socket, poll => 'r', cb => sub { $weak->_read_outbox if $weak });
    return;
}

# Without events the hub process has ended.
sub _read_outbox {
    my $self   = shift;
    my $events = $self->{outbox}->read;
    return map { $self->_publish($_) } @$events if $events;
    delete @$self{qw(outbox outbox_watch)};
    return $self->{outbox_timer}->after($OUTBOX_ENDED, '_open_outbox');
}

# Publishes an item at the service, each once as long as the outbox is open.
sub _publish {
    my ($self, $event) = @_;
    my $item = $PUBLISHER->item_of($event) or return;
    return                            if !$self->is_ready || $self->{asked}{$PUBLISHER->key_of($item)}++;
    return $self->_forget_item($item) if $self->_is_at_service($item);
    return $self->_forget_item($item, 'it is not allowed') if !$self->{options}->may_publish($item->{node});
    return $self->_ask(
        set => $STANZA->publication(@$item{qw(node id payload)}),
        sub {
            my ($session, $answer, $problem) = @_;
            $session->_forget_item($item, $answer ? undef : $problem) if $answer || $problem ne 'remote-server-timeout';
        }
    );
}

sub _is_at_service {
    my ($self, $item) = @_;
    my $positions = $self->{positions};
    return $positions->is_known($item->{node}) && !!grep { $_ eq $item->{id} } $positions->known($item->{node})->ids;
}

# The item does not wait any more: the service has it, or does not take it for the reason that is given.
sub _forget_item {
    my ($self, $item, $problem) = @_;
    my ($options, $key) = ($self->{options}, $PUBLISHER->key_of($item));
    $options->report_once(
        "the item $item->{id} of the node $item->{node} is not published to $options->{service}: $problem")
        if defined $problem;
    delete $self->{asked}{$key};
    local $SIG{__DIE__};
    eval { $options->{hub}->forget($options->channel('publish'), $key); 1 }
        or $options->report_once('the hub: ' . EventSource::XS::Reason->message_of($@));
    return;
}

1;

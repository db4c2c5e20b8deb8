package EventSource::XS::XMPP::Session;
use strict;
use warnings;

# A connection to the service and what it is told there: finds nodes, subscribes to them, reads their items, and appends what
# has happened to the queue for the hub.

use EventSource::XS::Hub::Name;
use EventSource::XS::Reason;
use EventSource::XS::XMPP::Connection;
use EventSource::XS::XMPP::Event;
use EventSource::XS::XMPP::Node;
use EventSource::XS::XMPP::Outbox;
use EventSource::XS::XMPP::Stanza;
use EventSource::XS::XMPP::Timer;
use Scalar::Util qw(weaken);

my $STANZA = 'EventSource::XS::XMPP::Stanza';

my $OUTBOX_ENDED = 1;    # seconds until the items for the service are read again
my $OUTBOX_FAILS = 5;

# Options: options, log, positions, queue and subscription_list, the parts of the bridge that live longer; on_ready, called
# with our JID; on_nodes, called each time when the service has listed its nodes; on_end, called with what
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
    $connection->ask($self->{options}->service,
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
    delete $self->{outbox};
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
            $session->{poll_timer}->after($session->{options}->poll, '_discover');
            return $session->_take_nodes($STANZA->nodes_of($answer)) if $answer;

            # Without a list, the nodes that are followed by their names can be there.
            $session->{log}->write_once($session->{options}->service . " does not list its nodes: $problem");
            return $session->_follow_new;
        }
    );
}

sub _take_nodes {
    my ($self, @listed) = @_;
    $self->{on_nodes}->();
    my %is_listed = map { $_ => 1 } @listed, $self->{options}->names;
    $self->_note_deletion($_)
        for grep { !$is_listed{$_} && $self->{options}->has_pattern_for($_) } $self->{positions}->nodes;
    return $self->_follow_new(@listed);
}

sub _follow_new {
    my ($self, @listed) = @_;
    my $options = $self->{options};
    $self->_follow($_) for grep { !$self->{nodes}{$_} } $options->names, grep { $options->has_pattern_for($_) } @listed;
    $self->{positions}->note_first_reading;
    return $self->_open_outbox;
}

# Subscribes first, then asks for the items (EventSource::XS::XMPP::Node).
sub _follow {
    my ($self, $name) = @_;
    my $options    = $self->{options};
    my $connection = $self->{connection} or return;
    my $wrong      = EventSource::XS::Hub::Name->problem($options->prefix . $name);
    return $self->{log}->write_once("the node $name: a channel $wrong") if defined $wrong;
    my $node = $self->{nodes}{$name} = EventSource::XS::XMPP::Node->new(
        $name,
        is_newest_first => $options->is_newest_first,
        skips_old_items => $self->{positions}->is_first_reading && $options->skips_old_items,
    );
    return $self->_ask(
        set => $STANZA->subscribe($name, $connection->own_jid),
        sub {
            my ($session, $answer, $problem) = @_;
            my $state = $answer ? $STANZA->subscription_of($answer) : $problem;
            return $session->_give_up_node($node, $state) if $state ne 'subscribed';
            $node->note_subscription;
            $session->{log}->forget(_loss_of($name));    # once more at most with each poll
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
    $self->{log}->write_once("no subscription to the node $name: $state");
    return $self->_open_outbox;
}

# Asks for the items of a node. A list that is too long is asked for in halves of its newest items.
sub _fetch {
    my ($self, $node, $most) = @_;
    $most = $self->{options}->max_items if !defined $most;
    $node->begin_list;
    return $self->_ask(
        get => $STANZA->ask_for_items($node->name, $most),
        sub {
            my ($session, $answer, $problem) = @_;
            return                                        if !$session->_has_node($node);
            return $session->_fetch($node, int $most / 2) if !$answer && $problem eq 'too-long' && $most > 1;
            $session->{log}->write_once('the items of the node ' . $node->name . " cannot be read: $problem")
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
    return if lc($message->attr('from') || '') ne $self->{options}->service;
    return if lc($message->attr('to')   || '') ne lc $self->{connection}->own_jid;
    for my $subscription (grep { $_->{state} ne 'subscribed' } $self->_own_subscriptions($message)) {
        my $node = $self->{nodes}{$subscription->{node}};
        $self->_drop_subscription($node) if $node && $node->is_subscribed;
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
    my @nodes = grep { $_->is_subscribed } values %{$self->{nodes}} or return;
    return $self->_ask(
        get => $STANZA->ask_for_subscriptions,
        sub {
            my ($session, $answer, $problem) = @_;
            return if !$answer && $problem eq 'remote-server-timeout';    # _discover ends the connection
            my @own     = $answer ? $session->_own_subscriptions($answer)                    : ();
            my $missing = $answer ? $session->{subscription_list}->missing_of(\@own, @nodes) : undef;
            $problem = 'none is there' if $answer;
            return $session->{log}->write_once($session->{options}->service
                    . " does not list subscriptions, and one that it ends may stay unnoticed: $problem")
                if !$missing;
            $session->_drop_subscription($_) for @$missing;
        }
    );
}

# The service has ended the subscription. The next poll makes another one.
sub _drop_subscription {
    my ($self, $node) = @_;
    return if !$self->_has_node($node);
    delete $self->{nodes}{$node->name};
    return $self->{log}->write_once(_loss_of($node->name));
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

# The items for the service are read when all nodes are.
sub _open_outbox {
    my $self = shift;
    return if !$self->{options}->may_publish || $self->{outbox} || !$self->is_ready;
    return if grep { !$_->is_live } values %{$self->{nodes}};
    weaken(my $weak = $self);
    my %part = map { $_ => $self->{$_} } qw(connection log options positions);
    local $SIG{__DIE__};
    return
        if eval {
        $self->{outbox} = EventSource::XS::XMPP::Outbox->open(%part, on_end => sub { $weak->_reopen_outbox if $weak });
        1;
        };
    $self->{log}->write_once('the hub: ' . EventSource::XS::Reason->message_of($@));
    return $self->{outbox_timer}->after($OUTBOX_FAILS, '_open_outbox');
}

# The hub process has ended, and with it what read from there.
sub _reopen_outbox {
    my $self = shift;
    delete $self->{outbox};
    return $self->{outbox_timer}->after($OUTBOX_ENDED, '_open_outbox');
}

1;

package EventSource::XS::XMPP::Positions;
use strict;
use warnings;

# The items of each node that were published, kept in the hub: as the state of a channel, with the node as the key. So this
# knowledge lives as long as the events, and every machine and every process that may hold the lease has it.

use EventSource::XS::Reason;
use EventSource::XS::XMPP::Known;
use EventSource::XS::XMPP::Publisher;
use EventSource::XS::XMPP::Timer;

my $PUBLISHER = 'EventSource::XS::XMPP::Publisher';
my $EVENT     = 'eventsource-xmpp';

my $SAVE_AFTER  = 1;    # seconds; what was not saved is not published twice (EventSource::XS::XMPP::Known)
my $RETRY_AFTER = 5;

# Public methods

sub is_known { return !!$_[0]{known}{$_[1]} }

# The EventSource::XS::XMPP::Known of a node.
sub known {
    my ($self, $node) = @_;
    return $self->{known}{$node} ||= EventSource::XS::XMPP::Known->new(undef, $self->{options}{max_items});
}

# Reads what was saved. Throws an EventSource::Error if the hub does not say it. is_first_reading is true until the nodes have
# been found that the service has when a bridge reads it for the first time.
sub load {
    my ($class, $options) = @_;
    my $self  = bless {options => $options, channel => $options->channel('nodes'), changed => {}}, $class;
    my @saved = map { $PUBLISHER->record_of($_, $EVENT) // () } $options->{hub}->state($self->{channel});
    my %saved = map { ($_->{node} => $_->{known}) } grep { defined $_->{node} } @saved;
    $self->{known} =
        {map { $_ => EventSource::XS::XMPP::Known->new($saved{$_}, $options->{max_items}) } keys %saved};
    $self->{is_first_reading} = !%saved;
    $self->{timer}            = EventSource::XS::XMPP::Timer->new($self);
    return $self;
}

# The node has to be saved soon.
sub mark_changed {
    my ($self, $node) = @_;
    $self->{changed}{$node} = 1;
    $self->{timer}->after($SAVE_AFTER, 'save_changed') if !$self->{timer}->is_set;
    return;
}

# The nodes of which something was published.
sub nodes {
    my @nodes = sort keys %{$_[0]{known}};
    return @nodes;
}

# Saves what was published of a node. Throws an EventSource::Error if the hub does not take it.
sub save {
    my ($self, $node) = @_;
    my $known = $self->known($node);
    my %saved = (node => $node, known => $known->saved);
    $self->{options}{hub}->publish($self->{channel}, $PUBLISHER->event_of($EVENT, $node, \%saved));
    $known->note_saved;
    delete $self->{changed}{$node};
    return;
}

# Saves a node now, or later if the hub does not take it.
sub save_if_possible {
    my ($self, $node) = @_;
    local ($@, $SIG{__DIE__});
    return if eval { $self->save($node); 1 };
    return $self->mark_changed($node);
}

# Saves the nodes that have changed. What cannot be saved now is saved later.
sub save_changed {
    my $self = shift;
    $self->{timer}->stop;
    for my $node (sort keys %{$self->{changed}}) {
        local ($@, $SIG{__DIE__});
        next if eval { $self->save($node); 1 };
        $self->{options}
            ->report_once('what was published cannot be saved in the hub: ' . EventSource::XS::Reason->message_of($@));
        return $self->{timer}->after($RETRY_AFTER, 'save_changed');
    }
    return;
}

1;

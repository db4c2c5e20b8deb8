package EventSource::XS::XMPP::Node;
use strict;
use warnings;

# A node that is followed on a connection: which events follow from its notifications and from the list of its items.
#
# The subscription comes first, then the list: an item that comes in between is in the list, or is notified of later. So
# notifications wait for the list, and come after it. An item in both is published from the notification, for the list says only
# how the item is now.

use EventSource::XS::XMPP::Event;

# A subscription sets is_subscribed. Options: is_newest_first, the order of the service's lists; skips_old_items, if what the
# first list has is not published.
sub new {
    my ($class, $name, %option) = @_;
    return bless {%option, name => $name, waiting => [], wanted => {}}, $class;
}

# Public methods

sub begin_list {
    my $self = shift;
    $self->{is_live} = !!0;
    return;
}

# Returns true if the list of items has been read, and notifications are published as they come.
sub is_live { return $_[0]{is_live} }

sub name { return $_[0]{name} }

# Returns true if the service has notified of an item without its payload: only a list has it.
sub needs_list { return $_[0]{is_live} && %{$_[0]{wanted}} }

# Returns true if what the next list has is not published: nothing was ever published of the node.
sub skips_list {
    my ($self, $known) = @_;
    return $self->{skips_old_items} && $known->is_new;
}

# Takes the list of the node's items, hashes with id and payload. Returns the events that are new in it, then those that have
# waited. is_part says that the node may have more items.
sub take_list {
    my ($self, $known, $is_part, @items) = @_;
    @items = reverse @items if $self->{is_newest_first};
    my $is_waiting = $self->_waiting_ids;
    my @listed     = map { $self->_event('item', %$_, is_listed => 1) } grep { !$is_waiting->{$_->{id}} } @items;
    my @events     = map { $self->_event('item', id => $_) } $self->_left_wanted(@items);
    unshift @events, $self->_event('order', ids => [map { $_->id } @listed]), @{$self->{waiting}};
    $known->note('') if $known->has('', 'delete');    # the node was created again

    if ($self->skips_list($known)) { $known->note_seen($_->id, $_->digest) for @listed }
    else {
        my @gone = $is_part ? () : $self->_missed_retractions($known, $is_waiting, @items);
        unshift @events, @gone, $known->missing_of(@listed);
    }
    @$self{qw(is_live waiting)} = (!!1, []);
    return @events;
}

# Takes an event of which the service notifies. Returns it if it is to be published now.
sub take_notification {
    my ($self, $event) = @_;
    if    ($event->is_without_payload) { $self->{wanted}{$event->id} = 1 }
    elsif ($self->{is_live})           { return $event }
    else                               { push @{$self->{waiting}}, $event }
    return;
}

# Private methods

sub _event {
    my ($self, $kind, %field) = @_;
    return EventSource::XS::XMPP::Event->new(%field, kind => $kind, node => $self->{name});
}

# The ids of items that were wanted and are not in the list. None is wanted any more.
sub _left_wanted {
    my ($self, @items) = @_;
    my $wanted = $self->{wanted};
    $self->{wanted} = {};
    delete @$wanted{map { $_->{id} } @items};
    my @left = sort keys %$wanted;
    return @left;
}

# The retractions that were missed: items that are not in the list although older ones are. If none is there, all were purged.
# Items that are older than the list may have made room for newer ones.
sub _missed_retractions {
    my ($self, $known, $is_waiting, @items) = @_;
    my %is_here = map { $_->{id} => 1 } @items;
    my @ids     = $known->ids or return;
    if (!grep { $is_here{$_} } @ids) {
        return @items || @{$self->{waiting}} ? () : $self->_event('purge', is_listed => 1);
    }
    shift @ids while !$is_here{$ids[0]};
    return map { $self->_event('retract', id => $_, is_listed => 1) } grep { !$is_here{$_} && !$is_waiting->{$_} } @ids;
}

# The ids of items in the notifications that wait.
sub _waiting_ids {
    my $self = shift;
    return {map { $_->is_of_item ? ($_->id => 1) : () } @{$self->{waiting}}};
}

1;

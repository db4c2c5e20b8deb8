package EventSource::XS::XMPP::Known;
use strict;
use warnings;

# The items of a node that were published to the hub: which of them a node's list has that are new, and under which key an event
# is published, so that the hub publishes it once.
#
# The key is not the item's id alone: an item that is published again under its id is another event (XEP-0060, section 7.1.2),
# also with a payload that it had before, such as on, off, on. So each id has a version, which its next event raises. The key is
# made of the node, the id, the payload and the version. A bridge that was killed before it could save what it has published
# counts the same versions again when it reads the node's list, comes to the same keys, and the hub publishes nothing twice. The
# list has only the last version of an item, so there may be only one that is not saved: needs_saving.
#
# A retracted item keeps its version. When there are more ids than may be remembered, the oldest are forgotten; those that are
# unknown then begin at floor, above the highest version of the forgotten ones, so that no key comes again. It is 0 as long as
# none is forgotten.
#
# Two machines that share a store have a bridge each, and both publish everything. So versions follow from what was saved and
# from the service's events in their order, and from nothing else, such as when a bridge began.

use Digest::SHA qw(sha256_base64);

my $DIGEST_LETTERS = 14;        # 84 bits
my $ABSENT         = '-';       # in the place of a retracted item's digest
my $KEY            = 'xmpp/';

# Public methods

sub digest {
    my ($class, $text) = @_;
    return substr _hash($text), 0, $DIGEST_LETTERS;
}

# True if that is what was last published of the item.
sub has {
    my ($self, $id, $digest) = @_;
    my $item = $self->{items}{$id};
    return !!($item && $item->{digest} eq $digest);
}

# True if nothing was ever published of the node, as far as is remembered.
sub is_new { return $_[0]{is_new} }

# The key under which the next event of an item is published.
sub key {
    my ($self, $node, $id, $digest) = @_;
    return $KEY . _hash(join "\0", $node, $id, $digest, $self->_next_version($id));
}

# The ids of the items that the node has, as far as is known, in the order in which they were published.
sub ids {
    my $self  = shift;
    my $items = $self->{items};
    return grep { length && $items->{$_}{digest} ne $ABSENT } $self->_in_order;
}

# The items of a list, in its order, that were not published. A list that is longer than those before may begin with items that
# are forgotten. Each item of the list is an EventSource::XS::XMPP::Event.
sub missing_of {
    my ($self, @list) = @_;
    if ($self->{is_longer}) {
        shift @list while @list && !$self->{items}{$list[0]->id};
    }
    return grep { !$self->has($_->id, $_->digest) } @list;
}

# True if this has to be saved before an event of the item is published.
sub needs_saving {
    my ($self, $id) = @_;
    return !!($self->{unsaved}{$id} || $self->{is_cut});
}

# From what saved returned, or undef for a node of which nothing was published. most is how many items a list has.
sub new {
    my ($class, $saved, $most) = @_;
    my $self = bless {items => {}, floor => 0, last => 0, most => $most, is_new => !$saved, unsaved => {}}, $class;
    return $self if !$saved;
    $self->{floor}     = $saved->{floor};
    $self->{is_longer} = $saved->{floor} && $most > ($saved->{most} || $most);
    for my $item (@{$saved->{items}}) {
        my ($id, $digest, $version) = @$item;
        $self->{items}{$id} = {digest => $digest, version => $version, order => ++$self->{last}};
    }
    return $self;
}

# An event of the item was published: the digest of its payload, or nothing if it was retracted. Returns true if that is better
# saved at once: the item was known, and if it becomes what it was while nobody is there, its list does not tell.
sub note {
    my ($self, $id, $digest) = @_;
    my $version  = $self->_next_version($id);
    my $is_known = exists $self->{items}{$id};
    $digest               = $ABSENT if !defined $digest;
    $self->{is_new}       = 0;
    $self->{unsaved}{$id} = 1;
    $self->{items}{$id}   = {digest => $digest, version => $version, order => ++$self->{last}};
    $self->_forget if keys %{$self->{items}} > 3 * $self->{most};
    return $is_known;
}

# All items were retracted.
sub note_purge {
    my $self = shift;
    $_->{digest}    = $ABSENT for values %{$self->{items}};
    $self->{is_new} = 0;
    return;
}

# An item that was there before the node was followed.
sub note_seen {
    my ($self, $id, $digest) = @_;
    $self->{is_new} = 0;
    $self->{items}{$id} = {digest => $digest, version => 0, order => ++$self->{last}};
    return;
}

# Called when the hub has stored what saved returned last.
sub note_saved {
    my $self = shift;
    @$self{qw(unsaved is_cut)} = ({}, 0);
    return;
}

# The node's list was published: its ids, in its order. Items that were published again with the same payload while nobody was
# there are newer than they were.
sub note_order {
    my ($self, @ids) = @_;
    $_->{order} = ++$self->{last} for grep { defined } map { $self->{items}{$_} } @ids;
    return;
}

# Everything as a structure, for new.
sub saved {
    my $self  = shift;
    my $items = $self->{items};
    my @items = map { [$_, @{$items->{$_}}{qw(digest version)}] } $self->_in_order;
    return {floor => $self->{floor}, items => \@items, most => $self->{most}};
}

# Private methods and functions

# Keeps as many of those that are there as a list may have, and as many of the retracted ones.
sub _forget {
    my $self  = shift;
    my $items = $self->{items};
    my %count;
    for my $id (reverse $self->_in_order) {
        my ($digest, $version) = @{$items->{$id}}{qw(digest version)};
        next if ++$count{$digest eq $ABSENT} <= $self->{most};
        delete $items->{$id};
        $self->{floor} = $version + 1 if $self->{floor} <= $version;
    }
    $self->{is_cut} = 1;
    return;
}

sub _hash {
    my $text = shift;
    utf8::encode($text);
    return sha256_base64($text);
}

sub _in_order {
    my $items    = $_[0]{items};
    my @in_order = sort { $items->{$a}{order} <=> $items->{$b}{order} } keys %$items;
    return @in_order;
}

sub _next_version {
    my ($self, $id) = @_;
    my $item = $self->{items}{$id};
    return $item ? $item->{version} + 1 : $self->{floor};
}

1;

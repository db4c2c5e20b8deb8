package EventSource::XS::XMPP::SubscriptionList;
use strict;
use warnings;

# Decides which subscriptions the service has ended, from the list that it gives. An owner can end one (XEP-0060, section
# 8.8.2), and a service can lose its data. A service need not notify of it, and then no item would come any more. Some services
# list none although they have them: an empty list is believed once, until another list has some.

sub new { return bless {empty => 0}, $_[0] }

# Public methods

# Returns those of the nodes whose subscriptions are not in the list, hashes with node and state, as an array; undef if the list
# is not believed.
sub missing_of {
    my ($self, $list, @nodes) = @_;
    my %is_listed = map  { $_->{state} eq 'subscribed' ? ($_->{node} => 1) : () } @$list;
    my @missing   = grep { !$is_listed{$_->name} } @nodes;
    $self->{empty} = 0 if @$list;
    return \@missing if @$list || !@missing || !$self->{empty}++;
    return undef;
}

1;

package EventSource::XS::XMPP::Positions;
use strict;
use warnings;

# The items of each node that were published, kept in the hub: as the state of a channel, with the node as the key. So this
# knowledge lives as long as the events, and every machine and every process that may hold the lease has it.

use EventSource::XS::XMPP::Follower;
use JSON::MaybeXS ();

my $JSON  = JSON::MaybeXS->new(utf8 => 0, canonical => 1);
my $EVENT = 'eventsource-xmpp';

# Public methods

# Returns what was saved of each node, by its name.
sub load {
    my $self = shift;
    my %saved;
    for my $event (EventSource::XS::XMPP::Follower->new(@$self{qw(hub channel)})->state) {
        my $position = do {
            local $SIG{__DIE__};
            eval { $JSON->decode($event->{data}) }
            }
            or next;
        $saved{$position->{node}} = $position->{known} if ref $position eq 'HASH' && defined $position->{node};
    }
    return %saved;
}

sub new {
    my ($class, $hub, $channel) = @_;
    return bless {hub => $hub, channel => $channel}, $class;
}

sub save {
    my ($self, $node, $known) = @_;
    my $data = $JSON->encode({node => $node, known => $known});
    $self->{hub}->publish($self->{channel}, {event => $EVENT, key => $node, retain => 1, data => $data});
    return;
}

1;

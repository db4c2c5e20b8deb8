package EventSource::XS::XMPP::Outbox;
use strict;
use warnings;

# The items that wait in the hub for the service (EventSource::XS::XMPP::Publisher): publishes them there, each once, as long as
# a connection lasts. An item that the service has already, because only its answer was lost, is known when all nodes are read.

use AnyEvent;
use EventSource::XS::Reason;
use EventSource::XS::XMPP::Publisher;
use EventSource::XS::XMPP::Stanza;
use IO::Handle   ();
use Scalar::Util qw(weaken);

# Takes the items that wait, and those that come. on_end is called when the hub process has ended. Throws an EventSource::Error
# if there is none.
sub open {
    my ($class, %option) = @_;
    my $options = $option{options};
    my $self    = bless {
        (map { $_ => $option{$_} } qw(connection log on_end options positions)),
        channel => $options->channel('publish'),
        asked   => {},
    }, $class;
    my $stream = $self->{stream} = $options->hub->process->follow($self->{channel}, {start => 'state'});
    $stream->socket->blocking(0);
    weaken(my $weak = $self);
    $self->{watch} = AnyEvent->io(fh => $stream->socket, poll => 'r', cb => sub { $weak->_read if $weak });
    return $self;
}

# Private methods

# The item does not wait any more: the service has it, or does not take it for the reason that is given.
sub _forget {
    my ($self, $item, $problem) = @_;
    my $key = EventSource::XS::XMPP::Publisher->key_of($item);
    $self->{log}->write_once("the item $item->{id} of the node $item->{node} is not published to "
            . $self->{options}->service
            . ": $problem")
        if defined $problem;
    delete $self->{asked}{$key};
    local $SIG{__DIE__};
    eval { $self->{options}->hub->forget($self->{channel}, $key); 1 }
        or $self->{log}->write_once('the hub: ' . EventSource::XS::Reason->message_of($@));
    return;
}

sub _is_at_service {
    my ($self, $item) = @_;
    my $positions = $self->{positions};
    return $positions->is_known($item->{node}) && !!grep { $_ eq $item->{id} } $positions->known($item->{node})->ids;
}

sub _publish {
    my ($self, $event) = @_;
    my $item = EventSource::XS::XMPP::Publisher->item_of($event) or return;
    return if !$self->{connection}->is_ready || $self->{asked}{EventSource::XS::XMPP::Publisher->key_of($item)}++;
    return $self->_forget($item)                      if $self->_is_at_service($item);
    return $self->_forget($item, 'it is not allowed') if !$self->{options}->may_publish($item->{node});
    weaken(my $weak = $self);
    $self->{connection}->ask(
        $self->{options}->service,
        set => EventSource::XS::XMPP::Stanza->publication(@$item{qw(node id payload)}),
        sub {
            my ($answer, $problem) = @_;
            $weak->_forget($item, $answer ? undef : $problem)
                if $weak && ($answer || $problem ne 'remote-server-timeout');
        }
    );
    return;
}

sub _read {
    my $self   = shift;
    my $events = $self->{stream}->read or return $self->{on_end}->();
    $self->_publish($_) for @$events;
    return;
}

1;

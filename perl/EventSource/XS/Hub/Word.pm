package EventSource::XS::Hub::Word;
use strict;
use warnings;

# The event in which a hub says what the clients of a stream must know of it, and publishers cannot send (HUB_EVENT in
# src/hub/sequence.rs; EventSource::Wire). Clients take it, and do not give it to the application.

my $TYPE = 'eventsource-hub';

# True if an event, a hash with its type and data, is the word of a hub.
sub is_word { return ($_[1]{event} // '') eq $TYPE }

# True if it says that the data of this stream's events shows their channels and keys.
sub shows_channels {
    my ($class, $event) = @_;
    return $class->is_word($event) && $event->{data} =~ /"show_channel":"data"/;
}

1;

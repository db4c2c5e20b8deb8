package EventSource::XS::XMPP::Format;
use strict;
use warnings;

# The form of a hub's event about a change of a node: the settings format and events.

use EventSource::XS::Hub::Name;
use JSON::MaybeXS ();

my $JSON = JSON::MaybeXS->new(utf8 => 0, canonical => 1);

# Public methods

# The fields of the event, as publish of the hub takes them; undef if there is to be none.
sub fields_of {
    my ($class, $options, $event) = @_;
    my $fields = $event->kind eq 'item' ? _item($options, $event) : _change($options, $event) or return undef;
    my $is_key = $event->is_of_item && !defined EventSource::XS::Hub::Name->problem($event->id);
    return {$is_key ? (key => $event->id) : (), %$fields};
}

# Private functions

# Of a retraction, a purge or a deletion.
sub _change {
    my ($options, $event) = @_;
    my $type = $options->event_for($event->kind);
    return undef if !defined $type;
    return {event => $type, data => $event->is_of_item ? $event->id : $event->node};
}

sub _item {
    my ($options, $event) = @_;
    my ($text, $xml, $format) = ($event->text, $event->xml, $options->format);
    my %item = (id => $event->id, node => $event->node);
    if (ref $format) {
        my $fields = $format->({%item, text => $text, xml => $xml});
        return ref $fields eq 'HASH' ? $fields : defined $fields ? {data => $fields} : undef;
    }
    my ($what, $value) = defined $text ? (text => $text) : (xml => $xml);
    return {data => $JSON->encode({%item, $what => $value})} if $format eq 'json';
    return {data => $format eq 'xml' && defined $xml ? $xml : $value};
}

1;

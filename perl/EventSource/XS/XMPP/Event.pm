package EventSource::XS::XMPP::Event;
use strict;
use warnings;

# A change of a node of the service, on its way to the hub: item, retract, purge or delete. order says that the events
# of a list are over, and names its items.

use EventSource::XS::Hub::Name;
use EventSource::XS::XMPP::Known;
use EventSource::XS::XMPP::Stanza;
use JSON::MaybeXS ();

my $JSON = JSON::MaybeXS->new(utf8 => 0, canonical => 1);

# Fields: kind and node; the item's id and payload; is_listed if the event was found in a list, which may say what is known
# already; ids, in the place of an id, of the kind order.
sub new {
    my ($class, %field) = @_;
    return bless {%field}, $class;
}

# Public methods

# Returns how many bytes an event occupies that waits for the hub.
sub bytes {
    my $self = shift;
    my $xml  = $self->xml;
    return defined $xml ? length $xml : 0;
}

# Returns the digest of the item that the event leaves: no other item has the same one.
sub digest {
    my $self = shift;
    return $self->{kind} if $self->{kind} ne 'item';
    return $self->{digest} ||=
        EventSource::XS::XMPP::Known->digest(EventSource::XS::XMPP::Stanza->canonical($self->{payload}));
}

# Returns the fields of the hub's event about the change, as the settings format and events say; undef if there is to be none.
sub fields {
    my ($self, $options) = @_;
    my $fields =
        $self->{kind} eq 'item' ? $self->_fields_of_item($options->{format}) : $self->_fields_of_change($options);
    my $is_key = $fields && $self->is_of_item && !defined EventSource::XS::Hub::Name->problem($self->{id});
    return $is_key ? {key => $self->{id}, %$fields} : $fields;
}

# The id of the item; empty for an event of the whole node.
sub id { return defined $_[0]{id} ? $_[0]{id} : '' }

sub ids { return @{$_[0]{ids}} }

sub is_of_item { return defined $_[0]{id} }

# Returns true unless the event was found in a list, and events before it have told the same.
sub is_news {
    my ($self, $known) = @_;
    return !!1                                      if !$self->{is_listed};
    return !$known->has($self->{id}, $self->digest) if $self->{kind} eq 'item';
    return scalar grep { $self->{kind} eq 'purge' || $_ eq $self->{id} } $known->ids;
}

sub kind { return $_[0]{kind} }

# Returns true if the node notifies of its items without payloads.
sub is_without_payload { return $_[0]{kind} eq 'item' && !$_[0]{payload} }

sub node { return $_[0]{node} }

# The event in a message.
sub title {
    my $self = shift;
    my $id   = $self->id;
    return $self->{kind} . ($id eq '' ? '' : " $id") . " of the node $self->{node}";
}

# The payload; undef if there is none.
sub xml {
    my $self = shift;
    return undef if !$self->{payload};
    return $self->{xml} ||= $self->{payload}->as_string;
}

# Private methods

# Of a retraction, a purge or a deletion.
sub _fields_of_change {
    my ($self, $options) = @_;
    my $type = $options->{events}{$self->{kind}};
    return defined $type ? {event => $type, data => $self->{id} // $self->{node}} : undef;
}

# The text is that of Stanza::text_of; an item without payload has its id.
sub _fields_of_item {
    my ($self, $format) = @_;
    my %item = (id => $self->id, node => $self->{node});
    my $xml  = $self->xml;
    my $text = $self->{payload} ? EventSource::XS::XMPP::Stanza->text_of($self->{payload}) : $self->{id};
    if (ref $format) {
        my $fields = $format->({%item, text => $text, xml => $xml});
        return ref $fields eq 'HASH' ? $fields : defined $fields ? {data => $fields} : undef;
    }
    my ($what, $value) = defined $text ? (text => $text) : (xml => $xml);
    return {data => $JSON->encode({%item, $what => $value})} if $format eq 'json';
    return {data => $format eq 'xml' && defined $xml ? $xml : $value};
}

1;

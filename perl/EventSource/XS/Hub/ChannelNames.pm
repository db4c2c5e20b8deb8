package EventSource::XS::Hub::ChannelNames;
use strict;
use warnings;

# A hub whose events include the name of their channel, and the form that such events have.

use EventSource::XS ();
use EventSource::XS::Settings;
use overload ();
use parent -norequire, 'EventSource::Hub';

our @CARP_NOT = qw(EventSource::Hub EventSource::Hub::Process EventSource::XS);

my $SETTINGS = EventSource::XS::Settings->new('EventSource::Hub');

# The fields that make an event. A hash without any of them is refused by the hub.
my @FIELDS = qw(comment data id json retry);

# Public methods

# Turn a hub into one of this class. Does nothing if show_channel, the second argument, is undef. Throws an
# EventSource::Error with the code invalid if it is neither event nor data, or if the hub is one of a subclass.
sub enable {
    my ($class, $hub, $show_channel) = @_;
    return if !defined $show_channel;
    $class->way($show_channel);
    $SETTINGS->refuse(show_channel => 'show_channel makes a hub one of its own class, and is not for a subclass')
        if ref $hub ne 'EventSource::Hub';
    $hub->{show_channel} = $show_channel;
    bless $hub, $class;
    return;
}

# The hub itself refuses a wrong channel and the fields that are passed on unchanged.
sub publish {
    my ($self, $channel, $event, @options) = @_;
    goto &EventSource::Hub::publish if @_ < 3 || @_ > 4 || !defined $event;
    my %event = ref $event eq 'HASH' ? %$event : (data => $event);
    $channel = "$channel" if ref $channel && overload::Overloaded($channel);
    return $self->SUPER::publish($channel, ref $channel ? \%event : $self->shown($channel, \%event), @options);
}

# The fields of an event, a hash that is the method's own, with the name of its channel. The first argument is the value of
# show_channel.
sub show {
    my ($class, $way, $channel, $event) = @_;
    my $name  = $SETTINGS->name(channel => $channel);
    my %shown = $way eq 'event' ? _as_type($name, $event) : _in_data($name, $event);
    return {%$event, %shown};
}

sub type_of {
    my ($self, $channel, $event) = @_;
    my %event = ref $event eq 'HASH' ? %$event : (data => $event);
    my $name  = $SETTINGS->name(channel => $channel);
    my %shown = $self->{show_channel} eq 'event' ? _as_type($name, \%event) : ();
    return {%event, %shown}->{event};
}

# A value of show_channel. Throws an EventSource::Error with the code invalid if it is neither event nor data.
sub way {
    my ($class, $way) = @_;
    return $SETTINGS->one_of(show_channel => $way, 'event', 'data');
}

# Private functions

# The type of an event that has none is the name of its channel. If the event's strings are bytes, the name is bytes
# too.
sub _as_type {
    my ($name, $event) = @_;
    return
           if defined $event->{event}
        || !defined $name
        || !grep { defined $event->{$_} || $_ eq 'json' && exists $event->{$_} } @FIELDS;
    utf8::encode($name) if $event->{bytes};
    return (event => $name);
}

# Data as one string. An array's elements are joined by line breaks, as an event without the name of its channel has
# them; without elements it is no data.
sub _data {
    my $data = shift;
    my $hint = '; did you mean json => ...?';
    return $SETTINGS->string(data => $data, hint => $hint) if ref $data ne 'ARRAY';
    my @lines;
    for my $at (0 .. $#$data) {
        $SETTINGS->refuse(data => "element $at of data is undefined") if !defined $data->[$at];
        push @lines, $SETTINGS->string('each element of data', $data->[$at], field => 'data', hint => $hint);
    }
    return @lines ? join "\n", @lines : undef;
}

# Data becomes an object with the name of the channel, and the key if the event changes the state. An event without data has no
# part that could hold them, but one that forgets a key has nothing else to say.
sub _in_data {
    my ($name, $event) = @_;
    $SETTINGS->refuse(bytes => 'with show_channel data cannot be bytes') if $event->{bytes};
    my $has_json = exists $event->{json};
    $SETTINGS->refuse(json => 'data and json exclude each other') if $has_json && exists $event->{data};
    my $data     = $has_json ? delete $event->{json} : _data(delete $event->{data});
    my $has_data = $has_json || defined $data;
    my %key      = _key($event);
    return if !$has_data && ($event->{retain} || '') ne 'forget';
    my %member = (channel => $name, %key, $has_data ? (data => $data) : ());
    return (data => '{' . join(',', map { qq{"$_":} . $SETTINGS->json($member{$_}) } sort keys %member) . '}');
}

# The key of an event that changes the state, and whether it forgets that: its type may be any. The hub itself refuses a key
# that is a reference.
sub _key {
    my $event = shift;
    return if !$event->{retain};
    my $key = $event->{key} = $SETTINGS->name(key => $event->{key});
    return (key => defined $key ? $key : '', $event->{retain} eq 'forget' ? (forget => \1) : ());
}

EventSource::XS->keep_errors('publish');

1;

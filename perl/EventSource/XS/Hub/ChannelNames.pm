package EventSource::XS::Hub::ChannelNames;
use strict;
use warnings;

# A hub whose events include the name of their channel.

our $VERSION = '0.100';

use EventSource::XS::Settings;
use JSON::MaybeXS ();
use overload      ();
use parent -norequire, 'EventSource::Hub';

our @CARP_NOT = qw(EventSource::Hub EventSource::XS);

my $SETTINGS = EventSource::XS::Settings->new('EventSource::Hub');

my $JSON = JSON::MaybeXS->new(utf8 => 0, allow_nonref => 1, allow_blessed => 0, convert_blessed => 1, canonical => 1);

# The fields that make an event. A hash without any of them is refused by the hub.
my @FIELDS = qw(comment data id json retry);

# Public methods

sub enable {
    my ($class, $hub, $show_channel) = @_;
    return if !defined $show_channel;
    $SETTINGS->one_of(show_channel => $show_channel, 'event', 'data');
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
    my %shown =
          ref $channel                     ? ()
        : $self->{show_channel} eq 'event' ? _as_type($channel, \%event)
        :                                    _in_data($channel, \%event);
    return $self->SUPER::publish($channel, {%event, %shown}, @options);
}

sub type_of {
    my ($self, $channel, $event) = @_;
    my %event = ref $event eq 'HASH'             ? %$event                     : (data => $event);
    my %shown = $self->{show_channel} eq 'event' ? _as_type($channel, \%event) : ();
    return {%event, %shown}->{event};
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
# them.
sub _data {
    my $data = shift;
    my $hint = '; did you mean json => ...?';
    return $SETTINGS->string(data => $data, hint => $hint) if ref $data ne 'ARRAY';
    my @lines;
    for my $at (0 .. $#$data) {
        $SETTINGS->refuse(data => "element $at of data is undefined") if !defined $data->[$at];
        push @lines, $SETTINGS->string('each element of data', $data->[$at], field => 'data', hint => $hint);
    }
    return join "\n", @lines;
}

# Data becomes an object with the name of the channel. An event without data has no part that could hold the name.
sub _in_data {
    my ($name, $event) = @_;
    $SETTINGS->refuse(bytes => 'with show_channel data cannot be bytes') if $event->{bytes};
    my $has_json = exists $event->{json};
    $SETTINGS->refuse(json => 'data and json exclude each other') if $has_json && exists $event->{data};
    my $data = $has_json ? delete $event->{json} : _data(delete $event->{data});
    return if !$has_json && !defined $data;
    my $text = eval { $JSON->encode({channel => $name, data => $data}) };
    return (data => $text) if defined $text;
    (my $reason = $@) =~ s/ at \S+ line \d+\.?\n\z//;
    return $SETTINGS->refuse(json => "json: $reason");
}

1;
__END__

=encoding utf8

=head1 NAME

EventSource::XS::Hub::ChannelNames - A hub whose events include the name of their channel

=head1 SYNOPSIS

    use EventSource::Hub;

    my $hub = EventSource::Hub->new(show_channel => 'data');
    $hub->publish(news => 'hello');    # data: {"channel":"news","data":"hello"}

=head1 DESCRIPTION

L<EventSource::Hub/new> creates a hub of this class if L<EventSource::Hub/show_channel> is given. The name is added when
an event is published, once for all streams.

=head1 METHODS

=head2 enable

    EventSource::XS::Hub::ChannelNames->enable($hub, 'event');

Turn a hub into one of this class. Does nothing if C<show_channel>, the second argument, is C<undef>. Throws an
L<EventSource::Error> with the code C<invalid> if it is neither C<event> nor C<data>, or if the hub is one of a
subclass.

=head2 publish

    my $id = $hub->publish($channel, $data);
    my $id = $hub->publish($channel, {event => $event, data => $data, ...});
    my $id = $hub->publish($channel, $event, {once => $key});

Publish an event as L<EventSource::Hub/publish> does, with the name of its channel.

With C<< show_channel => 'event' >>, an event without a type (WHATWG HTML, section 9.2.6) has the name of its channel as
its type.

With C<< show_channel => 'data' >>, the data becomes JSON: C<{"channel":...,"data":...}>. Its C<data> is the event's
data as a string, or the structure that was given as C<json>. An event without either is published as it is. C<bytes> is
refused: JSON is made of characters.

Throws what L<EventSource::Hub/publish> throws, and C<invalid> if a structure cannot be encoded as JSON.

=head1 SEE ALSO

L<EventSource::Hub>

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut

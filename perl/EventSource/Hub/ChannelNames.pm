package EventSource::Hub::ChannelNames;
use strict;
use warnings;

# A hub whose events say which channel they came from.

our $VERSION = '0.100';

use Carp          qw(croak);
use JSON::MaybeXS ();
use overload      ();
use parent -norequire, 'EventSource::Hub';

our @CARP_NOT = qw(EventSource::Hub EventSource::XS);

my $JSON = JSON::MaybeXS->new(utf8 => 0, allow_nonref => 1, allow_blessed => 0, convert_blessed => 1, canonical => 1);

# What makes an event.
my @FIELDS = qw(comment data id json retry);

# Public methods

# What is wrong with the channel, or with the fields that stay, the hub itself says.
sub publish {
    my ($self, $channel, $event) = @_;
    goto &EventSource::Hub::publish if @_ != 3 || !defined $event;
    my %event = ref $event eq 'HASH' ? %$event : (data => $event);
    $channel = "$channel" if ref $channel && overload::Overloaded($channel);
    my %own =
        ref $channel ? () : $self->{show_channel} eq 'event' ? _named($channel, \%event) : _wrapped($channel, \%event);
    return $self->SUPER::publish($channel, {%event, %own});
}

# Makes a hub one of these, if it is to show its channels.
sub take_over {
    my ($class, $hub, $way) = @_;
    return                                                           if !defined $way;
    croak "EventSource::Hub: show_channel must be 'event' or 'data'" if $way !~ /\A(?:event|data)\z/;
    croak 'EventSource::Hub: show_channel makes a hub one of its own class, and is not for a subclass'
        if ref $hub ne 'EventSource::Hub';
    $hub->{show_channel} = $way;
    bless $hub, $class;
    return;
}

# Private functions

# The lines of data are one string, as they are without a label.
sub _data {
    my $data = shift;
    return $data                  if !defined $data;
    return _string(data => $data) if ref $data ne 'ARRAY';
    for my $at (0 .. $#$data) {
        croak "EventSource::Hub: element $at of data is undefined" if !defined $data->[$at];
    }
    return join "\n", map { _string('each element of data', $_) } @$data;
}

# An event's type is the name of its channel, unless it has one. With an event that is bytes the name is bytes too.
sub _named {
    my ($name, $event) = @_;
    return
           if defined $event->{event}
        || !defined $name
        || !grep { defined $event->{$_} || $_ eq 'json' && exists $event->{$_} } @FIELDS;
    utf8::encode($name) if $event->{bytes};
    return (event => $name);
}

sub _string {
    my ($what, $value) = @_;
    croak "EventSource::Hub: $what must be a string, not a reference to " . ref $value
        if ref $value && !overload::Overloaded($value);
    return "$value";
}

# An event's data is a structure with the name of its channel. What has no data has no place for a name either.
sub _wrapped {
    my ($name, $event) = @_;
    croak 'EventSource::Hub: with show_channel data cannot be bytes' if $event->{bytes};
    croak 'EventSource::Hub: data and json exclude each other'       if exists $event->{json} && exists $event->{data};
    my $has_json = exists $event->{json};
    my $data     = $has_json ? delete $event->{json} : _data(delete $event->{data});
    return if !$has_json && !defined $data;
    my $text = eval { $JSON->encode({channel => $name, data => $data}) };
    return (data => $text) if defined $text;
    (my $trouble = $@) =~ s/ at \S+ line \d+\.?\n\z//;
    croak "EventSource::Hub: json: $trouble";
}

1;
__END__

=encoding utf8

=head1 NAME

EventSource::Hub::ChannelNames - A hub whose events say which channel they came from

=head1 SYNOPSIS

    use EventSource::Hub;

    my $hub = EventSource::Hub->new(show_channel => 'data');
    $hub->publish(news => 'hello');    # data: {"channel":"news","data":"hello"}

=head1 DESCRIPTION

What L<EventSource::Hub/new> makes with C<show_channel>. It is made for each event, once, however many streams it goes to.

=head1 METHODS

=head2 publish

    my $id = $hub->publish($channel, $data);
    my $id = $hub->publish($channel, {event => $event, data => $data, ...});

As L<EventSource::Hub/publish>. With C<< show_channel => 'event' >> the type of an event that has none is the name of its
channel. With C<< show_channel => 'data' >> data is JSON, C<{"channel":...,"data":...}>, whose data is a string, or the
structure that was given as C<json>; an event without either goes as it is, and C<bytes> croaks.

=head2 take_over

    EventSource::Hub::ChannelNames->take_over($hub, 'event');

Makes a hub one of these; does nothing if the way is undefined. Croaks unless it is C<event> or C<data>.

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut

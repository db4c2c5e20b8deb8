package EventSource::Hub::Labelled;
use strict;
use warnings;

# A hub whose events say which channel they came from.

our $VERSION = '0.100';

use Carp          qw(croak);
use JSON::MaybeXS ();
use parent -norequire, 'EventSource::Hub';

our @CARP_NOT = qw(EventSource::Hub);

my $JSON = JSON::MaybeXS->new(utf8 => 0, allow_nonref => 1, allow_blessed => 0, convert_blessed => 1, canonical => 1);

# Public methods

sub publish {
    my ($self, $channel, $event) = @_;
    my %event = ref $event eq 'HASH' ? %$event : defined $event ? (data => $event) : ();
    if ($self->{show_channel} eq 'event') {
        $event{event} = $channel if !defined $event{event};
        return $self->SUPER::publish($channel, \%event);
    }
    croak 'EventSource::Hub: with show_channel data cannot be bytes' if $event{bytes};
    my $data = exists $event{json} ? delete $event{json} : $event{data};
    delete $event{data};
    $data = join "\n", @$data if ref $data eq 'ARRAY' && ref $event eq 'HASH' && exists $event->{data};
    return $self->SUPER::publish($channel, {%event, data => $JSON->encode({channel => $channel, data => $data})});
}

# Makes a hub one of these, if it is to show its channels.
sub take_over {
    my ($class, $hub, $way) = @_;
    return                                                           if !defined $way;
    croak "EventSource::Hub: show_channel must be 'event' or 'data'" if $way !~ /\A(?:event|data)\z/;
    $hub->{show_channel} = $way;
    bless $hub, $class;
    return;
}

1;
__END__

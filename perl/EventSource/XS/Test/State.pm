package EventSource::XS::Test::State;
use strict;
use warnings;

# Keeps what the client of a stream knows that keeps the state: the newest event of each key. An event does not say its key, so
# the test says how a client finds it.

use EventSource::XS::Settings;
use EventSource::XS::Test::Expected;
use JSON::MaybeXS ();

my $JSON     = JSON::MaybeXS->new(utf8 => 0, allow_nonref => 1);
my $SETTINGS = EventSource::XS::Settings->new('Test::EventSource');

sub new {
    my ($class, $given) = @_;
    $SETTINGS->refuse(state => q{state must be a hash, such as {key => 'item'}}) if ref $given ne 'HASH';
    $given = $SETTINGS->known($given, [qw(forget_event gap_event key)], 'option %s of state');
    $SETTINGS->refuse(
        key => 'key must be a member of the JSON in each event, or a code reference that is given the event')
        if !defined $given->{key} || ref $given->{key} && ref $given->{key} ne 'CODE';
    return bless {forget_event => 'forget', gap_event => 'gap', %$given, events => {}, begins_after => 0}, $class;
}

# Public methods

# The differences from what a test expects: a hash of what like_event takes, by key.
sub differences {
    my ($self, $expected) = @_;
    $SETTINGS->refuse(state => 'state_is takes a hash: of each key the event') if ref $expected ne 'HASH';
    my %wanted =
        map { $SETTINGS->name(key => $_) => EventSource::XS::Test::Expected->new($expected->{$_}) } keys %$expected;
    my %known = (%wanted, %{$self->{events}});
    return map { $self->_differences_of($_, $wanted{$_}) } sort keys %known;
}

# True if a position has come after the state.
sub is_complete {
    my ($self, $positions) = @_;
    return $positions > $self->{begins_after};
}

# Takes the next event of the stream. So many positions have come before it.
sub take {
    my ($self, $event, $positions) = @_;
    if ($event->{event} eq $self->{gap_event}) {
        @$self{qw(events begins_after)} = ({}, $positions);
        return;
    }
    my $key = $self->_key_of($event);
    if    ($event->{event} eq $self->{forget_event}) { delete $self->{events}{defined $key ? $key : $event->{data}} }
    elsif (defined $key)                             { $self->{events}{$key} = $event }
    return;
}

# Private methods

sub _differences_of {
    my ($self, $key, $wanted) = @_;
    my $event = $self->{events}{$key};
    my $name  = EventSource::XS::Test::Expected::escaped($key);
    return "'$name' is missing"                                                                   if !$event;
    return "'$name' should not be there: " . EventSource::XS::Test::Expected::shown_event($event) if !$wanted;
    return map { "'$name': $_" } $wanted->differences($event);
}

# The key of an event; undef if it has none.
sub _key_of {
    my ($self, $event) = @_;
    return $self->{key}->($event) if ref $self->{key};
    local $SIG{__DIE__};
    my $structure = eval { $JSON->decode($event->{data}) };
    return ref $structure eq 'HASH' ? $structure->{$self->{key}} : undef;
}

1;

package EventSource::XS::Test::Members;
use strict;
use warnings;

# The members that a client knows by their events, or that a hub lists. They are a state whose keys are ids.

use parent 'EventSource::XS::Test::State';
use EventSource::XS::Settings;
use JSON::MaybeXS ();

my $JSON     = JSON::MaybeXS->new(utf8 => 0, canonical => 1);
my $SETTINGS = EventSource::XS::Settings->new('Test::EventSource');

# Other events of the channel are not those of members.
sub new {
    my ($class, $given) = @_;
    $SETTINGS->refuse(members => 'members must be true, or a hash of the types of events')
        if ref $given && ref $given ne 'HASH';
    my %given = ref $given ? %$given : ();
    $SETTINGS->known(\%given, [qw(gap_event join_event leave_event update_event)], 'option %s of members');
    my ($join, $leave, $update) =
        map { defined $given{"${_}_event"} ? $given{"${_}_event"} : $_ } qw(join leave update);
    my %is_of_member = map { ($_ => 1) } $join, $leave, $update;
    my $key_of       = sub {
        my $event = shift;
        local $SIG{__DIE__};
        my $json = $is_of_member{$event->{event}} ? eval { $JSON->decode($event->{data}) } : undef;
        return ref $json eq 'HASH' ? $json->{id} : undef;
    };
    my $gap = defined $given{gap_event} ? $given{gap_event} : 'gap';
    return $class->SUPER::new({key => $key_of, forget_event => $leave, gap_event => $gap});
}

# Public methods

# The differences from what a test expects: a list of ids, or the data of each member by its id.
sub differences {
    my ($self, $expected) = @_;
    $SETTINGS->refuse(members => 'members_are takes an array of ids, or a hash: of each id the data')
        if ref($expected) !~ /\A(?:ARRAY|HASH)\z/;
    my %wanted =
        ref $expected eq 'ARRAY'
        ? map { ($_ => {}) } @$expected
        : map { ($_ => _event($_, $expected->{$_})) } keys %$expected;
    return $self->SUPER::differences(\%wanted);
}

# The members that a hub has listed.
sub of_list {
    my ($class, @members) = @_;
    my $self = $class->new;
    for my $member (@members) {
        my ($id, $json) = @$member{qw(id json)};
        my $data = $json ? $JSON->encode({%$json, id => $id}) : $member->{data};
        $self->{events}{$id} = {event => 'join', id => '', data => $data};
    }
    return $self;
}

sub take {
    my ($self, $event, $positions, $shows_channels) = @_;
    return $self->SUPER::take($shows_channels ? _without_channel($event) : $event, $positions);
}

# Private functions

# Returns the data for like_event: the JSON of an event has the id, too.
sub _event {
    my ($id, $data) = @_;
    return ref $data eq 'HASH' ? {json => {%$data, id => $SETTINGS->name(id => $id)}} : $data;
}

# An event as it is without show_channel => 'data'. The hub adds the channel and the key to the JSON of members, whatever a
# member has.
sub _without_channel {
    my $event = shift;
    local $SIG{__DIE__};
    my $json = eval { $JSON->decode($event->{data}) };
    return $event if ref $json ne 'HASH' || grep { !exists $json->{$_} } qw(channel data key);
    return {%$event, data => ref $json->{data} ? $JSON->encode($json->{data}) : $json->{data}};
}

1;

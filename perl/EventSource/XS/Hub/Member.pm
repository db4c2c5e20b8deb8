package EventSource::XS::Hub::Member;
use strict;
use warnings;

# Reads who is behind a stream, and what is published when the stream has ended: the options member and will of a subscription,
# and the changes of a member. Each method checks what the application gives, and returns it as the native hub takes it: a list
# of texts, in the order of src/xs/subscribe.rs. Events are encoded here, so that their mistakes are reported at once.

use EventSource::XS ();
use EventSource::XS::Hub::Name;
use EventSource::XS::Hub::Subscription;
use EventSource::XS::Settings;
use EventSource::XS::UTF8;
use JSON::MaybeXS ();
use Scalar::Util  qw(blessed);

my $SETTINGS = EventSource::XS::Settings->new('EventSource::Hub');
my $JSON     = JSON::MaybeXS->new(utf8 => 0);

my $LEAVE_AFTER     = 5;         # seconds
my $MAX_LEAVE_AFTER = 86_400;    # seconds

my @MEMBER = qw(channel data id join json leave leave_after update);
my @EVENT  = qw(data event json);
my @WILL   = qw(comment data event json key retain retry);

# Public methods

sub channel { return $_[0][0] }

# A channel's name. Patterns have no members.
sub channel_of {
    my ($class, $given) = @_;
    $SETTINGS->refuse(channel => q{channel must be the name of a channel, such as 'room/7/people'})
        if !defined $given || blessed $given && $given->isa('EventSource::XS::Hub::Pattern');
    return EventSource::XS::Hub::Subscription->topic($given);
}

# A new data of a member: the texts of its channel, its id, its data and its event. The type is `update` unless it is given.
sub change_of {
    my ($class, $channel, $id, $given) = @_;
    $SETTINGS->refuse(member => 'update_member takes the new data as a hash, such as {json => {name => $name}}')
        if ref $given ne 'HASH';
    $given = $SETTINGS->known($given, \@EVENT, 'field %s of a member');
    my ($key,  $name) = (_id($id), $class->_channel($channel));
    my ($data, $text) = _data($key, $given);
    return ($name, $key, $text, exists $data->{json} ? 1 : 0, _event('update', $data, {event => $given->{event}}));
}

sub id { return $_[0][1] }

# The data of a member as `members` returns it: a value of json, or a text.
sub info_of {
    my ($class, $id, $since, $streams, $is_json, $text) = @_;
    my %info = (id => $id, since => $since / 1000, streams => $streams + 0);
    return {%info, data => $text} if !$is_json;
    local $SIG{__DIE__};
    my $json = eval { $JSON->decode($text) };
    return {%info, data => $text} if ref $json ne 'HASH';    # not of a worker that obeys
    delete $json->{id};
    return {%info, json => $json};
}

sub native { return @{$_[0]} }

# The member of a stream, an object of this class; undef if there is none.
sub of {
    my ($class, $given) = @_;
    return $given if blessed $given && $given->isa($class);
    return undef  if !defined $given;
    $SETTINGS->refuse(member => 'member must be a hash, such as {id => $user, channel => $name}')
        if ref $given ne 'HASH';
    $given = $SETTINGS->known($given, \@MEMBER, 'field %s of member');
    my $channel     = $class->_channel($given->{channel});
    my $id          = _id($given->{id});
    my $leave_after = defined $given->{leave_after} ? $given->{leave_after} : $LEAVE_AFTER;
    $SETTINGS->seconds(leave_after => $leave_after);
    $SETTINGS->refuse(leave_after => "leave_after must be at most $MAX_LEAVE_AFTER seconds, a day")
        if $leave_after > $MAX_LEAVE_AFTER;
    my $is_counted = defined $given->{join} && !ref $given->{join} && $given->{join} eq 'count';
    my ($data, $text) = _data($id, $given);
    my @events = (
        _event('join',   $data,                 $is_counted ? undef : $given->{join}),
        _event('update', $data,                 $given->{update}),
        _event('leave',  {json => {id => $id}}, $given->{leave}),
    );
    return bless [$channel, $id, $leave_after, $is_counted ? 1 : 0, $text, exists $data->{json} ? 1 : 0, @events],
        $class;
}

# Returns what is published when a stream has ended.
sub will_of {
    my ($class, $given) = @_;
    $SETTINGS->refuse(will => q{will must be a channel and an event: ['room/7', {event => 'gone', data => $user}]})
        if ref $given ne 'ARRAY' || @$given != 2;
    my ($channel, $event) = @$given;
    my %event = ref $event eq 'HASH' ? %$event : (data => $event);
    $SETTINGS->known(\%event, \@WILL, 'field %s of will');
    my ($key, $retain) = delete @event{qw(key retain)};
    $key = _name(key => 'key', $key) if defined $key && length $key;
    return ($class->_channel($channel), $key, $retain ? 1 : 0, _encoded(%event));
}

# Private methods and functions

# The channel of a member or a will.
sub _channel {
    my ($class, $given) = @_;
    return _name(channel => 'channel', $class->channel_of($given));
}

# The data of a member: as a field of an event, and as a text, in which U+FFFD stands for what is not Unicode.
sub _data {
    my ($id,   $given) = @_;
    my ($data, $json)  = @$given{qw(data json)};
    $SETTINGS->refuse(json => 'data and json exclude each other') if defined $data && defined $json;
    if (defined $data) {
        my $text = $SETTINGS->string(data => $data, hint => '; did you mean json => ...?');
        return ({data => $text}, EventSource::XS::UTF8->repaired($text));
    }
    $SETTINGS->refuse(json => 'json of a member must be a hash') if defined $json && ref $json ne 'HASH';
    my $member = {%{$json || {}}, id => $id};
    return ({json => $member}, EventSource::XS::UTF8->repaired($SETTINGS->json($member)));
}

# An encoded event as characters, and whether its data is JSON.
sub _encoded {
    my %event   = @_;
    my $is_json = exists $event{json} && !exists $event{data};
    $event{data} = $SETTINGS->json(delete $event{json}) if $is_json;
    my $block = EventSource::XS::format_event(\%event);
    utf8::decode($block);
    return ($block, $is_json ? 1 : 0);
}

# An event of a member: what the application gives replaces the type and the data.
sub _event {
    my ($type, $data, $given) = @_;
    $given = {} if !defined $given;
    $SETTINGS->refuse(
        $type => "$type must be a hash of fields, such as {event => 'here'}" . ($type eq 'join' ? q{, or 'count'} : ''))
        if ref $given ne 'HASH';
    $given = $SETTINGS->known($given, \@EVENT, "field %s of $type");
    my %field = map { defined $given->{$_} ? ($_ => $given->{$_}) : () } @EVENT;
    return _encoded(event => $type, exists $field{data} || exists $field{json} ? () : %$data, %field);
}

# The id of a member is the key of its events.
sub _id {
    my $given = shift;
    return _name(id => 'the id of a member', defined $given ? $given : '');
}

sub _name {
    my ($field, $what, $given) = @_;
    return EventSource::XS::Hub::Name->checked($SETTINGS, $field => $what, $given);
}

1;

package EventSource::XS::XMPP::Publisher;
use strict;
use warnings;

# Publishes the items of an application, in the place of the hub: the bridge, which may be another process, has the connection.
# So an item waits in the state of a channel, with its id as the key, until the service has taken it. "publisher" in
# EventSource::XMPP has the manual.

use Digest::SHA qw(sha256_base64);
use EventSource::XS::Settings;
use EventSource::XS::XMPP::Stanza;
use JSON::MaybeXS ();
use Time::HiRes   ();

my $SETTINGS = EventSource::XS::Settings->new('EventSource::XMPP');
my $STANZA   = 'EventSource::XS::XMPP::Stanza';
my $JSON     = JSON::MaybeXS->new(utf8 => 0, canonical => 1, allow_nonref => 1);
my $EVENT    = 'eventsource-xmpp-item';

my $count = 0;

# Public methods

# The item of an event of the channel: a hash with node, id and payload; undef of another event.
sub item_of {
    my ($class, $event) = @_;
    my $item = $class->record_of($event, $EVENT) or return undef;
    return grep({ !defined $item->{$_} || ref $item->{$_} } qw(id node payload)) ? undef : $item;
}

sub new {
    my ($class, %option) = @_;
    return bless {%option}, $class;
}

# The event that keeps a structure in the state of a channel of the hub, as JSON.
sub event_of {
    my ($class, $type, $key, $record) = @_;
    return {event => $type, key => $key, retain => 1, data => $JSON->encode($record)};
}

# The structure of such an event, a hash; undef if it has none. With show_channel => 'data' the hub puts the data that was
# published into another structure, beside the name of the channel. A bridge that was not told of that has published without.
sub record_of {
    my ($class, $event, $type) = @_;
    return undef if ($event->{event} // '') ne $type;
    local ($@, $SIG{__DIE__});
    my $record = eval { $JSON->decode($event->{data}) };
    $record = eval { $JSON->decode($record->{data}) } if ref $record eq 'HASH' && exists $record->{channel};
    return ref $record eq 'HASH' ? $record : undef;
}

sub publish {
    my ($self, $channel, $event) = @_;
    my $node = $self->_node_of($channel);
    $event = {data => $event} if ref $event ne 'HASH';
    for my $name (grep { defined $event->{$_} } qw(comment event key once retain retry)) {
        $SETTINGS->refuse($name, "an item has no $name");
    }
    my $id = defined $event->{id} ? $event->{id} : _new_id();
    $SETTINGS->refuse(id => 'id must be 1 to 1,024 characters that XML can have')
        if !length $id || length $id > 1024 || !$STANZA->is_fit($id);
    my %item = (node => $node, id => $id, payload => $self->_payload_of($channel, $event));
    $self->{hub}->publish($self->{channel}, $self->event_of($EVENT, _key($node, $id), \%item));
    return $id;
}

# The key under which an item waits.
sub key_of { return _key(@{$_[1]}{qw(node id)}) }

# PubSub asks for these. They are the hub's, as its streams are.
for my $name (qw(gap_event is_unshared position position_event shows_keys to_app type_of)) {
    no strict 'refs';    ## no critic (TestingAndDebugging::ProhibitNoStrict)
    *$name = sub {
        my $self = shift;
        return $self->{hub}->$name(@_);
    };
}

# Private methods and functions

sub _key {
    return sha256_base64(join "\0", map { utf8::encode(my $bytes = $_); $bytes } @_);
}

sub _new_id { return substr(sha256_base64(join '-', $$, ++$count, Time::HiRes::time(), rand), 0, 22) =~ tr{+/}{-_}r }

sub _node_of {
    my ($self, $channel) = @_;
    $channel = $SETTINGS->name(channel => $channel);
    $SETTINGS->refuse(channel => 'channel must be a name, with the prefix')
        if !defined $channel || index($channel, $self->{prefix}) || length $channel <= length $self->{prefix};
    my $node = substr $channel, length $self->{prefix};
    $SETTINGS->refuse(channel => 'channel must have only characters that XML can have') if !$STANZA->is_fit($node);
    return $node;
}

# The payload as XML.
sub _payload_of {
    my ($self, $channel, $event) = @_;
    return $self->{payload}->($channel, $event) if $self->{payload};
    my $data =
          exists $event->{json}         ? $SETTINGS->json($event->{json})
        : ref $event->{data} eq 'ARRAY' ? join "\n", @{$event->{data}}
        :                                 $SETTINGS->string(data => $event->{data});
    $SETTINGS->refuse(data => 'there is no data')                          if !defined $data;
    $SETTINGS->refuse(data => 'data has a character that XML cannot have') if !$STANZA->is_fit($data);
    local $SIG{__DIE__};
    my $is_json = exists $event->{json} || $data =~ /\A\s*[\[{]/ && eval { $JSON->decode($data); 1 };
    return $STANZA->payload_of($data, $is_json);
}

1;

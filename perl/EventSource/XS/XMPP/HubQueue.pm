package EventSource::XS::XMPP::HubQueue;
use strict;
use warnings;

# The events that wait for the hub, in their order, and their publication: each once. While the hub takes none, they wait.

use EventSource::XS::Reason;
use EventSource::XS::XMPP::Timer;
use Scalar::Util qw(blessed);

my $MAX_BYTES = 8 << 20;    # of payloads
my $MAX_PAUSE = 5;          # seconds between two attempts
my $PER_TURN  = 100;        # events, before the event loop gets its turn

sub new {
    my ($class, $options, $positions) = @_;
    my $self = bless {
        options   => $options,
        positions => $positions,
        events    => [],
        bytes     => 0,
    }, $class;
    $self->{timer} = EventSource::XS::XMPP::Timer->new($self, most => $MAX_PAUSE);
    return $self;
}

# Public methods

# Appends events, each an EventSource::XS::XMPP::Event, and publishes those that the hub takes.
sub append {
    my ($self, @events) = @_;
    push @{$self->{events}}, @events;
    $self->{bytes} += $_->bytes for @events;
    return $self->_drain;
}

# Nothing more is published.
sub close {
    my $self = shift;
    $self->{timer}->stop;
    @$self{qw(events bytes)} = ([], 0);
    return;
}

sub has_deletion_of {
    my ($self, $node) = @_;
    return !!grep { $_->kind eq 'delete' && $_->node eq $node } @{$self->{events}};
}

sub is_empty { return !@{$_[0]{events}} }

# Returns true if more waits than may.
sub is_full {
    my $self = shift;
    return $self->{bytes} > $MAX_BYTES && $self->{timer}->is_set;
}

# Private methods

# Publishes what waits, until the hub takes no more. A callback of the application may append and close meanwhile.
sub _drain {
    my $self = shift;
    return if $self->{is_draining} || $self->{timer}->is_set;
    local $self->{is_draining} = 1;
    my $events = $self->{events};
    for (1 .. $PER_TURN) {
        my $event = $events->[0] or return;
        local ($@, $SIG{__DIE__});
        my $is_done = eval { $self->_publish($event); 1 };
        return if $self->{events} != $events;
        if (!$is_done) {
            $self->{options}->report_once('the hub takes no events: ' . EventSource::XS::Reason->message_of($@));
            return $self->{timer}->retry('_drain');
        }
        $self->{timer}->reset;
        shift @$events;
        $self->{bytes} -= $event->bytes;
    }
    return $self->{timer}->after(0, '_drain');
}

# Publishes an event that is news. Dies if it has to wait.
sub _publish {
    my ($self, $event) = @_;
    my ($positions, $node, $kind, $id) = ($self->{positions}, $event->node, $event->kind, $event->id);
    my $known = $positions->known($node);
    return $known->note_order($event->ids) if $kind eq 'order';
    return                                 if !$event->is_news($known);
    $positions->save($node)                if $known->needs_saving($id);
    $self->_publish_fields($event, $known);
    $known->note_purge if $kind eq 'purge' || $kind eq 'delete';
    my $is_urgent = $known->note($id, $kind eq 'retract' ? undef : $event->digest);
    return $is_urgent ? $positions->save_if_possible($node) : $positions->mark_changed($node);
}

# Publishes the fields of an event. What is wrong with the event itself is reported, and the event left out.
sub _publish_fields {
    my ($self, $event, $known) = @_;
    my $channel = $self->{options}{prefix} . $event->node;
    my $once    = $known->key($self->{options}{service} . "\0$channel", $event->id, $event->digest);
    local ($@, $SIG{__DIE__});
    return if eval {
        my $fields = $event->fields($self->{options});
        $self->{options}{hub}->publish($channel, $fields, {once => $once}) if $fields;
        1;
    };
    my $error = $@;
    die $error if blessed $error && $error->isa('EventSource::Error') && $error->code ne 'invalid';
    my $why = EventSource::XS::Reason->message_of($error);
    $self->{options}->report('the ' . $event->title . " is not published: $why", !!1);
    return;
}

1;

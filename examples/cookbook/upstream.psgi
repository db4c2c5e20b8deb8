# Joins the stream of another server into a hub: one worker reads it for the clients of all. For servers on AnyEvent.
use strict;
use warnings;

use AnyEvent;
use AnyEvent::HTTP ();
use EventSource::Client;
use EventSource::Hub;
use EventSource::Hub::Lease;

my $URL = $ENV{UPSTREAM_URL} || 'http://127.0.0.1:8000/events';
my $hub = EventSource::Hub->new(name => 'upstream', socket => $ENV{HUB_SOCKET}, start => 'oldest');
my ($client, $timer);
my $after = '';

# The lease needs the event loop now, and not at the first request.
AnyEvent::detect();

# The key says which event it is, so that one that two workers read is published once.
sub publish {
    my $event = shift;
    my %once  = length $event->{id} ? (once => "$URL $event->{id}") : ();
    $hub->publish(news => {event => $event->{event}, data => $event->{data}}, \%once);
    $after = $event->{id};
    return 1;
}

# What cannot be published is read again, a second later.
sub follow {
    $client = EventSource::Client->new(
        url           => $URL,
        last_event_id => $after,
        on_close      => sub { warn "$URL: ", $_[1] || 'the server has nothing more', "\n" },
        on_event      => sub {
            my ($self, $event) = @_;
            return if eval { publish($event) };
            warn $@;
            $self->close;
            $timer = AnyEvent->timer(after => 1, cb => \&follow);
        },
        on_gap => sub { $hub->publish(news => {event => 'missed', data => 'some'}) },
    );
    return;
}

sub leave {
    ($client, $timer) = ();
    return;
}

my $lease = EventSource::Hub::Lease->new(
    hub       => $hub,
    name      => "read $URL",
    on_change => sub { $_[0]->is_held ? follow() : leave() },
);

my $news = $hub->to_app(channels => sub { 'news' });
sub { $lease && $news->(@_) };

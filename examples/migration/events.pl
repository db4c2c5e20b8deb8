#!/usr/bin/env perl
# After: the application of write_sse.pl with the helpers of EventSource::Framework::Mojolicious.
use EventSource::Hub;
use Mojolicious::Lite;

plugin 'EventSource::Framework::Mojolicious';

# A timer for each client, as before.
get '/events' => sub {
    my $c = shift;
    $c->event_source(
        sub {
            my $conn  = shift;
            my $count = 0;
            my $id    = Mojo::IOLoop->recurring(0.1 => sub { $conn->push({event => 'tick', data => ++$count}) });
            $conn->on_close(sub { Mojo::IOLoop->remove($id) });
        }
    );
};

# Or one timer for all clients, and a client that was away misses nothing.
my $hub   = EventSource::Hub->new(per_process => 1);
my $count = 0;
Mojo::IOLoop->recurring(0.1 => sub { $hub->publish(ticks => {event => 'tick', data => ++$count}) });
get '/ticks' => sub { shift->events($hub, 'ticks') };

app->start;

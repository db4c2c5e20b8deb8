#!/usr/bin/env perl
# The peer Mojolicious of bench/peers/run and bench/storm: streams as its cookbook shows them, in one process of its daemon.
#
#   GET  /events   a stream
#   POST /say      publishes an event whose data is the body
#
# It offers nothing to resume with: a stream begins with the next event.

use Mojolicious::Lite;

my %streams;
my $last_id = 0;

sub write_all {
    my $bytes = shift;
    $_->write($bytes) for values %streams;
    return;
}

get '/events' => sub {
    my $c = shift;
    $c->inactivity_timeout(0);
    $c->res->headers->content_type('text/event-stream');
    $c->write;
    $streams{$c} = $c;
    $c->on(finish => sub { delete $streams{$_[0]} });
};

post '/say' => sub {
    my $c = shift;
    write_all(sprintf "id: %d\ndata: %s\n\n", ++$last_id, $c->req->body);
    $c->render(data => '');
};

Mojo::IOLoop->recurring(15 => sub { write_all(":\n\n") });
app->start;

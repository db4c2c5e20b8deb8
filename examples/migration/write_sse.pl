#!/usr/bin/env perl
# Before: an application of Mojolicious with write_sse.
use Mojolicious::Lite;

get '/events' => sub {
    my $c = shift;
    $c->inactivity_timeout(300);
    $c->write_sse;
    my $count = 0;
    my $id    = Mojo::IOLoop->recurring(0.1 => sub { $c->write_sse({type => 'tick', text => ++$count}) });
    $c->on(finish => sub { Mojo::IOLoop->remove($id) });
};

app->start;

# A page behind a session, with as many streams of other paths as it asks for, each with a ticket.

use Testing::Application;
use EventSource::Hub;
use Plack::Builder;
use Plack::Request;

my $hub  = EventSource::Hub->new;
my $page = ['Content-Type' => 'text/html', 'Set-Cookie' => 'session=ann; Path=/; HttpOnly'];

builder {
    mount '/events'  => $hub->to_app(channels => sub { 'news' }, ticket => 60);
    mount '/cookies' => sub {
        my $cookies = Plack::Request->new(shift)->cookies;
        return [200, ['Content-Type' => 'text/plain'], [join ' ', sort keys %$cookies]];
    };
    mount '/' => sub { [200, $page, ['<!DOCTYPE html><title>tickets</title>']] };
};

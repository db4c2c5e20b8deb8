# An application of the original Plack::App::EventSource, which runs unchanged: it pushes to the clients that it has listed.
use strict;
use warnings;

use Plack::App::EventSource;
use Plack::Builder;
use Plack::Request;

my @clients;

builder {
    mount '/events' => Plack::App::EventSource->new(
        headers    => ['Access-Control-Allow-Origin' => '*'],
        handler_cb => sub {
            my ($conn, $env) = @_;
            $conn->push({event => 'hello', data => scalar @clients});
            push @clients, $conn;
        },
    )->to_app;
    mount '/say' => sub {
        my $text = Plack::Request->new(shift)->parameters->{text};
        $_->push({id => time, data => $text}) for @clients;
        return [204, [], []];
    };
};

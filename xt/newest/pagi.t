# PAGI::App::WrapPSGI loses what a stream is pushed after its request has returned. So the stream is refused: its client has an
# error, and the log says what to do.

use lib 't/lib';
use Testing;
use Testing::Newest;
use Testing::Daemon;
use Testing::Client;
use Testing::Developer qw(needs_module);

needs_module('PAGI::Server');
needs_module('PAGI::App::WrapPSGI');
Testing::Newest->show(qw(PAGI::Server PAGI::Tools));

my $SERVER = <<'PERL';
use strict;
use warnings;
use IO::Async::Loop;
use PAGI::App::WrapPSGI;
use PAGI::Server;
use Plack::App::EventSource;
my $stream = Plack::App::EventSource->new(handler_cb => sub { $_[0]->push('first') })->to_app;
my $app    = PAGI::App::WrapPSGI->new(psgi_app => $stream)->to_app;
my $loop   = IO::Async::Loop->new;
$loop->add(my $server = PAGI::Server->new(app => $app, host => '127.0.0.1', port => shift));
$server->listen->get;
$loop->run;
PERL

my $server = Testing::Daemon->new('PAGI');
$server->run({}, $^X, '-e', $SERVER, $server->port);
my $client = Testing::Client->ask($server->port, '/');
is $client->status, 500, 'the client has an error';
unlike $client->body, qr/first/, 'and no stream';
like $server->log, qr/PAGI::App::WrapPSGI loses .* run the application on a PSGI server beside that of PAGI/,
    'the log says what to do';
$server->stop;

done_testing;

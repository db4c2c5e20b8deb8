# Streams behind HAProxy, with the configuration of EventSource::Deployment.

use strict;
use warnings;

use lib 't/lib';
use Test::More;
use Testing::Client;
use Testing::ConfiguredProxy;
use Testing::ProxyCases   qw(proxy_ok);
use Testing::SourceTree   qw(slurp);
use Testing::StreamServer qw(path);

proxy_ok('HAProxy', has_timeout => 1);

# Keepalives would show HAProxy that the client has left, so the streams of these cases have none.
my @options = slurp('examples/deployment/haproxy.cfg') =~ /^\s+(option .+)/mg;
my $server  = Testing::StreamServer->start('Starman');
my %proxy   = (
    deployed => Testing::ConfiguredProxy->start('HAProxy', $server, @options),
    without  => Testing::ConfiguredProxy->start('HAProxy', $server, grep { !/abortonclose/ } @options),
);
for my $name (qw(without deployed)) {    # in this order: the end of the second one shows that the first had the time
    my $client = Testing::Client->get($proxy{$name}->port, path('/held', name => $name, keepalive => 0));
    ok $client->read_until(qr/^event: held\r?\n/m), "$name: a quiet stream is open";
    $client->leave;
}
$server->ended_ok('deployed', 'client', 'the application sees at once that the client of a quiet stream has left');
ok !defined $server->ended('without'), 'without the option abortonclose it does not';
$server->push(name => 'without');
$server->push(name => 'without');
$server->ended_ok('without', 'client', 'but when it has sent something');

done_testing;

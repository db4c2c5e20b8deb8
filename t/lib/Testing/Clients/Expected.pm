package Testing::Clients::Expected;
use strict;
use warnings;

# What each client does, as the tests in t/clients measure it.

use Exporter qw(import);

our @EXPORT_OK = qw(clients expected);

my @CLIENTS = (
    ['Chromium' => 'browser'],
    ['eventsource 2' => 'node'],
    ['eventsource 5' => 'node'],
    ['event-source-polyfill' => 'browser'],
    ['fetch-event-source' => 'browser'],
    ['Datastar' => 'browser'],
    ['htmx' => 'browser'],
    ['httpx-sse' => 'python'],
    ['sseclient-py' => 'python'],
    ['reqwest-eventsource' => 'rust'],
    ['eventsource-client' => 'rust'],
    ['curl' => 'curl'],
);
my %RUNS = map { @$_ } @CLIENTS;

sub clients { return map { $_->[0] } @CLIENTS }

sub expected {
    my ($client, $what) = @_;
    return $RUNS{$client} if ($what // '') eq 'runs';
    return {map { ($_ => []) } qw(data early head cuts gap end harmless)};
}

1;

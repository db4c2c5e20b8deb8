# Bytes that a client sends after its request are read and discarded. They do not lose the client its last events. A client
# that does not stop sending is disconnected.

use lib 't/lib';
use Testing;
use Testing::NumberedEvents qw(numbers);
use Testing::SlowReader;
use Testing::SourceTree   qw(slurp);
use Testing::StreamServer qw(on_each_server);

# How many bytes a client has sent that its server has not read, as the kernel tells.
sub unread {
    my ($server, $client) = @_;
    my $pattern = sprintf '[0-9A-F]{8}:%04X [0-9A-F]{8}:%04X [0-9A-F]{2} ', $server->port, $client->{socket}->sockport;
    my ($count) = slurp('/proc/net/tcp') =~ /$pattern[0-9A-F]{8}:([0-9A-F]{8})/ or return;
    return hex $count;
}

sub junk_is_discarded {
    my $server = shift;
    my $client = $server->stream(name => 'talks');
    $client->say('x' x 1_000) for 1 .. 100;
    ok wait_until(sub { !unread($server, $client) }), 'the server reads what the client sends';
    is $server->push(name => 'talks', count => 3), 3, 'pushes to the client are accepted';
    ok $client->read_until(qr/^id: 3\r\n.*\r\n\r\n/m), 'the client receives the last event';
    is_deeply [numbers($client->text)], [1 .. 3], 'the client receives each event once';
    is $server->ended('talks'), undef, 'the stream is open';
    $client->leave;
    return $server->ended_ok('talks', 'client');
}

sub junk_is_bounded {
    my $server = shift;
    my $beside = $server->stream(name => 'beside');
    my $client = $server->stream(name => 'floods');
    my $said   = 0;
    eval {
        local $SIG{PIPE} = 'IGNORE';
        while ($said < 1e9) { $said += length $client->say('x' x 10_000) && 10_000 }
    };
    cmp_ok $said, '>', 1_048_576, 'the client may send a megabyte';
    cmp_ok $said, '<', 1e9,       'a client that does not stop sending is disconnected';
    $server->ended_ok('floods', 'error');
    is $server->push(name => 'beside', count => 2), 2, 'pushes to the neighbour are accepted';
    ok $beside->read_until(qr/^id: 2\r\n.*\r\n\r\n/m), 'the neighbour receives the last event';
    is_deeply [numbers($beside->text)], [1, 2], 'the neighbour receives each event once';
    return $beside->leave;
}

# If the server closed its socket while something is unread in it, the kernel would reset the connection, and what the
# client has not read yet be gone.
sub junk_loses_no_event {
    my $server = shift;
    my $client = $server->stream(name => 'last', class => 'Testing::SlowReader', max_buffered => 1_000_000);
    is $server->push(name => 'last', count => 80, bytes => 10_000), 80, '800 KB are pushed';
    $client->say('before the end');
    $server->ask('/close', name => 'last');
    $client->say('after it') for 1 .. 50;
    ok $client->read_until(qr/^id: 80\r\n/m), 'the last event arrives';
    $client->say('and to its very end');
    ok $client->read_all, 'the stream ends';
    ok $client->complete, 'the response is complete';
    is_deeply [numbers($client->text)], [1 .. 80], 'every event arrives once, in order';
    return $server->ended_ok('last', 'application');
}

# One that neither reads the end of its stream nor leaves.
sub idle_descriptors_are_closed {
    my $server = shift;
    $server->serves_ok;
    $server->rests_ok;
    my $before = $server->descriptors;
    my @client = map { $server->stream(name => "stays$_") } 1 .. 5;
    $server->ask('/close', name => "stays$_") for 1 .. 5;
    $_->say('junk') for @client;
    $server->rests_ok('the streams have ended');
    ok wait_until(sub { $server->descriptors <= $before }), 'the descriptors of the ended streams are closed';
    return;
}

on_each_server sub {
    my $server = shift;
    subtest 'bytes that a client sends are read and discarded'    => sub { junk_is_discarded($server) };
    subtest 'a client that does not stop sending is disconnected' => sub { junk_is_bounded($server) };
    subtest 'bytes that a client sends lose no event at the end'  => sub { junk_loses_no_event($server) };
    $server->rests_ok;
    $server->serves_ok;
};
on_each_server([qw(Starman)] => \&idle_descriptors_are_closed);

done_testing;

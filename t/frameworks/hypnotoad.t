# Streams in an application of Mojolicious on hypnotoad: the contract, and a hot deployment, after which the clients of the
# old worker resume on the new one.

use lib 't/lib';
use Testing;
use Testing::Developer  qw(needs_command needs_module);
use Testing::Frameworks qw(application data_of get kinds_ok log_in publish streams_ok);
use Testing::MojoServer;
use Testing::Subscriber qw(events wait_for_events);

needs_module('Mojolicious');
needs_command('hypnotoad');

subtest 'the contract' => sub {
    my $server = Testing::MojoServer->start('hypnotoad', application('mojolicious.pl'));
    streams_ok($server);
    kinds_ok($server, 'native stream');
};

subtest 'a hot deployment' => sub {
    my $server = Testing::MojoServer->start('hypnotoad', application('mojolicious.pl'));
    my $cookie = log_in($server, 'anna');
    my $client = get($server, '/events', cookie => $cookie);
    ok $client->read_until(qr/^id: /m), 'a stream is open';
    my $id = publish($server, $cookie, 'one');
    ok $client->read_until(qr/^data: one\n/m),          'it receives an event';
    ok wait_until($DEADLINE, sub { $server->manager }), 'the manager has written its process id';
    my $manager = $server->manager;
    like $server->deploy, qr/Starting hot deployment/, 'hypnotoad is started once more';
    ok wait_until($DEADLINE, sub { $server->manager && $server->manager != $manager }), 'a new manager takes over';
    ok $client->read_all, 'the stream of the old worker ends';
    ok $client->complete, 'with its last chunk';
    like $client->body, qr{^(?:event: position\n)?retry: [0-9]+\n(?:data: \nid: \S+\n)?\n\z}m,
        'after a retry of its own';
    my $again = get($server, '/events', cookie => $cookie, id => $id);
    wait_for_events($again, 1);
    is_deeply [map { "$_->{event} $_->{data}" } events($again->text)], ['gap {"reason":"unknown"}'],
        'a client that reconnects is told that the new worker has no history';
    publish($server, $cookie, 'two');
    wait_for_events($again, 2);
    is_deeply [(data_of($again))[1]], ['two'], 'and receives the next event';
    kill QUIT => $server->manager;
    ok $again->read_all && $again->complete, 'a graceful stop ends the stream';
};

done_testing;

# The output of a stream without a push: keepalive comments, and the reconnection time at the beginning.

use lib 't/lib';
use Testing;
use Testing::Client;
use Testing::NumberedEvents qw(numbers);
use Testing::StreamServer   qw(on_each_server path);

# The comments of a stream.
sub comments { return scalar(() = $_[0]->body =~ /^:/mg) }

# Reads what has been received so far.
sub look { return $_[0]->read_until(qr/never/, 0.01) }

sub quiet_streams {
    my $server = shift;
    my $often  = $server->stream(name => 'often',  keepalive => 0.05);
    my $seldom = $server->stream(name => 'seldom', keepalive => 0.5);
    my $never  = $server->stream(name => 'never',  keepalive => 0);
    my $usual  = $server->stream(name => 'usual');
    ok $often->read_until(qr/(?:^:\r\n){30}/m), 'a stream with a short keepalive receives many comments';
    look($seldom);
    cmp_ok comments($seldom), '>=', 1,  'a stream with a ten times longer keepalive receives comments';
    cmp_ok comments($seldom), '<=', 15, 'a stream with a ten times longer keepalive receives about a tenth as many';
    look($_) for $never, $usual;
    is comments($never),          0, 'a stream with keepalive => 0 receives no comment';
    is comments($usual),          0, 'a stream with the default keepalive receives no comment within seconds';
    is $server->push(count => 2), 8, 'pushes to all streams are accepted';

    for my $client ($often, $seldom, $never, $usual) {
        ok $client->read_until(qr/^id: 2\r\n.*\r\n\r\n/m), 'each client receives the last event';
        is_deeply [numbers($client->text)], [1, 2], 'each client receives each event once';
        $client->leave;
    }
    return $server->rests_ok;
}

# Events are pushed to one stream more often than a comment is due.
sub busy_streams {
    my $server = shift;
    my $quiet  = $server->stream(name => 'quiet', keepalive => 0.4);
    my $busy   = $server->stream(name => 'busy',  keepalive => 0.4);
    my ($number, $pushed) = (0, 0);
    my $comes = wait_until sub {
        $pushed += $server->push(name => 'busy', from => ++$number);
        look($quiet);
        return comments($quiet) >= 4;
    };
    ok $comes,                                             'a stream without events receives comments';
    ok $busy->read_until(qr/^id: $number\r\n.*\r\n\r\n/m), 'a stream with events receives all of them';
    cmp_ok comments($busy), '<', comments($quiet), 'a stream with events receives fewer comments';
    is_deeply [numbers($busy->text)], [1 .. $pushed], 'every event arrives once, in order';
    $_->leave for $quiet, $busy;
    return $server->rests_ok;
}

sub retry_of {
    my ($server, $retry) = @_;
    my $client = Testing::Client->get($server->port, path('/held', name => 'retry', retry => $retry));
    $client->read_until(qr/held/);
    my ($number) = $client->body =~ /\Aretry: ([0-9]+)\r\nevent: held\r\n/;
    $client->leave;
    return $number;
}

sub begins_with_retry {
    my $server = shift;
    my @retry  = map { retry_of($server, 10_000) } 1 .. 20;
    is scalar(grep { defined && $_ >= 10_000 && $_ <= 12_000 } @retry), 20, 'retry is from the number to a fifth more';
    my %times = map { ($_ => 1) } @retry;
    cmp_ok scalar(keys %times), '>', 10, 'retry differs between clients';
    @retry = map { retry_of($server, '700-703') } 1 .. 30;
    is scalar(grep { defined && $_ >= 700 && $_ <= 703 } @retry), 30, 'retry of two numbers is between them';
    return $server->rests_ok;
}

on_each_server [qw(Starman Feersum)] => sub {
    my $server = shift;
    subtest 'a quiet stream receives comments'   => sub { quiet_streams($server) };
    subtest 'a busy stream receives no comments' => sub { busy_streams($server) };
    subtest 'a stream begins with its retry'     => sub { begins_with_retry($server) };
};

done_testing;

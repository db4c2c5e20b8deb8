# What is sent without a push: a comment after quiet, and the reconnection time at the beginning.

use strict;
use warnings;

use lib 't/lib';
use Testing::Client;
use Testing::Deadline       qw(wait_until);
use Testing::Developer      qw(only_developers);
use Testing::NumberedEvents qw(numbers);
use Testing::StreamServer   qw(on_each_server path);
use Test::More;

only_developers();

my $DEADLINE = 10;    # seconds; for what should happen at once

# The comments of a stream.
sub comments { return scalar(() = $_[0]->body =~ /^:/mg) }

# Reads what has come so far.
sub look { return $_[0]->read_until(qr/never/, 0.01) }

sub comes_when_quiet {
    my $server = shift;
    my $often  = $server->stream(name => 'often',  keepalive => 0.05);
    my $seldom = $server->stream(name => 'seldom', keepalive => 0.5);
    my $never  = $server->stream(name => 'never',  keepalive => 0);
    my $usual  = $server->stream(name => 'usual');
    ok $often->read_until(qr/(?:^:\r\n\r\n){30}/m), 'comments come, one after the other';
    look($seldom);
    cmp_ok comments($seldom), '>=', 1,  'less often to one that wants fewer';
    cmp_ok comments($seldom), '<=', 15, 'a tenth as many, or so';
    look($_) for $never, $usual;
    is comments($never),          0, 'none with 0';
    is comments($usual),          0, 'nor by default, until 15 seconds are over';
    is $server->push(count => 2), 8, 'they are pushed to';

    for my $client ($often, $seldom, $never, $usual) {
        ok $client->read_until(qr/^id: 2\r\n.*\r\n\r\n/m), 'and get it';
        is_deeply [numbers($client->text)], [1, 2], 'and nothing else';
        $client->leave;
    }
    return $server->rests_ok;
}

# One is pushed to as often as a comment would come to another.
sub stays_away {
    my $server = shift;
    my $quiet  = $server->stream(name => 'quiet', keepalive => 0.4);
    my $busy   = $server->stream(name => 'busy',  keepalive => 0.4);
    my ($number, $pushed) = (0, 0);
    my $comes = wait_until(
        $DEADLINE,
        sub {
            $pushed += $server->push(name => 'busy', from => ++$number);
            look($quiet);
            return comments($quiet) >= 4;
        }
    );
    ok $comes,                                             'comments come to one that is quiet';
    ok $busy->read_until(qr/^id: $number\r\n.*\r\n\r\n/m), 'another gets events meanwhile';
    cmp_ok comments($busy), '<', comments($quiet), 'and no comments, but for one after a pause of ours';
    is_deeply [numbers($busy->text)], [1 .. $pushed], 'the events are in order';
    $_->leave for $quiet, $busy;
    return $server->rests_ok;
}

sub retry_of {
    my ($server, $retry) = @_;
    my $client = Testing::Client->get($server->port, path('/held', name => 'retry', retry => $retry));
    $client->read_until(qr/held/);
    my ($number) = $client->body =~ /\Aretry: ([0-9]+)\r\n\r\nevent: held\r\n/;
    $client->leave;
    return $number;
}

sub begins_with_retry {
    my $server = shift;
    my @retry  = map { retry_of($server, 10_000) } 1 .. 20;
    is scalar(grep { defined && $_ >= 10_000 && $_ <= 12_000 } @retry), 20, 'up to a fifth more than the number';
    my %times = map { ($_ => 1) } @retry;
    cmp_ok scalar(keys %times), '>', 10, 'each client has a time of its own';
    @retry = map { retry_of($server, '700-703') } 1 .. 30;
    is scalar(grep { defined && $_ >= 700 && $_ <= 703 } @retry), 30, 'or between two numbers';
    return $server->rests_ok;
}

on_each_server(
    sub {
        my $server = shift;
        subtest 'a comment comes when it is quiet'    => sub { comes_when_quiet($server) };
        subtest 'none comes while events flow'        => sub { stays_away($server) };
        subtest 'a stream begins with its retry time' => sub { begins_with_retry($server) };
    },
    'Starman',
    'Feersum'
);

done_testing;

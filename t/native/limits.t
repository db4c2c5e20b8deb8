# How many streams a process holds: who comes when it holds as many as it may is told to come back, and who comes when
# it has no descriptor left harms no one.

use strict;
use warnings;

use lib 't/lib';
use Testing::Client;
use Testing::Deadline       qw(wait_until);
use Testing::Developer      qw(has_command needs only_developers);
use Testing::NumberedEvents qw(numbers);
use Testing::StreamServer   qw(on_each_server path);
use Test::More;

only_developers();

my $DEADLINE = 10;    # seconds; for what should happen at once

sub over {
    my ($server, $name, @setting) = @_;
    my $client = Testing::Client->get($server->port, path('/held', name => $name, max_streams => 3, @setting));
    $client->read_all;
    return $client;
}

sub is_refused {
    my $server = shift;
    my @client = map { $server->stream(name => "in$_", max_streams => 3) } 1 .. 3;
    my %times;
    for my $number (1 .. 12) {
        my $one = over($server, "over$number", retry => 6_000);
        is $one->status, 200, "one too many, $number: its status is 200" if $number == 1;
        ok $one->complete, 'its response is complete' or diag $one->body;
        my ($retry) = $one->body =~ /\Aretry: [0-9]+\r\n\r\nretry: ([0-9]+)\r\n\r\n\z/;
        ok defined $retry && $retry >= 6_000 && $retry <= 12_000, 'and says when to come back' or diag $one->body;
        is $server->journal("over$number"), '', 'its handler is not run';
        $times{$retry // ''}++;
    }
    cmp_ok scalar(keys %times), '>', 6, 'each is told a time of its own';
    like over($server, 'usual')->body, qr/\Aretry: (?:[23][0-9]{3}|4000)\r\n\r\n\z/, 'from 2 to 4 seconds by default';
    my $stats;
    wait_until($DEADLINE, sub { $stats = $server->stats; $stats->{native} == 3 });
    is_deeply [@$stats{qw(refused opened native)}], [13, 16, 3], 'they are counted' or diag explain $stats;
    is $stats->{closed}{server},  13, 'as ended by the server';
    is $server->push(count => 2), 6,  'those who are in are pushed to';

    for my $client (@client) {
        ok $client->read_until(qr/^id: 2\r\n.*\r\n\r\n/m), 'and get it';
        is_deeply [numbers($client->text)], [1, 2], 'and nothing else';
    }
    shift(@client)->leave;
    $server->ended_ok('in1', 'client', 'one leaves');
    push @client, $server->stream(name => 'next', max_streams => 3);
    is_deeply [numbers($client[-1]->text)], [], 'and there is room for another';
    ok over($server, 'again')->complete, 'but not for two';
    $_->leave for @client;
    $server->rests_ok;
    return $server->serves_ok;
}

on_each_server(\&is_refused);

subtest 'by default most of the descriptors are for streams' => sub {
    my @default = (
        $^X,  '-Mblib', '-MEventSource::Stream::Native',
        '-e', 'print EventSource::Stream::Native::default_max_streams()'
    );
    for ([24, 18], [256, 192], [1_023, 768], [1_024, 768], [1_025, 769], [4_096, 3_840]) {
        my ($limit, $expected) = @$_;
        is qx{ulimit -Sn $limit && "$default[0]" $default[1] $default[2] $default[3] '$default[4]' 2>/dev/null},
            $expected, "of $limit, $expected";
    }
};

# Lets the process have so many more descriptors; or enough, without a number.
sub leave_free {
    my ($pid, $free) = @_;
    my $limit = 1_024;
    if (defined $free) {
        my %used = map { m{/([0-9]+)\z} ? ($1 => 1) : () } glob "/proc/$pid/fd/*";
        $limit = 0;
        while ($used{$limit} || $free--) { $limit++ }
    }
    return system('prlimit', "--pid=$pid", "--nofile=$limit:") == 0 || die "prlimit: $?\n";
}

# How a client fares that comes when so many descriptors are free.
sub fares {
    my ($server, $free) = @_;
    my $pid = $server->stats->{pid};
    return $server->fares(sub { leave_free($pid, $free) }, sub { leave_free($pid) });
}

my $MOST = 10;

needs(has_command('prlimit') ? undef : 'there is no prlimit here');
for my $name ('HTTP::Server::PSGI', 'Twiggy', 'Feersum') {
    my %fared;
    for my $free (0 .. $MOST) {
        on_each_server(sub { push @{$fared{fares($_[0], $free)}}, $free }, $name);
    }
    note explain { $name => \%fared };
    is $fared{native}[-1], $MOST, "$name: with many descriptors a stream is native";
    ok $fared{writer}, 'with fewer it goes through the writer';
}

done_testing;

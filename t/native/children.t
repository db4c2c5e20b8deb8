# Handlers that fork and start programs, on every server: who holds a client's connection, and who does not.

use strict;
use warnings;

use lib 't/lib';
use Testing::Deadline  qw(wait_until);
use Testing::Developer qw(only_developers);
use Testing::Server;
use Testing::Stage;
use Test::More;

only_developers();

my $DEADLINE = 10;    # seconds; for what should happen at once

my @SERVERS = (
    ['HTTP::Server::PSGI' => 'blocks'],
    ['Starman'                                             => 'blocks', workers => 2],
    ['Starman, which loads the application in each worker' => 'blocks', workers => 2, args => [qw(-L Delayed)]],
    ['Starlet'                                             => 'blocks', workers => 2],
    ['Twiggy'                                              => 'loops'],
    ['Feersum'                                             => 'loops'],
    ['uWSGI'                                               => 'blocks', workers => 2],
);

my $PARENT = join '', map { "data: parent $_\r\n\r\n" } 1 .. 100;
my $CHILD  = join '', map { "data: child $_\r\n\r\n" } 1 .. 100;

# How the child ends, and whether it has pushed.
my @ENDS = (
    ['close-and-exit'        => $CHILD],
    ['exit'                  => $CHILD],
    ['silent-exit'           => ''],
    ['silent_exit'           => ''],
    ['silent-close-and-exit' => ''],
);

# The connections that a process has, but for sockets that listen.
sub connections {
    my $pid  = shift;
    my %held = map { (readlink || '') =~ /\Asocket:\[(\d+)\]\z/ ? ($1 => 1) : () } glob "/proc/$pid/fd/*";
    open my $table, '<', '/proc/net/tcp' or die "/proc/net/tcp: $!";
    return grep { my @row = split; $held{$row[9]} && $row[3] ne '0A' } readline $table;
}

sub goes_on {
    my ($stage, $end, $more) = @_;
    my $client = $stage->get("/child?end=$end");
    ok $client->read_all, 'it ends';
    is $client->text,         $PARENT . $more, 'with what both have pushed, one after the other';
    is $stage->told($client), '',              'nothing was refused';
    return;
}

sub is_not_held {
    my ($stage, $how) = @_;
    my $other  = $stage->get('/keep');
    my $client = $stage->get("/program?how=$how");
    ok $other->read_until(qr/data: kept/), 'another stream runs' or return;
    my ($pid) = $stage->told_ok($client, qr/^program (\d+)$/m, 'a program runs') or return;
    ok $client->read_all, 'the stream ends';
    is $client->text, "data: before\r\n\r\ndata: after\r\n\r\n", 'with all';

    # What Feersum has accepted it leaves to whatever is started before it has sent the head.
    if ($stage->server->{name} ne 'Feersum') {
        wait_until($DEADLINE, sub { !connections($pid) });    # until it is another program
        is_deeply [connections($pid)], [], 'the program has inherited no connection';
    }
    ok kill(0, $pid),  'and lives';
    ok !$other->ended, 'the other stream goes on';
    kill KILL => $pid;
    $other->leave;
    return;
}

for (@SERVERS) {
    my ($title, $kind, %option) = @$_;
    my ($name) = $title =~ /\A([\w:]+)/;
    if (my $missing = Testing::Server->missing($name)) {
    SKIP: { skip $missing, 1 if !$ENV{EVENTSOURCE_XS_FULL}; fail $missing }
        next;
    }
    subtest $title => sub {
        my $stage = Testing::Stage->start($name, %option);
        if ($kind eq 'blocks') {
            for (@ENDS) {
                my ($end, $more) = @$_;
                subtest "a child that ends by $end" => sub { goes_on($stage, $end, $more) };
            }
        }
        for my $how (qw(backticks system pipe exec)) {
            subtest "a program that was started by $how" => sub { is_not_held($stage, $how) };
        }
        my $client = $stage->get('/child?end=close-and-exit');
        ok $client->read_until(qr/parent 100/), 'and it still serves';
        $stage->server->stop;
    };
}

done_testing;

# Handlers that fork and start programs, on every server: a child continues the stream, a program does not inherit a
# connection.

use lib 't/lib';
use Testing;
use Testing::Server;

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

sub child_continues {
    my ($run, $end, $more) = @_;
    my $client = $run->get("/child?end=$end");
    ok $client->read_all, 'the stream ends';
    is $client->text,          $PARENT . $more, 'the events of the parent arrive before those of the child';
    is $run->journal($client), '',              'every push of the child is accepted';
    return;
}

sub program_holds_nothing {
    my ($run, $how) = @_;
    my $other  = $run->get('/keep');
    my $client = $run->get("/program?how=$how");
    ok $other->read_until(qr/data: kept/), 'another stream begins' or return;
    my ($pid) = $run->journal_ok($client, qr/^program (\d+)$/m, 'the handler starts a program') or return;
    ok $client->read_all, 'the stream ends';
    is $client->text, "data: before\r\n\r\ndata: after\r\n\r\n", 'both events arrive';

    # A program that is started before the head is sent inherits a connection of Feersum.
    if ($run->{name} ne 'Feersum') {
        wait_until(sub { !connections($pid) });    # until it is another program
        is_deeply [connections($pid)], [], 'the program inherits no connection';
    }
    ok kill(0, $pid),  'the program still runs';
    ok !$other->ended, 'the other stream stays open';
    kill KILL => $pid;
    return;
}

for (grep { Testing::Server->tested($_->[0]) } @SERVERS) {
    my ($title, $kind, %option) = @$_;
    my ($name) = $title =~ /\A([\w:]+)/;
    subtest $title => sub {
        my $run = Testing::Server->start($name, 't/data/native.psgi', journal => 1, %option);
        if ($kind eq 'blocks') {
            for (@ENDS) {
                my ($end, $more) = @$_;
                subtest "a child that ends by $end continues the stream" => sub { child_continues($run, $end, $more) };
            }
        }
        for my $how (qw(backticks system pipe exec)) {
            subtest "a program started by $how does not hold the connection" =>
                sub { program_holds_nothing($run, $how) };
        }
        my $client = $run->get('/child?end=close-and-exit');
        ok $client->read_until(qr/parent 100/), 'the server answers the next request';
    };
}

done_testing;

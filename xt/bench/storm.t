# The checker of bench/storm: it finds each fault of a server that has one, and none of a server that has none. And
# bench/storm itself, in its small form.

use lib qw(t/lib bench/streams/lib);
use Testing;
use Testing::Developer qw(needs_command);
use IO::Select;
use IO::Socket::INET;
use Load;
use POSIX       ();
use Time::HiRes qw(sleep time);

my $CLIENTS = 5;
my $FAULTY  = 10;    # the number of the event that is faulty

needs_command('cargo');
Load->build;

# What a server does wrong, and what the checker says of each client.
my @FAULTS = (
    ['nothing',                {}],
    ['an event is not sent',   {silent       => 1}, block => {$FAULTY => []}],
    ['an event is sent twice', {twice        => 1}, block => {$FAULTY => [$FAULTY, $FAULTY]}],
    ['two events are swapped', {out_of_order => 1}, block => {$FAULTY => [$FAULTY + 1], $FAULTY + 1 => [$FAULTY]}],
    ['data is torn',           {malformed    => 1}, block => {$FAULTY => ['torn', $FAULTY]}],
    ['a returning client misses events',        {silent => 2}, skip => 2],
    ['a returning client is told of the gap',   {told => 2, gaps => 1}, skip => 2, says => "event: gap\ndata: {}\n\n"],
    ['another name is not the documented gap',  {silent => 2},          skip => 2, says => "event: lost\ndata: {}\n\n"],
    ['a returning client is sent events again', {twice  => 3},          skip => -3],
);

for my $row (@FAULTS) {
    my ($what, $expected, %fault) = @$row;
    my ($server, $port) = serve(%fault);
    my $publisher = Load->start('publisher', port => $port, way => 'alone');
    $publisher->answer(10);
    my $clients = Load->start('returning', port => $port, streams => $CLIENTS, open => 1);
    $clients->answer(10);
    $publisher->tell('pace 0.002 60');
    reached($clients, $FAULTY + 5);
    $clients->ask($_, 10) for qw(mark cut);
    reached($clients, $clients->ask('tell', 10)->{slowest} + 20);
    my $newest = $publisher->ask('halt', 10)->{newest} - 1;    # the newest one waits in the server
    reached($clients, $newest);
    my %found = (%{$clients->ask('tell', 10)}, %{$clients->ask("judge $newest", 10)});
    my %wrong =
        map { ($_ => $found{$_} / $CLIENTS) } grep { $found{$_} } qw(told silent twice out_of_order gaps malformed);
    is_deeply \%wrong,                      $expected,     "the checker says so: $what";
    is_deeply [@found{qw(returns behind)}], [$CLIENTS, 0], "every client is back: $what";
    $_->stop for $clients, $publisher;
    kill KILL => $server;
    waitpid $server, 0;
}

my $report   = `$^X bench/storm --quick --only EventSource 2>&1`;
my $status   = $?;
my @measured = $report =~ /^EventSource-XS, application +(200) /mg;
is_deeply [$status, scalar @measured], [0, 7], 'bench/storm measures seven storms, in which nothing is lost in silence'
    or diag $report;

done_testing;

# Waits until every client has received the number, or a later one.
sub reached {
    my ($clients, $number) = @_;
    my $until = time + 20;
    sleep 0.01 while $clients->ask('tell', 10)->{slowest} < $number && time < $until;
    return;
}

# Starts a server: POST publishes a numbered event, GET follows. `block` has the numbers to send in place of one; a client that
# returns continues so many events too late (`skip`), after being told something (`says`). Returns its pid and port.
sub serve {
    my %fault    = @_;
    my $listener = IO::Socket::INET->new(Listen => 64, LocalAddr => '127.0.0.1') or die "no listener: $!\n";
    defined(my $pid = fork) or die "fork: $!\n";
    return ($pid, $listener->sockport) if $pid;
    local $SIG{PIPE} = 'IGNORE';
    my ($ready, @events, %next) = IO::Select->new($listener);
    while (my @sockets = $ready->can_read) {
        for my $socket (@sockets) {
            if    ($socket == $listener) { $ready->add(scalar $listener->accept); next }
            if    (!sysread $socket, my $request, 65_536) { $ready->remove($socket); delete $next{$socket}; next }
            elsif ($request =~ /\APOST .*\r\n\r\n(.+)\z/s) {
                push @events, $1;
                syswrite $socket, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
            }
            elsif ($request =~ /\AGET /) {
                my ($id) = $request =~ /^Last-Event-ID: ([0-9]+)/m;
                $next{$socket} =
                    {socket => $socket, number => defined $id ? $id + 1 + ($fault{skip} || 0) : @events + 1};
                syswrite $socket, "HTTP/1.1 200 OK\r\n\r\n: hello\n\n" . (defined $id && $fault{says} || '');
            }
        }
        for my $client (values %next) {
            while ($client->{number} < @events) {    # so that it can be swapped with the next one
                my $number = $client->{number}++;
                for my $sent (@{($fault{block} || {})->{$number} || [$number]}) {
                    my $data = $sent eq 'torn' ? '0 0 7 xx 8' : $events[$sent - 1];
                    syswrite $client->{socket}, "id: $number\ndata: $data\n\n";
                }
            }
        }
    }
    return POSIX::_exit(0);
}

# Slow clients: the memory for each is bounded, and no other client is delayed.

use lib 't/lib';
use Testing;
use Testing::Client;
use IO::Select              ();
use Testing::NumberedEvents qw(numbers);
use Testing::Process        qw(memory_of);
use Testing::SlowReader;
use Testing::StreamServer qw(on_each_server path);

my $BUFFER   = 100_000;     # bytes
my $MEGABYTE = 1_048_576;

my @BLOCKS = ('HTTP::Server::PSGI', 'Starman');

sub disconnects_slow_client {
    my ($server, %setting) = @_;
    my $lost   = $server->stats->{lost};
    my $client = $server->stream(name => 'slow', class => 'Testing::SlowReader', max_buffered => $BUFFER, %setting);
    my $taken  = $server->push(name => 'slow', count => 500, bytes => 10_000);
    cmp_ok $taken, '>=', 9,   'pushes are accepted up to max_buffered';
    cmp_ok $taken, '<',  500, 'pushes beyond max_buffered are refused';
    $server->ended_ok('slow', 'slow', 'the stream ends with the reason slow');
    is $server->push(name => 'slow'), 0, 'a push returns false afterwards';
    $client->read_all;
    my @got = numbers(substr $client->text, 0, 4 + rindex $client->text, "\r\n\r\n");    # the last one may be cut
    is_deeply \@got, [1 .. @got], 'the received events are in order';
    cmp_ok scalar @got, '<', $taken, 'the buffered events are lost';
    is $server->stats->{lost} - $lost, $taken - @got, 'the lost events are counted';
    return $server->rests_ok;
}

# Between two pushes no more than max_buffered is buffered, and the newest event always is.
sub drops_oldest_events {
    my $server  = shift;
    my %setting = (on_full => 'drop_oldest', max_buffered => $BUFFER);
    my $client  = $server->stream(name => 'lossy', class => 'Testing::SlowReader', %setting);
    my $before  = $server->stats->{lost};
    my $most    = 0;
    my $bound   = $BUFFER + 2 * 3_100;
    for my $hundred (0 .. 9) {
        is $server->push(name => 'lossy', from => 100 * $hundred + 1, count => 100, bytes => 3_000), 100,
            'all pushes are accepted';
        my $buffered;
        wait_until($DEADLINE, sub { ($buffered = $server->stats->{held}{lossy}{buffered}) <= $bound });
        $most = $buffered if $most < $buffered;
    }
    cmp_ok $most, '>',  $BUFFER / 2, 'events are buffered';
    cmp_ok $most, '<=', $bound,      'no more than max_buffered and a partly sent event are buffered';
    ok $client->read_until(qr/^id: 1000\r\n.*\r\n\r\n/m), 'the newest event arrives';
    my @got = numbers($client->text);
    is_deeply \@got, [sort { $a <=> $b } @got], 'the received events are whole and in order';
    is $got[0], 1, 'the first event arrives';
    cmp_ok scalar @got, '<', 900, 'some events are lost';
    is_deeply [@got[-20 .. -1]], [981 .. 1_000], 'the newest events arrive';
    is $server->stats->{lost} - $before,              1_000 - @got, 'the lost events are counted';
    is $server->push(name => 'lossy', from => 1_001), 1,            'the stream accepts a push';
    ok $client->read_until(qr/^id: 1001\r\n.*\r\n\r\n/m), 'the next event arrives';
    $client->leave;
    return $server->rests_ok;
}

sub accepts_large_event {
    my ($server, %setting) = @_;
    my $client = $server->stream(name => 'large', class => 'Testing::SlowReader', max_buffered => 1_000, %setting);
    for my $number (1, 2) {
        my $empty = sub { !$server->stats->{held}{large}{buffered} };
        ok wait_until($DEADLINE, $empty), 'no byte is buffered';
        is $server->push(name => 'large', from => $number, bytes => 300_000), 1,
            'an event larger than max_buffered is accepted';
        ok $client->read_until(qr/^id: $number\r\n.*\r\n\r\n/m), 'an event larger than max_buffered arrives';
    }
    is_deeply [numbers($client->text)], [1, 2], 'both events arrive whole';
    $client->leave;
    return $server->rests_ok;
}

# 40 of 200 readers never read.
sub serves_others_in_time {
    my $server = shift;
    my @bad =
        map { $server->stream(name => "bad$_", class => 'Testing::SlowReader', max_buffered => $BUFFER) } 1 .. 40;
    my @good = map { $server->stream(name => "good$_", max_buffered => 16 * $MEGABYTE) } 1 .. 160;
    my ($rounds, $each) = (20, 5);
    my %reader = map { (fileno $_->{socket} => $_) } @good;
    my $select = IO::Select->new(map { $_->{socket} } @good);
    for my $round (1 .. $rounds) {
        $server->push(from => 1 + $each * ($round - 1), count => $each, bytes => 10_000);
        my $last = $round * $each;
        my $have = wait_until $DEADLINE, sub {
            !grep { !$_->read_until(qr/^id: $last\r\n.*\r\n\r\n/m, 0.01) } @good;
        };
        return fail "all good clients receive round $round" if !$have;
        if ($round < $rounds) { $_->{numbers} .= join ' ', numbers($_->text), '' for @good; $_->{body} = '' for @good }
    }
    $_->{numbers} .= join ' ', numbers($_->text), '' for @good;
    my $all = join ' ', 1 .. $rounds * $each, '';
    is scalar(grep { $_->{numbers} eq $all } @good), 160, 'clients that read receive every event in order';
    my $stats = $server->stats;
    is scalar(grep { ($stats->{why}{"bad$_"} // '') eq 'slow' } 1 .. 40), 40,
        'clients that do not read are disconnected as slow';
    is scalar(grep { $stats->{held}{"good$_"} } 1 .. 160), 160, 'clients that read are not disconnected';
    $_->leave for @bad, @good;
    return $server->rests_ok;
}

sub reset_peak_memory {
    my $server = shift;
    open my $refs, '>', "/proc/$server->{worker}/clear_refs" or die "clear_refs: $!";
    return print {$refs} "5\n";
}

sub first_event {
    my ($server, %query) = @_;
    my $class = delete $query{class} || 'Testing::SlowReader';
    $server->{worker} = $server->stats->{pid};
    my $client = $class->get($server->port, path('/export', %query));
    $client->read_until(qr/^id: 1\r\n/m) or fail 'the first event arrives';
    return $client;
}

# Returns how many events the handler has pushed when it blocks.
sub pushed_when_blocked {
    my ($server, $name) = @_;
    my ($count,  $same) = (0, 0);
    wait_until $DEADLINE, sub {
        my $now = () = $server->journal($name) =~ /taken/g;
        $same  = $now == $count ? $same + 1 : 0;
        $count = $now;
        return $same >= 20;
    };
    return $count;
}

sub blocks_until_read {
    my $server = shift;
    my ($count, $bytes) = (800, 65_536);
    $server->serves_ok;
    my $client = first_event($server, name => 'fifty', class => 'Testing::Client', count => $count, bytes => $bytes);
    my $waits  = pushed_when_blocked($server, 'fifty');
    cmp_ok $waits, '<', $count / 2, 'the handler blocks';
    my ($before) = memory_of($server->{worker});
    reset_peak_memory($server);
    my @numbers;

    while ($client->read_until(qr/\r\n\r\n/) || length $client->body) {
        $client->{body} =~ s/\A(.*\r\n\r\n)//s or last;
        push @numbers, numbers($1);
        last if $client->ended;
    }
    is_deeply \@numbers, [1 .. $count], '50 MB arrive, whole and in order';
    ok $client->complete, 'the response is complete';
    is $client->body, '', 'nothing but events arrives';
    $server->ended_ok('fifty', 'application');
    my (undef, $most) = memory_of($server->{worker});
    cmp_ok $most - $before, '<', 6, 'the process grows by less than 6 MB';
    note "$waits events fit on the way; $before MB, at most $most";
    return;
}

sub push_is_interrupted {
    my $server = shift;
    my $client =
        first_event($server, name => 'signal', count => 60, bytes => 20_000, alarm => 1, max_buffered => $BUFFER);
    $server->journal_ok('signal', qr/event [0-9]+: alarm, open: 1\n.*alarm/s, 'a signal ends two pushes');
    ok $client->read_all && $client->complete, 'the client reads to the end';
    my $journal = $server->journal('signal');
    my @taken   = $journal =~ /^event ([0-9]+): taken$/mg;
    my @ended   = $journal =~ /^event ([0-9]+): alarm, open: 1$/mg;
    is @taken + @ended, 60, 'each push is accepted or interrupted';
    cmp_ok $taken[-1], '>', $ended[0], 'pushes are accepted after an interrupted one';
    my %comes = map { ($_ => 1) } my @comes = numbers($client->text);
    ok !$comes{$ended[0]} && !$comes{$ended[1]}, 'nothing of the interrupted pushes arrives';
    is_deeply \@comes, [sort { $a <=> $b } @taken, grep { $comes{$_} } @ended], 'all accepted events arrive in order';
    return $server->ended_ok('signal', 'application');
}

sub client_leaves_during_push {
    my ($server, $name, %how) = @_;
    my $client = first_event($server, name => $name, count => 1_000, bytes => 20_000, max_buffered => $BUFFER);
    pushed_when_blocked($server, $name);
    unlike $server->journal($name), qr/gone/, 'the push blocks';
    $client->leave(%how);
    $server->journal_ok($name, qr/^event [0-9]+: gone\nends$/m, 'the blocked push returns false');
    return $server->ended_ok($name, 'client');
}

on_each_server sub {
    my $server = shift;
    subtest 'a slow client is disconnected'                          => sub { disconnects_slow_client($server) };
    subtest 'with drop_oldest a slow client loses its oldest events' => sub { drops_oldest_events($server) };
    subtest 'an event larger than max_buffered is accepted if nothing is buffered' =>
        sub { accepts_large_event($server) };
    subtest 'with drop_oldest an event larger than max_buffered is accepted' =>
        sub { accepts_large_event($server, on_full => 'drop_oldest') };
    $server->serves_ok;
};
on_each_server([qw(Starman Feersum)] => sub { serves_others_in_time($_[0]) });
on_each_server [@BLOCKS] => sub {
    my $server = shift;
    subtest 'a push blocks until the client reads'           => sub { blocks_until_read($server) };
    subtest 'a signal handler that dies ends a blocked push' => sub { push_is_interrupted($server) };
    subtest 'a client that leaves ends a blocked push'       => sub { client_leaves_during_push($server, 'leaves') };
    subtest 'a client that resets its connection ends a blocked push' =>
        sub { client_leaves_during_push($server, 'resets', reset => 1) };
    $server->serves_ok;
};

done_testing;

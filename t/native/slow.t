# Slow readers: each costs what it may, and delays no one.

use strict;
use warnings;

use lib 't/lib';
use Testing::Client;
use Testing::Deadline       qw(wait_until);
use Testing::Developer      qw(only_developers);
use IO::Select              ();
use Testing::NumberedEvents qw(numbered numbers);
use Testing::SlowReader;
use Testing::StreamServer qw(on_each_server path);
use Test::More;

only_developers();

my $DEADLINE = 20;          # seconds; for what should happen at once
my $MAY_WAIT = 100_000;     # bytes
my $MEGABYTE = 1_048_576;

my @BLOCKS = ('HTTP::Server::PSGI', 'Starman');

sub is_disconnected {
    my ($server, %setting) = @_;
    my $lost   = $server->stats->{lost};
    my $client = $server->stream(name => 'slow', class => 'Testing::SlowReader', max_buffered => $MAY_WAIT, %setting);
    my $taken  = $server->push(name => 'slow', count => 500, bytes => 10_000);
    cmp_ok $taken, '>=', 9,   'what may wait is taken';
    cmp_ok $taken, '<',  500, 'but no more';
    $server->ended_ok('slow', 'slow', 'then the stream is over');
    is $server->push(name => 'slow'), 0, 'and takes nothing';
    $client->read_all;
    my @got = numbers(substr $client->text, 0, 4 + rindex $client->text, "\r\n\r\n");    # the last one may be cut
    is_deeply \@got, [1 .. @got], 'what has come is in order';
    cmp_ok scalar @got, '<', $taken, 'what waited is lost';
    is $server->stats->{lost} - $lost, $taken - @got, 'and counted';
    return $server->rests_ok;
}

# What waits is never more than may, looked at between two pushes. The newest event is always among it.
sub loses_the_oldest {
    my $server  = shift;
    my %setting = (on_full => 'drop_oldest', max_buffered => $MAY_WAIT);
    my $client  = $server->stream(name => 'lossy', class => 'Testing::SlowReader', %setting);
    my $before  = $server->stats->{lost};
    my $most    = 0;
    my $bound   = $MAY_WAIT + 2 * 3_100;
    for my $hundred (0 .. 9) {
        is $server->push(name => 'lossy', from => 100 * $hundred + 1, count => 100, bytes => 3_000), 100,
            'all are taken';
        my $buffered;
        wait_until($DEADLINE, sub { ($buffered = $server->stats->{held}{lossy}{buffered}) <= $bound });
        $most = $buffered if $most < $buffered;
    }
    cmp_ok $most, '>',  $MAY_WAIT / 2, 'they wait';
    cmp_ok $most, '<=', $bound,        'but no more than may, and what is partly sent';
    ok $client->read_until(qr/^id: 1000\r\n.*\r\n\r\n/m), 'the newest event comes';
    my @got = numbers($client->text);
    is_deeply \@got, [sort { $a <=> $b } @got], 'those that come are whole and in order';
    is $got[0], 1, 'beginning with the first';
    cmp_ok scalar @got, '<', 900, 'some are lost';
    is_deeply [@got[-20 .. -1]], [981 .. 1_000], 'none of the newest';
    is $server->stats->{lost} - $before,              1_000 - @got, 'they are counted';
    is $server->push(name => 'lossy', from => 1_001), 1,            'the stream goes on';
    ok $client->read_until(qr/^id: 1001\r\n.*\r\n\r\n/m), 'with all that can be sent';
    $client->leave;
    return $server->rests_ok;
}

sub takes_a_large_one {
    my ($server, %setting) = @_;
    my $client = $server->stream(name => 'large', class => 'Testing::SlowReader', max_buffered => 1_000, %setting);
    for my $number (1, 2) {
        my $empty = sub { !$server->stats->{held}{large}{buffered} };
        ok wait_until($DEADLINE, $empty), 'nothing waits';
        is $server->push(name => 'large', from => $number, bytes => 300_000), 1, 'a large event is taken';
        ok $client->read_until(qr/^id: $number\r\n.*\r\n\r\n/m), 'and comes';
    }
    is_deeply [numbers($client->text)], [1, 2], 'both are whole';
    $client->leave;
    return $server->rests_ok;
}

# Of 200 readers 40 never read.
sub delays_no_one {
    my $server = shift;
    my @bad =
        map { $server->stream(name => "bad$_", class => 'Testing::SlowReader', max_buffered => $MAY_WAIT) } 1 .. 40;
    my @good = map { $server->stream(name => "good$_", max_buffered => 16 * $MEGABYTE) } 1 .. 160;
    my ($rounds, $each) = (20, 5);
    my %reader = map { (fileno $_->{socket} => $_) } @good;
    my $select = IO::Select->new(map { $_->{socket} } @good);
    for my $round (1 .. $rounds) {
        $server->push(from => 1 + $each * ($round - 1), count => $each, bytes => 10_000);
        my $last = $round * $each;
        my $have = wait_until(
            $DEADLINE,
            sub {
                !grep { !$_->read_until(qr/^id: $last\r\n.*\r\n\r\n/m, 0.01) } @good;
            }
        );
        return fail "round $round came to all" if !$have;
        if ($round < $rounds) { $_->{numbers} .= join ' ', numbers($_->text), '' for @good; $_->{body} = '' for @good }
    }
    $_->{numbers} .= join ' ', numbers($_->text), '' for @good;
    my $all = join ' ', 1 .. $rounds * $each, '';
    is scalar(grep { $_->{numbers} eq $all } @good), 160, 'those who read get all events, in order';
    my $stats = $server->stats;
    is scalar(grep { ($stats->{why}{"bad$_"} // '') eq 'slow' } 1 .. 40), 40,  'those who do not are ended';
    is scalar(grep { $stats->{held}{"good$_"} } 1 .. 160),                160, 'the others are not';
    $_->leave for @bad, @good;
    return $server->rests_ok;
}

# Megabytes that the process uses, now and at most since the last time that was asked for.
sub memory {
    my $server = shift;
    open my $status, '<', "/proc/$server->{worker}/status" or die "status: $!";
    my %status = map { /\A(\w+):\s+([0-9]+) kB/ ? ($1 => $2 / 1_024) : () } readline $status;
    return @status{qw(VmRSS VmHWM)};
}

sub forget_most {
    my $server = shift;
    open my $refs, '>', "/proc/$server->{worker}/clear_refs" or die "clear_refs: $!";
    return print {$refs} "5\n";
}

sub begun {
    my ($server, %query) = @_;
    my $class = delete $query{class} || 'Testing::SlowReader';
    $server->{worker} = $server->stats->{pid};
    my $client = $class->get($server->port, path('/export', %query));
    $client->read_until(qr/^id: 1\r\n/m) or fail 'it begins';
    return $client;
}

# How many events the handler has pushed when it comes no further.
sub waits_at {
    my ($server, $name) = @_;
    my ($count,  $same) = (0, 0);
    wait_until(
        $DEADLINE,
        sub {
            my $now = () = $server->journal($name) =~ /taken/g;
            $same  = $now == $count ? $same + 1 : 0;
            $count = $now;
            return $same >= 20;
        }
    );
    return $count;
}

sub exports {
    my $server = shift;
    my ($count, $bytes) = (800, 65_536);
    $server->serves_ok;
    my $client = begun($server, name => 'fifty', class => 'Testing::Client', count => $count, bytes => $bytes);
    my $waits  = waits_at($server, 'fifty');
    cmp_ok $waits, '<', $count / 2, 'the handler waits';
    my ($before) = memory($server);
    forget_most($server);
    my @numbers;

    while ($client->read_until(qr/\r\n\r\n/) || length $client->body) {
        $client->{body} =~ s/\A(.*\r\n\r\n)//s or last;
        push @numbers, numbers($1);
        last if $client->ended;
    }
    is_deeply \@numbers, [1 .. $count], '50 MB come, whole and in order';
    ok $client->complete, 'to the end';
    is $client->body, '', 'and nothing else';
    $server->ended_ok('fifty', 'application');
    my (undef, $most) = memory($server);
    cmp_ok $most - $before, '<', 6, 'within some megabytes';
    note "$waits events fit on the way; $before MB, at most $most";
    return;
}

sub is_interrupted {
    my $server = shift;
    my $client = begun($server, name => 'signal', count => 60, bytes => 20_000, alarm => 1, max_buffered => $MAY_WAIT);
    $server->journal_ok(
        'signal',
        qr/event [0-9]+: alarm, open: 1\n.*alarm/s,
        'a push is ended by a signal, and another'
    );
    ok $client->read_all && $client->complete, 'then the client reads';
    my $journal = $server->journal('signal');
    my @taken   = $journal =~ /^event ([0-9]+): taken$/mg;
    my @ended   = $journal =~ /^event ([0-9]+): alarm, open: 1$/mg;
    is @taken + @ended, 60, 'each push was taken or ended';
    cmp_ok $taken[-1], '>', $ended[0], 'some were taken after one that was not';
    my %comes = map { ($_ => 1) } my @comes = numbers($client->text);
    ok !$comes{$ended[0]} && !$comes{$ended[1]}, 'of those that waited in vain nothing comes';
    is_deeply \@comes, [sort { $a <=> $b } @taken, grep { $comes{$_} } @ended], 'but all that were taken, in order';
    return $server->ended_ok('signal', 'application');
}

sub is_left_while_it_waits {
    my ($server, $name, %how) = @_;
    my $client = begun($server, name => $name, count => 1_000, bytes => 20_000, max_buffered => $MAY_WAIT);
    waits_at($server, $name);
    unlike $server->journal($name), qr/gone/, 'it waits';
    $client->leave(%how);
    $server->journal_ok($name, qr/^event [0-9]+: gone\nends$/m, 'its push returns false');
    return $server->ended_ok($name, 'client');
}

on_each_server(
    sub {
        my $server = shift;
        subtest 'a slow reader is disconnected'      => sub { is_disconnected($server) };
        subtest 'or loses its oldest events'         => sub { loses_the_oldest($server) };
        subtest 'an event of any size may be alone'  => sub { takes_a_large_one($server) };
        subtest 'or with nothing but itself to lose' => sub { takes_a_large_one($server, on_full => 'drop_oldest') };
        $server->serves_ok;
    }
);
on_each_server(sub { delays_no_one($_[0]) }, 'Starman', 'Feersum');
on_each_server(
    sub {
        my $server = shift;
        subtest 'a handler waits for its reader'  => sub { exports($server) };
        subtest 'a signal ends its wait'          => sub { is_interrupted($server) };
        subtest 'so does the client, that leaves' => sub { is_left_while_it_waits($server, 'leaves') };
        subtest 'or resets'                       => sub { is_left_while_it_waits($server, 'resets', reset => 1) };
        $server->serves_ok;
    },
    @BLOCKS
);

done_testing;

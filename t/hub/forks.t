# Hubs and processes: each has its own, with an epoch of its own; a process that ends tells its clients to come back.

use strict;
use warnings;

use lib 't/lib';
use Testing::Deadline qw(wait_until);
use EventSource::XS;
use Test::More;
BEGIN { plan skip_all => 'there are no hubs on this system' if !EventSource::XS->can('_next_end') }
use Testing::Client;
use EventSource::Hub;
use Testing::Subscriber qw(blocks events);
use Testing::HubServer  qw(path);
use POSIX               ();

my $DEADLINE = 10;    # seconds; for what should happen at once

# What a child says.
sub in_child {
    my $code = shift;
    pipe my $from, my $to or die "pipe: $!";
    defined(my $pid = fork) or die "fork: $!";
    if (!$pid) {
        close $from;
        my $said = eval { join ' ', $code->() };
        syswrite $to, defined $said ? $said : "died: $@";
        close $to;
        POSIX::_exit(0);
    }
    close $to;
    my $said = do { local $/; readline $from };
    waitpid $pid, 0;
    return $? ? "status $?: $said" : $said;
}

subtest 'a child has a hub of its own' => sub {
    my $hub      = EventSource::Hub->new;
    my $follower = Testing::Subscriber->open($hub, 'a');
    my $epoch    = $hub->epoch;
    $hub->publish(a => $_) for 1 .. 3;
    is_deeply [$follower->data(3)], [1, 2, 3], 'the parent has a stream';
    my ($id, $published, $streams, $own, $others) = split / /, in_child(
        sub {
            my $id    = $hub->publish(a => 'in the child');
            my $own   = Testing::Subscriber->open($hub, 'a', {start => 'oldest'});
            my @own   = $own->data(1);
            my $taken = $hub->subscribe($follower->conn, 'b') ? 'taken' : 'refused';
            $hub->unsubscribe($follower->conn);
            return (
                $id,
                @{$hub->stats}{qw(published streams)},
                @own == 1 && $own[0] eq 'in the child' ? 'own' : "@own", $taken
            );
        }
    );
    like $id,   qr/\A[0-9a-v]{8}-1\z/, 'which begins anew';
    unlike $id, qr/\A\Q$epoch\E-/,     'with an epoch of its own';
    is "$published $streams $own $others", '1 1 own refused',
        'and its own streams and counts; the parent\'s are not its';
    is $hub->epoch,           $epoch,     'the parent keeps its epoch';
    is $hub->publish(a => 4), "$epoch-4", 'and its sequence';
    is_deeply [$follower->data(4)], [1 .. 4], 'its stream goes on, without what the child has published';
    like in_child(sub { undef $hub; undef $follower; return 'gone' }), qr/gone/, 'a child that lets go of it';
    $hub->publish(a => 5);
    is_deeply [$follower->data(5)], [1 .. 5], 'ends nothing';
    my $foreign = Testing::Subscriber->open($hub, 'a', {last_event_id => $id});
    is_deeply [map { $_->{event} } grep { defined $_->{data} } $foreign->blocks_at(1)], ['gap'],
        "a child's id is told from one's own";
};

subtest 'a hub that was not used before' => sub {
    my $hub    = EventSource::Hub->new;
    my @epochs = map {
        in_child(sub { return $hub->epoch })
    } 1, 2;
    isnt $epochs[0],  $epochs[1], 'has an epoch in each process';
    isnt $hub->epoch, $_,         'none of them the parent\'s' for @epochs;
    my $grandchild = in_child(
        sub {
            $hub->publish(a => 1);
            return in_child(sub { return $hub->publish(a => 1) });
        }
    );
    like $grandchild, qr/-1\z/, 'nor that of a child of a child';
};

subtest 'a process that ends' => sub {
    my $hub  = EventSource::Hub->new;
    my $file = "$0.$$";
    my ($number, $client) = Testing::StreamPair->connect;
    defined(my $pid = fork) or die "fork: $!";
    if (!$pid) {
        my $stream = EventSource::Stream::Native->open(
            $number, "HTTP/1.1 200 OK\r\n\r\n",
            is_loop      => 1,
            keepalive    => 0,
            linger       => 2,
            max_buffered => 1e6,
            on_slow      => 'disconnect',
            opening      => '',
            timeout      => 60,
            retry        => 700
        );
        $hub->subscribe(Plack::App::EventSource::Connection->new(stream => $stream), 'a');
        $hub->publish(a => $_) for 1 .. 100;
        Test::More->builder->no_ending(1);
        exit 0;
    }
    POSIX::close($number);
    ok $client->read_all, 'ends its streams';
    waitpid $pid, 0;
    my @blocks = blocks($client->body);
    is_deeply [map { $_->{data} } grep { defined $_->{data} } @blocks], [1 .. 100], 'after what was published';
    my ($retry) = grep { defined } map { $_->{retry} } @blocks;
    ok defined $retry && $retry >= 700 && $retry <= 1_400, 'and tells each client when to come back'
        or diag $client->body;
};

subtest 'workers of a server' => sub {
    Testing::Server->require_or_skip_all('Starman');
    for my $row (['without a word about it', {per_process => undef}, 1], ['with per_process', {per_process => 1}, 0]) {
        my ($what, $settings, $warned) = @$row;
        my $server =
            Testing::HubServer->start('Starman', workers => 3, args => ['--preload-app'], settings => $settings);
        my %epochs;
        wait_until($DEADLINE,
            sub { my $stats = $server->stats; $epochs{$stats->{pid}}{$stats->{epoch}} = 1; keys %epochs >= 3 });
        is scalar keys %epochs, 3, "$what: three workers answer";
        my %all = map { %$_ } values %epochs;
        is scalar keys %all, 3, 'each has an epoch';
        is_deeply [grep { keys %$_ != 1 } values %epochs], [], 'and keeps it';
        my (%hit, @clients);
        wait_until(
            $DEADLINE,
            sub {
                push @clients, $server->stream('/hub', channels => 'a');
                my ($epoch) = $clients[-1]->body =~ /^id: (\w+)-/m;
                $hit{$epoch}++;
                return keys %hit == 3;
            }
        );
        is_deeply [sort keys %hit], [sort keys %all], 'each has streams, with ids of its epoch';
        my $warnings = () = $server->log =~ /EventSource::Hub: this server has several processes/g;
        is $warnings, $warned * 3, $warned ? 'each has warned once' : 'none has warned';
        kill TERM => $server->{pid};
        my @ended = grep { $_->read_all } @clients;
        is scalar @ended,                                           @clients, 'they end with their server';
        is scalar(grep { (blocks($_->text))[-1]{retry} } @clients), @clients, 'told when to come back';
        $server->stop;
    }
};

subtest 'a child of a handler' => sub {
    for my $name ('HTTP::Server::PSGI', 'Starman') {
        Testing::Server->require_or_skip_all($name);
        my $server = Testing::HubServer->start($name);
        my $stats  = $server->stats;
        my $client = $server->stream('/hub', channels => 'a');
        is $server->ask('/forks', epoch => $stats->{epoch}), 0,               "$name: it publishes for itself";
        is $server->stats->{epoch},                          $stats->{epoch}, 'the parent keeps its hub';
        $server->publish(channel => 'a', from => 7);
        ok $client->read_until(qr/^data: 7/m), 'and its streams';
        is_deeply [map { $_->{data} =~ s/\..*//r } events($client->text)], [7], 'which get nothing of the child\'s';
        $server->stop;
    }
};

done_testing;

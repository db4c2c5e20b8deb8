# Hubs and processes: each process has a hub of its own with its own epoch; a process that ends sends its clients a
# retry.

use lib 't/lib';
use Testing       qw(native);
use Testing::Fork qw(in_child);
use EventSource::Hub;
use Testing::Subscriber qw(blocks events);
use Testing::HubServer;
use POSIX ();

subtest 'a child has a hub of its own' => sub {
    my $hub        = EventSource::Hub->new;
    my $subscriber = Testing::Subscriber->open($hub, 'a');
    my $epoch      = $hub->epoch;
    $hub->publish(a => $_) for 1 .. 3;
    is_deeply [$subscriber->data(3)], [1, 2, 3], 'a stream of the parent receives three events before the fork';
    my ($id, $published, $streams, $own, $others) = split / /, in_child(
        sub {
            my $id    = $hub->publish(a => 'in the child');
            my $own   = Testing::Subscriber->open($hub, 'a', {start => 'oldest'});
            my @own   = $own->data(1);
            my $taken = $hub->subscribe($subscriber->conn, 'b') ? 'taken' : 'refused';
            return (
                $id,
                @{$hub->stats}{qw(published streams)},
                @own == 1 && $own[0] eq 'in the child' ? 'own' : "@own", $taken
            );
        }
    )->();
    like $id,   qr/\A[0-9a-v]{8}-1\z/, "the first event of a child's hub has the number 1";
    unlike $id, qr/\A\Q$epoch\E-/,     "a child's hub has its own epoch";
    is "$published $streams $own $others", '1 1 own refused',
        "a child's hub has its own streams and counts, and refuses the parent's stream";
    is $hub->epoch,           $epoch,     "the parent's epoch is unchanged after a child has published";
    is $hub->publish(a => 4), "$epoch-4", "the parent's sequence continues after a child has published";
    is_deeply [$subscriber->data(4)], [1 .. 4], "the parent's stream receives none of the child's events";
    like in_child(sub { undef $hub; undef $subscriber; return 'gone' })->(), qr/gone/,
        'a child destroys its copies of hub and stream';
    $hub->publish(a => 5);
    is_deeply [$subscriber->data(5)], [1 .. 5], "the parent's stream is open after a child has destroyed its copies";
    my $foreign = Testing::Subscriber->open($hub, 'a', {last_event_id => $id});
    is_deeply [map { $_->{event} } grep { defined $_->{data} } $foreign->blocks_at(1)], ['gap'],
        "an id of a child's hub gives a gap in the parent";
};

subtest 'a hub that was not used before the fork' => sub {
    my $hub    = EventSource::Hub->new;
    my @epochs = map {
        in_child(sub { return $hub->epoch })->()
    } 1, 2;
    isnt $epochs[0],  $epochs[1], 'two children have different epochs';
    isnt $hub->epoch, $_,         'the epoch of a child is not that of the parent' for @epochs;
    my $grandchild = in_child(
        sub {
            $hub->publish(a => 1);
            return in_child(sub { return $hub->publish(a => 1) })->();
        }
    )->();
    like $grandchild, qr/-1\z/, 'a child of a child has a hub of its own';
};

subtest 'a process that exits ends the streams of its hub' => sub {
    my $hub  = EventSource::Hub->new;
    my $file = "$0.$$";
    my ($number, $client) = Testing::StreamPair->connect;
    defined(my $pid = fork) or die "fork: $!";
    if (!$pid) {
        my $stream = Testing::StreamPair->stream($number, retry => 700);
        $hub->subscribe(Plack::App::EventSource::Connection->new(stream => $stream), 'a');
        $hub->publish(a => $_) for 1 .. 100;
        Test::More->builder->no_ending(1);
        exit 0;
    }
    POSIX::close($number);
    ok $client->read_all, 'the stream of a process that exits ends';
    waitpid $pid, 0;
    my @blocks = blocks($client->body);
    is_deeply [map { $_->{data} } grep { defined $_->{data} } @blocks], [1 .. 100],
        'all published events arrive before the stream of an exiting process ends';
    my ($retry) = grep { defined } map { $_->{retry} } @blocks;
    ok defined $retry && $retry >= 700 && $retry <= 1_400,
        'the client of an exiting process receives a retry within its range'
        or diag $client->body;
};

subtest 'workers of a server' => sub {
    for my $row (['without per_process', {per_process => undef}, 1], ['with per_process', {per_process => 1}, 0]) {
        my ($what, $settings, $warned) = @$row;
        my $server =
            Testing::HubServer->start('Starman', workers => 3, args => ['--preload-app'], settings => $settings);
        my %epochs;
        wait_until(sub { my $stats = $server->stats; $epochs{$stats->{pid}}{$stats->{epoch}} = 1; keys %epochs >= 3 });
        is scalar keys %epochs, 3, "$what: three workers answer";
        my %all = map { %$_ } values %epochs;
        is scalar keys %all, 3, 'each of three workers has its own epoch';
        is_deeply [grep { keys %$_ != 1 } values %epochs], [], 'each worker keeps its epoch';
        my (%hit, @clients);
        wait_until sub {
            push @clients, $server->stream('/hub', channels => 'a');
            my ($epoch) = $clients[-1]->body =~ /^id: (\w+)-/m;
            $hit{$epoch}++;
            return keys %hit == 3;
        };
        is_deeply [sort keys %hit], [sort keys %all], 'each worker has streams with ids of its epoch';
        my $warnings = () = $server->log =~ /EventSource::Hub: this server may have several processes/g;
        is $warnings, $warned * 3, $warned ? 'each worker has warned once' : 'no worker has warned';
        kill TERM => $server->{pid};
        my @ended = grep { $_->read_all } @clients;
        is scalar @ended, @clients, 'all streams end with their server';
        is scalar(grep { (blocks($_->text))[-1]{retry} } @clients), @clients,
            'each stream of an ending server receives a retry';
    }
};

subtest 'a child that a handler forks' => sub {
    for my $name ('HTTP::Server::PSGI', 'Starman') {
        my $server = Testing::HubServer->start($name);
        my $stats  = $server->stats;
        my $client = $server->stream('/hub', channels => 'a');
        is $server->ask('/forks', epoch => $stats->{epoch}), 0, "$name: it publishes for itself";
        is $server->stats->{epoch}, $stats->{epoch},
            "the parent's epoch is unchanged after a handler's child has published";
        $server->publish(channel => 'a', from => 7);
        ok $client->read_until(qr/^data: 7/m),
            "the parent's stream receives an event after a handler's child has published";
        is_deeply [map { $_->{data} =~ s/\..*//r } events($client->text)], [7],
            "the parent's stream receives no event of a handler's child";
    }
};

done_testing;

# A hub that keeps its events in a file: they survive a killed hub process and a restart of the whole application. Clients
# receive a gap only if the file is removed.

use lib 't/lib';
use Testing qw(Machine);
use Testing::RoamingClient;

my $folder  = new_folder;
my $file    = "$folder/events.db";
my $machine = Testing::Machine->start({file => $file}, workers => 4);

sub client { return Testing::RoamingClient->open($machine, channels => 'news', @_) }

my @ids;

subtest 'the counters report the store' => sub {
    my $client = client();
    push @ids, map { $machine->publish(news => $_) } 1 .. 5;
    ok $client->has(5), 'a client receives the events';
    is_deeply [$client->ids], \@ids, 'with their ids';
    my $store = $machine->stats->{store};
    is_deeply [@$store{qw(kind place last_error)}], ['file', $file, undef], 'kind, place, no error';
    ok $store->{up}, 'it is up';
    is $store->{pending}, 0, 'nothing waits';
    ok -s $file, 'the file has bytes';
    my $metrics = EventSource::Hub::Process->connect($machine->place)->openmetrics;
    like $metrics, qr/^eventsource_send_seconds_count\{hub="shop"\} 5$/m, 'the time of each event is measured';
};

subtest 'the hub process is killed: clients come back and miss nothing' => sub {
    my @clients = map { client() } 1 .. 3;
    my $count   = @ids;
    for my $round (1 .. 3) {
        push @ids, map { $machine->publish(news => "round $round $_") } 1 .. 5;
        $machine->kill_hub;
        push @ids, $machine->publish_at_last(news => "after $round", once => "after $round");
        ok $_->has("after $round"), 'a client receives the next event' for @clients;
    }
    is_deeply [$_->ids],                   [@ids[$count .. $#ids]], 'all events once and in order' for @clients;
    is_deeply [map { $_->gaps } @clients], [0, 0, 0],               'no client received a gap';
    is $machine->publish(news => 'again', once => 'after 2'), $ids[$count + 11], 'a key once is remembered';
    my $old = client(id => $ids[0]);
    ok $old->has('after 3'), 'a client with the first id resumes';
    is_deeply [$old->ids], [@ids[1 .. $#ids]], 'all that it has missed';
    is $old->gaps, 0, 'without a gap';
};

subtest 'the whole application is restarted: clients miss nothing' => sub {
    my $client = client();
    my $count  = @ids;
    for my $round (1, 2) {
        push @ids, $machine->publish(news => "before $round");
        ok $client->has("before $round"), 'a client receives an event';
        push @ids, $machine->publish(news => "not read $round");
        $machine->restart;
        push @ids, $machine->publish(news => "restarted $round");
        ok $client->has("restarted $round"), 'a client comes back';
    }
    is_deeply [$client->ids], [@ids[$count .. $#ids]], 'all events once and in order';
    is $client->gaps, 0, 'it received no gap';
    $client->leave;
    my $oldest = client(id => $ids[0]);
    ok $oldest->has('restarted 2'), 'a client with the first id of all resumes';
    is_deeply [$oldest->ids], [@ids[1 .. $#ids]], 'all that it has missed';
};

subtest 'the file is removed while the hub is down: clients receive a gap' => sub {
    my $client = client();
    push @ids, $machine->publish(news => 'last of the file');
    ok $client->has('last of the file'), 'a client receives an event';
    $client->leave;
    $machine->server->stop;
    $machine->stop_hub if $machine->hubs;
    wait_until(30, sub { !$machine->hubs });
    unlink glob "$file*" or die "$file: $!\n";
    $machine->restart;
    $client->move($machine);
    ok $client->has_gaps(1), 'the client receives a gap';
    my $id = $machine->publish(news => 'first of the new file');
    ok $client->has('first of the new file'), 'and receives what is published then';
    isnt + ($id =~ /\A(\w+)-/)[0], ($ids[0] =~ /\A(\w+)-/)[0], 'the epoch is new';
    is $client->gaps, 1, 'it received one gap';
};

$machine->end_ok;
my @left = map { s{.*/}{}r } grep { !/\A\Q$file\E/ } glob "$folder/*";
is_deeply \@left, [], 'the store has no other files';

done_testing;

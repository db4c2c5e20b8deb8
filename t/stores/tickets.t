# Tickets of hubs with a store. A hub process that was killed leaves none. Two machines with one Redis: a right that is
# withdrawn on one of them is withdrawn on both; without Redis no ticket opens.

use lib 't/lib';
use Testing qw(native);
use EventSource::Hub;
use EventSource::Hub::Process;
use File::Temp ();
use Test::EventSource;
use Testing::Deadline qw(wait_until);
use Testing::Redis;

my $folder = File::Temp->newdir;
my $asked;

sub hub {
    my ($name, $store) = @_;
    return EventSource::Hub->new(
        name            => 'shop',
        socket          => "$folder/$name.sock",
        store           => $store,
        idle_exit       => 5,
        publish_timeout => 2,
    );
}

sub client {
    my $hub = shift;
    return Test::EventSource->new(
        app => $hub->to_app(channels => sub { $asked++; return 'news' }, label => sub { 'user/7' }, ticket => 600));
}

# The ticket of a new stream.
sub ticket {
    my $header = $_[0]->get('/')->header('Set-Cookie') || '';
    return $header =~ /\A([^;]+)/ ? $1 : undef;
}

sub asked {
    my ($client, $ticket) = @_;
    $asked = 0;
    $client->get('/', headers => [Cookie => $ticket]);
    return $asked;
}

# Kills the hub process, and waits for the next one.
sub kill_hub {
    my $hub = shift;
    my $pid = $hub->stats->{process}{pid};
    kill KILL => $pid;
    return wait_until(
        sub {
            (eval { $hub->stats->{process}{pid} } || $pid) != $pid;
        }
    );
}

subtest 'a file' => sub {
    my $hub    = hub(file => {file => "$folder/events.db"});
    my $client = client($hub);
    my $ticket = ticket($client);
    is asked($client, $ticket), 0, 'a ticket opens';
    EventSource::Hub::Process->upgrade(name => 'shop', socket => "$folder/file.sock");
    is asked($client, $ticket), 0, 'also after an upgrade';
    $hub->end(label => 'user/7');
    EventSource::Hub::Process->upgrade(name => 'shop', socket => "$folder/file.sock");
    is asked($client, $ticket), 1, 'an upgrade does not forget what was withdrawn';
    $ticket = ticket($client);
    is asked($client, $ticket), 0, 'a later ticket opens';
    kill_hub($hub);
    is asked($client, $ticket),         1, 'the next process does not know it';
    is asked($client, ticket($client)), 0, 'it makes its own';
    EventSource::Hub::Process->stop(name => 'shop', socket => "$folder/file.sock");
};

subtest 'Redis' => sub {
    Testing::Redis->require_or_skip_all;
    my $redis   = Testing::Redis->start(appendonly => 'always');
    my @hubs    = map { hub($_, {redis => $redis->url}) } 'one', 'two';
    my @clients = map { client($_) } @hubs;
    my @tickets = map { ticket($_) } @clients;
    is asked($clients[$_], $tickets[$_]),     0, 'a ticket opens'                                             for 0, 1;
    is asked($clients[$_], $tickets[1 - $_]), 1, 'that of another machine does not: the application is asked' for 0, 1;
    $hubs[0]->end(label => 'user/8');
    $hubs[0]->publish(news => 'after it');
    is asked($clients[$_], $tickets[$_]), 0, 'nobody has withdrawn its right' for 0, 1;
    $hubs[0]->end(label => 'user/7');
    is asked($clients[0], $tickets[0]), 1, 'a right that is withdrawn here';
    ok wait_until(sub { asked($clients[1], $tickets[1]) }), 'is withdrawn on the other machine, too';
    @tickets = map { ticket($_) } @clients;
    is asked($clients[$_], $tickets[$_]), 0, 'later tickets open' for 0, 1;
    $redis->kill;
    ok wait_until(sub { !$hubs[0]->stats->{store}{up} }), 'Redis is away';
    is asked($clients[0], $tickets[0]), 1, 'others may have withdrawn a right meanwhile';
    $redis->restart;
    ok wait_until(sub { $hubs[0]->stats->{store}{up} }), 'Redis is back';
    is asked($clients[0], $tickets[0]), 0, 'nobody has';
    $hubs[1]->end(label => 'user/7');
    ok wait_until(sub { asked($clients[0], $tickets[0]) }), 'what is withdrawn now counts';
    my $ticket = ticket($clients[0]);
    is asked($clients[0], $ticket), 0, 'a later ticket opens';
    $redis->command('FLUSHALL');
    ok wait_until(sub { $hubs[0]->stats->{store}{epoch_changes} }), 'Redis has lost its history';
    is asked($clients[0], $ticket), 1, 'nobody knows what was withdrawn in what is lost';
    EventSource::Hub::Process->stop(name => 'shop', socket => "$folder/$_.sock") for 'one', 'two';
};

done_testing;

# The setting `store` reaches the hub process, and all workers have the same one.

use lib 't/lib';
use Testing;
use Testing::Errors qw(error_of);
use Testing::StoredHub;

my $folder = new_folder;

subtest 'a hub without a store' => sub {
    my $stored = Testing::StoredHub->start(undef);
    is_deeply [@{$stored->store}{qw(kind place up pending failed last_error last_error_age)}],
        ['memory', '', 1, 0, 0, undef, undef], 'its store is memory';
    is(Testing::StoredHub->start('memory')->store->{kind}, 'memory', 'and so it is if the application says so');
    ok !EventSource::Hub->new->stats->{store}, 'a hub of this process tells of no store';
};

subtest 'a file' => sub {
    my $path   = "$folder/gr\xC3\xB6\xC3\x9Fe.db";
    my $stored = Testing::StoredHub->start({file => $path, sync => 'event'});
    my $id     = $stored->hub->publish(news => 'one');
    my $store  = $stored->store;
    utf8::decode(my $shown = $path);
    is_deeply [@$store{qw(kind place up pending)}], ['file', $shown, 1, 0], 'is the store, by its name in characters';
    ok -s $path, 'the file is there';
    is_deeply [@$store{qw(lag failed reconnects epoch_changes last_error)}], [0, 0, 0, 0, undef], 'nothing has failed';
    cmp_ok $store->{since}, '>', 0, 'it says since when it is up';
    is error_of(sub { $stored->again(store => {file => "$path.other"})->publish(news => 1) }), 'refused store',
        'another file is refused';
    is error_of(sub { $stored->again(store => {file => $path, sync => 'never'})->publish(news => 1) }), 'refused store',
        'and so is another promise';
    ok $stored->again(store => undef)->publish(news => 'two'), 'a job without a store takes the hub as it is';
    like $stored->hub->epoch, qr/\A[a-z0-9]{8}\z/, 'the epoch is that of the store';
    is index($id, $stored->hub->epoch . '-'), 0, 'with which ids begin';
};

subtest 'EventSource::Server passes the store on' => sub {
    require EventSource::Server;
    my $path   = "$folder/server.db";
    my %hub    = (name => 'shop', socket => "$folder/server.sock", idle_exit => 1);
    my $server = EventSource::Server->new(%hub, store => {file => $path});
    $server->emit('one');
    my $same = EventSource::Hub->new(%hub);
    is $same->stats->{store}{place}, $path, 'to its own hub';
};

subtest 'a relative path counts from here' => sub {
    require Cwd;
    my $before = Cwd::getcwd();
    chdir $folder or die "$folder: $!\n";
    my $stored = Testing::StoredHub->start({file => 'here.db'}, autostart => 1);
    chdir $before or die "$before: $!\n";
    $stored->hub->publish(news => 'one');
    ok -s "$folder/here.db", 'the file is in the working directory of `new`';
};

subtest 'the environment of the process replaces the store of the application' => sub {
    local $ENV{EVENTSOURCE_STORE} = "file:$folder/environment.db?sync=never";
    my $stored = Testing::StoredHub->start({file => "$folder/application.db"});
    $stored->hub->publish(news => 'one');
    is $stored->store->{place}, "$folder/environment.db", 'it has the file of the environment';
    ok !-e "$folder/application.db", 'and not that of the application';
};

subtest 'a wrong environment' => sub {
    local $ENV{EVENTSOURCE_STORE} = 'disk';
    my $stored = Testing::StoredHub->start(undef);
    is error_of(sub { $stored->hub->publish(news => 'one') }), 'unavailable', 'is told at once';
};

done_testing;

# A backup of a hub's file while its events are published, put back in the place of the file, and of a process that is killed
# while it makes one.

use lib 't/lib';
use Testing qw(Machine);
use EventSource::Hub;
use EventSource::Hub::Process;
use File::Copy qw(copy move);
use POSIX      ();
use Testing::CommandLine;
use Testing::Redis;
use Testing::RoamingClient;
use Testing::Fork qw(in_child);

my $folder  = new_folder;
my $file    = "$folder/events.db";
my %history = (keep_history => {bytes => 1 << 27, events => 100_000});
my $machine = Testing::Machine->start({file => $file}, %history);
my $shell   = Testing::CommandLine->new;

# Runs the command.
sub backup {
    my %place = $machine->place;
    return $shell->run(qw(hub backup shop), @_, '--socket', $place{socket});
}

sub history {
    return map { $_->{data} } EventSource::Hub::Process->connect($machine->place)->history('news');
}

# Calls a sub with a connection to a hub that begins with a store and ends then.
sub with_hub {
    my ($socket, $store, $use) = @_;
    my $hub = EventSource::Hub->new(name => 'other', socket => $socket, store => $store, %history);
    $hub->publish(other => 'begun');
    my $process = $hub->process;
    undef $hub;
    $use->($process);
    $process->stop;
    return;
}

# What a hub with such a file has, in its order.
sub data_of {
    my $copy = new_folder;
    copy($_[0], "$copy/db") or die "copy: $!\n";
    my @data;
    with_hub "$copy/s", {file => "$copy/db"}, sub {
        @data = map { $_->{data} } $_[0]->history('news');
    };
    return @data;
}

# Puts a file in the place of the hub's, whose process has ended, and starts everything anew.
sub put_back {
    my ($backup, $put) = @_;
    $machine->server->stop;
    $machine->kill_hub if $machine->hubs;    # its log is left beside the file
    $put->($backup, $file) or die "$file: $!\n";
    $machine->restart;
    return;
}

subtest 'a backup while events are published' => sub {
    $machine->publish(news => "before $_") for 1 .. 5;
    my $filler = EventSource::Hub::Process->connect($machine->place);
    $filler->begin_publish(filler => 'x' x 10_000) for 1 .. 1000;
    is scalar(grep { $_->{error} } $filler->answers), 0, 'a file of some megabytes';
    my $pid = fork // die "fork: $!\n";
    if (!$pid) {
        POSIX::_exit(backup("$folder/backup")->{code});
    }
    my $count = 0;
    until (waitpid $pid, POSIX::WNOHANG()) { $machine->publish(news => 'meanwhile ' . ++$count) }
    is $?, 0, 'the command has ended well';
    $machine->publish(news => 'after');
    my @data = data_of("$folder/backup");
    is_deeply [@data[0 .. 4]],      [map { "before $_" } 1 .. 5],            'it has what was published before';
    is_deeply [@data[5 .. $#data]], [map { "meanwhile $_" } 1 .. @data - 5], 'and a first part of what was then';
    is((stat "$folder/backup")[2] & oct 777, oct 600, 'only the user of the hub may read it');
    my $again = backup("$folder/backup");
    is $again->{code}, 5, 'another one of the same name is refused';
    like $again->{err}, qr/\Aeventsource hub: the file of the backup exists/, 'with the reason';
    is backup("$folder/none/backup")->{code}, 3, 'one in a folder that does not exist fails';
    is backup()->{code},                      2, 'a command without a file is wrong';
};

for my $put ([mv => \&move], [cp => \&copy]) {
    subtest "a backup is put back with $put->[0]" => sub {
        copy("$folder/backup", "$folder/again") or die "copy: $!\n";
        my $client = Testing::RoamingClient->open($machine, channels => 'news');
        my $lost   = $machine->publish(news => 'lost');
        ok $client->has('lost'), 'a client has an event that the backup lacks';
        my @kept = data_of("$folder/backup");
        put_back("$folder/again", $put->[1]);
        unlink "$folder/again";
        $client->move($machine);
        ok $client->has_gaps(1), 'the client receives a gap';
        my $new = $machine->publish_at_last(news => 'new');
        ok $client->has('new'), 'and what is published from then on';
        is_deeply [grep { /reason/ } map { $_->{data} } $client->blocks], ['{"reason":"unknown"}'], 'one gap';
        isnt + ($new =~ /\A(\w+)-/)[0], ($lost =~ /\A(\w+)-/)[0], 'ids are of another epoch';
        my $late = Testing::RoamingClient->open($machine, channels => 'news', id => $new);
        $machine->publish(news => 'last');
        ok $late->has('last'), 'a client with such an id resumes';
        is $late->gaps, 0, 'without a gap';
        is_deeply [history()], [@kept, 'new', 'last'], 'the history is that of the backup';
    };
}

subtest 'the process is killed while it makes a backup' => sub {
    my ($path, @data) = ("$folder/killed", history());
    my $ended = in_child(sub { backup($path); '' });
    ok wait_until($DEADLINE, sub { -s "$path.part" || -e $path }), 'it has begun';
    $machine->kill_hub;
    $ended->();
    is_deeply [-e $path ? data_of($path) : @data], \@data, 'there is none, or a whole one';
    unlink $path;
    $machine->publish_at_last(news => 'killed', once => 'killed');
    is backup($path)->{code}, 0, 'the next one ends well';
    is_deeply [data_of($path)], [@data, 'killed'], 'and is whole';
    is_deeply [glob "$path.*"], [],                'nothing else is left';
};

subtest 'other stores are not backed up so' => sub {
    my $error_of = sub {
        my ($process, $path) = @_;
        local $SIG{__DIE__};
        return eval { $process->backup($path); 1 } ? '' : $@;
    };
    with_hub "$folder/s", undef, sub {
        my $error = $error_of->($_[0], "$folder/none");
        like $error, qr/in memory: give it a store in a file/, 'one in memory';
        is $error->code, 'refused', 'its code';
        like $error_of->($_[0], 'relative'), qr/absolute path of a new file, in UTF-8 at \Q$0\E line/,
            'a path is checked where it is given';
    };
    my $redis = Testing::Redis->start_or_skip_all;
    with_hub "$folder/s",
        {redis => $redis->url},
        sub { like $error_of->($_[0], "$folder/none"), qr/in Redis: back that up by its own means/, 'one in Redis' };
};

$machine->end_ok;

done_testing;

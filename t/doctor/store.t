# The doctor and the store of a hub: its health, a Redis that evicts, a file on a tmpfs.

use lib 't/lib';
use Testing;
use Testing::StoredHub;
use Cwd ();
use EventSource::Hub::Process;
use File::Temp      ();
use Testing::Doctor qw(is_wrong);
use Testing::Redis;
use Testing::Server;

my $SHM    = '/dev/shm';
my $server = Testing::Server->start('HTTP::Server::PSGI', 't/data/hub_process.psgi');

# Runs the doctor for a hub.
sub examined {
    my $stored = shift;
    my @hub    = ('--hub', 'shop', '--socket', $stored->socket, '--workers', $$);
    my $doctor = Testing::Doctor->start('--seconds', 0.3, @hub, $server->url('/none'));
    $doctor->exit_code;
    return $doctor;
}

sub finding { return examined(shift)->finding('hub_store') || {} }

# Publishes events of a thousand bytes, and waits until the store has weighed them.
sub fill {
    my ($stored, $count) = @_;
    $stored->hub->publish(news => 'x' x 1000) for 1 .. $count;
    return eventually_ok $DEADLINE,
        "the store holds $count events, in more bytes than were published, but not in many times more" => sub {
        my ($events, $bytes) = @{$stored->store}{qw(events bytes)};

        # A stream of Redis begins with an entry without an event. A file has a write-ahead log.
        $events >= $count && $events <= $count + 1 && $bytes > 1000 * $count && $bytes < 20_000 * $count;
        };
}

# The words of the report for people.
sub text {
    my $stored = shift;
    my @hub    = ('--hub', 'shop', '--socket', $stored->socket, '--workers', $$);
    my $doctor = Testing::Doctor->start_plain('--seconds', 0.3, @hub, $server->url('/none'));
    $doctor->exit_code;
    return $doctor->log =~ s/\s+/ /gr;
}

subtest 'no store' => sub {
    my $stored = Testing::StoredHub->start(undef);
    $stored->hub->publish(news => 1);
    my $found = finding($stored);
    is $found->{verdict}, 'ok', 'is fine';
    like $found->{sentence}, qr/has no store: its events end with its process/, 'and said';
};

subtest 'a file' => sub {
    my ($disk) = grep { -w && !m{\A/tmp(?:/|\z)} } Cwd::getcwd(), '/var/tmp';
    plan skip_all => 'there is no folder here that outlives a reboot' if !defined $disk;
    my $folder = File::Temp->newdir(DIR => $disk);
    my $stored = Testing::StoredHub->start({file => "$folder/events.db"});
    fill($stored, 30);
    my $found = finding($stored);
    is $found->{verdict}, 'ok', 'on a disk is fine' or diag $found->{sentence};
    is_deeply [@{$found->{measured}}{qw(kind up)}], ['file', 1], 'the health is measured';
    my $size = qr/30 events in [0-9]{5,6} bytes/;
    like text($stored),
        qr/The store of the hub shop \(file\) is up\. It has $size, 0 events wait to be stored\. It was named by a program\./,
        'the report has the figures';
};

subtest 'a file that a reboot empties' => sub {
    plan skip_all => "there is no $SHM here" if !-w $SHM;
    my $folder = File::Temp->newdir(DIR => $SHM);
    my $stored = Testing::StoredHub->start({file => "$folder/events.db"});
    $stored->hub->publish(news => 1);
    my $found = is_wrong(examined($stored), 'hub_store', 'warning', qr/is on a tmpfs, which a reboot empties/, $SHM);
    like $found->{remedy}, qr/local disk/, 'with a remedy';
    my $temporary = File::Temp->newdir(DIR => '/tmp');
    my $other     = Testing::StoredHub->start({file => "$temporary/events.db"});
    $other->hub->publish(news => 1);
    is finding($other)->{verdict}, 'warning', 'so is /tmp';
};

subtest 'Redis' => sub {
    my $redis  = Testing::Redis->start_or_skip_all(maxmemory => '100mb', policy => 'allkeys-lfu');
    my $stored = Testing::StoredHub->start({redis => $redis->url});
    $stored->hub->publish(news => 1);
    my $found =
        is_wrong(examined($stored), 'hub_store', 'warning', qr/maxmemory-policy allkeys-lfu/, 'a Redis that evicts');
    like $found->{remedy}, qr/noeviction/, 'with a remedy';
    $redis->kill;
    my $hub = EventSource::Hub::Process->connect(name => 'shop', socket => $stored->socket, autostart => 0);
    ok wait_until($DEADLINE, sub { !$hub->stats->{store}{up} }), 'it is away';
    my $doctor = examined($stored);
    is_wrong($doctor, 'hub_store', 'wrong', qr/does not deliver: its store \(redis \S+\) is down/, 'away');
    is $doctor->exit_code, 1, 'the exit code is 1';
};

subtest 'figures of Redis, and a history that was lost' => sub {
    my $redis  = Testing::Redis->start_or_skip_all;
    my $stored = Testing::StoredHub->start({redis => $redis->url});
    fill($stored, 30);
    my $store = $stored->store;
    cmp_ok $store->{lag}, '>=', 0,  'the lag is a number of seconds';
    cmp_ok $store->{lag}, '<',  10, 'and not of milliseconds';
    my $size = qr/3[01] events in [0-9]{5,6} bytes/;
    my $lag  = qr/the last one came [0-9.]+ seconds after it was stored/;
    like text($stored),
        qr/The store of the hub shop \(redis\) is up\. It has $size, 0 events wait to be stored, $lag\./,
        'the report has the figures';

    $redis->command('FLUSHALL');
    ok wait_until($DEADLINE, sub { $stored->store->{epoch_changes} }), 'Redis has lost the history';
    my $lost = qr/has lost its history 1 time, and all clients received a gap/;
    is_wrong(examined($stored), 'hub_store', 'warning', $lost, 'a history that was lost');
    like text($stored), qr/WARNING hub_store: .*$lost.* It has .* Remedy: Find the cause: Redis was emptied/,
        'the report says so, with the figures and a remedy';

    like finding($stored)->{sentence}, qr/$lost; it reported [0-9.]+ seconds ago: the (?:key|stream) .*is gone/,
        'the reason is part of the sentence, with its age';
    ok wait_until($DEADLINE, sub { my $now = $stored->store; $now->{events} <= 1 && $now->{bytes} < 10_000 }),
        'the figures are those of the new history';
};

subtest 'no process' => sub {
    my $stored = Testing::StoredHub->start(undef);
    my $doctor = examined($stored);
    is $doctor->finding('hub_store'),              undef,     'has no finding of a store';
    is $doctor->finding('hub_process')->{verdict}, 'warning', 'but one of the process';
};

done_testing;

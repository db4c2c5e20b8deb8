# The doctor and the store of a hub: its health, a Redis that evicts, a file on a tmpfs.

use strict;
use warnings;

use lib 't/lib';
use Test::More;
use Testing::StoredHub;
use Cwd ();
use EventSource::Hub::Process;
use File::Temp         ();
use Testing::Deadline  qw(wait_until);
use Testing::Developer qw(only_developers);
use Testing::Doctor    qw(is_wrong);
use Testing::Redis;
use Testing::Server;

only_developers();

my $DEADLINE = 30;                                                                        # seconds
my $SHM      = '/dev/shm';
my $server   = Testing::Server->start('HTTP::Server::PSGI', 't/data/hub_process.psgi');

# Runs the doctor for a hub.
sub examined {
    my $stored = shift;
    my @hub    = ('--hub', 'shop', '--socket', $stored->socket, '--workers', $$);
    my $doctor = Testing::Doctor->start('--seconds', 0.3, @hub, $server->url('/none'));
    $doctor->exit_code;
    return $doctor;
}

sub finding { return examined(shift)->finding('hub_store') || {} }

subtest 'no store' => sub {
    my $stored = Testing::StoredHub->start(undef);
    $stored->hub->publish(news => 1);
    my $found = finding($stored);
    is $found->{verdict}, 'ok', 'is fine';
    like $found->{sentence}, qr/has no store: its events end with its process/, 'and said';
};

subtest 'a file' => sub {
    my $folder = File::Temp->newdir(DIR => Cwd::getcwd());
    my $stored = Testing::StoredHub->start({file => "$folder/events.db"});
    $stored->hub->publish(news => 1);
    my $found = finding($stored);
    is $found->{verdict}, 'ok', 'on a disk is fine' or diag $found->{sentence};
    is_deeply [@{$found->{measured}}{qw(kind up)}], ['file', 1], 'the health is measured';
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
    Testing::Redis->require_or_skip_all;
    my $redis  = Testing::Redis->start(maxmemory => '100mb', policy => 'allkeys-lfu');
    my $stored = Testing::StoredHub->start({redis => $redis->url});
    $stored->hub->publish(news => 1);
    my $found =
        is_wrong(examined($stored), 'hub_store', 'warning', qr/maxmemory-policy allkeys-lfu/, 'a Redis that evicts');
    like $found->{remedy}, qr/noeviction/, 'with a remedy';
    $redis->kill;
    my $hub = EventSource::Hub::Process->connect(name => 'shop', socket => $stored->socket, spawn => 0);
    ok wait_until($DEADLINE, sub { !$hub->stats->{store}{up} }), 'it is away';
    my $doctor = examined($stored);
    is_wrong($doctor, 'hub_store', 'wrong', qr/does not deliver: its store \(redis \S+\) is down/, 'away');
    is $doctor->exit_code, 1, 'the exit code is 1';
};

subtest 'no process' => sub {
    my $stored = Testing::StoredHub->start(undef);
    my $doctor = examined($stored);
    is $doctor->finding('hub_store'),              undef,     'has no finding of a store';
    is $doctor->finding('hub_process')->{verdict}, 'warning', 'but one of the process';
};

done_testing;

# What an operator must know is one line of the hub process's log, as text and with --log json as an object: streams that are
# refused, slow clients that were ended, a store that is down, events that are published to a misspelt hub or channel.

use lib 't/lib';
use Testing qw(named_hubs);
use EventSource::Hub;
use EventSource::Hub::Process;
use JSON::PP           ();
use Testing::Developer qw(has_command);
use Testing::Program;
use Testing::Redis;

my $DEADLINE = 30;    # seconds

my $json   = JSON::PP->new->utf8;
my $folder = new_folder;

# Starts a hub process.
sub run {
    my ($name, @options) = @_;
    my $program = Testing::Program->new('eventsource-hub');
    return $program->run({}, EventSource::Hub::Process->program,
        'run', '--name', $name, '--socket', "$folder/$name.sock", @options);
}

sub hub_of {
    my ($name, @settings) = @_;
    my @place = (name => $name, socket => "$folder/$name.sock", autostart => 0, publish_timeout => $DEADLINE);
    my $hub   = EventSource::Hub->new(@place, @settings);
    $hub->epoch;    # waits for the process
    return $hub;
}

sub lines_of {
    my ($program, $event) = @_;
    return grep { ($_->{event} // '') eq $event } map {
        eval { $json->decode($_) }
            // ()
    } split /\n/, $program->log;
}

# Of the last subtest: clients have ten seconds to come back to a new process.
my $shop = run('shop', qw(--log json));

subtest 'streams that are refused are one line with their number' => sub {
    my $program = run('objects', qw(--log json));
    my $hub     = hub_of('objects', max_streams => 1);
    my $process =
        EventSource::Hub::Process->connect(name => 'objects', socket => "$folder/objects.sock", autostart => 0);
    my @ends = map { $process->follow('news') } 1 .. 5;
    ok wait_until($DEADLINE, sub { $process->stats->{refused} == 4 }), 'four are refused';
    my @lines;
    eventually_ok $DEADLINE, 'the log has their number' => sub {
        @lines = lines_of($program, 'streams_refused');
        my $count = 0;
        $count += $_->{count} for @lines;
        $count == 4;
    } or diag $program->log;
    is_deeply [sort keys %{$lines[0]}],    [sort qw(time pid hub event message count open)], 'the fields';
    is_deeply [@{$lines[0]}{qw(pid hub)}], [$program->pid, 'objects'],                       'of this hub';
    cmp_ok scalar @lines, '<=', 2, 'in few lines';
    is_deeply [
        grep {
            !eval { $json->decode($_) }
        } split /\n/,
        $program->log
        ],
        [], 'all lines are objects';
};

subtest 'slow clients that were ended, as text' => sub {
    my $program = run('text');
    my $hub     = hub_of('text', on_slow => 'disconnect', keep_history => {events => 2});
    my $process = EventSource::Hub::Process->connect(name => 'text', socket => "$folder/text.sock", autostart => 0);
    my $stream  = $process->follow('news');
    $hub->publish(news => 'x' x 100_000) for 1 .. 50;
    ok wait_until($DEADLINE, sub { $program->log =~ /slow clients.*[(]slow_clients count=1[)]$/m }),
        'the log has a line'
        or diag $program->log;
};

subtest 'a store that is down' => sub {
    plan skip_all => 'there is no redis-server here' if !has_command('redis-server');
    my $redis   = Testing::Redis->start;
    my $program = run('stored', qw(--log json --store), $redis->url);
    my $hub     = hub_of('stored');
    $hub->publish(news => 'hello');
    $redis->kill;
    my @lines;
    ok wait_until($DEADLINE, sub { @lines = lines_of($program, 'store_down') }), 'the log has a line'
        or diag $program->log;
    is $lines[0]{kind}, 'redis', 'with the kind of the store';
    ok length $lines[0]{error}, 'and its error';
};

subtest 'events that nobody reads because a name is misspelt' => sub {
    my $hub = hub_of('shop');
    $hub->publish(news => 'hello');
    my $process = EventSource::Hub::Process->connect(name => 'shop', socket => "$folder/shop.sock", autostart => 0);
    my $stream  = $process->follow('news');
    my $typo    = run('shpo', qw(--log json));
    my $other   = hub_of('shpo');
    $other->publish(news => $_) for 1 .. 3;
    is_deeply [map { $_->{others} } lines_of($typo, 'hub_unread')], ['shop'],
        'the hub: a line, with the name of the other';
    my @lines;
    eventually_ok $DEADLINE, 'the channel' => sub {
        $hub->publish($_ => 'hello') for qw(news/7 nwes nwes);
        @lines = lines_of($shop, 'channel_unread');
    } or diag $shop->log;
    is_deeply [map { $_->{channel} } @lines],  ['nwes'], 'once, and not one that begins as one that was read';
    is_deeply [lines_of($shop, 'hub_unread')], [],       'nothing of a hub beside which no other one ran';
};

done_testing;

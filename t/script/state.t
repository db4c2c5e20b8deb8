# The maps of share/eventsource-hub.js in Node: the state and the members of a hub that shows the channel and the key of each
# event, and of one that does not.

use lib 't/lib';
use Testing qw(native);
use Testing::CuttableProxy;
use Testing::Developer qw(needs_command);
use Testing::Node      qw(run_script);
use Testing::Server;

needs_command('node');

# What changes at each step, [key, value, previous value], and what the maps have then.
my @STEPS = (
    {
        name    => 'begins',
        changes => [['a', 1, undef], ['b', 2, undef], ['ann', 'ANN', undef]],
        left    => [['a', 1], ['b', 2]],
        here    => ['ann']
    },
    {name => 'set', changes => [['c', 3, undef], ['a', 4, 1]], left => [['b', 2], ['c', 3], ['a', 4]], here => ['ann']},
    {
        name    => 'forget',
        changes => [['a', undef, 4]],
        left    => [['b', 2], ['c', 3]],
        later   => [['b', 2], ['c', 3]],
        here    => ['ann']
    },
    {
        name    => 'members',
        changes => [['bob', 'BOB', undef], ['bob', undef, 'BOB']],
        left    => [['b', 2], ['c', 3]],
        here    => ['ann']
    },
    {name => 'gap', left => [['b', 20], ['d', 1]], here => ['ann']},
);

my $server = Testing::Server->start('Twiggy', 't/script/state.psgi');
my @cases  = (
    {url => $server->url('/shown'), options => {}, names => [qw(stock people)]},
    {url => $server->url('/plain'), options => {key => 'item'}},
);

# A stream is cut in the middle of the state, and again before it has received the rest.
my $proxy = Testing::CuttableProxy->start($server->port);
$proxy->plan([250, 'close'], [120, 'close']);
my $cut = {url => $proxy->url('/stream/whole'), options => {key => 'item'}, only => 'ready'};

# Hubs with a state and without one, how a page asks for their maps, and the lines in the console.
my $NAME = qr/the hub does not show channels, so.*show_channel => 'data'/;
my $KEY  = qr/and the map is empty: give connect the option key.*show_channel => 'data'/;
my @SAID = (
    [kept        => {key => 'item'}, ['stock'], [$NAME],                                           'a name'],
    [kept        => {key => 'itm'},  [],        [qr/no event of the state has the key itm, $KEY/], 'a wrong key'],
    [kept        => {},              [],        [qr/an event has no key, $KEY/],                   'no key'],
    [empty       => {},              ['stock'], [$NAME, $KEY],                                     'a name and no key'],
    [kept        => {key => 'item'}, [],        [],                                                'a right key'],
    [empty       => {key => 'item'}, [],        [], 'a right key, and only a plain event'],
    [kept_shown  => {},              ['stock'], [], 'a hub that shows channels, a name'],
    [empty_shown => {},              [],        [], 'a hub that shows channels, and only a plain event'],
);
my @asked = map { {url => $server->url("/$_->[0]"), options => $_->[1], names => $_->[2], only => 'lines'} } @SAID;
my @seen  = run_script(state => @cases, $cut, @asked);
for my $name (qw(shown plain)) {
    subtest "a hub: $name" => sub {
        my $seen  = shift @seen;
        my @steps = @{$seen->{steps}};
        for my $step (@STEPS) {
            my $is = shift @steps;
            is_deeply $is->{$_}, $step->{$_}, "$step->{name}: $_"
                or diag explain $is->{$_}
                for grep { $_ ne 'name' } sort keys %$step;
        }
        my $gap = $seen->{steps}[-1];
        cmp_ok $gap->{least}, '>=', 2, 'after a gap the map keeps what it has until the state is complete';
        is_deeply [grep { $_->[0] eq 'c' } @{$gap->{changes}}], [['c', undef, 3]], 'a key that is gone is removed then';
        is_deeply $seen->{said},                                [],                'the console has no line';
        is_deeply $seen->{told}, [['count', undef, 1]],
            "the number of members is an event of its own, not a change, and of its own channel alone";
        is $seen->{late},   'kept',     'ready stays resolved when the stream is closed';
        is $seen->{closed}, 'rejected', 'it is rejected if the stream was closed before';
    };
}

subtest 'a stream that is cut in the middle of its state' => sub {
    is_deeply shift(@seen)->{left}, [map { [$_, 1] } 'a' .. 'j'], 'is ready when the state is complete';
    is $proxy->state->{left}, 0, 'it was cut at each place';
};

subtest 'the lines in the console' => sub {
    for (@SAID) {
        my ($hub, $options, $names, $lines, $name) = @$_;
        my @said = @{shift(@seen)->{said}};
        is @said, @$lines, "$name: lines" or diag explain \@said;
        like shift @said, $_, $name for @$lines;
    }
};

done_testing;

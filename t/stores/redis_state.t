# Two machines with one Redis: pages that keep the state have the same map on both, whatever becomes of the hubs, the history
# and Redis, and whichever machine they come to.

use lib 't/lib';
use Testing qw(Machine Redis);
use Testing::RoamingClient;
use Testing::Fork qw(in_child);

my $MORE     = 4_000;                                           # events, more than Redis and the hubs keep
my $redis    = Testing::Redis->start(appendonly => 'always');
my %settings = (keep_total_history => {events => 1_000}, keep_state => {keys => 60});
my @machines = map { Testing::Machine->start({redis => $redis->url}, %settings) } 1, 2;
my %expected;
my $last = 0;
my @pages;

sub page {
    my $number = shift;
    return Testing::RoamingClient->open($machines[$number], channels => 'stock', path => '/state?channels=stock');
}

# Publishes a value on a machine, as `retain`, or forgets the key if there is none.
sub set {
    my ($number, $key, $value) = @_;
    my $id =
        defined $value
        ? $machines[$number]->publish(stock => "$key=$value", key => $key, retain => 1)
        : $machines[$number]->ask('/publish', channel => 'stock', forget => $key);
    like $id, qr/\A\w+-[0-9]+\z/, defined $value ? "$key is $value" : "$key is forgotten";
    $expected{$key} = $value;
    delete $expected{$key} if !defined $value;
    return;
}

# The pages have what was published last, then the same map. It is retained: a page that connects again only now has it, too.
sub have_ok {
    my ($name, @pages) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    $last++;
    $machines[$last % 2]->publish_at_last(stock => "last=$last", key => 'last', retain => 1);
    $expected{last} = $last;
    ok $_->has("last=$last"), "$name: the last event" for @pages;
    is_deeply $_->page, \%expected, "$name: the map" for @pages;
    return;
}

# Both machines have everything that was published: a machine that is behind does not count it yet.
sub have_both_ok {
    $last++;
    $machines[0]->publish(stock => "last $last");
    ok $_->has("last $last"), 'a page has everything' for @pages;
    return;
}

# Puts everything out of the history.
sub fill_history {
    my $stats = $machines[0]->ask('/burst', channel => 'other', count => $MORE, bytes => 10);
    my ($stream) = @{$redis->command(KEYS => 'es:{shop}:*')};
    ok wait_until(30, sub { $redis->command('XLEN', $stream) < 1_500 && !$machines[0]->stats->{store}{pending} }),
        'the history has other events';
    return;
}

@pages = map { page($_) } 0, 1;

subtest 'a key is published on one machine, and replaced and forgotten on the other' => sub {
    set($_ % 2, "k$_", "first$_") for 1 .. 9;
    set(1,      k1 => 'second');
    set(0,      'k2');
    set(1,      'k3');
    set(0,      k3 => 'again');
    have_ok('pages that were here', @pages);
    have_ok('a new page', page(0), page(1));
};

subtest 'the history has evicted it' => sub {
    $_->leave for @pages;
    fill_history();
    set(0, k4 => 'third');
    set(1, 'k5');
    $pages[0]->move($machines[1]);
    $pages[1]->move($machines[0]);
    have_ok('pages that come back to the other machine', @pages);
    is $_->gaps, 1, 'they received a gap' for @pages;
    have_ok('a new page', page(0), page(1));
};

subtest 'hubs that begin anew' => sub {
    fill_history();
    $machines[0]->kill_hub;
    set(1, k6 => 'while one is away');
    have_ok('pages', @pages, page(0), page(1));
    $_->kill_hub for @machines;
    set(0, k7 => 'after both were');
    have_ok('pages', @pages, page(0), page(1));
};

subtest 'Redis is killed and started again' => sub {
    my $epoch = $machines[0]->publish(stock => 'before');
    $redis->kill;
    $redis->restart;
    eventually_ok 30, 'the stores are up' => sub {
        2 == grep { $_->stats->{store}{up} } @machines;
    };
    set(0, k8 => 'after Redis');
    have_ok('pages', @pages, page(0), page(1));
    $_->kill_hub for @machines;
    $redis->kill;
    $redis->restart;
    $machines[0]->publish_at_last(stock => 'up');
    have_ok('hubs and Redis begin anew: pages', @pages, page(0), page(1));
    is_deeply [map { $_->stats->{store}{epoch_changes} } @machines], [0, 0], 'nothing was lost';
};

subtest 'pages that begin while both machines publish' => sub {
    my $change = sub {
        my $number = shift;
        for my $change (1 .. 150) {
            my $key = 'r' . $change * 7 % 40;
            $change % 5
                ? $machines[$number]->publish(stock => "$key=$number/$change", key => $key, retain => 1)
                : $machines[$number]->ask('/publish', channel => 'stock', forget => $key);
        }
    };
    my @ended = (in_child(sub { $change->(0) }), in_child(sub { $change->(1) }));
    my @new   = map { page($_ % 2) } 1 .. 10;
    $_->() for @ended;
    $machines[0]->publish(stock => 'all changed');
    ok $_->has('all changed'), 'a page has the last event' for @new, @pages;
    %expected = %{$pages[0]->page};
    cmp_ok keys %expected, '>', 20, 'there are keys';
    have_ok('pages', @new, @pages, page(0), page(1));
};

subtest 'what does not fit is refused on both' => sub {
    my $full = sub { $machines[$_[0]]->publish(stock => 'x=1', key => "f$_[1]", retain => 1) };
    my $fits = 60 - keys %expected;
    unlike $full->($_ % 2, $_), qr/\Aerror/, 'a key that fits' for 1 .. $fits;
    have_both_ok();
    is $full->($_, 'more'), 'error full', 'one more does not' for 0, 1;
    unlike $machines[1]->ask('/publish', channel => 'stock', forget => 'f1'), qr/\Aerror/, 'a forgotten key';
    have_both_ok();
    unlike $full->(0, 'more'), qr/\Aerror/, 'makes room';
};

$_->leave  for @pages;
$_->end_ok for @machines;

subtest 'a Redis that closes connections with long answers' => sub {
    my $limited = Testing::Redis->start(config => ['client-output-buffer-limit normal 256kb 0 0']);
    my $machine = Testing::Machine->start({redis => $limited->url}, keep_state => {bytes => 16_000_000});
    like $machine->publish(stock => "$_=" . 'x' x 20_000, key => $_, retain => 1), qr/-/, "event $_" for 1 .. 100;
    $machine->ask('/burst', channel => 'other', count => 100, bytes => 30_000);
    $machine->kill_hub;
    my $page = Testing::RoamingClient->open($machine, channels => 'stock', path => '/state?channels=stock');
    ok $page->has('100=' . 'x' x 20_000), 'the next hub has read a state and a history that are longer';
    is scalar keys %{$page->page}, 100, 'all of it';
    $machine->publish_at_last(stock => 'last=1', key => 'last', retain => 1);
    ok $page->has('last=1'), 'and continues';
};

done_testing;

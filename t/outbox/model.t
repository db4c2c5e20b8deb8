# The rules of the follower in a world of which a scheduler decides (Testing::OutboxModel): at random, and with a stop at each
# call of the database and the hub. EVENTSOURCE_XS_SEED repeats a run, EVENTSOURCE_XS_STEPS says how many schedules there are.

use lib 't/lib';
use Testing;
use EventSource::XS::Outbox::Follower;
use Testing::OutboxModel;

my $FOLLOWER  = 'EventSource::XS::Outbox::Follower';
my $SCHEDULES = $ENV{EVENTSOURCE_XS_STEPS} // 80;
my $LEASE     = 10;

my $first = $ENV{EVENTSOURCE_XS_SEED} // time ^ $$ << 8;
note "seed $first";

# The problems that the model finds with a seed, with a line that repeats it.
sub problems {
    my ($seed, %option) = @_;
    srand $seed;
    my @problems = Testing::OutboxModel->new(class => $FOLLOWER, %option)->run;
    return map { "EVENTSOURCE_XS_SEED=$seed: $_" } @problems;
}

sub schedules_ok {
    my ($name, $count, %option) = @_;
    for my $seed ($first .. $first + $count - 1) {
        my @problems = problems($seed, %option) or next;
        fail $name;
        diag $_ for @problems;
        return;
    }
    pass "$name: $count schedules";
    return;
}

# A transaction with a row, which the hub refuses as poison says.
sub commit {
    my ($world, $token, $channel, $poison) = @_;
    my $open = $world->{database}->begin;
    $world->{rows}{$token} = {group => $channel, is_free => '', poison => $poison, refused => 0, token => $token};
    $world->{database}->insert($open, {token => $token, channel => $channel, data => $token});
    return $world->_commit($open);
}

schedules_ok('at random',                                                      $SCHEDULES);
schedules_ok('followers that are stopped publish nothing again',               $SCHEDULES / 8, calm => 'stop');
schedules_ok('a database that comes and goes lets nothing be published again', $SCHEDULES / 8, calm => 'database');

subtest 'a follower is stopped at any call' => sub {
    for my $seconds (0.5 * $LEASE, 1.5 * $LEASE, 5 * $LEASE) {
        my @problems = map { problems($first, stop_at => $_, stop_for => $seconds) } 1 .. 60;
        is_deeply \@problems, [], "for $seconds seconds";
    }
};

# They may take the lease, and nothing else. Each gives it to the next one.
subtest 'followers without the right to read log so once' => sub {
    no warnings 'redefine';
    local *Testing::OutboxModel::Handle::waiting = sub { die "permission denied\n" };
    my $world = Testing::OutboxModel->new(class => $FOLLOWER, fault => {});
    $world->step_one(1) for 1 .. 300;
    my $lines = grep { /permission denied/ } @{$world->{lines}};
    is $lines, scalar @{$world->{followers}}, 'each one';
};

# A hub that takes nothing says nothing about a row.
subtest 'no row becomes a dead letter while the hub takes nothing' => sub {
    my $world = Testing::OutboxModel->new(class => $FOLLOWER, fault => {refuse => 1});
    $world->_produce for 1 .. 300;
    while ($world->{now} < 5000) { $world->elapse(1); $world->step_one(1) }
    is_deeply [grep { $world->{rows}{$_->{token}}{poison} eq '' } $world->{database}->rows(2)], [],
        'for more than an hour';
};

# The question for rows names those that are set aside.
subtest 'a follower sets a number of rows aside' => sub {
    my $world    = Testing::OutboxModel->new(class => $FOLLOWER, fault => {});
    my $follower = $world->{followers}[0]{follower};
    $#{$world->{followers}} = 0;
    my $set_aside = sub {
        my %row = (channel => 'aside', id => $_[0], token => 'aside');
        return ("$_[0] aside" => {row => \%row, tries => 20, until => $world->{now} + 1000});
    };
    $follower->{unmarked} = {map { $set_aside->($_) } 1001 .. 1999};
    for my $number (1, 2) {
        commit($world, "row $number", 'held', '');
        $_->{is_stuck} = 1 for $world->{database}->rows(0);
        for (1 .. 100) { $world->elapse(0.1); $world->step_one(1) }
        my @lines = grep { /no row is published, because 1000 others are set aside, the most/ } @{$world->{lines}};
        is !!@lines, $number == 2,
            $number == 1 ? 'the last one for which there is room' : 'the log says that there are more';
    }
};

# Dead letters of the same seconds share a line, which may be the last thing that happens for a long time.
subtest 'each dead letter is named or counted' => sub {
    my $world = Testing::OutboxModel->new(class => $FOLLOWER, fault => {}, needs_hint => '');
    $#{$world->{followers}} = 0;
    my $steps = sub {
        my $until = $world->{now} + shift;
        while ($world->{now} < $until) { $world->elapse(0.01); $world->step_one(1) }
        return grep { /row|dead/ } splice @{$world->{lines} ||= []};
    };
    my $refuse = sub { commit($world, "refused $_", "channel $_", 'invalid') for @_ };
    $refuse->(1);
    like join('|', $steps->(5)), qr/^outbox: row 1 is a dead letter: a wrong field; mend it[^|]*$/,
        'the first one is named at once';
    $refuse->(2);
    is_deeply [$steps->(3)], [], 'no line follows it at once';
    like join('|', $steps->(9)), qr/^outbox: row 2 is a dead letter: a wrong field; mend it[^|]*$/,
        'the second one is named some seconds later, without another one';
    $refuse->(3 .. 5);
    like join('|', $steps->(5)), qr/^outbox: row 5 is a dead letter: a wrong field \(and 2 more since the last line\)/,
        'one of several is named, and the others are counted';
    $refuse->(6, 7);
    $steps->(1);
    $world->_replace_follower(1);
    my @lines = $steps->(30);
    like shift @lines, qr/row 7 .*and 1 more/, 'a follower that ends counts those that no line has named';
    is_deeply \@lines, ['outbox: the number of dead letters is 7; "eventsource outbox --list" shows them'],
        'one that begins says once how many there are';
};

# The pauses of a row that the hub goes on refusing grow to a minute. Somebody deletes it.
subtest 'a row that is gone holds up its key no longer' => sub {
    my $world    = Testing::OutboxModel->new(class => $FOLLOWER, fault => {});
    my $database = $world->{database};
    my $commit   = sub { commit($world, @_) };
    my $steps    = sub {
        my $until = $world->{now} + shift;
        while ($world->{now} < $until) { $world->elapse(0.01); $world->step_one(1) }
    };
    $commit->('first',  'held', 'lasting');
    $commit->('second', 'held', '');
    for my $number (1 .. 60) { $commit->("other $number", 'other', ''); $steps->(1) }
    ok !$world->{rows}{second}{published}, 'it waits for the one before';
    my ($first) = grep { $_->{token} eq 'first' } $database->rows(0);
    delete $database->{tables}{$first->{id}};
    $database->note_change;
    $steps->(3);
    ok $world->{rows}{second}{published}, 'when that is gone it is published within seconds';
};

done_testing;

# The rules of the follower in a world of which a scheduler decides (Testing::OutboxModel): at random, and with a stop at each
# call of the database and the hub. Then with followers of which one rule is broken: the model finds each.
# EVENTSOURCE_XS_SEED repeats a run, EVENTSOURCE_XS_STEPS says how many schedules there are.

use lib 't/lib';
use Testing;
use EventSource::XS::Outbox::Follower;
use Testing::OutboxModel;
use Testing::SourceTree qw(slurp);

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

# The source of a follower with one change. A change that changes nothing fails.
my $mutants = 0;

sub mutant {
    my ($from, $to) = @_;
    my $class  = $FOLLOWER . '::Mutant' . ++$mutants;
    my $source = slurp($INC{'EventSource/XS/Outbox/Follower.pm'});
    my $count  = $source =~ s/\Q$from\E/$to/;
    $source =~ s/package $FOLLOWER;/package $class;/;
    $count && eval "no warnings; $source" or die "a mutant cannot be made of '$from': $@";    ## no critic (StringyEval)
    return $class;
}

# Each with the options of its runs, and what the model says of it. One that few schedules find names the first one.
my @MUTATIONS = (
    [
        'rows are read by their numbers' => [],
        qr/waits for ever/,
        '$database->waiting($BATCH, map { $_->{row} } @delayed);' =>
            'grep { $_->{id} > ($self->{last} || 0) } $database->waiting($BATCH); $self->{last} = $rows[-1]{id} if @rows;'
    ],
    [
        'rows are deleted before they are published' => [],
        qr/waits for ever/,
        'my $trouble = $self->_send' => '$self->{database}->acknowledge(@wave); my $trouble = $self->_send'
    ],
    ['a wave has several rows of a group' => [], qr/before row/, 'last if $has_group' => '0 if $has_group'],
    [
        'a row that was not taken goes behind the others' => [],
        qr/before row/,
        '$is_delayed{$group} = 1 }' => 'push @{$self->{waiting}}, $row }'
    ],
    [
        'a row that was not taken holds up others' => [],
        qr/waits for ever/,
        'elsif ($self->_delay($row, $answer->{error}, $before))' => 'elsif (0)'
    ],
    [
        'a delayed row waits, and later ones of its group do not' => [],
        qr/before row/,
        'if %is_delayed;' => 'if 0;'
    ],
    ['the group of a delayed row is read' => [], qr/waits for ever/, ', map { $_->{row} } @delayed)' => ')'],
    [
        'a delayed row is not read again' => [from => 571],
        qr/waits for ever/, 'min($NEVER, map { $_->{until} } @delayed)' => '$NEVER'
    ],
    ['refusals are not counted' => [], qr/refused for ever/, '$delayed->{refusals}++ if $is_its' => ''],
    [
        'a batch outlives its lease' => [calm => 'stop'],
        qr/published again/,
        'if $was_none || !$is_held' => 'if !$is_held'
    ],
    [
        'a lost database makes the follower forget what it has published' => [from => 50, calm => 'database'],
        qr/published again/,
        '@$self{qw(held_until waiting)}' => '$self->{taken} = []; @$self{qw(held_until waiting)}'
    ],
    [
        'rows are published without a key' => [],
        qr/published again/,
        '$hub->begin_publish(@publication)' =>
            '$hub->begin_publish($publication[0], {%{$publication[1]}, once => undef})'
    ],
    [
        'a refusal for now makes a row a dead letter' => [],
        qr/would take it/,
        q{$code eq 'invalid' ||} => q{$code eq 'invalid' || $code eq 'unavailable' ||}
    ],
    [
        'a full queue makes a row a dead letter' => [],
        qr/would take it/, q{$field eq 'retain'} => '1'
    ],
    [
        'no row becomes a dead letter' => [],
        qr/waits for ever/, q{$code eq 'invalid' || $code eq 'full' && $field eq 'retain'} => '0'
    ],
    [
        'rows without an answer count as published' => [],
        qr/waits for ever|before row/,
        'last if !@answers;' => 'if (!@answers) { $answer->{$_->{id}} = {id => 1} for @begun; last }'
    ],
    [
        'a row is known by its number alone' =>
            [from => 73, fault => {fail_over => 0.1, database_after => 0.1, database_before => 0.1}],
        qr/waits for ever/,
        '$database->acknowledge(@taken)' => '$database->acknowledge(map { {id => $_->{id}} } @taken)'
    ],
    [
        'rows that the database does not mark are not looked for' => [],
        qr/waits for ever/,
        '|| $count < @taken' => ''
    ],
    [
        'a row that the database refuses to mark holds up others' => [],
        qr/waits for ever/,
        'die $error if defined $refused{follow}' => 'die $error'
    ],
    [
        'a follower without a hub renews its lease' => [],
        qr/waits for ever/,
        "return 'cut_off'       if" => "return 'candidate' if \$self->_lease ne 'held'; return 'cut_off' if"
    ],
    [
        'the number of commits is read after the rows' =>
            [from => 612, has_version => 1, needs_hint => 0, fault => {meanwhile => 0.3}],
        qr/waits for ever/,
        '$self->{waiting} = \@rows;' => '$self->{waiting} = \@rows; $database->may_have_changed if !@rows;'
    ],
    [
        'later rows are published before a refusal is noted' =>
            [fault => {full => 0.2, kill => 0.1, stop_inside => 0.05}],
        qr/before row/,
        '@{$self->{dead}} || @{$self->{taken}} && !' => '(@{$self->{dead}} || @{$self->{taken}}) && !'
    ],
    [
        'a notification is not looked for' => [],
        qr/sleeps on a notification/, 'if $self->{database}->is_notified' => 'if 0'
    ],
);

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

# The pauses of a row that the hub goes on refusing grow to a minute. Somebody deletes it.
subtest 'a row that is gone holds up its key no longer' => sub {
    my $world    = Testing::OutboxModel->new(class => $FOLLOWER, fault => {});
    my $database = $world->{database};
    my $commit   = sub {
        my ($token, $channel, $poison) = @_;
        my $open = $database->begin;
        $world->{rows}{$token} = {group => $channel, is_free => '', poison => $poison, refused => 0, token => $token};
        $database->insert($open, {token => $token, channel => $channel, data => $token});
        $world->_commit($open);
    };
    my $steps = sub {
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

# With the same seeds each time: at random, a rule is found by schedule 2 or 2,000.
subtest 'the model finds each broken rule' => sub {
    for (@MUTATIONS) {
        my ($name, $options, $expected, @change) = @$_;
        my %option = @$options;
        my $from   = delete $option{from} // 1;
        my $class  = mutant(@change);
        my $count  = 0;
        my @problems;
        while ($count < 10_000 && !grep { /$expected/ } @problems) {
            @problems = problems($from + $count++, class => $class, %option);
        }
        like "@problems", $expected, "$name: found by schedule $count";
    }
};

done_testing;

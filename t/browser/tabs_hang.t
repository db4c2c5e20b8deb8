# Tabs of a browser without SharedWorker, whose leading tab is frozen or hangs: another one takes the lead, and each tab has
# each event once, in order, also the one that wakes up. xt/browser/tabs_hang.t opens EVENTSOURCE_XS_STEPS tabs, which leave,
# freeze, hang and wake up at random; EVENTSOURCE_XS_SEED repeats a run.

use lib 't/lib';
use Testing qw(Tabs=Chromium);

my $STEPS = $ENV{EVENTSOURCE_XS_STEPS} || 0;
my $TABS  = 4;
my $SEED  = $ENV{EVENTSOURCE_XS_SEED} || time;

my $tabs    = Testing::Tabs->start('Chromium', start => 'oldest', page => {without => 'SharedWorker'});
my $browser = $tabs->browser;

# How a tab pauses, and then goes on.
my %PAUSE = (
    'is frozen' => [
        sub { $browser->ask_in($_[0], 'Page.setWebLifecycleState', state => 'frozen') },
        sub { $browser->ask_in($_[0], 'Page.setWebLifecycleState', state => 'active') },
    ],
    'has a process that is stopped' =>
        [sub { kill STOP => $_[0]{pid} //= $browser->pid_of($_[0]) }, sub { kill CONT => $_[0]{pid} },],
);

sub pause { my ($tab, $how) = @_; $tab->{paused} = $how; return $PAUSE{$how}[0]->($tab) }
sub wake { my $tab = shift; return $PAUSE{$tab->{was} = delete $tab->{paused}}[1]->($tab) }

sub awake {
    return grep { !$_->{paused} } $tabs->tabs;
}

# A tab that is shown looks for its leader at once.
sub show { $_->evaluate('dispatchEvent(new Event("visibilitychange"))') for @_; return }

# The tabs that are awake receive what is published, however the others are.
sub awake_have_all_ok {
    my $name = shift;
    $tabs->publish(5);
    show(awake());
    my @lacking;
    wait_until $DEADLINE, sub {
        !(@lacking = grep { !$_->evaluate("received.at(-1) === $tabs->{published}") } awake());
    };
    return is_deeply [map { what_has($_) } @lacking], [], $name;
}

# Returns a line about a tab: its last number, its stream, and how it paused last.
sub what_has {
    my $tab = shift;
    my $has = join ', ', 'received ${received.at(-1)}', '${document.visibilityState}', 'readyState ${hub.readyState}',
        'term ${hub.term}', '${await leader()} leads';
    return "$tab->{name}: " . $tab->evaluate("(async () => `$has`)()") . ($tab->{was} ? ", $tab->{was} before" : '');
}

for my $how (sort keys %PAUSE) {
    subtest "the tab that reads the stream $how" => sub {
        $tabs->open for 1, 2;
        $tabs->each_receives_ok(5, 'each tab has each event');
        my $leader = $tabs->leader;
        pause($leader, $how);
        awake_have_all_ok('the other tab takes the lead');
        wake($leader);
        $tabs->each_receives_ok(5, 'each tab has each event once, in order, when that tab wakes up');
        ok wait_until($DEADLINE, sub { $tabs->streams == 1 }), 'there is one stream';
        $tabs->close_tabs;
    };
}

subtest 'a tab that wakes up with an id which the leader does not know leads at once, however many others there are' =>
    sub {
    $tabs->open for 1, 2;
    $tabs->each_receives_ok(5, 'both tabs have each event');
    my $leader = $tabs->leader;
    my ($late) = grep { $_ != $leader } $tabs->tabs;
    pause($late, 'is frozen');
    $tabs->publish(5);
    $tabs->open for 3 .. 7;
    $leader->close;
    awake_have_all_ok('a new tab takes the lead');
    my $term = (awake())[-1]->evaluate('hub.term');
    wake($late);
    $tabs->each_receives_ok(5, 'each tab has each event once, in order');
    is_deeply [map { $_->evaluate('hub.term') } $tabs->tabs], [($term + 1) x $tabs->tabs],
        'the leader has yielded once';
    $tabs->close_tabs;
    };

# What a tab does at random.
my %STEP = (
    close => sub { (awake())[rand awake()]->close },
    pause => sub {
        my $tab = rand() < 0.6 ? leader() : (awake())[rand awake()];
        pause($tab, (sort keys %PAUSE)[rand keys %PAUSE]) if $tab;
    },
    wake => sub {
        my @paused = grep { $_->{paused} } $tabs->tabs;
        wake($paused[rand @paused]) if @paused;
    },
);

# The tab that reads the stream of those that are awake.
sub leader {
    my $name = (awake())[0]->evaluate('leader()') // return;
    return (grep { $_->{name} eq $name } awake())[0];
}

sub close_one {
    my ($tab) = sort { !!$b->{paused} <=> !!$a->{paused} } $tabs->tabs;
    wake($tab) if $tab->{paused};
    return $tab->close;
}

subtest "$STEPS tabs leave, freeze, hang and wake up" => sub {
    srand $SEED;
    $tabs->open for 1 .. $TABS;
    for my $step (1 .. $STEPS - $TABS) {
        my $what = (sort keys %STEP)[rand keys %STEP];
        $STEP{$what}->() if awake() > 1 || $what eq 'wake';
        awake_have_all_ok("step $step, $what: each tab that is awake has all");
        close_one() while $tabs->tabs > 2 * $TABS;
        $tabs->open;
    }
    wake($_) for grep { $_->{paused} } $tabs->tabs;
    $tabs->each_receives_ok(5, 'each tab has each event once, in order');
    ok wait_until($DEADLINE, sub { $tabs->streams == 1 }), 'there is one stream';
    diag "EVENTSOURCE_XS_SEED=$SEED" if !Test::More->builder->is_passing;
    }
    if $STEPS;

done_testing;

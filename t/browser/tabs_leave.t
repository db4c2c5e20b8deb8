# Tabs that share a stream, while the tab that reads it is closed or its process is killed: each tab that remains receives each
# event once, in order. EVENTSOURCE_XS_STEPS is how often for each browser and way on average, of which two run at the same
# time; the events are thirty times as many. With a SharedWorker a step takes Firefox some seconds, so that way has fewer steps,
# and its events come more slowly.

use lib 't/lib';
use Testing;
use Testing::Tabs;
use Testing::SideBySide qw(run_each);

Testing::Tabs->require_or_skip_all($_) for Testing::Browser->names;

my $STEPS = $ENV{EVENTSOURCE_XS_STEPS} || 4;
my $TABS  = 5;

# The share of the steps, and the seconds between two events.
my %PACE = (Chromium => [1.3, 0.01], Firefox => [1, 0.01], 'Firefox, a SharedWorker' => [0.4, 0.1]);

my %case;
for my $browser (Testing::Browser->names) {
    $case{"$browser, $_->[0]"} = [$browser, @$_] for (Testing::Tabs->ways)[0, 1];
}
$Testing::SideBySide::AT_ONCE = 2;

sub leave {
    my ($browser, $way, %page) = @_;
    my ($share, $every) = @{$PACE{"$browser, $way"} || $PACE{$browser}};
    my $steps = $STEPS * $share;
    my $tabs  = Testing::Tabs->start($browser, page => \%page);
    $tabs->open for 1 .. $TABS;
    $tabs->each_receives_ok(1, 'each tab has its stream');
    my $publisher = $tabs->publish_meanwhile(30 * $steps, $every);

    for my $step (1 .. $steps) {
        $tabs->end_reader($step % 2 ? 'kill' : 'close');
        $tabs->open while $tabs->tabs < $TABS;
    }
    ok wait_until(10 * $DEADLINE, sub { $publisher->has_ended }), 'all events have been published';
    $tabs->each_receives_ok(1, 'each tab has each event once, in order');
    ok wait_until($DEADLINE, sub { $tabs->streams == 1 }), 'there is one stream';
    cmp_ok $tabs->hub->stats->{resumed}, '>', 0, 'others have resumed it' or diag explain $tabs->hub->stats;
    return;
}

# The slowest one first.
run_each([reverse sort keys %case] => sub { leave(@{$case{$_[0]}}) });

done_testing;

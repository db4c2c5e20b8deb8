# Tabs that share a stream, while the tab that reads it is closed or its process is killed: each tab that remains receives each
# event once, in order. EVENTSOURCE_XS_STEPS is how often; the events are thirty times as many.

use lib 't/lib';
use Testing;
use Testing::Tabs;
use Testing::Deadline qw($DEADLINE wait_until);

Testing::Tabs->require_or_skip_all($_) for Testing::Browser->names;

my $STEPS = $ENV{EVENTSOURCE_XS_STEPS} || 6;
my $TABS  = 5;
my $EVERY = 0.01;                              # seconds between two events

for my $browser (Testing::Browser->names) {
    for my $way ((Testing::Tabs->ways)[0, 1]) {
        my ($name, %page) = @$way;
        subtest "$browser, $name" => sub {
            my $tabs = Testing::Tabs->start($browser, page => \%page);
            $tabs->open for 1 .. $TABS;
            $tabs->publish(1);
            $tabs->each_has_all_ok('each tab has its stream');
            my $publisher = $tabs->publish_meanwhile(30 * $STEPS, $EVERY);
            for my $step (1 .. $STEPS) {
                $tabs->end_reader($step % 2 ? 'kill' : 'close');
                $tabs->open while $tabs->tabs < $TABS;
            }
            ok wait_until(10 * $DEADLINE, sub { $publisher->has_ended }), 'all events have been published';
            $tabs->publish(1);
            $tabs->each_has_all_ok('each tab has each event once, in order');
            ok wait_until($DEADLINE, sub { $tabs->streams == 1 }), 'there is one stream';
            cmp_ok $tabs->hub->stats->{resumed}, '>', 0, 'others have resumed it' or diag explain $tabs->hub->stats;
            diag "$browser, $name: resumed ", $tabs->hub->stats->{resumed};
        };
    }
}

done_testing;

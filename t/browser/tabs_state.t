# A tab that comes later, in real browsers: it receives the state from the tab that reads the stream, and then each event once.

use lib 't/lib';
use Testing;
use Testing::Tabs;

Testing::Tabs->require_or_skip_all($_) for Testing::Browser->names;

# The same on the page of each tab: what the maps have, in their order.
sub all_know_ok {
    my ($tabs, $channel, $entries, $name) = @_;
    my $text = join ',', @$entries;
    $_->wait_for("[...known.$channel].map(([key, value]) => key + ' ' + JSON.stringify(value)).join() === '$text'",
        "tab $_->{name}: $name")
        for $tabs->tabs;
    return;
}

sub put {
    my ($tabs, $key, $left) = @_;
    return $tabs->hub->publish(stock => {key => $key, json => {left => $left}, retain => 1});
}

my %page = (url => '/state?member=ann', state => 'stock', members => 'people');

for my $browser (Testing::Browser->names) {
    my $running = Testing::Browser->start($browser);
    for my $way ((Testing::Tabs->ways)[0, 1]) {
        my ($name, %without) = @$way;
        subtest "$browser, $name" => sub {
            my $tabs = Testing::Tabs->start($running, show_channel => 'data', page => {%page, %without});
            put($tabs, $_, 10) for qw(a b c);
            $tabs->hub->forget(stock => 'b');
            my $first = $tabs->open;
            ok $first->evaluate('hub.ready.then(() => true)'), 'the stream is ready';
            all_know_ok($tabs, 'stock',  ['a {"left":10}', 'c {"left":10}'], 'the state');
            all_know_ok($tabs, 'people', ['ann {"id":"ann"}'],               'the members');

            put($tabs, a => 9);
            put($tabs, d => 1);
            $tabs->hub->forget(stock => 'c');
            $tabs->each_receives_ok(10, 'the first tab has the events');
            my $later = $tabs->open;
            ok $later->evaluate('hub.ready.then(() => true)'), 'the stream is ready in a later tab';
            all_know_ok($tabs, 'stock',  ['a {"left":9}', 'd {"left":1}'], 'the state as it is now');
            all_know_ok($tabs, 'people', ['ann {"id":"ann"}'],             'the members');
            is_deeply $later->evaluate('received'), [], 'a later tab has no events of before';
            $tabs->publish(10);
            put($tabs, d => 0);
            $tabs->each_has_all_ok('each tab has each event once, in order');
            is_deeply $later->evaluate('received'), [11 .. 20], 'a later tab has all since it came';
            all_know_ok($tabs, 'stock', ['a {"left":9}', 'd {"left":0}'], 'a change');

            $tabs->kill_hub;
            put($tabs, e => 5);
            all_know_ok($tabs, 'stock',  ['e {"left":5}'],     'after a gap nothing that was forgotten remains');
            all_know_ok($tabs, 'people', ['ann {"id":"ann"}'], 'the members after a gap');
            $tabs->close_tabs;
        };

        subtest "$browser, $name, a hub that does not show channels" => sub {
            my $tabs = Testing::Tabs->start($running, page => {%page, options => '{"key":"item"}', %without});
            my $put  = sub {
                $tabs->hub->publish(stock => {key => $_[0], json => {item => $_[0]}, retain => 1});
            };
            $put->($_) for qw(a b);
            ok $tabs->open->evaluate('hub.ready.then(() => true)'), 'the stream is ready';
            $tabs->hub->forget(stock => 'a');
            all_know_ok($tabs, 'stock', ['b {"item":"b"}'], 'a key is forgotten');
            ok $tabs->open->evaluate('hub.ready.then(() => true)'), 'the stream is ready in a later tab';
            all_know_ok($tabs, 'stock', ['b {"item":"b"}'], 'nothing that was forgotten comes back');
            $tabs->close_tabs;
        };
    }
}

done_testing;

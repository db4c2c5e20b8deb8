# EventSource::Hub->publish: its options `wait` and `once`. It runs a second time with named hubs.

use lib 't/lib';
use Testing qw(native);
use EventSource::Hub;
use Testing::Errors qw(error_ok);
use Testing::NamedHubs;
use Testing::Subscriber;

subtest 'once' => sub {
    my $hub        = EventSource::Hub->new;
    my $subscriber = Testing::Subscriber->open($hub, 'a', 'b');
    my $id         = $hub->publish(a => 'first', {once => 'k☺'});
    is $hub->publish(a => 'again', {once => 'k☺'}), $id, 'a repeated publish returns the id of the first one';
    is $hub->publish(b => 'elsewhere', {once => 'k☺', wait => 1}),          $id,     'also for another channel';
    isnt $hub->publish(a => 'other', {once => 'l'}),                        $id,     'another key is another event';
    is $hub->publish(a => {data => 'own', id => 'own-1'}, {once => 'own'}), 'own-1', 'with an id of the application';
    is $hub->publish(a => {data => 'own', id => 'own-1'}, {once => 'own'}), 'own-1', 'it is returned again';
    $hub->publish(a => 'plain', {once => undef}) for 1, 2;
    $hub->publish(a => 'last');
    is_deeply [$subscriber->data(6)], [qw(first other own plain plain last)], 'each event arrives once';
    is $hub->stats->{published}, 6, 'and is counted once';
};

subtest 'a key of once is remembered within the history' => sub {
    my $hub = EventSource::Hub->new(keep_total_history => {events => 2});
    my $id  = $hub->publish(a => 1, {once => 'k1'});
    is $hub->publish(a => 1, {once => 'k1'}), $id, 'it is known';
    $hub->publish(a => $_, {once => "k$_"}) for 2, 3;
    isnt $hub->publish(a => 1, {once => 'k1'}), $id, 'it is unknown after as many keys as the history has events';
};

subtest 'wait => 0' => sub {
    my $hub        = EventSource::Hub->new;
    my $subscriber = Testing::Subscriber->open($hub, 'a');
    is_deeply [$hub->publish(a => 1,                      {wait => 0})], [!!1], 'it returns true';
    is_deeply [$hub->publish(a => {data => 2, id => '0'}, {wait => 0})], [!!1], 'also for an event with an id';
    ok $hub->publish(a => $_, {wait => 0}), "event $_" for 3 .. 100;
    is $hub->publish(a => 101), $hub->epoch . '-101', 'a later call that waits comes after all of them';
    is_deeply [$subscriber->data(101)], [1 .. 101], 'all events arrive in order';
    ok $hub->publish(a => 'x', {wait => 0, once => 'k'}), 'with once' for 1, 2;
    is $hub->stats->{published}, 102, 'it is published once';
    is $hub->publish(a => 'x', {wait => undef}), $hub->epoch . '-103', 'wait => undef waits';
    is $hub->publish(a => 'x', undef),           $hub->epoch . '-104', 'so does undef instead of options';
    is $hub->publish(a => 'x', {}),              $hub->epoch . '-105', 'and no option';
};

subtest 'options with show_channel' => sub {
    my $hub        = EventSource::Hub->new(show_channel => 'event');
    my $subscriber = Testing::Subscriber->open($hub, 'a');
    my $id         = $hub->publish(a => 'x', {once => 'k'});
    is $hub->publish(a => 'y', {once => 'k'}), $id, 'once is passed on';
    is_deeply [$hub->publish(a => 'z', {wait => 0})], [!!1],      'wait is passed on';
    is_deeply [$subscriber->data(2)],                 ['x', 'z'], 'two events arrive';
};

package Says {
    use overload '""' => sub { $_[0]{asked}++; $_[0]{text} }, bool => sub { 1 }, fallback => 1;
    sub new { my ($class, $text) = @_; return bless {text => $text, asked => 0}, $class }

    package False;
    use overload bool => sub { 0 }, '""' => sub { 'true' }, fallback => 1;
}

subtest 'values of options' => sub {
    my $hub  = EventSource::Hub->new;
    my $said = Says->new('k');
    my $id   = $hub->publish(a => 'x', {once => $said});
    is $hub->publish(a => 'y', {once => 'k'}), $id, 'an object is its string';
    is $said->{asked},                         1,   'which is asked for once';
    is_deeply [$hub->publish(a => 'z', {wait => bless {}, 'False'})], [!!1], 'an object that is false does not wait';
    is $hub->publish(a => 'z', {once => "\xE9"}), $hub->publish(
        a => 'z',
        {
            once => do { my $c = "\xE9"; utf8::upgrade($c); $c }
        }
        ),
        'a key is its characters';
    my $code = sub { my %option = (once => 'k', wait => 1); return $hub->publish(a => 'z', \%option) };
    is $code->(), $id, 'a hash that goes out of scope';
};

subtest 'the longest once' => sub {
    my $hub = EventSource::Hub->new;
    ok $hub->publish(a => 'x', {once => 'x' x 256}), 'a once of 256 bytes';
    error_ok('a longer one', invalid => 'once', sub { $hub->publish(a => 'x', {once => 'x' x 257}) });
    is $hub->stats->{published}, 1, 'is not published';
};

done_testing;

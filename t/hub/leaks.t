# Nothing of Perl's leaks: not in what a hub does, not when it refuses.

use strict;
use warnings;
use utf8;

use lib 't/lib';
use Testing::Deadline  qw(wait_until);
use Testing::Developer qw(needs_module);
use EventSource::XS;
use Test::More;

BEGIN {
    plan skip_all => 'there are no hubs on this system' if !EventSource::XS->can('_next_end');
    needs_module('Test::LeakTrace');
    Test::LeakTrace->import;
}

use EventSource::Hub;
use Testing::Subscriber;
use Testing::StreamPair;
use Plack::App::EventSource::Connection;
use Tie::Hash;
use Tie::Scalar;

{

    package Says;
    use overload '""' => sub { $_[0]->() }, fallback => 1;
}
my $object = bless sub { '☺' }, 'Says';
my $dying  = bless sub { die "no\n" }, 'Says';
tie my $scalar, 'Tie::StdScalar', "☺\n";
tie my %hash, 'Tie::StdHash';
%hash = (id => 1, data => 'x', key => 'k');
my $hub     = EventSource::Hub->new(history      => {events => 10});
my $by_type = EventSource::Hub->new(show_channel => 'event');
my $by_data = EventSource::Hub->new(show_channel => 'data');
my ($stream, $client) = Testing::StreamPair->open;
my $conn = Plack::App::EventSource::Connection->new(stream => $stream);
my $app  = $hub->to_app(channels => sub { return $_[0]{'test.channels'} ? @{$_[0]{'test.channels'}} : () });
my %env  = (REQUEST_METHOD => 'GET', QUERY_STRING => '');

sub refused {
    my $code = shift;
    return sub {
        ok(0) if eval { $code->(); 1 };
        return;
    };
}

my @CASES = (
    ['a publication' => sub { my $id = $hub->publish(a => 'x') }],
    ['a long one'    => sub { $hub->publish(a => 'x' x 5_000) }],
    ['fields'      => sub { my $id = $hub->publish(a => {event => 'e', data => ["a\nb", 5], key => 'k', retry => 5}) }],
    ['an id'       => sub { my $id = $hub->publish(a => {id    => '☺', data => 'x'}) }],
    ['JSON'        => sub { $hub->publish(a       => {json => {a => [1, '☺']}}) }],
    ['ties'        => sub { $hub->publish($scalar => \%hash) }],
    ['objects'     => sub { $hub->publish($object => {data => $object, key => $object, id => $object}) }],
    ['characters'  => sub { $hub->publish("gr\xFCn", {data => "\xE9", key => "\xE9"}) }],
    ['a type'      => sub { $by_type->publish('☺',     'x') }],
    ['a structure' => sub { $by_data->publish($object, {json => [1]}) }],
    ['bad data'    => refused(sub { $hub->publish(a  => undef) })],
    ['a bad id'    => refused(sub { $hub->publish(a  => {id => "a\n", data => [1 .. 100]}) })],
    ['an empty id' => refused(sub { $hub->publish(a  => {id => '',    data => $object}) })],
    ['a bad name'  => refused(sub { $hub->publish([] => 'x') })],
    ['a long name'   => refused(sub { $hub->publish('☺' x 1_024, {data => 'x'}) })],
    ['a bad key'     => refused(sub { $hub->publish(a => {key => [], data => $object}) })],
    ['a dying name'  => refused(sub { $hub->publish($dying, [$object]) })],
    ['a dying field' => refused(sub { $hub->publish(a => {data => $object, id => $dying}) })],
    [
        'bad JSON' => refused(
            sub {
                $by_data->publish(a => {json => sub { }});
            }
        )
    ],
    ['no hub'        => refused(sub { EventSource::Hub::publish({}, 'a', 'x') })],
    ['stats'         => sub { my $stats = $hub->stats }],
    ['an epoch'      => sub { my $epoch = $hub->epoch }],
    ['subscribers'   => sub { my $count = $hub->subscribers($object) }],
    ['subscriptions' => sub { $hub->subscribe($conn, 'a', $object, EventSource::Hub->pattern('b/*'), {after => '☺'}) }],
    ['leaving'   => sub { $hub->unsubscribe($conn, 'a', EventSource::Hub->pattern('b/*')); $hub->unsubscribe($conn) }],
    ['a refusal' => refused(sub { $hub->subscribe($conn, 'a', []) })],
    ['a late refusal'    => refused(sub { $by_type->subscribe($conn, 'a') }), sub { $hub->subscribe($conn, 'a') }],
    ['a hub'             => sub { my $new = EventSource::Hub->new(history => {events => 1}); $new->publish(a => 'x') }],
    ['a hub that is not' => refused(sub { EventSource::Hub->new(on_slow => 'x') })],
    [
        'an app' => sub {
            my $made = $hub->to_app(channels => sub { });
        }
    ],
    ['no channel'    => sub { $app->({%env})->[0] == 404                                     or die }],
    ['a response'    => sub { $app->({%env, 'test.channels' => [[403, [], []]]})->[0] == 403 or die }],
    ['a bad channel' => refused(sub { $app->({%env, 'test.channels' => ['']}) })],
    [
        'streams' => sub {
            my @followers = map { Testing::Subscriber->open($hub, 'a', {start => 'oldest'}) } 1 .. 5;
            $hub->publish(a => 'x');
            $_->client->leave for @followers;
            wait_until(10, sub { EventSource::XS->dispatch; $hub->subscribers('a') <= 1 }) or die;
        }
    ],
);

for my $row (@CASES) {
    my ($name, $code, $before) = @$row;
    $before->() if $before;
    $code->();    # what perl allocates at the first run of a piece of code, it keeps
    no_leaks_ok(sub { $code->() }, $name);
}

done_testing;

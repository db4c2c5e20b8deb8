# No Perl value leaks, neither from a call of a hub nor from one that throws.

use lib 't/lib';
use Testing            qw(native);
use Testing::Deadline  qw(wait_until);
use Testing::Developer qw(needs_module);

BEGIN {
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
    ['publish of a short string' => sub { my $id = $hub->publish(a => 'x') }],
    ['publish of a long string'  => sub { $hub->publish(a => 'x' x 5_000) }],
    [
        'publish of fields' =>
            sub { my $id = $hub->publish(a => {event => 'e', data => ["a\nb", 5], key => 'k', retry => 5}) }
    ],
    ['publish with an id of the application' => sub { my $id = $hub->publish(a => {id => '☺', data => 'x'}) }],
    ['publish of json'        => sub { $hub->publish(a       => {json => {a => [1, '☺']}}) }],
    ['publish of tied values' => sub { $hub->publish($scalar => \%hash) }],
    ['publish of objects'     => sub { $hub->publish($object => {data => $object, key => $object, id => $object}) }],
    ['publish of characters'  => sub { $hub->publish("gr\xFCn", {data => "\xE9", key => "\xE9"}) }],
    ['publish with show_channel event'        => sub { $by_type->publish('☺',     'x') }],
    ['publish of json with show_channel data' => sub { $by_data->publish($object, {json => [1]}) }],
    ['publish without data'                   => refused(sub { $hub->publish(a => undef) })],
    ['publish with a line break in id'    => refused(sub { $hub->publish(a  => {id => "a\n", data => [1 .. 100]}) })],
    ['publish with an empty id'           => refused(sub { $hub->publish(a  => {id => '',    data => $object}) })],
    ['publish to a reference'             => refused(sub { $hub->publish([] => 'x') })],
    ['publish to a name that is too long' => refused(sub { $hub->publish('☺' x 1_024, {data => 'x'}) })],
    ['publish with a reference as key'    => refused(sub { $hub->publish(a => {key => [], data => $object}) })],
    ['publish to an object that dies'     => refused(sub { $hub->publish($dying, [$object]) })],
    ['publish of an object that dies'     => refused(sub { $hub->publish(a => {data => $object, id => $dying}) })],
    [
        'publish of json that cannot be encoded' => refused(
            sub {
                $by_data->publish(a => {json => sub { }});
            }
        )
    ],
    ['publish without a hub' => refused(sub { EventSource::Hub::publish({}, 'a', 'x') })],
    ['a call of stats'       => sub { my $stats = $hub->stats }],
    ['a call of epoch'       => sub { my $epoch = $hub->epoch }],
    ['a call of subscribers' => sub { my $count = $hub->subscribers($object) }],
    [
        'a call of subscribe' =>
            sub { $hub->subscribe($conn, 'a', $object, EventSource::Hub->pattern('b/*'), {start => 'latest'}) }
    ],
    [
        'a call of subscribe with an id for a stream that has begun' =>
            refused(sub { $hub->subscribe($conn, 'a', {after => '☺'}) }),
        sub { $hub->subscribe($conn, 'a') }
    ],
    ['a call of subscribe with a wrong channel' => refused(sub { $hub->subscribe($conn, 'a', []) })],
    [
        'a call of subscribe for a stream of another hub' => refused(sub { $by_type->subscribe($conn, 'a') }),
        sub { $hub->subscribe($conn, 'a') }
    ],
    ['a new hub' => sub { my $new = EventSource::Hub->new(history => {events => 1}); $new->publish(a => 'x') }],
    ['a new hub with a wrong setting' => refused(sub { EventSource::Hub->new(on_slow => 'x') })],
    [
        'a new application' => sub {
            my $made = $hub->to_app(channels => sub { });
        }
    ],
    ['a request without channels' => sub { $app->({%env})->[0] == 404 or die }],
    [
        'a request with a response of the application' =>
            sub { $app->({%env, 'test.channels' => [[403, [], []]]})->[0] == 403 or die }
    ],
    ['a request with a wrong channel' => refused(sub { $app->({%env, 'test.channels' => ['']}) })],
    [
        'five streams that begin and end' => sub {
            my @subscribers = map { Testing::Subscriber->open($hub, 'a', {start => 'oldest'}) } 1 .. 5;
            $hub->publish(a => 'x');
            $_->client->leave for @subscribers;
            wait_until(10, sub { EventSource::XS->dispatch; $hub->subscribers('a') <= 1 }) or die;
        }
    ],
);

for my $row (@CASES) {
    my ($name, $code, $before) = @$row;
    $before->() if $before;
    $code->();    # perl keeps what it allocates when code runs for the first time
    no_leaks_ok(sub { $code->() }, "$name leaks nothing");
}

done_testing;

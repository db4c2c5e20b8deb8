# No Perl value leaks, neither from a call of a hub nor from one that throws.

use lib 't/lib';
use Testing        qw(native);
use Testing::Leaks qw(dies leaks_nothing says);
use EventSource::Hub;
use Testing::Subscriber;
use Testing::StreamPair;
use Plack::App::EventSource::Connection;
use Tie::Hash;
use Tie::Scalar;

my $object = says(sub { '☺' });
my $dying  = says(sub { die "no\n" });
tie my $scalar, 'Tie::StdScalar', "☺\n";
tie my %hash, 'Tie::StdHash';
%hash = (id => 1, data => 'x', key => 'k');
my $hub     = EventSource::Hub->new(keep_history => {events => 10});
my $by_type = EventSource::Hub->new(show_channel => 'event');
my $by_data = EventSource::Hub->new(show_channel => 'data');
my ($stream, $client) = Testing::StreamPair->open;
my $conn = Plack::App::EventSource::Connection->new(stream => $stream);
my $app  = $hub->to_app(channels => sub { return $_[0]{'test.channels'} ? @{$_[0]{'test.channels'}} : () });
my %env  = (REQUEST_METHOD => 'GET', QUERY_STRING => '');

leaks_nothing(
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
    ['publish without data'                   => dies(sub { $hub->publish(a  => undef) })],
    ['publish with a line break in id'        => dies(sub { $hub->publish(a  => {id => "a\n", data => [1 .. 100]}) })],
    ['publish with an empty id'               => dies(sub { $hub->publish(a  => {id => '',    data => $object}) })],
    ['publish to a reference'                 => dies(sub { $hub->publish([] => 'x') })],
    ['publish to a name that is too long'     => dies(sub { $hub->publish('☺' x 1_024, {data => 'x'}) })],
    ['publish with a reference as key'        => dies(sub { $hub->publish(a => {key => [], data => $object}) })],
    ['publish to an object that dies'         => dies(sub { $hub->publish($dying, [$object]) })],
    ['publish of an object that dies'         => dies(sub { $hub->publish(a => {data => $object, id => $dying}) })],
    ['publish of json that cannot be encoded' => dies(sub { $by_data->publish(a => {json => \*STDIN}) })],
    ['publish without a hub'                  => dies(sub { EventSource::Hub::publish({}, 'a', 'x') })],
    ['a call of stats'   => sub { my $stats  = $hub->stats }],
    ['a call of epoch'   => sub { my $epoch  = $hub->epoch }],
    ['history and state' => sub { my @events = ($hub->history('a', last => 5), $hub->state($object)) }],
    ['history with a wrong option' => dies(sub { $hub->history(a => {last => $object}) })],
    ['a call of subscribers'       => sub { my $count = $hub->subscribers($object) }],
    [
        'a call of subscribe' =>
            sub { $hub->subscribe($conn, 'a', $object, EventSource::Hub->pattern('b/*'), {start => 'latest'}) }
    ],
    [
        'a call of subscribe with an id for a stream that has begun' =>
            dies(sub { $hub->subscribe($conn, 'a', {after => '☺'}) }),
        sub { $hub->subscribe($conn, 'a') }
    ],
    ['a call of subscribe with a wrong channel' => dies(sub { $hub->subscribe($conn, 'a', []) })],
    [
        'a call of subscribe for a stream of another hub' => dies(sub { $by_type->subscribe($conn, 'a') }),
        sub { $hub->subscribe($conn, 'a') }
    ],
    ['a new hub' => sub { my $new = EventSource::Hub->new(keep_history => {events => 1}); $new->publish(a => 'x') }],
    ['a new hub with a wrong setting' => dies(sub { EventSource::Hub->new(on_slow => 'x') })],
    ['a new application'              => sub { my $made = $hub->to_app(channels => \&says) }],
    ['a request without channels'     => sub { $app->({%env})->[0] == 404 or die }],
    [
        'a request with a response of the application' =>
            sub { $app->({%env, 'test.channels' => [[403, [], []]]})->[0] == 403 or die }
    ],
    ['a request with a wrong channel' => dies(sub { $app->({%env, 'test.channels' => ['']}) })],
    [
        'five streams that begin and end' => sub {
            my @subscribers = map { Testing::Subscriber->open($hub, 'a', {start => 'oldest'}) } 1 .. 5;
            $hub->publish(a => 'x');
            $_->client->leave for @subscribers;
            wait_until(10, sub { EventSource::XS->dispatch; $hub->subscribers('a') <= 1 }) or die;
        }
    ],
);

done_testing;

# The code and the field of each EventSource::Error that the Perl code of hubs, their applications and connections throws.

use lib 't/lib';
use Testing         qw(native);
use Testing::Errors qw(error_ok);
use EventSource::Hub;
use Plack::App::EventSource;
use Plack::App::EventSource::PubSub;
use Testing::StreamPair;

# A stream on the writer of a server that blocks.
{

    package BlockingStream;
    sub new           { return bless {}, shift }
    sub drop          { return }
    sub is_open       { return 1 }
    sub needs_serving { return 1 }
}

my $hub = EventSource::Hub->new(max_topics => 2);
my ($stream, $client) = Testing::StreamPair->open;
my $conn     = Plack::App::EventSource::Connection->new(stream  => $stream);
my $blocking = Plack::App::EventSource::Connection->new(stream  => BlockingStream->new);
my $bare     = Plack::App::EventSource::Connection->new(push_cb => sub { }, close_cb => sub { });
my $shows    = EventSource::Hub->new(show_channel => 'data');
my %get      = (REQUEST_METHOD => 'GET', 'psgi.streaming' => 1);

sub made {
    my @given = @_;
    return sub { EventSource::Hub->new(@given) }
}

sub app {
    my @given = @_;
    return sub { $hub->to_app(@given) }
}

sub subscribed {
    my @given = @_;
    return sub { $hub->subscribe($conn, @given) }
}

sub component {
    my ($class, @given) = @_;
    return sub { "Plack::App::EventSource$class"->new(@given)->to_app->(\%get) };
}

my @CASES = (
    ['an odd number of settings'         => made('history'), 'invalid', undef],
    ['an unknown setting'                => made(on_fast       => 1),                'invalid', 'on_fast'],
    ['a wrong on_slow'                   => made(on_slow       => 'block'),          'invalid', 'on_slow'],
    ['an empty gap_event'                => made(gap_event     => ''),               'invalid', 'gap_event'],
    ['a wrong max_topics'                => made(max_topics    => 0),                'invalid', 'max_topics'],
    ['a wrong bound of a history'        => made(history       => {events => -1}),   'invalid', 'history'],
    ['an unknown bound of a history'     => made(history       => {hours => 1}),     'invalid', 'hours'],
    ['a wrong number of seconds'         => made(total_history => {seconds => 'x'}), 'invalid', 'total_history'],
    ['a wrong show_channel'              => made(show_channel  => 'id'),             'invalid', 'show_channel'],
    ['a wrong start'                     => made(start         => 'now'),            'invalid', 'start'],
    ['a wrong keepalive'                 => made(keepalive     => 'x'),              'invalid', 'keepalive'],
    ['a wrong retry'                     => made(retry         => 'x'),              'invalid', 'retry'],
    ['a wrong preamble'                  => made(preamble      => 1),                'invalid', 'preamble'],
    ['a timeout of 0'                    => made(timeout       => 0),                'invalid', 'timeout'],
    ['to_app without channels'           => app(),                                             'invalid', 'channels'],
    ['an unknown option of to_app'       => app(channel => 'a'),                               'invalid', 'channel'],
    ['subscribe without channels'        => subscribed(),                                      'invalid', 'channels'],
    ['subscribe to too many channels'    => subscribed('a', 'b', 'c'),                         'invalid', 'channels'],
    ['subscribe to an empty channel'     => subscribed(''),                                    'invalid', 'channel'],
    ['subscribe to a reference'          => subscribed([]),                                    'invalid', 'channel'],
    ['a reference as after'              => subscribed('a', {after => []}),                    'invalid', 'after'],
    ['subscribe without a connection'    => sub { $hub->subscribe(undef, 'a') },               'invalid', 'connection'],
    ['subscribe on a server that blocks' => sub { $hub->subscribe($blocking, 'a') },           'state',   'connection'],
    ['drain without a number'            => sub { $hub->drain('soon') },                       'invalid', 'seconds'],
    ['an empty pattern'                  => sub { EventSource::Hub->pattern('') },             'invalid', 'pattern'],
    ['bytes with show_channel'     => sub { $shows->publish(a => {data => 'x', bytes => 1}) }, 'invalid', 'bytes'],
    ['json that cannot be encoded' => sub { $shows->publish(a => {json => \*STDIN}) },         'invalid', 'json'],
    ['undefined data in an array'  => sub { $shows->publish(a => [undef]) },                   'invalid', 'data'],
    ['a GET without a handler'     => component(''),                                           'invalid', 'handler_cb'],
    ['a wrong on_gone'             => component('', on_gone => 'die'),                         'invalid', 'on_gone'],
    [
        'a GET that cannot be native' => component('', native => 1, handler_cb => sub { }),
        'unsupported', 'native'
    ],
    ['on_close without code' => sub { $conn->on_close('x') }, 'invalid', 'callback'],
    [
        'on_close without a stream' => sub {
            $bare->on_close(sub { });
        },
        'state',
        undef
    ],
    ['PubSub without a hub'           => component('::PubSub'),                              'invalid', 'hub'],
    ['an unknown attribute of PubSub' => component('::PubSub', hub => $hub, authorise => 1), 'invalid', 'authorise'],
);

for my $row (@CASES) {
    my ($what, $call, $code, $field) = @$row;
    error_ok($what, $code, $field, $call);
}

done_testing;

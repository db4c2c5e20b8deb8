# Each option of to_app, and of serve, replaces the attribute of the hub, for every kind of hub, and for native streams and
# those on the server's writer. An option that would have no effect is refused.

use lib 't/lib';
use Testing qw(native);
use EventSource::Framework;
use EventSource::Hub;
use EventSource::Server;
use Plack::Builder;
use Plack::App::EventSource::PubSub;
use Testing::Client;
use Testing::Errors qw(error_of);
use Testing::Server qw(path);

Testing->need('named_hubs');

my $SHORT = 10;    # seconds, far more than a short time of an option and far less than that of the hub
my $LARGE = 64;    # events of 64 KiB, more than a socket holds

# What shows that the option has an effect: a client of its stream, functions that ask the hub, and whether it is native.
my %SHOWS = (
    compress => sub {
        my ($client, $ask, $is_native) = @_;
        is $client->header('Content-Encoding'), $is_native ? 'gzip' : undef, 'coded';
    },
    headers   => sub { is $_[0]->header('X-Of'), 'application', 'a header' },
    keepalive => sub { ok $_[0]->read_until(qr/^:/m), 'a keepalive' },
    label     =>
        sub { my ($client, $ask) = @_; $ask->(end => label => 'reader'); ok $client->read_all, 'it has the label' },
    linger          => sub { is $_[0]->status,                                     200, 'a stream' },
    max_age         => sub { ok $_[0]->read_all,                                   'its end' },
    max_streams_per => sub { is $_[3]->()->status,                                 429, 'one more is refused' },
    member          => sub { ok comes_to($_[1], members => "people$_[4]" => 1),    'it has the member' },
    methods         => sub { is $_[0]->status,                                     405, 'a GET is refused' },
    origins         => sub { is $_[0]->header('Access-Control-Allow-Origin'),      '*', 'the origins' },
    position        => sub { ok $_[0]->read_until(qr/^event: position$/m),         'the position is an event' },
    preamble        => sub { ok $_[0]->read_until(qr/\A:[^\n]{90}/),               'a preamble' },
    retry           => sub { ok $_[0]->read_until(qr/^retry: (?:7|8|9|1[0-4])$/m), 'the reconnection time' },
    start           => sub { ok $_[0]->read_until(qr/^data: 1:/m),                 'an event of before' },
    timeout         => sub {
        my ($client, $ask) = @_;
        $ask->(publish => channel => 'timeout', count => $LARGE, bytes => 65_536);
        ok comes_to($ask, subscribers => timeout => 0), 'the end of a client that reads nothing';
    },
);

my @OF_SERVE = qw(label max_age member position retry start);

# True if the number that the hub answers with becomes that one, in a short time.
sub comes_to {
    my ($ask, $path, $channel, $number) = @_;
    return wait_until($SHORT, sub { $ask->($path, channel => $channel) == $number });
}

for my $row (['Twiggy', qw(local named stored)], ['Starman', qw(named stored)]) {
    my ($name, @kinds) = @$row;
    next if Testing::Server->missing($name);
    my $folder = new_folder;
    my $server = Testing::Server->start(
        $name, 't/data/app_options.psgi',
        workers => 2,
        env     => {OPTIONS_FOLDER => "$folder", OPTIONS_LOCAL => $name eq 'Twiggy', EVENTSOURCE_XS_DEBUG => 1},
    );
    for my $kind (@kinds) {
        for my $native (qw(native writer)) {
            subtest "$name, a hub that is $kind, on the $native" => sub {
                my $ask = sub { my ($path, %query) = @_; return $server->ask("/$kind/$path", %query) };
                $ask->(publish => channel => 'start', count => 1);
                for my $way ((map { "app/$_" } sort keys %SHOWS), map { "serve/$_" } @OF_SERVE) {
                    my $path = "/$kind/$native/$way";
                    my $open = sub {
                        my $stream = Testing::Client->get($server->port, $path,
                            headers => ['Accept-Encoding' => 'gzip', Origin => 'http://page.example']);
                        $stream->read_head;
                        return $stream;
                    };
                    my $client = $open->();
                    my ($shows) = map { $SHOWS{$_} } $way =~ m{/(\w+)};
                    subtest $way => sub { $shows->($client, $ask, $native eq 'native', $open, $path) };
                    $client->leave;
                }
            };
        }
    }
    if ($name eq 'Twiggy') {
        my $open = sub { return Testing::Client->get($server->port, '/local/native/app/max_streams') };
        my $first;    # it begins when the streams of above have ended
        ok wait_until($SHORT, sub { $first = $open->(); $first->read_until(qr/\n\n/) && $first->text =~ /^id:/m }),
            'max_streams: a stream of a local hub';
        my $second = $open->();
        ok $second->read_all, 'one more ends';
        like $second->text, qr/\Aretry: [0-9]+\n\z/, 'with a reconnection time';
        $_->leave for $first, $second;
    }
    $server->stop;
    my %is_so = (native => qr{/native/\w+/\w+: native stream}, writer => qr{/writer/\w+/\w+: on the server's writer});
    like $server->log, $is_so{$_}, "there were streams on the $_" for sort keys %is_so;
}

subtest 'max_streams of a named hub is an attribute of it alone' => sub {
    my $folder = new_folder;
    my %hub    = (name => 'shop', socket => "$folder/shop");
    my $named  = EventSource::Hub->new(%hub, max_streams => 5);
    my $local  = EventSource::Hub->new(max_streams       => 5);
    my $news   = sub { return 'news' };
    my %by     = (
        to_app    => sub { $_[0]->to_app(channels => $news, max_streams => $_[1]) },
        PubSub    => sub { Plack::App::EventSource::PubSub->new(hub => $_[0], max_streams => $_[1])->to_app },
        framework => sub { EventSource::Framework->hub_app($_[0], 'news', {max_streams => $_[1]}) },
        server    => sub { EventSource::Server->new(hub => $_[0], channel => 'news', max_streams => $_[1]) },
    );
    for my $by (sort keys %by) {
        is error_of(sub { $by{$by}->($named, 2) }), 'invalid max_streams', "$by refuses it for a named hub";
        ok eval { $by{$by}->($named, undef) }, "$by takes undef"              or diag $@;
        ok eval { $by{$by}->($local, 2) },     "$by takes it for a local hub" or diag $@;
    }
    ok eval { EventSource::Server->new(%hub, max_streams => 5) }, 'EventSource::Server gives it to its own hub'
        or diag $@;
    my $setter = Plack::App::EventSource::PubSub->new(hub => $named);
    $setter->max_streams(2);
    is error_of(sub { $setter->to_app }), 'invalid max_streams', 'PubSub refuses one that was set later';
};

subtest 'a hub in the place of its application' => sub {
    my $hub = EventSource::Hub->new;
    my $app = builder { mount '/events' => $hub };
    my %env = (REQUEST_METHOD => 'GET', SCRIPT_NAME => '', PATH_INFO => '/events', HTTP_HOST => 'localhost');
    ok !eval { $app->(\%env) }, 'dies at a request';
    like $@, qr/\AEventSource::Hub: a hub is no application: write \$hub->to_app\(.+\) in its place at /,
        'with the remedy';
    ok $hub && $hub == $hub && "$hub" =~ /\AEventSource::Hub=/, 'a hub is an object as any other';
};

done_testing;

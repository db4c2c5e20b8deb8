# The callback authorize decides which requests may subscribe and publish.

use lib 't/lib';
use Testing;
use Plack::App::EventSource::PubSub;
use Plack::Request;
use Testing::RecordingHub qw(answer);

my $hub = Testing::RecordingHub->new;

sub pubsub { return Plack::App::EventSource::PubSub->new(hub => $hub, @_)->to_app }

my %METHOD = (subscribe => 'GET', publish => 'POST');

# The response to a request, and the text in psgi.errors.
sub fares {
    my ($app, $method) = @_;
    open my $errors, '>', \my $said or die $!;
    my $response = answer($app, $method => '/news', content => 'x', env => {'psgi.errors' => $errors});
    return ($response, $said // '');
}

subtest 'requests without authorize' => sub {
    my $app = pubsub();
    is answer($app, GET  => '/news')->code, 200, 'a GET without authorize is a 200';
    is answer($app, HEAD => '/news')->code, 200, 'a HEAD without authorize is a 200';
    is answer($app, POST => '/news', content => 'x')->code, 403, 'a POST without authorize is a 403';
    is_deeply [$hub->published], [], 'nothing is published without authorize';
};

subtest 'the arguments of authorize' => sub {
    my @asked;
    my $app = pubsub(authorize => sub { push @asked, [@_]; return !!1 });
    for my $case ([GET => 'subscribe'], [HEAD => 'subscribe'], [POST => 'publish']) {
        my ($method, $action) = @$case;
        @asked = ();
        answer($app, $method => '/news/today?token=7', content => 'x');
        my ($env, @rest) = @{$asked[0]};
        is_deeply \@rest, [$action, 'news/today'], "$method: $action";
        is $env->{QUERY_STRING}, 'token=7', "$method: authorize receives the environment";
        is scalar @asked,        1,         "$method: authorize is called once";
    }
    @asked = ();
    answer($app, $_ => '/news') for qw(OPTIONS PUT);
    is scalar @asked, 0, 'authorize is not called for OPTIONS and PUT';
    $hub->published;
};

subtest 'the results of authorize' => sub {
    for my $case (
        ['1',                sub { 1 },                   200],
        ['an object',        sub { bless {}, 'User' },    200],
        ['a hash',           sub { {} },                  200],
        ['0',                sub { 0 },                   403],
        ['the empty string', sub { '' },                  403],
        ['undef',            sub { undef },               403],
        ['nothing',          sub { return },              403],
        ['a response',       sub { [401, [], ['who?']] }, 401],
        [
            'a delayed response',
            sub {
                sub { shift->([402, [], ['pay']]) }
            },
            402
        ],
        [
            'a streamed response',
            sub {
                sub { my $w = shift->([429, []]); $w->write('later'); $w->close }
            },
            429
        ],
    ) {
        my ($what, $authorize, $status) = @$case;
        my $app = pubsub(authorize => $authorize);
        for my $action (sort keys %METHOD) {
            my ($response, $said) = fares($app, $METHOD{$action});
            is $response->code, $status, "$what: $status for $action";
            is $said,           '',      "$what: psgi.errors is empty";
            unlike $response->content, qr/follows/, "$what: there is no stream" if $status != 200;
            my @published = $hub->published;
            is scalar @published, $status == 200 && $action eq 'publish' ? 1 : 0,
                "$what: only an authorized POST is published";
        }
    }
};

subtest 'a response of authorize is sent' => sub {
    my @shared = (401, ['WWW-Authenticate' => 'Basic realm="x"', 'X-Own' => 1], ['who?']);
    my $app    = pubsub(authorize => sub { \@shared }, origins => 'https://shop.example');
    for (1, 2) {
        my $response = answer($app, GET => '/news', headers => [Origin => 'https://shop.example']);
        is $response->content, 'who?', 'the response of authorize has its body';
        is_deeply [$response->header('X-Own')], [1], 'the response of authorize has its headers once';
        is_deeply [$response->header('Access-Control-Allow-Origin')], ['https://shop.example'],
            'the response of authorize has Access-Control-Allow-Origin once';
    }
    is scalar @{$shared[1]},                   4,  'the array that authorize returned is not changed';
    is answer($app, HEAD => '/news')->content, '', 'the response to HEAD has no body';
};

subtest 'wrong results and exceptions of authorize' => sub {
    for my $case (
        ['an empty array',      sub { [] },               'authorize: it returned an array that is not a response'],
        ['an array of users',   sub { ['anna', 'bert'] }, 'authorize: it returned an array that is not a response'],
        ['an array of numbers', sub { ['101', '102'] },   'authorize: it returned an array that is not a response'],
        ['a status alone',      sub { [200] },            'authorize: it returned an array that is not a response'],
        ['a string as exception',      sub { die "no database\n" },   'authorize: no database'],
        ['an array as exception',      sub { die [200, [], ['in']] }, qr/authorize: ARRAY\(0x[0-9a-f]+\)/],
        ['an exception that is false', sub { die bless [], 'False' }, 'authorize: false'],
        [
            'an exception without a string',
            sub { die bless [], 'Mute' },
            'authorize: a Mute that cannot be made a string'
        ],
        ['an exception in characters', sub { die "größe ☺\n" }, "authorize: gr\xC3\xB6\xC3\x9Fe \xE2\x98\xBA"],
    ) {
        my ($what, $authorize, $why) = @$case;
        my $app = pubsub(authorize => $authorize);
        for my $action (sort keys %METHOD) {
            my ($response, $said) = fares($app, $METHOD{$action});
            is $response->code,    500,                       "$what: 500 for $action";
            is $response->content, "Internal server error\n", "$what: the response has no details";
            ref $why
                ? like($said, qr/\APlack::App::EventSource::PubSub: $why\n\z/, "$what: psgi.errors has the exception")
                : is($said, "Plack::App::EventSource::PubSub: $why\n", "$what: psgi.errors has the exception");
        }
    }
    is_deeply [$hub->published], [], 'nothing is published after wrong results';
};

subtest 'authorize may read the body' => sub {
    my $signed;
    my $app = pubsub authorize => sub {
        my $env = shift;
        $env->{'psgi.input'}->read($signed, 100);
        return 1;
    };
    answer($app, POST => '/news', content => 'signed', env => {'psgix.input.buffered' => !!1});
    is $signed, 'signed', 'authorize reads the body';
    is_deeply [$hub->published], [['news', {data => 'signed'}]], 'the body that authorize has read is published';
};

subtest 'authorize may read the body with Plack::Request if the server does not buffer it' => sub {
    open my $input, '<', \'signed' or die $!;
    my $signed;
    my $app = pubsub(authorize => sub { $signed = Plack::Request->new($_[0])->content; return 1 });
    my %env = ('psgi.input' => $input, 'psgix.input.buffered' => !!0);
    answer($app, POST => '/news', content => 'signed', env => \%env);
    is $signed, 'signed', 'authorize reads the body with Plack::Request';
    is_deeply [$hub->published], [['news', {data => 'signed'}]], 'the body that Plack::Request has read is published';
};

subtest 'requests keep the exception of their caller' => sub {
    my $app = pubsub authorize => sub {
        eval { die "x\n" };
        1;
    };
    local $@ = 'before';
    answer($app, GET => '/news');
    answer($app, POST => '/news', content => '{', headers => ['Content-Type' => 'application/json']);
    is $@, 'before', '$@ is the same after a GET and a refused POST';
};

package False {
    use overload '""' => sub { 'false' }, bool => sub { 0 };

    package Mute;
    use overload '""' => sub { die "mute\n" };
}

done_testing;

# Who may follow a node, and who may publish to it, the application says.

use strict;
use warnings;
use utf8;

use lib 't/lib';
use Plack::App::EventSource::PubSub;
use Testing::RecordingHub qw(answer);
use Test::More;

my $hub = Testing::RecordingHub->new;

sub pubsub { return Plack::App::EventSource::PubSub->new(hub => $hub, @_)->to_app }

my %METHOD = (subscribe => 'GET', publish => 'POST');

# What becomes of a request, with what psgi.errors is told.
sub fares {
    my ($app, $method) = @_;
    open my $errors, '>', \my $said or die $!;
    my $response = answer($app, $method => '/news', content => 'x', env => {'psgi.errors' => $errors});
    return ($response, $said // '');
}

subtest 'without authorize' => sub {
    my $app = pubsub();
    is answer($app, GET  => '/news')->code, 200, 'everybody may follow';
    is answer($app, HEAD => '/news')->code, 200, 'and ask whether';
    is answer($app, POST => '/news', content => 'x')->code, 403, 'nobody may publish';
    is_deeply [$hub->published], [], 'nothing is published';
};

subtest 'what it is asked' => sub {
    my @asked;
    my $app = pubsub(authorize => sub { push @asked, [@_]; return !!1 });
    for my $case ([GET => 'subscribe'], [HEAD => 'subscribe'], [POST => 'publish']) {
        my ($method, $action) = @$case;
        @asked = ();
        answer($app, $method => '/news/today?token=7', content => 'x');
        my ($env, @rest) = @{$asked[0]};
        is_deeply \@rest, [$action, 'news/today'], "$method: $action";
        is $env->{QUERY_STRING}, 'token=7', 'with the environment';
        is scalar @asked,        1,         'once';
    }
    @asked = ();
    answer($app, $_ => '/news') for qw(OPTIONS PUT);
    is scalar @asked, 0, 'nothing for other methods';
    $hub->published;
};

subtest 'what it may answer' => sub {
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
            is $said,           '',      'psgi.errors is told nothing';
            unlike $response->content, qr/follows/, 'no stream' if $status != 200;
            my @published = $hub->published;
            is scalar @published, $status == 200 && $action eq 'publish' ? 1 : 0, 'what is published';
        }
    }
};

subtest 'a response of its own is sent as it is' => sub {
    my @shared = (401, ['WWW-Authenticate' => 'Basic realm="x"', 'X-Own' => 1], ['who?']);
    my $app    = pubsub(authorize => sub { \@shared }, origins => 'https://shop.example');
    for (1, 2) {
        my $response = answer($app, GET => '/news', headers => [Origin => 'https://shop.example']);
        is $response->content, 'who?', 'its body';
        is_deeply [$response->header('X-Own')], [1], 'its headers';
        is_deeply [$response->header('Access-Control-Allow-Origin')], ['https://shop.example'],
            'and what lets the page read it, once';
    }
    is scalar @{$shared[1]},                   4,  'it is not changed itself';
    is answer($app, HEAD => '/news')->content, '', 'without its body for HEAD';
};

subtest 'what it may not answer' => sub {
    for my $case (
        ['an empty array',     sub { [] },                    'authorize: it returned an array that is no response'],
        ['an array of users',  sub { ['anna', 'bert'] },      'authorize: it returned an array that is no response'],
        ['a status alone',     sub { [200] },                 'authorize: it returned an array that is no response'],
        ['an exception',       sub { die "no database\n" },   'authorize: no database'],
        ['an array as one',    sub { die [200, [], ['in']] }, qr/authorize: ARRAY\(0x[0-9a-f]+\)/],
        ['one that is false',  sub { die bless [], 'False' }, 'authorize: false'],
        ['one without a name', sub { die bless [], 'Mute' },  'authorize: a Mute that cannot be made a string'],
        ['one in characters',  sub { die "größe ☺\n" },       "authorize: gr\xC3\xB6\xC3\x9Fe \xE2\x98\xBA"],
    ) {
        my ($what, $authorize, $why) = @$case;
        my $app = pubsub(authorize => $authorize);
        for my $action (sort keys %METHOD) {
            my ($response, $said) = fares($app, $METHOD{$action});
            is $response->code,    500,                       "$what: 500 for $action";
            is $response->content, "Internal server error\n", 'and no more than that';
            ref $why
                ? like($said, qr/\APlack::App::EventSource::PubSub: $why\n\z/, 'psgi.errors is told')
                : is($said, "Plack::App::EventSource::PubSub: $why\n", 'psgi.errors is told');
        }
    }
    is_deeply [$hub->published], [], 'nothing is published';
};

subtest 'it may read the body, to look for a signature' => sub {
    my $signed;
    my $app = pubsub(
        authorize => sub {
            my $env = shift;
            $env->{'psgi.input'}->read($signed, 100);
            return 1;
        }
    );
    answer($app, POST => '/news', content => 'signed', env => {'psgix.input.buffered' => !!1});
    is $signed, 'signed', 'it does';
    is_deeply [$hub->published], [['news', {data => 'signed'}]], 'and the body is published';
};

subtest 'an exception that was under way is not lost' => sub {
    my $app = pubsub(
        authorize => sub {
            eval { die "x\n" };
            1;
        }
    );
    local $@ = 'before';
    answer($app, GET => '/news');
    answer($app, POST => '/news', content => '{', headers => ['Content-Type' => 'application/json']);
    is $@, 'before', 'it stands where it stood';
};

{

    package False;
    use overload '""' => sub { 'false' }, bool => sub { 0 };

    package Mute;
    use overload '""' => sub { die "mute\n" };
}

done_testing;

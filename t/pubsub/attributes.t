# Plack::App::EventSource::PubSub as a Plack::Component: its attributes, and what they cannot be.

use strict;
use warnings;
use utf8;

use lib 't/lib';
use EventSource::Hub;
use Plack::App::EventSource::PubSub;
use Testing::RecordingHub qw(answer);
use Test::More;

my $hub = Testing::RecordingHub->new;

subtest 'it is a component' => sub {
    isa_ok 'Plack::App::EventSource::PubSub', 'Plack::Component';
    my $component = Plack::App::EventSource::PubSub->new({hub => $hub});
    my $app       = $component->to_app;
    is answer($app, GET => '/news')->content, 'follows news', 'a hash reference of attributes';
    is answer($app, POST => '/news', content => 'x')->code, 403, 'without authorize nobody publishes';
    $component->authorize(sub { $_[1] eq 'publish' });
    is answer($app, POST => '/news', content => 'x')->code, 200, 'authorize may be given later';
    is answer($app, GET => '/news')->code, 403, 'and counts at once';
    $component->nodes(['other']);
    is answer($app, POST => '/news', content => 'x')->code, 404,   'so do nodes';
    is $component->max_body,                                undef, 'attributes can be read';
};

subtest 'a subclass' => sub {
    {

        package My::PubSub;
        our @ISA = ('Plack::App::EventSource::PubSub');
        use Plack::Util::Accessor qw(team);
        sub call { my ($self, $env) = @_; $env->{my} = $self->team; return $self->SUPER::call($env) }
    }
    my $team;
    My::PubSub->new(hub => $hub, team => 'red', authorize => sub { $team = $_[0]{my}; 1 })->to_app->(
        {
            REQUEST_METHOD   => 'GET',
            PATH_INFO        => '/news',
            HTTP_HOST        => 'localhost',
            'psgi.streaming' => 1,
        }
    );
    is $team, 'red', 'wraps call, with an attribute of its own';
};

subtest 'what its streams are told' => sub {
    my %settings = (
        headers     => ['X-Own' => 1],
        keepalive   => 5,
        linger      => 1,
        max_streams => 10,
        native      => 0,
        preamble    => 2048,
        retry       => [1, 2],
        start       => 'oldest',
        timeout     => 7,
    );
    delete $hub->{apps};
    my $app = Plack::App::EventSource::PubSub->new(hub => $hub, %settings, prefix => 'x/')->to_app;
    answer($app, GET => "/$_") for qw(a b);
    is scalar @{$hub->{apps}}, 1, 'one application of the hub serves all of them';
    my %told = %{$hub->{apps}[0]};
    is ref delete $told{channels}, 'CODE', 'it asks for the channel';
    is_deeply \%told, \%settings, 'and has all settings';
    delete $hub->{apps};
    Plack::App::EventSource::PubSub->new(hub => $hub)->to_app;
    is_deeply [keys %{$hub->{apps}[0]}], ['channels'], 'what is not set is left to the hub';
};

subtest 'attributes that cannot be' => sub {
    for my $case (
        [hub       => undef,            'hub must be an EventSource::Hub'],
        [hub       => 'EventSource',    'hub must be an EventSource::Hub'],
        [hub       => {},               'hub must be an EventSource::Hub'],
        [hub       => bless({}, 'Hub'), 'hub must be an EventSource::Hub'],
        [authorize => 'yes',            'authorize must be a code reference'],
        [authorize => 1,                'authorize must be a code reference'],
        [authorize => [],               'authorize must be a code reference'],
        [nodes     => 'news',           'nodes must be a reference to an array, a hash or code'],
        [nodes     => \'news',          'nodes must be a reference to an array, a hash or code'],
        (
            map { [max_body => $_, 'max_body must be a whole number of bytes from 1 to 999999999999999'] } 0,
            -1, '1.5', '1k', '', "1\n", []
        ),
        (
            map { [http_host => $_, 'http_host must be the name of a host, or several'] } '',
            'a b', 'http://a', 'a/b', [undef], ['a', ''], "a\n", {}
        ),
        (
            map { [origins => $_, q(origins must be origins such as 'https://example.com', '*', or a code reference)] }
                '',
            'example.com',
            'https://',
            'https://a/',
            'https://a/b',
            'null',
            "https://a\n",
            [undef],
            ['*', ''],
            {}
        ),
        (map { [prefix => $_, 'prefix must be a string of less than 1024 bytes'] } [], 'x' x 1024, 'ö' x 512),
        [
            authorise => sub { 1 },
            "unknown attribute 'authorise' (known: authorize, headers, http_host, hub, keepalive, linger, max_body, "
                . 'max_streams, native, nodes, origins, preamble, prefix, retry, start, timeout)'
        ],
    ) {
        my ($name, $value, $why) = @$case;
        my $component = Plack::App::EventSource::PubSub->new(hub => $hub, $name => $value);
        my ($file, $line) = (__FILE__, __LINE__ + 1);
        ok !eval { $component->to_app; 1 },
            "$name cannot be " . (ref $value || (defined $value ? "'$value'" : 'undef'));
        is $@, "Plack::App::EventSource::PubSub: $why at $file line $line.\n", q(croaks at the caller's line);
    }
};

subtest 'what the streams cannot be told' => sub {
    plan skip_all => 'there are no hubs on this system' if !EventSource::Hub->can('_attach');
    for my $case (
        [keepalive => 'x', 'EventSource::Stream: keepalive must be a number of seconds'],
        [start     => 'x', "EventSource::Hub: start must be 'newest', 'oldest' or a number of events, such as -10"],
        [preamble  => 1,   'Plack::App::EventSource: preamble must be a number of bytes from 3 to 65536, or 0'],
    ) {
        my ($name, $value, $why) = @$case;
        my $component = Plack::App::EventSource::PubSub->new(hub => EventSource::Hub->new, $name => $value);
        my ($file, $line) = (__FILE__, __LINE__ + 1);
        ok !eval { $component->to_app; 1 }, "$name cannot be $value";
        is $@, "$why at $file line $line.\n", q(croaks at the caller's line);
    }
};

subtest 'attributes that can be' => sub {
    for my $case (
        [max_body  => 1],
        [http_host => 'localhost'],
        [http_host => ['a', 'b:5000', '[::1]', 'xn--bcher-kva.example']],
        [origins   => 'http://localhost:5000'],
        [origins   => ['*', 'https://a', 'http://[::1]:80', 'moz-extension://0-1', 'capacitor://localhost']],
        [origins   => []],
        [prefix    => ''],
        [prefix    => 'x' x 1023],
        [nodes     => []],
    ) {
        my ($name, $value) = @$case;
        ok eval { Plack::App::EventSource::PubSub->new(hub => $hub, $name => $value)->to_app; 1 },
            "$name: " . (ref $value ? "@$value" : $value)
            or diag $@;
    }
};

done_testing;

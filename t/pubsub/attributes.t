# Plack::App::EventSource::PubSub as a Plack::Component: its attributes. t/settings/mistakes.t has the values
# that it refuses.

use lib 't/lib';
use Testing;
use Plack::App::EventSource::PubSub;
use Testing::RecordingHub qw(answer);

my $hub = Testing::RecordingHub->new;

subtest 'Plack::App::EventSource::PubSub is a Plack::Component' => sub {
    isa_ok 'Plack::App::EventSource::PubSub', 'Plack::Component';
    my $component = Plack::App::EventSource::PubSub->new({hub => $hub});
    my $app       = $component->to_app;
    is answer($app, GET => '/news')->content, 'follows news', 'new accepts a hash reference of attributes';
    is answer($app, POST => '/news', content => 'x')->code, 403, 'a POST without authorize is a 403';
    $component->authorize(sub { $_[1] eq 'publish' });
    is answer($app, POST => '/news', content => 'x')->code, 200,
        'a POST is published when authorize has been set later';
    is answer($app, GET => '/news')->code, 403, 'a GET is a 403 when authorize has been set later';
    $component->nodes(['other']);
    is answer($app, POST => '/news', content => 'x')->code, 404,   'a POST is a 404 when nodes has been set later';
    is $component->max_body,                                undef, 'an attribute that was not set is undef';
};

subtest 'a subclass of Plack::App::EventSource::PubSub' => sub {

    package My::PubSub {
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
    is $team, 'red', 'call of a subclass may change the environment by an attribute of its own';
};

subtest 'the settings of the streams' => sub {
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
    my $app  = Plack::App::EventSource::PubSub->new(hub => $hub, %settings, prefix => 'x/')->to_app;
    my $made = @{$hub->{apps}};
    answer($app, GET => "/$_") for qw(a b);
    is scalar @{$hub->{apps}}, $made, 'all nodes share one application of the hub';
    my %told = %{$hub->{apps}[-1]};
    is ref delete $told{channels}, 'CODE', 'the application has a callback for the channel';
    is_deeply \%told, \%settings, 'the application has all settings';
    delete $hub->{apps};
    Plack::App::EventSource::PubSub->new(hub => $hub)->to_app;
    is_deeply [keys %{$hub->{apps}[0]}], ['channels'], 'the application has no settings that were not set';
};

subtest 'to_app accepts attributes' => sub {
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
            "$name => " . (ref $value ? "@$value" : $value) . " is accepted"
            or diag $@;
    }
};

done_testing;

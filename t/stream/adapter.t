# EventSource::XS::Adapter finds the adapter of a server by the environment, the writer or the calling method.

use lib 't/lib';
use Testing;
use EventSource::XS::Adapter;
use EventSource::XS::Stream;
use Plack::Util ();
use Socket      qw(AF_UNIX PF_UNSPEC SOCK_STREAM);

my $GENERIC = 'EventSource::XS::Adapter';
my $TIMEOUT = "failed to send all data\n";

# Returns a writer like those of servers, compiled in a package.
sub inline_writer {
    my $package = shift;
    my $write   = eval "package $package; sub { my \$bytes = shift; return }";    ## no critic (ProhibitStringyEval)
    return Plack::Util::inline_object(write => $write, close => sub { });
}

subtest 'of_env' => sub {
    my %cases = (
        'an empty environment'                   => [{}, $GENERIC],
        'psgi.errors as a glob'                  => [{'psgi.errors' => *STDERR},                  $GENERIC],
        'psgi.errors of uWSGI'                   => [{'psgi.errors' => bless {}, 'uwsgi::error'}, "${GENERIC}::UWSGI"],
        'the guard of Feersum, though undefined' => [{'psgix.output.guard' => undef}, "${GENERIC}::Feersum"],
    );
    for my $case (sort keys %cases) {
        my ($env, $expected) = @{$cases{$case}};
        is(EventSource::XS::Adapter->of_env($env), $expected, $case);
    }
};

subtest 'of_writer' => sub {
    my %cases = (
        'no writer'                           => [undef,                                         undef],
        'an object of an unknown class'       => [bless({}, 'Some::Writer'),                     undef],
        'an inline object of a middleware'    => [inline_writer('Plack::Util'),                  undef],
        'an inline object without a code ref' => [bless({write => 1}, 'Plack::Util::Prototype'), undef],
        'HTTP::Server::PSGI'                  => [inline_writer('HTTP::Server::PSGI'),           'HTTPServerPSGI'],
        'HTTP::Server::Simple::PSGI' => [bless(sub { }, 'HTTP::Server::Simple::PSGI::Writer'), 'HTTPServerSimplePSGI'],
        'Starman'                    => [inline_writer('Starman::Server'),                     'Starman'],
        'Starlet'                    => [inline_writer('Starlet::Server'),                     'Starlet'],
        'Twiggy'                     => [bless({}, 'Twiggy::Writer'),                          'Twiggy'],
        'Feersum'                    => [bless({}, 'Feersum::Connection::Writer'),             'Feersum'],
        'uWSGI'                      => [bless({}, 'uwsgi::streaming'),                        'UWSGI'],
    );
    for my $case (sort keys %cases) {
        my ($writer, $expected) = @{$cases{$case}};
        is(EventSource::XS::Adapter->of_writer($writer), defined $expected ? "${GENERIC}::$expected" : undef, $case);
    }
};

{

    package Catalyst::Response::Writer;    ## no critic (Modules::ProhibitMultiplePackages)
    sub write { return }
}

subtest 'the writer of a framework' => sub {
    my $inner = bless {}, 'Twiggy::Writer';
    my $outer = bless {_writer => $inner}, 'Catalyst::Response::Writer';
    is(EventSource::XS::Adapter->server_writer($inner), $inner,               "a server's writer is returned as it is");
    is(EventSource::XS::Adapter->server_writer($outer), $inner,               "the server's writer inside is found");
    is(EventSource::XS::Adapter->of_writer($outer),     "${GENERIC}::Twiggy", 'the adapter is that of the server');
    no warnings 'redefine';
    local *Catalyst::Response::Writer::write = sub { return };
    is(EventSource::XS::Adapter->of_writer($outer), undef, 'a replaced write makes the writer unknown');
};

subtest 'of' => sub {
    my $writer = bless {}, 'Twiggy::Writer';
    is(EventSource::XS::Adapter->of({'psgix.output.guard' => 1}, $writer),
        "${GENERIC}::Feersum", 'the environment comes first');
    is(
        EventSource::XS::Adapter->of({}, $writer),
        "${GENERIC}::Twiggy",
        'the writer decides if the environment is of any server'
    );
    is(EventSource::XS::Adapter->of({}, undef), $GENERIC, 'an unknown server has the generic adapter');
};

subtest 'of_sub' => sub {
    is(EventSource::XS::Adapter->of_sub('Starman::Server::dispatch_request'), "${GENERIC}::Starman", 'Starman');
    is(EventSource::XS::Adapter->of_sub('Starlet::Server::accept_loop'),      "${GENERIC}::Starlet", 'Starlet');
    is(EventSource::XS::Adapter->of_sub('HTTP::Server::PSGI::accept_loop'),
        "${GENERIC}::HTTPServerPSGI", 'HTTP::Server::PSGI');
    is(EventSource::XS::Adapter->of_sub('Twiggy::Server::run'),       "${GENERIC}::Twiggy", 'Twiggy');
    is(EventSource::XS::Adapter->of_sub('Plack::Handler::FCGI::run'), "${GENERIC}::FCGI",   'FCGI');
    is(EventSource::XS::Adapter->of_sub('main::accept_loop'),         undef,                'an unknown sub');
};

subtest 'exceptions of servers' => sub {
    ok(EventSource::XS::Adapter->is_send_timeout($TIMEOUT),          'a timeout of a server is recognised');
    ok(!EventSource::XS::Adapter->is_send_timeout("$TIMEOUT at x"),  'a longer message is not a timeout');
    ok(!EventSource::XS::Adapter->is_send_timeout(bless {}, 'Died'), 'an object is not a timeout');
    ok(EventSource::XS::Adapter->is_read_failure('timeout during read(4096) on x'),
        'a body that does not arrive is a read failure');
    ok(!EventSource::XS::Adapter->is_read_failure("alarm\n"), 'another message is not a read failure');
};

subtest 'an obstacle does not change the environment' => sub {
    socketpair my $ours, my $theirs, AF_UNIX, SOCK_STREAM, PF_UNSPEC or die "socketpair: $!";
    my %cases = (
        'an ordinary server'              => {'psgix.io' => $ours},
        'Feersum with a fetched psgix.io' =>
            {'psgix.io' => $ours, 'psgix.output.guard' => 1, 'psgi.url_scheme' => 'http'},
        'Feersum with a scheme of its proxy' => {'psgix.output.guard' => 1, 'psgi.url_scheme' => 'https'},
        'a server without a socket'          => {},
    );
    for my $case (sort keys %cases) {
        my $env  = {REQUEST_METHOD => 'GET', %{$cases{$case}}};
        my %copy = %$env;
        EventSource::XS::Stream->obstacle($env);
        is_deeply $env, \%copy, $case;
        ok defined fileno $ours, "$case: the socket is open";
    }
};

subtest 'prepare_env' => sub {
    socketpair my $ours, my $theirs, AF_UNIX, SOCK_STREAM, PF_UNSPEC or die "socketpair: $!";
    my $env = {'psgix.io' => $ours};
    is(EventSource::XS::Adapter->of_env($env)->prepare_env($env), undef, 'an unknown server needs no change');
    is_deeply $env, {'psgix.io' => $ours}, 'its environment stays as it is';
    close $ours;
    $env = {'psgix.io' => $ours, 'psgix.output.guard' => 1};
    like(
        EventSource::XS::Adapter->of_env($env)->prepare_env($env),
        qr/\Asomething has fetched psgix\.io/,
        'Feersum with a psgix.io that was fetched and closed cannot be repaired'
    );
};

{

    package My::Adapter;    ## no critic (Modules::ProhibitMultiplePackages)
    our @ISA = ('EventSource::XS::Adapter');
    sub writer_classes { return 'My::Writer' }
}

subtest 'register' => sub {
    my $writer = bless {}, 'My::Writer';
    is(EventSource::XS::Adapter->of_writer($writer), undef, 'a class is unknown before');
    EventSource::XS::Adapter->register('My::Adapter') for 1 .. 2;
    is(EventSource::XS::Adapter->of_writer($writer), 'My::Adapter', 'a registered adapter is found');
    for my $bad (undef, 'EventSource::XS::Adapter', 'No::Such', []) {
        my $name = defined $bad ? $bad : 'undef';
        my $dies = !eval { EventSource::XS::Adapter->register($bad); 1 };
        ok $dies && ref $@ eq 'EventSource::Error' && $@->code eq 'invalid', "$name is refused";
    }
};

done_testing;

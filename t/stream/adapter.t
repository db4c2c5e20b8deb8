# EventSource::XS::Adapter takes no writer of others for that of a server, and leaves the environment as it is. That it finds
# the adapter of each server shows in xt/servers/contract.t: streams are native.

use lib 't/lib';
use Testing;
use EventSource::XS::Adapter;
use EventSource::XS::Stream;
use Plack::Util ();
use Socket      qw(AF_UNIX PF_UNSPEC SOCK_STREAM);

my $TIMEOUT = "failed to send all data\n";

# Returns a writer like those of servers, compiled in a package.
sub inline_writer {
    my $package = shift;
    my $write   = eval "package $package; sub { my \$bytes = shift; return }";    ## no critic (ProhibitStringyEval)
    return Plack::Util::inline_object(write => $write, close => sub { });
}

subtest 'a writer that belongs to no server' => sub {
    my %cases = (
        'no writer'                           => undef,
        'an object of an unknown class'       => bless({}, 'Some::Writer'),
        'an inline object of a middleware'    => inline_writer('Plack::Util'),
        'an inline object without a code ref' => bless({write => 1}, 'Plack::Util::Prototype'),
    );
    for my $case (sort keys %cases) {
        is(EventSource::XS::Adapter->of_writer($cases{$case}), undef, $case);
    }
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

package My::Adapter {    ## no critic (Modules::ProhibitMultiplePackages)
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

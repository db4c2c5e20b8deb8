# A foreign exception while a stream is opened, such as one of a signal handler, is passed on. It is not treated as a
# refusal of the system.

use lib 't/lib';
use Testing qw(native);
use EventSource::XS::Stream::Native;
use Testing::AttackedServer qw(on_each_server);
use Testing::Deadline       qw(wait_until);

my @SETTINGS = (is_loop => 1, timeout => 60, on_full => 'block', opening => '', linger => 0, max_buffered => 1);

subtest 'try_open returns what the system refuses' => sub {
    my ($stream, $why) = EventSource::XS::Stream::Native->try_open(my $number = 1_000_000, '', @SETTINGS);
    is $stream, undef, 'try_open returns no stream';
    like $why,   qr/\AEventSource::XS::Stream::Native: .*[^\n]\z/, 'try_open returns the reason';
    unlike $why, qr/ at .* line /,                                 'the reason has no line number';
};

subtest 'try_open dies of any other exception' => sub {

    package Dying {
        use overload '0+' => sub { die "by a foreign exception\n" }, '""' => sub { 1 }, fallback => 0;
    }
    my $dies = !eval {
        EventSource::XS::Stream::Native->try_open(my $number = -1, '', @SETTINGS, max_buffered => bless [], 'Dying');
        1;
    };
    ok $dies, 'try_open dies';
    is $@, "by a foreign exception\n", 'try_open dies of the foreign exception';
};

on_each_server(
    sub {
        my $server = shift;
        $server->prepare('/native');
        $server->attack("GET /dies-in-opening?tag=dies HTTP/1.1\r\nHost: a\r\n\r\n");
        ok wait_until(sub { $server->log =~ /foreign exception/ }), 'Feersum reports the exception';
        is $server->reported('dies'), '', 'the handler does not run';
        $server->is_sound_ok('an exception while a stream is opened');
        my $client = $server->get('/native?tag=next');
        ok $client->read_until(qr/^data: held\r\n\r\n/m), 'the next stream begins';
        like $server->reported('next'), qr/\Ahandled, native: 1$/m, 'the next stream is native';
        $client->leave;
    },
    'Feersum'
);

done_testing;

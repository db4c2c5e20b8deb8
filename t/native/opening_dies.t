# A foreign exception while a stream is opened, such as one of a signal handler, is passed on. It is not treated as a
# refusal of the system.

use lib 't/lib';
use Testing qw(native);
use EventSource::XS::Stream::Native;

my @SETTINGS = (is_loop => 1, timeout => 60, on_full => 'block', opening => '', linger => 0, max_buffered => 1);

subtest 'try_open returns what the system refuses' => sub {
    my ($stream, $why) = EventSource::XS::Stream::Native->try_open(my $number = 1_000_000, '', @SETTINGS);
    is $stream, undef, 'try_open returns no stream';
    like $why,   qr/\AEventSource::XS::Stream::Native: .*[^\n]\z/, 'try_open returns the reason';
    unlike $why, qr/ at .* line /,                                 'the reason has no line number';
};

subtest 'try_open dies of any other exception' => sub {

    package Dying {
        use overload '""' => sub { die "by a foreign exception\n" }, fallback => 0;
    }
    my $dies = !eval {
        EventSource::XS::Stream::Native->try_open(my $number = -1, '', @SETTINGS, max_buffered => bless [], 'Dying');
        1;
    };
    ok $dies, 'try_open dies';
    is $@, "by a foreign exception\n", 'try_open dies of the foreign exception';
};

done_testing;

# Misuse of a native stream croaks at the line of the application and leaves the stream as it is.

use lib 't/lib';
use Testing qw(native);
use EventSource::XS::Stream;
use POSIX ();
use Testing::StreamPair;

# Returns the exception of a call, or 'nothing'.
sub exception {
    my $code = shift;
    return eval { $code->(); 1 } ? 'nothing' : $@;
}

# The methods of a stream.
my %METHOD = (
    buffered      => sub { $_[0]->buffered },
    close         => sub { $_[0]->close },
    drop          => sub { $_[0]->drop },
    is_blocking   => sub { $_[0]->is_blocking },
    is_open       => sub { $_[0]->is_open },
    leave_handler => sub { $_[0]->leave_handler },
    on_close      => sub {
        $_[0]->on_close(sub { });
    },
    wait_for_end_briefly => sub { $_[0]->wait_for_end_briefly },
    write                => sub { $_[0]->write("data: x\n\n") },
);

my ($stream, $client) = Testing::StreamPair->open;
my %FORGED = (
    'a hash'           => bless({},                     'EventSource::XS::Stream::Native'),
    'a number'         => bless(\(my $number = 4711),   'EventSource::XS::Stream::Native'),
    'a copied object'  => bless(\(my $copy = $$stream), 'EventSource::XS::Stream::Native'),
    'a code reference' => bless(sub { },                'EventSource::XS::Stream::Native'),
    'the class itself' => 'EventSource::XS::Stream::Native',
);

for my $forged (sort keys %FORGED) {
    subtest "every method croaks for $forged" => sub {
        for my $method (sort keys %METHOD) {
            like exception(sub { $METHOD{$method}->($FORGED{$forged}) }),
                qr/\AEventSource::XS::Stream::Native: this is not a stream; .* at \Q$0\E line \d+\.\n\z/, $method;
        }
    };
}
my $method = EventSource::XS::Stream::Native->can('write');
for my $self (undef, 7, 'x', [], \1) {
    like exception(sub { $method->($self, 'x') }), qr/this is not a stream/,
        'write of ' . (defined $self ? $self : 'undef');
}

subtest 'write croaks for anything but a string of bytes' => sub {
    my %given = (
        'undef'           => [undef,      'write takes a string of bytes, not undef'],
        'wide characters' => ["\x{263a}", 'write takes bytes, this string holds a character above U\+00FF'],
        'a reference'     => [[],         '.*'],
    );
    delete $given{'a reference'} if exception(sub { $stream->write([]) }) eq 'nothing';
    for my $what (sort keys %given) {
        my ($bytes, $trouble) = @{$given{$what}};
        like exception(sub { $stream->write($bytes) }),
            qr/\AEventSource::XS::Stream::Native: $trouble at \Q$0\E line \d+\.\n\z/, $what;
    }
    ok $stream->is_open, 'the stream stays open';
};

subtest 'write dies of an exception of its argument' => sub {

    package Dying {
        use overload '""' => sub { die "while it is read\n" }, fallback => 0;
    }
    is exception(sub { $stream->write(bless [], 'Dying') }), "while it is read\n",
        'write dies of the exception unchanged';

    package Undoing {
        use overload '""' => sub { my $held = shift; undef $$held; return "data: undone\n\n" }, fallback => 0;
    }
    my $held = $stream;
    ok $held->write(bless \$held, 'Undoing'), 'an argument that clears its variable writes to the stream that it held';
    ok $stream->write("data: on\n\n") && $client->read_until(qr{data: undone\n\ndata: on\n\n}), 'the stream stays open';
};

subtest 'close croaks for an unknown reason' => sub {
    for my $why ('boredom', '', 'Client') {
        like exception(sub { $stream->close($why) }),
            qr/\AEventSource::XS::Stream::Native: '\Q$why\E' is not a reason to close a stream at \Q$0\E line \d+\.\n\z/,
            "'$why'";
    }
    ok $stream->is_open, 'the stream stays open';
};

subtest 'open croaks for an invalid descriptor' => sub {
    my ($number) = Testing::StreamPair->connect;
    POSIX::close($number);
    my @settings = (is_loop => 1, timeout => 60, max_buffered => 1, on_full => 'block', opening => '', linger => 0);
    like exception(sub { EventSource::XS::Stream::Native->open($number, '', @settings) }),
        qr/\AEventSource::XS::Stream::Native: /,
        'open croaks for a closed descriptor';
};

done_testing;

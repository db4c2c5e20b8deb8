# A stream on a server's writer, with writers that fail at a given moment.

use lib 't/lib';
use Testing;
use EventSource::XS;
use EventSource::XS::Stream::Writer;
use Plack::App::EventSource::Connection;
use Plack::Util  ();
use Scalar::Util qw(weaken);
use Socket       qw(AF_UNIX PF_UNSPEC SOCK_STREAM);
use Testing::RecordingWriter;

sub stream {
    my ($takes, %env) = @_;
    my $writer = Testing::RecordingWriter->new(takes => $takes);
    return (EventSource::XS::Stream::Writer->new($writer, \%env), $writer);
}

# One that gives no psgix.io, and one that must not be asked for it.
subtest 'a stream without a socket' => sub {
    my @warnings;
    local $SIG{__WARN__} = sub { push @warnings, @_ };
    for my $env ({'psgi.nonblocking' => 1}, {'psgi.nonblocking' => 1, 'psgix.output.guard' => 1, 'psgix.io' => undef}) {
        my $name   = join ', ', sort keys %$env;
        my $writer = Testing::RecordingWriter->new;
        my $stream = EventSource::XS::Stream::Writer->new($writer, $env);
        ok !$stream->is_blocking, "$name: the stream does not block";
        $stream->drop;
        ok !$writer->times_closed, "$name: a dropped stream stays open under an event loop";
        ok $stream->write('x'),    "$name: a dropped stream takes a write";
        is $writer->kept, 'x', "$name: the writer gets the bytes unchanged";
        $stream->close;
        is $writer->times_closed, 1, "$name: close closes the writer";
    }
    my $writer = Testing::RecordingWriter->new;
    my $stream = EventSource::XS::Stream::Writer->new($writer, {});
    ok $stream->is_blocking, 'a stream on a server that blocks is blocking';
    $stream->drop;
    is $writer->times_closed, 1,  'a dropped stream is closed on a server that blocks';
    is "@warnings",           '', 'there are no warnings';
};

subtest 'a writer that dies without a socket ends the stream with the reason client' => sub {
    my ($stream, $writer) = stream(1);
    my @reasons;
    $stream->on_close(sub { push @reasons, $_[1] });
    local $@ = 'of the caller';
    ok $stream->write('one'),  'the first write is taken';
    ok !$stream->write('two'), 'the write whose writer dies returns false';
    ok !$stream->is_open,      'the stream has ended';
    is $@, 'of the caller', q($@ of the caller is unchanged);
    is_deeply \@reasons, [], 'no callback runs inside a write';
    EventSource::XS->dispatch;
    is_deeply \@reasons, ['client'], 'dispatch runs the callback';
    $stream->close;
    $stream->on_close(sub { push @reasons, "late $_[1]" });
    EventSource::XS->dispatch;
    is_deeply \@reasons, ['client', 'late client'], 'a later close does not change the reason';
    is $writer->times_closed, 1, 'the writer is closed once';
};

# A stream whose server shows the client's socket.
sub connected {
    my $takes = shift;
    socketpair my $client, my $server, AF_UNIX, SOCK_STREAM, PF_UNSPEC or die "socketpair: $!";
    my ($stream, $writer) = stream($takes, 'psgix.io' => $server);
    return ($stream, $writer, $client, $server);
}

subtest 'an exception of the application ends the stream with the reason error while the client is there' => sub {
    my ($stream, $writer, $client) = connected(1);
    my @reasons;
    $stream->on_close(sub { push @reasons, $_[1] });
    ok $stream->write('one'),              'the first write is taken';
    ok !eval { $stream->write('two'); 1 }, 'the second write dies';
    is $@, "no client\n", 'the exception is passed on';
    ok !$stream->is_open,        'the stream has ended, for part of the event may have been sent';
    ok !$stream->write('three'), 'a later write returns false';
    EventSource::XS->dispatch;
    is_deeply \@reasons, ['error'], 'on_close reports error';
};

subtest 'a timeout of the server ends the stream with the reason client' => sub {
    my ($stream, $writer, $client) = connected(0);
    $writer->{dies_of} = "failed to send all data\n";    # HTTP::Server::PSGI, Starlet
    ok !$stream->write('one'), 'the write returns false';
    ok !$stream->is_open,      'the stream has ended';
};

subtest 'a socket that the server has closed ends the stream' => sub {
    my ($stream, $writer, $client, $server) = connected(9);
    ok $stream->write('one'), 'a write before is taken';
    close $server;
    open my $reused, '+<', '/dev/null' or die $!;
    ok !$stream->write('two'), 'a write afterwards returns false';
    is $writer->{takes}, 8, 'the writer is not called, for another client may have its descriptor';
};

subtest 'a client that leaves does not call $SIG{__DIE__}' => sub {
    my ($stream) = stream(0);
    my @heard;
    local $SIG{__DIE__} = sub { push @heard, @_ };
    ok !$stream->write('one'), 'the write returns false';
    is_deeply \@heard, [], 'the handler is not called';
};

subtest 'the first reason is reported to all callbacks' => sub {
    my ($stream, $writer) = stream(9);
    my @reasons;
    $stream->on_close(sub { push @reasons, $_[1] });
    $stream->close for 1 .. 2;
    $stream->drop;
    $stream->on_close(sub { push @reasons, "late $_[1]" });
    EventSource::XS->dispatch;
    is_deeply \@reasons, ['application', 'late application'], 'callbacks registered before and after the end get it';
    is $writer->times_closed, 1, 'the writer is closed once';
};

subtest 'under an event loop a stream holds itself until it ends' => sub {
    my ($stream) = stream(9, 'psgi.nonblocking' => 1);
    weaken(my $held = $stream);
    undef $stream;
    ok $held, 'the stream exists without another reference';
    $held->drop;
    ok $held->is_open, 'drop does not end the stream';
    $held->close;
    ok !$held, 'the stream is freed when it has ended';
};

subtest 'drop ends a stream unless a forked child may still use it' => sub {
    my ($stream, $writer) = stream();
    system $^X, '-e', '1';
    my $said = `$^X -e 1`;
    $stream->drop;
    is $writer->times_closed, 1, 'programs that were executed do not hold the stream';

    ($stream, $writer) = stream();
    pipe my $wait, my $go or die "pipe: $!";
    defined(my $pid = fork) or die "fork: $!";
    if (!$pid) {
        close $go;
        readline $wait;
        require POSIX;
        POSIX::_exit(0);
    }
    close $wait;
    $stream->drop;
    is $writer->times_closed, 0, 'a running child holds the stream';
    close $go;
    waitpid $pid, 0;

    ($stream, $writer) = stream();
    defined($pid = fork) or die "fork: $!";
    POSIX::_exit($writer->times_closed) if !$pid && eval { require POSIX; $stream->drop; 1 };
    waitpid $pid, 0;
    is $?, 0, 'drop in a child does not end the stream';
    $stream->drop;
    is $writer->times_closed, 1, 'drop after the end of the child ends the stream';
};

# A writer of a class, and one of Plack::Util::inline_object, as the servers have them.
package CallingWriter {
    sub close { return }
    sub new   { my ($class, $code)  = @_; return bless {code => $code}, $class }
    sub write { my ($self,  $bytes) = @_; return $self->{code}->($bytes) }
}
my %MADE = (
    'of a class'    => sub { return CallingWriter->new(shift) },
    'inline_object' => sub {
        return Plack::Util::inline_object(write => shift, close => sub { });
    },
);
for my $kind (sort keys %MADE) {

    # A connection on such a writer, whose code is given the connection and the bytes.
    my $on = sub {
        my ($code, %setting) = @_;
        my $conn;
        my $stream =
            EventSource::XS::Stream::Writer->new($MADE{$kind}->(sub { $code->($conn, @_) }), {}, %setting);
        return $conn = Plack::App::EventSource::Connection->of_stream({stream => $stream});
    };

    subtest "a push in a writer: $kind" => sub {
        my @written;
        my $conn = $on->(
            sub {
                my ($conn, $bytes) = @_;
                $conn->push('inner') if $bytes =~ /outer/;
                push @written, $bytes;
            }
        );
        for my $data ('outer', {id => 1, data => 'outer'}) {
            local $@ = 'of the caller';
            ok $conn->push($data), 'the push is taken';
            is $@, 'of the caller', '$@ of the caller is unchanged';
        }
        is_deeply \@written,
            ["data: inner\r\n\r\n", "data: outer\r\n\r\n", "data: inner\r\n\r\n", "id: 1\r\ndata: outer\r\n\r\n"],
            'both events arrive whole';
    };

    subtest "bytes that a writer keeps: $kind" => sub {
        my @kept;
        my $conn = $on->(sub { push @kept, \$_[1] }, line_end => 'lf');
        $conn->push($_) for 'one', 'two';
        is_deeply [map { $$_ } @kept], ["data: one\n\n", "data: two\n\n"], 'no later push changes them';
    };

    subtest "a writer that ends its stream and dies: $kind" => sub {
        my ($conn, @reasons);
        $conn = $on->(sub { $conn->close; undef $conn; die "late\n" });
        $conn->on_close(sub { push @reasons, $_[1] });
        $@ = '';    ## no critic (RequireLocalizedPunctuationVars)
        ok !$conn->push('x'), 'the push returns false';
        is $@, '', '$@ stays empty';
        EventSource::XS->dispatch;
        is_deeply \@reasons, ['application'], 'the first reason counts';
    };

    subtest "what is counted: $kind" => sub {
        my $conn   = $on->(sub { });
        my $before = EventSource::XS::Stream::Writer->counted;
        $conn->push('four') for 1 .. 3;
        my $after = EventSource::XS::Stream::Writer->counted;
        is $after->{events} - $before->{events}, 3,                               'events';
        is $after->{bytes} - $before->{bytes},   3 * length "data: four\r\n\r\n", 'and their bytes';
    };
}

# With a $SIG{__DIE__} src/xs does not write itself.
my %ROUTES = ('at once' => undef, 'step by step' => sub { });
for my $route (sort keys %ROUTES) {
    subtest "a client that leaves during a write, of which the writer dies: $route" => sub {
        socketpair my $client, my $server, AF_UNIX, SOCK_STREAM, PF_UNSPEC or die "socketpair: $!";
        my $writer = CallingWriter->new(sub { close $client; die "write error: Broken pipe\n" });
        my $stream = EventSource::XS::Stream::Writer->new($writer, {'psgix.io' => $server});
        my @reasons;
        $stream->on_close(sub { push @reasons, $_[1] });
        local $SIG{__DIE__} = $ROUTES{$route} if $ROUTES{$route};
        is eval { $stream->write('one') ? 'true' : 'false' }, 'false', 'the write returns false' or diag $@;
        EventSource::XS->dispatch;
        is_deeply \@reasons, ['client'], 'on_close reports client';
    };
}

done_testing;

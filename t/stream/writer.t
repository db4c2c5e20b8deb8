# A stream on a server's writer: what no server can be made to do at a given moment, done by writers made for it.

use strict;
use warnings;

use lib 't/lib';
use EventSource::Stream::Writer;
use EventSource::XS;
use Testing::RecordingWriter;
use Scalar::Util qw(weaken);
use Socket       qw(AF_UNIX PF_UNSPEC SOCK_STREAM);
use Test::More;

sub stream {
    my ($takes, %env) = @_;
    my $writer = Testing::RecordingWriter->new(takes => $takes);
    return (EventSource::Stream::Writer->new($writer, \%env), $writer);
}

subtest 'a writer that dies is a client that has left' => sub {
    my ($stream, $writer) = stream(1);
    my @told;
    $stream->on_close(sub { push @told, $_[1] });
    local $@ = 'of the caller';
    ok $stream->write('one'),  'taken';
    ok !$stream->write('two'), 'not taken, and no exception';
    ok !$stream->is_open,      'the stream has ended';
    is $@, 'of the caller', 'an exception of the caller stands';
    is_deeply \@told, [], 'no callback runs inside a push';
    EventSource::XS->dispatch;
    is_deeply \@told, ['client'], 'but when it may';
    $stream->close;
    $stream->on_close(sub { push @told, "late $_[1]" });
    EventSource::XS->dispatch;
    is_deeply \@told, ['client', 'late client'], 'and the reason stands';
    is $writer->times_closed, 1, 'the writer is closed once';
};

# A stream whose server knows the client's socket, as servers do.
sub connected {
    my $takes = shift;
    socketpair my $client, my $server, AF_UNIX, SOCK_STREAM, PF_UNSPEC or die "socketpair: $!";
    my ($stream, $writer) = stream($takes, 'psgix.io' => $server);
    return ($stream, $writer, $client, $server);
}

subtest 'what the application dies of while a client is there is its own' => sub {
    my ($stream, $writer, $client) = connected(1);
    my @told;
    $stream->on_close(sub { push @told, $_[1] });
    ok $stream->write('one'),              'taken';
    ok !eval { $stream->write('two'); 1 }, 'a write dies';
    is $@, "no client\n", 'of that';
    ok !$stream->is_open,        'for part of it may be out, the stream has ended';
    ok !$stream->write('three'), 'and takes no more';
    EventSource::XS->dispatch;
    is_deeply \@told, ['error'], 'which is told';
};

subtest 'a client that takes nothing for too long is one that has left' => sub {
    my ($stream, $writer, $client) = connected(0);
    $writer->{dies_of} = "failed to send all data\n";    # HTTP::Server::PSGI, Starlet
    ok !$stream->write('one'), 'not taken, and no exception';
    ok !$stream->is_open,      'the stream has ended';
};

subtest 'a socket that the server has closed leads to no one' => sub {
    my ($stream, $writer, $client, $server) = connected(9);
    ok $stream->write('one'), 'taken';
    close $server;
    open my $reused, '+<', '/dev/null' or die $!;
    ok !$stream->write('two'), 'not taken';
    is $writer->{takes}, 8, 'for the server was not even asked';
};

subtest 'a client that leaves is nothing to tell a $SIG{__DIE__}' => sub {
    my ($stream) = stream(0);
    my @heard;
    local $SIG{__DIE__} = sub { push @heard, @_ };
    ok !$stream->write('one'), 'not taken';
    is_deeply \@heard, [], 'and the handler is not called';
};

subtest 'the first reason stands' => sub {
    my ($stream, $writer) = stream(9);
    my @told;
    $stream->on_close(sub { push @told, $_[1] });
    $stream->close for 1 .. 2;
    $stream->drop;
    $stream->on_close(sub { push @told, "late $_[1]" });
    EventSource::XS->dispatch;
    is_deeply \@told, ['application', 'late application'], 'for those who asked before and after';
    is $writer->times_closed, 1, 'the writer is closed once';
};

subtest 'under an event loop a stream holds itself, and no longer than it lives' => sub {
    my ($stream) = stream(9, 'psgi.nonblocking' => 1);
    weaken(my $held = $stream);
    undef $stream;
    ok $held, 'no one else holds it';
    $held->drop;
    ok $held->is_open, 'to drop it does nothing';
    $held->close;
    ok !$held, 'it is gone when it has ended';
};

subtest 'a connection that is let go of ends its stream, unless a child may be going on' => sub {
    my ($stream, $writer) = stream();
    system $^X, '-e', '1';
    my $said = `$^X -e 1`;
    $stream->drop;
    is $writer->times_closed, 1, 'programs that were run are no children';

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
    is $writer->times_closed, 0, 'a child that runs is one';
    close $go;
    waitpid $pid, 0;

    ($stream, $writer) = stream();
    defined($pid = fork) or die "fork: $!";
    POSIX::_exit($writer->times_closed) if !$pid && eval { require POSIX; $stream->drop; 1 };
    waitpid $pid, 0;
    is $?, 0, 'what a child lets go of is not ended by it';
    $stream->drop;
    is $writer->times_closed, 1, 'and when it has ended, the stream can be';
};

done_testing;

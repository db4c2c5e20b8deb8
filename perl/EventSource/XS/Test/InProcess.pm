package EventSource::XS::Test::InProcess;
use strict;
use warnings;

# A server in the process of the test: the code of HTTP::Server::PSGI over a socketpair, for one request at a time.
#
# Three things differ. The request is read from memory. A write never waits for the client, which cannot read meanwhile.
# With psgi.nonblocking, the default, the response continues after the application has returned.

use parent 'HTTP::Server::PSGI';
use EventSource::XS::Library;
use EventSource::XS::Settings;
use EventSource::XS::Test::Remote;
use IO::Socket::UNIX;
use List::Util qw(max);
use Plack::Middleware::ContentLength;
use Plack::Util  ();
use Scalar::Util qw(refaddr weaken);
use Socket       qw(AF_UNIX MSG_DONTWAIT MSG_NOSIGNAL PF_UNSPEC SOCK_STREAM);
use Test::Builder;
use Time::HiRes qw(CLOCK_MONOTONIC ITIMER_REAL clock_gettime getitimer setitimer);

my $SETTINGS = EventSource::XS::Settings->new('Test::EventSource');

# Seconds after which a handler that has caught its interruption is interrupted again.
my $INTERRUPT_AGAIN = 0.25;

my $SHORTEST = 0.001;    # seconds: 0 is no alarm

# Seconds within which a write must succeed. Only this process reads the other end.
my $WRITE_WITHIN = 5;

# The servers whose log is shown at the end of a test that has failed.
my %IN_USE;

END {
    $_->_show_news for grep { defined } values %IN_USE;
}

# The exception that interrupts a handler. Code that handles EventSource::Gone handles it too.
{

    package Test::EventSource::Interrupted;
    use parent 'EventSource::Gone';
    use overload '""' => sub { "Test::EventSource: the handler did not return in time\n" }, fallback => 1;
}

sub new {
    my ($class, %option) = @_;
    my $self = $class->SUPER::new(host => '127.0.0.1', port => 80);
    $self->{app}     = Plack::Middleware::ContentLength->wrap($option{app});
    $self->{env}     = $option{env} || {};
    $self->{printed} = \(my $printed = '');
    $self->{owner}   = $$;
    weaken($IN_USE{refaddr $self} = $self);
    return $self;
}

# Public methods

sub begin {
    my ($self, $stream, $request, %option) = @_;
    my ($client, $conn) = IO::Socket::UNIX->socketpair(AF_UNIX, SOCK_STREAM, PF_UNSPEC)
        or $SETTINGS->throw(unavailable => "no socketpair: $!");
    EventSource::XS::Test::Remote->not_inherited($conn);
    $stream->attach($client);
    my $server = bless {%$self, input => $request, stream => $stream}, ref $self;
    weaken $server->{stream};
    my $env     = $self->_env($conn);
    my $is_loop = $env->{'psgi.nonblocking'};
    my $app     = delete $server->{app};
    my $run     = sub { $server->handle_connection($env, $conn, $app) };
    my ($exception, $where, $had_answer) = _within($option{cut_after}, $run, sub { $stream->is_answered });
    ${$self->{printed}} .= $exception if defined $exception && !defined $where;
    if   ($is_loop && !defined $exception && !defined $where && !$server->{is_done}) { undef $conn }
    else                                                                             { _end($conn) }
    undef $env;
    EventSource::XS->dispatch;
    $stream->cut("was interrupted after $option{cut_after} seconds, at $where", $had_answer) if defined $where;
    return;
}

sub host { return 'localhost' }

sub log { return ${$_[0]{printed}} }

sub news { return EventSource::XS::Test::Remote::news($_[0]) }

sub pid { return $$ }

sub prefix { return '' }

# HTTP::Server::PSGI calls this for the next bytes of the request.
sub read_timeout {
    my ($self, undef, $buffer, $length, $offset) = @_;
    my $bytes = substr $self->{input}, 0, $length, '';
    $$buffer = '' if !defined $$buffer;
    substr $$buffer, $offset, length($$buffer) - $offset, $bytes;
    return length $bytes;
}

sub url { return 'http://localhost' }

# HTTP::Server::PSGI calls this to send. If the socket is full, the stream's end of it is read.
sub write_timeout {
    my ($self, $conn, $bytes, $length, $offset) = @_;
    my $deadline = clock_gettime(CLOCK_MONOTONIC) + $WRITE_WITHIN;
    while (clock_gettime(CLOCK_MONOTONIC) < $deadline) {
        return undef if !defined fileno $conn;
        my $sent = CORE::send $conn, substr($bytes, $offset, $length), MSG_DONTWAIT | MSG_NOSIGNAL;
        return $sent                                     if defined $sent;
        return $conn->syswrite($bytes, $length, $offset) if $!{ENOTSOCK};    # a takeover has replaced the socket
        next                                             if $!{EINTR};
        return undef                                     if !$!{EAGAIN} || !$self->{stream};
        $self->{stream}->fill;
    }
    return undef;
}

sub DESTROY {
    my $self = shift;
    delete $IN_USE{refaddr $self} or return;
    local ($@, $!, $?) = ('', 0, 0);
    $self->_show_news;
    return;
}

# Private functions and methods

# Ends a response by closing its connection, even if somebody else has a copy of the handle.
sub _end {
    my $conn = shift;
    $conn->close if defined fileno $conn;
    return;
}

sub _env {
    my ($self, $conn) = @_;
    CORE::open my $errors, '>>', $self->{printed}
        or $SETTINGS->throw(unavailable => "psgi.errors cannot be opened: $!");
    return {
        SERVER_NAME            => 'localhost',
        SERVER_PORT            => 80,
        SCRIPT_NAME            => '',
        REMOTE_ADDR            => '127.0.0.1',
        REMOTE_PORT            => 0,
        'psgi.version'         => [1, 1],
        'psgi.errors'          => $errors,
        'psgi.url_scheme'      => 'http',
        'psgi.run_once'        => Plack::Util::FALSE,
        'psgi.multithread'     => Plack::Util::FALSE,
        'psgi.multiprocess'    => Plack::Util::FALSE,
        'psgi.streaming'       => Plack::Util::TRUE,
        'psgi.nonblocking'     => Plack::Util::TRUE,
        'psgix.input.buffered' => Plack::Util::TRUE,
        'psgix.io'             => $conn,
        %{$self->{env}},
    };
}

# HTTP::Server::PSGI closes the connection when the application has returned. Here the application may have returned
# long before, so closing the writer closes the connection.
sub _handle_response {
    my ($self, $response, $conn) = @_;
    my $writer = $self->SUPER::_handle_response($response, $conn);
    if (!ref $writer) {
        $self->{is_done} = !!1;
        _end($conn);
        return;
    }
    $writer->{close} = sub { _end($conn) };
    return $writer;
}

# Returns the line of the application's code at which a signal has found the handler. Modules that it calls are skipped.
sub _application_line {
    my ($file, $line) = (caller 1)[1, 2];
    for (my $level = 1; my @frame = caller $level; $level++) {
        next
            if $frame[0] =~
            /\A(?:EventSource|HTTP::Server::PSGI|IO|Plack::App::EventSource|Plack::Util|Test::EventSource)\b/;
        ($file, $line) = @frame[1, 2];
        last;
    }
    return "$file line $line";
}

sub _show_news {
    my $self = shift;
    my $test = Test::Builder->new;
    return if $self->{owner} != $$ || !$? && $test->is_passing;
    my $news = $self->news;
    $test->diag("The application printed:\n$news") if length $news;
    return;
}

# Runs code and interrupts it after so many seconds. Returns the exception of which it has died, the line at which it was
# interrupted, and what $ask has returned there. Perl has one alarm: one of the test's that is due meanwhile rings afterwards.
sub _within {
    my ($seconds, $code, $ask) = @_;
    my ($rest, $every) = getitimer(ITIMER_REAL);
    my $due = $rest && clock_gettime(CLOCK_MONOTONIC) + $rest;
    my ($exception, $where, $answer);
    {
        local $@;
        local $SIG{ALRM} = sub {
            $answer = $ask->() if !defined $where;
            $where ||= _application_line();
            die bless {}, 'Test::EventSource::Interrupted';
        };
        my $ended = eval {
            setitimer(ITIMER_REAL, max($SHORTEST, $seconds), $INTERRUPT_AGAIN);
            my $returned = eval { $code->(); 1 };
            $exception = $@ if !$returned;
            setitimer(ITIMER_REAL, 0, 0);
            1;
        };
        setitimer(ITIMER_REAL, 0, 0);
        $exception = $@ if !$ended;
    }
    setitimer(ITIMER_REAL, max($SHORTEST, $due - clock_gettime(CLOCK_MONOTONIC)), $every) if $due;
    return ($exception, $where, $answer);
}

1;

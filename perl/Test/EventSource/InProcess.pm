package Test::EventSource::InProcess;
use strict;
use warnings;

# A server in the process of the test: HTTP::Server::PSGI's code, over a socketpair, for one request at a time. What is
# different: the request comes from memory, a write never waits for the client, who could not read meanwhile, and under
# psgi.nonblocking, which is on unless it is turned off, the response goes on when the application has returned.

our $VERSION = '0.100';

use parent 'HTTP::Server::PSGI';
use Carp            qw(croak);
use EventSource::XS ();
use IO::Socket::UNIX;
use Plack::Middleware::ContentLength;
use Plack::Util  ();
use Scalar::Util qw(refaddr weaken);
use Socket       qw(AF_UNIX MSG_DONTWAIT MSG_NOSIGNAL PF_UNSPEC SOCK_STREAM);
use Test::Builder;
use Test::EventSource::Remote;
use Time::HiRes qw(ITIMER_REAL getitimer setitimer time);

our @CARP_NOT = qw(Test::EventSource Test::EventSource::Stream);

# Seconds after which a handler that has caught its interruption is interrupted again.
my $AGAIN = 0.25;

# Seconds by which clocks may differ: before an alarm is due it is another that rings.
my $JUST_NOW = 0.01;

# Seconds for what waits for nobody but this process.
my $PATIENCE = 5;

# What has a log that a failing test is to show at its end.
my %IN_USE;

END {
    $_->_show_news for grep { defined } values %IN_USE;
}

# What interrupts a handler: to those that know EventSource::Gone, one of those.
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

# Runs the application for one request, with a connection to the stream.
sub begin {
    my ($self, $stream, $request, %option) = @_;
    my ($client, $conn) = IO::Socket::UNIX->socketpair(AF_UNIX, SOCK_STREAM, PF_UNSPEC)
        or croak "Test::EventSource: no socketpair: $!";
    Test::EventSource::Remote->not_inherited($conn);
    $stream->attach($client);
    my $server = bless {%$self, input => $request, stream => $stream}, ref $self;
    weaken $server->{stream};
    my $env     = $self->_env($conn);
    my $is_loop = $env->{'psgi.nonblocking'};
    my $app     = delete $server->{app};
    my $run     = sub { $server->handle_connection($env, $conn, $app) };
    my ($trouble, $where, $had_answer) = _within($option{cut_after}, $run, sub { $stream->is_answered });
    $self->_print($trouble) if defined $trouble && !defined $where;
    if   ($is_loop && !defined $trouble && !defined $where && !$server->{is_done}) { undef $conn }
    else                                                                           { _end($conn) }
    undef $env;
    EventSource::XS->dispatch;
    $stream->cut("was interrupted after $option{cut_after} seconds, at $where", $had_answer) if defined $where;
    return;
}

sub host { return 'localhost' }

# What has been printed to psgi.errors.
sub log { return ${$_[0]{printed}} }

# See Test::EventSource::Remote.
sub news { return Test::EventSource::Remote::news($_[0]) }

sub pid { return $$ }

sub prefix { return '' }

# As HTTP::Server::PSGI asks for the next bytes of the request.
sub read_timeout {
    my ($self, undef, $buffer, $length, $offset) = @_;
    my $bytes = substr $self->{input}, 0, $length, '';
    $$buffer = '' if !defined $$buffer;
    substr $$buffer, $offset, length($$buffer) - $offset, $bytes;
    return length $bytes;
}

sub url { return 'http://localhost' }

# As HTTP::Server::PSGI sends. If nothing more fits, the client takes what is there.
sub write_timeout {
    my ($self, $conn, $bytes, $length, $offset) = @_;
    my $deadline = time + $PATIENCE;
    while (time < $deadline) {
        return undef if !defined fileno $conn;
        my $sent = CORE::send $conn, substr($bytes, $offset, $length), MSG_DONTWAIT | MSG_NOSIGNAL;
        return $sent                                     if defined $sent;
        return $conn->syswrite($bytes, $length, $offset) if $!{ENOTSOCK};                      # it has been taken over
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

# The end of a response is the end of its connection, whoever holds a copy of that.
sub _end {
    my $conn = shift;
    $conn->close if defined fileno $conn;
    return;
}

sub _env {
    my ($self, $conn) = @_;
    CORE::open my $errors, '>>', $self->{printed} or croak "Test::EventSource: $!";
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

# There the end of a response does not show before the connection's, which the server closes when the application has
# returned. Here it may have returned long ago.
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

# Where the handler is, as a signal finds it: in the application's code, not in what that has called of ours.
sub _place {
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

sub _print {
    my ($self, $text) = @_;
    ${$self->{printed}} .= $text;
    return;
}

sub _show_news {
    my $self = shift;
    my $test = Test::Builder->new;
    return if $self->{owner} != $$ || !$? && $test->is_passing;
    my $news = $self->news;
    $test->diag("The application printed:\n$news") if length $news;
    return;
}

# The one alarm that there is, for whichever is due first: of the times at which ours and the test's ring.
sub _set_alarm {
    my ($due) = sort { $a <=> $b } grep { defined } @_;
    my $left = defined $due ? $due - time : 0;
    setitimer(ITIMER_REAL, !defined $due ? 0 : $left > 0.001 ? $left : 0.001);
    return;
}

# Rings the test's alarm, as if it were the only one, and sees what it is set to by then. Dies of what it dies of.
sub _ring {
    my $theirs = shift;
    my ($code, $every) = @$theirs{qw(code every)};
    my $trouble;
    setitimer(ITIMER_REAL, $every, $every);
    if (($code || 'DEFAULT') eq 'DEFAULT') {
        $SIG{ALRM} = 'DEFAULT';    ## no critic (RequireLocalizedPunctuationVars): it is the end
        kill ALRM => $$;
    }
    elsif ($code ne 'IGNORE') {
        local $@;
        no strict 'refs';          ## no critic (ProhibitNoStrict): a handler may be given by its name
        $trouble = \(my $copy = $@) if !eval { &$code('ALRM'); 1 };
    }
    @$theirs{qw(due every)} = _timer();
    return $trouble;
}

# When the alarm rings, if it is set, and how often after that.
sub _timer {
    my ($rest, $every) = getitimer(ITIMER_REAL);
    return ($rest ? time + $rest : undef, $every || 0);
}

# Runs code that may not return: it dies at its first step after so many seconds. Returns what it has died of, and where it
# was then, and what it was asked there. An alarm of the test's rings when it is due, and is set again afterwards.
sub _within {
    my ($seconds, $code, $ask) = @_;
    my %theirs = (code => $SIG{ALRM});
    @theirs{qw(due every)} = _timer();
    my $ours = time + $seconds;
    my ($trouble, $where, $answer);
    {
        local $@;
        local $SIG{ALRM} = sub {
            if (defined $theirs{due} && $theirs{due} <= $ours && $theirs{due} <= time + $JUST_NOW) {
                my $died = _ring(\%theirs);
                _set_alarm($ours, $theirs{due});
                die $$died if $died;
                return;
            }
            $ours = time + $AGAIN;
            _set_alarm($ours, $theirs{due});
            $answer = $ask->() if !defined $where;
            $where ||= _place();
            die bless {}, 'Test::EventSource::Interrupted';
        };
        my $ended = eval {
            _set_alarm($ours, $theirs{due});
            my $returned = eval { $code->(); 1 };
            $trouble = $@ if !$returned;
            setitimer(ITIMER_REAL, 0, 0);
            1;
        };
        setitimer(ITIMER_REAL, 0, 0);
        $trouble = $@ if !$ended;
    }
    if (defined $theirs{due}) {
        my $left = $theirs{due} - time;
        setitimer(ITIMER_REAL, $left > 0.001 ? $left : 0.001, $theirs{every});
    }
    return ($trouble, $where, $answer);
}

1;
__END__

=encoding utf8

=head1 NAME

Test::EventSource::InProcess - A server in the process of the test

=head1 SYNOPSIS

    use Test::EventSource::InProcess;

    my $server = Test::EventSource::InProcess->new(app => sub { [200, [], ['hello']] });
    print $server->host, "\n";    # localhost

=head1 DESCRIPTION

An L<HTTP::Server::PSGI> that has no port: it is given a request, and one end of a pair of sockets to answer to. What that
means for an application L<Test::EventSource/IN PROCESS> says.

=head1 METHODS

=head2 new

    my $server = Test::EventSource::InProcess->new(app => $app, env => \%env);

Takes an application and what its environment is to have besides.

=head2 begin

    $server->begin($stream, $request, cut_after => $seconds);

Gives a stream its connection and runs the application, which is interrupted after so many seconds.

=head2 host, log, news, pid, prefix, url

See L<Test::EventSource::Remote>.

=head2 read_timeout, write_timeout

What L<HTTP::Server::PSGI> reads and writes with: here the request comes from memory, and a write waits for nobody.

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut

package EventSource::XS::Adapter::UWSGI;
use strict;
use warnings;

# uWSGI: perl embedded in a server, whose workers keep requests in shared memory.
#
# uWSGI is recognized by the class of psgi.errors, in each of its interpreters. Its writer is a uwsgi::streaming.

use parent 'EventSource::XS::Adapter';
use EventSource::XS::Stream::Obstacle;
use EventSource::XS::Stream::Writer::Socket;

# The class of psgi.errors.
my $ERRORS = 'uwsgi::error';

# True if the server speaks HTTP on its sockets, once that is known.
my $speaks_http;

# The numbers of the timers that this process or its parent has added.
my %HAS_TIMER;

sub name           { return 'uWSGI' }
sub recognizes_env { return ref $_[1]{'psgi.errors'} eq $ERRORS }
sub recognized_by  { return (errors => $ERRORS) }
sub writer_classes { return 'uwsgi::streaming' }

# psgi.input dies of these when the client disconnects or sends nothing.
sub read_failures { return qr/\A(?:error|timeout) during read\(/ }

sub sends_head_late { return !!1 }

# An idle worker waits in C. Its master can send it one of uWSGI's own signals, which are numbers from 0 to 255. Without a
# master nothing happens.
sub add_timer {
    my ($class, $number, $code) = @_;
    return !!0 if !defined &uwsgi::add_timer;
    local $SIG{__DIE__};
    eval { uwsgi::register_signal($number, 'workers', $code) && uwsgi::add_timer($number, 1) }
        if !$HAS_TIMER{$number}++;
    return !!1;
}

# None is sent: the timer does it.
sub bears_signals { return !!1 }

# All workers share the memory of responses. A child that continues to use a response crashes once the worker has finished
# it. The child can use the socket itself, because uWSGI does not frame the response.
sub child_writer {
    my ($class, $env, $writer, $socket) = @_;
    my $is_plain = ref $writer eq 'uwsgi::streaming' && $env->{'psgi.url_scheme'} ne 'https';
    return EventSource::XS::Stream::Writer::Socket->new($is_plain && $socket);
}

# psgix.io needs an option of uWSGI's, and a copy opened into its own handle closes the response.
sub client_socket { return $_[0]->copy_handle($_[0]->descriptor) }

sub descriptor { return uwsgi::connection_fd() }

# In a process of a relay: uWSGI's own functions use the request of the worker, which is in memory that workers share. The end
# of the response is the end of the connection.
sub enter_relay_process {
    my ($class, $server, $stream) = @_;
    my $writer = EventSource::XS::Stream::Writer::Socket->new($stream->socket);
    no warnings qw(once redefine);
    *uwsgi::streaming::write = sub { return $writer->write($_[1]) };
    *uwsgi::streaming::close = sub { return };
    return;
}

# The scheme is not an obstacle, because uWSGI believes X-Forwarded-Proto and X-Forwarded-SSL of any client. If uWSGI really
# encrypts, the captured head is not understood.
sub obstacle {
    my ($class, $env) = @_;
    return $class->descriptor_obstacle($class->descriptor) if !$env->{'psgi.multithread'};
    return EventSource::XS::Stream::Obstacle->new(
        threads => 'uWSGI has several threads',
        'give it processes instead of threads (workers, no threads)'
    );
}

# With --async uWSGI says that it has an event loop. It is none of perl's: after the handler nobody would serve a stream on the
# writer.
sub prepare_env {
    my ($class, $env) = @_;
    $env->{'psgi.nonblocking'} = !!0;
    return undef;
}

# A process can write to the socket itself where uWSGI neither frames nor encrypts nor changes what it is given.
sub relay_descriptor {
    my ($class, $stream) = @_;
    my @options   = keys %{uwsgi->can('opt')->()};
    my $is_framed = grep { /socket\z/ && !/\A(?:(?:http|http11|uwsgi)-)?socket\z/ || /route/ } @options;
    return $is_framed ? undef : $stream->descriptor;
}

# In uWSGI's own protocol nginx takes the response for one without chunks, though the protocol of the request is that of
# nginx's client. uWSGI's own HTTP router passes on what it is given.
sub takes_chunks {
    my ($class, $env) = @_;
    return !!0                    if !$class->SUPER::takes_chunks($env);
    return !!1                    if ($env->{UWSGI_ROUTER} || '') eq 'http';
    $speaks_http = _speaks_http() if !defined $speaks_http;
    return $speaks_http;
}

sub recycling_option { return 'max-requests' }

sub requests_per_worker { return uwsgi->can('opt')->()->{'max-requests'} }

# Private functions

# Returns true if all sockets that uWSGI listens on speak HTTP.
sub _speaks_http {
    my @sockets = grep { /socket\z/ } keys %{uwsgi->can('opt')->()};
    return @sockets && !grep { !/\Ahttps?(?:11)?-socket\z/ } @sockets;
}

1;

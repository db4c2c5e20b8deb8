package EventSource::XS::Adapter::Feersum;
use strict;
use warnings;

# Feersum: an EV server that queues the head and frames the body itself.
#
# Feersum is recognized by psgix.output.guard in the environment, and its writer is a Feersum::Connection::Writer.
#
# Feersum sends the head of a response when its event loop comes to it. Until then the stream buffers everything that is
# written, but not longer than its timeout. If the client disconnects before, the stream ends within a second or two. When
# the head has been sent, the stream is attached to a duplicate of the client's socket, /dev/null is put in its place, and
# Feersum's writer is closed. The stream frames the body as Feersum does: in chunks for HTTP/1.1. Meanwhile the kernel keeps
# the head (TCP_CORK), so that it goes with what the stream has buffered, in one segment.
#
# psgix.io is dangerous under Feersum. Fetching it, even by copying the environment ({%$env}), makes a handle on the very
# descriptor that Feersum continues to use and closes itself. When that handle is freed, the descriptor is closed under
# Feersum, or another descriptor that has its number by then. So Adapter::prepare_env takes psgix.io out of the environment.
# It does not fetch it, and repairs the descriptor if other code has fetched it. Two cases remain: the environment may be a
# copy without psgix.io, which does not show that a handle exists elsewhere; and a handle that was closed already cannot be
# repaired. Responses that are not streams are not touched.
#
# Behind a filter of the body only the filter has Feersum's writer. respond notes it on its way to the filter: nothing is
# written through the filter to find it, because a filter may hold such a write back, and an empty one is the end to Feersum.

use parent 'EventSource::XS::Adapter';
use EventSource::XS::Library;
use EventSource::XS::SocketPair;
use EventSource::XS::Stream::Child;
use EventSource::XS::Stream::Native;
use EventSource::XS::Stream::Obstacle;
use EventSource::XS::Stream::Writer;
use EventSource::XS::Stream::Writer::Socket;
use POSIX        ();
use Scalar::Util qw(set_prototype weaken);

my $OBSTACLE    = 'EventSource::XS::Stream::Obstacle';
my $INTERPRETER = EventSource::XS::Stream::Native->interpreter;
my $GUARD       = 'psgix.output.guard';
my $WRITER      = 'Feersum::Connection::Writer';

# Where the responder is compiled.
my $RESPONDER = 'Feersum::Connection';

# Seconds between two checks whether Feersum has given up a response before its head was sent.
my $CHECK_INTERVAL = 1;

# True if a listener may encrypt, once that is known: the listeners do not change.
my $may_encrypt;

# The responses whose head is still to be sent: the writer, the stream, and when to give up, by the number of their descriptor.
# One timer checks all of them.
my %HEADLESS;
my ($timer, $interval);

# True if this process is a worker of several, and the process that this is known of.
my ($is_forked, $known_in) = (!!0, -1);

# The stream whose server has nothing left to send, and its writer, while code is called that when_sent was given.
our @sent;    ## no critic (ProhibitPackageVars) it is local

# The writer of the response that is begun, if any: true until Feersum has made it. And whether Feersum's method says so.
our $own;     ## no critic (ProhibitPackageVars) it is local
my $is_wrapped = !!0;

# True if Feersum's end ends the streams first.
my $is_shutdown_wrapped = !!0;

# A worker of --pre-fork runs its event loop in such a sub.
my $WORKER_SUB = qr{\AFeersum::Runner::\w*fork};

sub name           { return 'Feersum' }
sub recognized_by  { return (key => $GUARD) }
sub writer_classes { return $WRITER }

# Feersum sends the head before it is known whether the stream is native.
sub codes_content { return !!0 }

# Its handle on the body drops what has been read.
sub reads_body_once { return !!1 }

# psgix.io must not be fetched.
sub client_socket {
    my ($class, $env, $writer) = @_;
    return ref $writer eq $WRITER ? $class->copy_handle($writer->fileno) : undef;
}

# Feersum's responder is a closure that calls a method. Only another one, of a filter, needs that method wrapped; once, as perl
# forgets then which methods it has looked up.
sub respond {
    my ($class, $respond, $response) = @_;
    _wrap_responder() if !$is_wrapped;
    local $own = 1;
    my $given = $respond->($response);
    return ($given, ref $own eq $WRITER ? $own : ());
}

# Feersum never says that it has several processes. What its worker runs in does.
sub is_multiprocess {
    my ($class, $env) = @_;
    if ($known_in != EventSource::XS::_generation()) {
        $is_forked = EventSource::XS->is_below($WORKER_SUB);
        $known_in  = EventSource::XS::_generation();
    }
    return $is_forked || $class->SUPER::is_multiprocess($env);
}

# Feersum reads one request at a time, and the descriptor is not known before the response. See take_over.
sub has_left { return !!0 }

# In a process of a relay no event loop runs, and the writer's connection is the worker's. Feersum frames the body as
# takes_chunks says.
sub enter_relay_process {
    my ($class, $server, $stream) = @_;
    my $socket = EventSource::XS::Stream::Writer::Socket->new($stream->socket);
    my $chunk  = $stream->takes_chunks ? sub { sprintf "%x\r\n%s\r\n", length $_[0], $_[0] } : sub { $_[0] };
    no warnings qw(prototype redefine);
    *Feersum::Connection::Writer::write = sub {
        my ($writer, $bytes) = @_;
        $bytes = ${$bytes} if ref $bytes;
        return $socket->write($chunk->($bytes)) if defined $bytes && length $bytes;
        return;
    };
    *Feersum::Connection::Writer::close = sub { return $stream->takes_chunks && $socket->write("0\r\n\r\n") };
    return;
}

# The state of TLS is in Feersum's own memory.
sub relay_descriptor {
    my ($class, $stream) = @_;
    return @sent && $sent[0] == $stream && !_may_encrypt() ? $sent[1]->fileno : undef;
}

# Feersum's queue is in its own memory, and cannot be sent elsewhere. The worker ends the response that was passed on. The
# writer that Feersum gives the callback ends the response when it is freed, so a stream that stays here keeps it.
sub when_sent {
    my ($class, $stream, $code) = @_;
    my $own = $stream->server_writer;
    return !!0 if ref $own ne $WRITER;
    weaken $stream;
    $own->poll_cb(
        sub {
            my $writer = shift;
            $writer->poll_cb(undef);
            return if !$stream;
            local @sent = ($stream, $writer);
            $code->();
            if (!$stream || !$stream->is_open) { _close_writer($writer) }
            else {
                $stream->on_close(sub { undef $writer });
            }
        }
    );
    return !!1;
}

# A scheme may come from the client, through X-Forwarded-Proto.
sub obstacle {
    my ($class, $env) = @_;
    return $OBSTACLE->new('encrypted') if $env->{'psgi.url_scheme'} ne 'http' && _may_encrypt();
    return $OBSTACLE->new('fetched')
        if exists $env->{'psgix.io'}
        && !EventSource::XS::_has_get_magic(\$env->{'psgix.io'})
        && !defined $class->number_of($env->{'psgix.io'});
    return undef;
}

# psgix.io is magical: fetching it, even by copying the environment, makes a handle on the very descriptor that Feersum
# continues to use and will close. If it was not fetched, as its magic shows, it is deleted, so that no code can fetch it. If
# it was fetched, the handle is closed before it can do harm, and Feersum's descriptor is put back at its number, where
# Feersum's event loop expects this connection. Feersum 1.507 gives each request a psgi.input, which keeps the connection; an
# application that keeps the environment of a stream would let Feersum wait for it at its end.
sub prepare_env {
    my ($class, $env) = @_;
    _wrap_shutdown()            if !$is_shutdown_wrapped   && Feersum->can('set_tls');
    delete $env->{'psgi.input'} if !$env->{CONTENT_LENGTH} && ref $env->{'psgi.input'} eq 'Feersum::Connection::Reader';
    return undef                if !exists $env->{'psgix.io'};
    if (EventSource::XS::_has_get_magic(\$env->{'psgix.io'})) {
        delete $env->{'psgix.io'};    # in void context, which runs no magic
        return undef;
    }
    my $number = $class->number_of($env->{'psgix.io'});
    return $OBSTACLE->new('fetched') if !defined $number;
    my $copy = EventSource::XS::_duplicate($number);
    return $OBSTACLE->new(limit => "psgix.io was fetched, and its descriptor cannot be duplicated: $!")
        if !defined $copy;
    CORE::close $env->{'psgix.io'};
    POSIX::dup2($copy, $number);
    POSIX::close($copy);
    delete $env->{'psgix.io'};
    return undef;
}

# The head is sent when the event loop comes to it. Until then the stream has no socket, and buffers what is written.
sub take_over {
    my ($class, $env, $respond, $response, $setting, $opening) = @_;
    my ($given, $own) =
        EventSource::XS::_package_of($respond) eq $RESPONDER
        ? scalar $respond->($response)
        : $class->respond($respond, $response);
    my $writer = ref $given eq $WRITER ? $given : $class->server_writer($given);
    return (undef, $OBSTACLE->new('filter'), $given, $own) if ref $writer ne $WRITER;
    my $number = $writer->fileno;
    return _ended($env, $writer) if EventSource::XS::_has_left($number);

    # Feersum decides as takes_chunks does, and its status line says the same.
    my $native = $setting->{native_settings} || EventSource::XS::Stream::Native->shared_settings($setting);
    my ($stream, $error) =
        EventSource::XS::Stream::Native->_open(-1, '', $$INTERPRETER, $native, $opening, 1, $class->takes_chunks($env));
    return (undef, $OBSTACLE->new(limit => "EventSource::XS::Stream::Native: $error"), $given) if !$stream;
    EventSource::XS::_cork($number);
    _give_up($number) if $HEADLESS{$number};    # its connection was closed
    $HEADLESS{$number} = [$writer, $stream, EV::now() + $setting->{timeout}, $setting->{retry}];
    _check_every($setting->{timeout}) if !$timer || $setting->{timeout} < $interval;
    $writer->poll_cb(\&_attach_socket);
    return $stream;
}

# Private functions

# Feersum calls this when the head has been sent. It ends the response to /dev/null; if that cannot be arranged, the stream must
# not write there. A stream that its hub process has ended meanwhile, because that was upgraded or stopped, never gets the
# socket: its client is told here when to come back.
sub _attach_socket {
    my $writer = shift;
    my $number = $writer->fileno;
    my (undef, $stream, undef, $retry) = @{my $waiting = delete $HEADLESS{$number} || return};
    my $ended = $stream->is_open ? '' : $stream->_want_end // '';
    if    ($ended eq 'server') { $writer->write(EventSource::XS::Stream::Native::retry_field($retry) . "\n") }
    elsif (!$stream->_take_over($number)) { $stream->_fail }
    $writer->poll_cb(undef);
    $writer->close;
    EventSource::XS::Stream::Child->start_promised($stream);
    return;
}

sub _check_every {
    my $timeout = shift;
    $interval = $timeout < $CHECK_INTERVAL ? $timeout : $CHECK_INTERVAL;
    $timer    = EV::timer($interval, $interval, \&_end_without_head);
    return;
}

sub _close_writer {
    my $writer = shift;
    local ($@, $SIG{__DIE__});
    eval { $writer->poll_cb(undef); $writer->close };
    return;
}

# The client has disconnected before the response began. The head would never be sent, and the stream would wait for that.
sub _ended {
    my ($env, $writer) = @_;
    _close_writer($writer);
    return EventSource::XS::Stream::Writer->ended('client', $env);
}

# Ends the responses whose head is never sent. If the client does not read, the stream ends by itself at its timeout, and
# Feersum's writer is released then. If the client disconnects, Feersum closes the connection without calling anybody.
sub _end_without_head {
    for my $number (keys %HEADLESS) {
        my ($writer, undef, $until) = @{$HEADLESS{$number} || next};
        _give_up($number) if $writer->fileno < 0 || EV::now() >= $until;
    }
    undef $timer if !%HEADLESS;
    return;
}

# The head of a response will not be sent.
sub _give_up {
    my $number = shift;
    my ($writer, $stream) = @{delete $HEADLESS{$number}};
    _hang_up($stream) if $writer->fileno < 0;
    _close_writer($writer);
    return;
}

# Attaches the stream to a socket whose other end is closed, so that it ends as any stream whose client has disconnected. A
# stream that the application has ended already would otherwise wait for its socket until its timeout.
sub _hang_up {
    my $stream = shift;
    my ($ours, $theirs) = EventSource::XS::SocketPair->open or return $stream->_fail;
    my $socket = EventSource::XS::_duplicate(fileno $ours);
    return                if defined $socket && $stream->_attach($socket);
    POSIX::close($socket) if defined $socket;
    return $stream->_fail;
}

# Feersum does not say which of its listeners encrypt. set_tls refuses to give a further certificate (sni) to one that does not,
# and refuses these arguments for each other one; it changes nothing. Only Feersum::Runner is known to serve with one server.
sub _may_encrypt {
    return $may_encrypt if defined $may_encrypt;
    return !!0          if !Feersum->can('set_tls');
    local ($@, $SIG{__DIE__});
    my @given = (sni => 'localhost', h2 => 1, cert_file => '', key_file => '');
    for (my $number = 0; !$number || $@ =~ /default TLS context/; $number++) {
        eval { $Feersum::Runner::INSTANCE->{endjinn}->set_tls(@given, listener => $number) };
    }
    return $may_encrypt = $@ !~ /out of range|not compiled/;
}

sub _wrap_responder {
    my $continue = Feersum::Connection->can('_continue_streaming_psgi') or return;
    my $wrapped  = sub {
        my $writer = $continue->(@_);
        $own = $writer if $own;
        return $writer;
    };
    no warnings 'redefine';
    *Feersum::Connection::_continue_streaming_psgi = set_prototype(\&$wrapped, prototype $continue);
    $is_wrapped                                    = !!1;
    return;
}

# Feersum 1.507 waits for all responses on its writer when it is to end, and then ends without END blocks.
sub _wrap_shutdown {
    my $shut_down = Feersum->can('graceful_shutdown');
    no warnings qw(prototype redefine);
    *Feersum::graceful_shutdown = sub {
        my ($server, $code) = @_;
        my $runner = $Feersum::Runner::INSTANCE;
        return $shut_down->($server, $code) if !$runner || !$runner->{running};
        EventSource::XS::Stream::Writer->end_all;
        return $shut_down->($server, sub { EventSource::XS::Stream::Native->end_all; $code->() });
    };
    $is_shutdown_wrapped = !!1;
    return;
}

1;

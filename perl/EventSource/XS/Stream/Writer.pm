package EventSource::XS::Stream::Writer;
use strict;
use warnings;

# A client's open response on the PSGI server's own writer. Any class with these methods may be a stream.
#
# A client that closes its sending side counts as one that has disconnected, as it does with most servers: a client of an
# event stream sends nothing after its request. On a server that blocks, the stream checks that before each write, by
# polling the socket, which takes no byte from the server. Under an event loop it learns of it when it happens. The server's
# adapter knows how; it may show no socket where a middleware filters the body.

# A stream is open, or it has ended and has the member reason. One that follows a hub becomes a relay (Stream::Relay), to which
# a stream of this class belongs then.
#
# A stream that the application pushes to has the member direct, an array of all that src/xs/writer.h needs for that: one
# look-up in this hash instead of seven. The enum esx_direct there names its elements. It has none if there is a child_writer,
# to which a forked child writes instead of the server's writer (write_to_server).

use EventSource::XS::Adapter;
use EventSource::XS::Library;
use EventSource::XS::Loop;
use EventSource::XS::Stream::CloseCallbacks;
use EventSource::XS::Stream::Native;    # its END block calls end_all
use IO::Poll qw(POLLOUT);
use IO::Select;
use List::Util   qw(sum);
use Scalar::Util qw(refaddr weaken);
use Socket       qw(MSG_DONTWAIT MSG_PEEK);

my $IS_HUNG_UP_KNOWN = EventSource::XS->can('_is_hung_up');

# Counters of EventSource::XS->stats.
our %COUNTED = map { ($_ => 0) } qw(opened refused events bytes);    # src/xs counts here too
my %CLOSED;

# Under an event loop a stream lives until its client disconnects, whether or not the application keeps it.
my %HELD;

# The open streams by address. The references are weak.
my %OPEN;

# The members that only a stream has which uses the server's writer. The watch ends before its descriptor is closed.
my @OF_CONNECTION = qw(watch child_writer children_gone direct kept_open keepalive server_writer socket writer);

# The streams stay with their thread: to another one they have ended.
sub CLONE {
    for my $copy (grep { defined } values %OPEN) {
        $copy->{reason} = 'application';
        delete $copy->{direct};
    }
    %OPEN = ();
    return;
}

# Make a stream from the writer that a PSGI responder has returned, and the request's environment. Settings: opening, bytes
# to send first; keepalive, the seconds of quiet after which a comment is sent under an event loop, up to half as many
# later; none by default; line_end, crlf by default; server_writer, the server's own writer behind a filter of the body, if
# the adapter knows it (respond).
sub new {
    my ($class, $writer, $env, %setting) = @_;
    my $adapter       = EventSource::XS::Adapter->of($env, $writer);
    my $server_writer = delete $setting{server_writer} || EventSource::XS::Adapter->server_writer($writer);
    my $self          = bless {
        adapter     => $adapter,
        writer      => $writer,
        socket      => scalar $adapter->client_socket($env, $server_writer),
        nonblocking => $env->{'psgi.nonblocking'} ? 1 : 0,
        owner       => $$,
        on_close    => [],
        settings    => \%setting,
        reason      => undef,
        ($setting{line_end} || '') eq 'lf'                         ? (is_lf         => 1)              : (),
        $env->{'psgi.nonblocking'}                                 ? (server_writer => $server_writer) : (),
        $env->{'psgi.nonblocking'} && $adapter->takes_chunks($env) ? (takes_chunks  => 1)              : (),
    }, $class;
    weaken($OPEN{refaddr $self} = $self);
    $COUNTED{opened}++;
    $self->write_to_server('') if $adapter->sends_head_late;
    $self->{child_writer} = $adapter->child_writer($env, $server_writer, $self->{socket});
    $self->{direct} = [$writer, $self->{socket}, \@COUNTED{qw(events bytes)}, $self->is_lf] if !$self->{child_writer};

    if (!$self->{nonblocking}) { pipe $self->{children_gone}, $self->{kept_open} }
    else {
        $HELD{refaddr $self} = $self;
        $self->_watch($adapter, $server_writer);
        $self->_keep_alive($setting{keepalive}) if $setting{keepalive};
    }
    $self->write_to_server($setting{opening}) if defined $setting{opening} && length $setting{opening};
    return $self;
}

# Makes a stream that has already ended.
sub ended {
    my ($class, $reason, $env) = @_;
    $COUNTED{opened}++;
    $CLOSED{$reason}++;
    return bless {nonblocking => $env->{'psgi.nonblocking'} ? 1 : 0, on_close => [], reason => $reason}, $class;
}

# Public methods

sub adapter { return $_[0]{adapter} }

# The stream becomes a relay. Returns a stream that has the connection instead; the two count as one. The relay sends the
# keepalives.
sub as_part_of {
    my ($self, $relay) = @_;
    my $writer = bless {%$self, on_close => [], relay => $relay}, ref $self;
    weaken $writer->{relay};
    delete @$writer{qw(direct in_handler keepalive)};
    delete $_->{refaddr $self} for \(%HELD, %OPEN);
    weaken($OPEN{refaddr $writer} = $writer);
    $COUNTED{opened}--;
    return $writer;
}

# Return the counters of this process for EventSource::XS::stats, as a reference to a hash.
sub counted {
    return {%COUNTED, open => $COUNTED{opened} - sum(0, values %CLOSED), closed => {%CLOSED}};
}

# The client's connection; undef if the server does not show it.
sub descriptor { return $_[0]{socket} ? fileno $_[0]{socket} : undef }

# Under an event loop the stream stays open. Elsewhere it ends, unless a child that was forked meanwhile may still use it.
sub drop {
    my $self = shift;
    return if $self->{nonblocking} || defined $self->{reason} || $self->{owner} != $$;
    delete $self->{kept_open};    # otherwise this process keeps it open itself
    $self->end('application') if !$self->_is_held_by_child;
    return;
}

# End the response. Everything written before is sent first. $reason is the reason that on_close reports, application by
# default. Does nothing if the stream has ended. During global destruction no callback runs.
sub end {
    my ($self, $reason) = @_;
    return if defined $self->{reason};
    $self->{reason} = $reason //= 'application';
    delete $self->{watch};            # before its descriptor is closed
    my $relay = $self->{relay};
    $CLOSED{$reason}++ if !$relay;    # a relay counts its own end
    my $writer = delete $self->{writer};
    delete $self->{direct};
    $writer = $self->{child_writer} if $self->{child_writer} && $self->{owner} != $$;
    $self->{is_abandoned} ||= $reason eq 'client' && $self->{adapter}->reads_client;    # the server sees the end itself
    local ($@, $SIG{__DIE__});
    eval { $writer->close } if $writer && !$self->{is_abandoned};    # global destruction may have freed it first

    if (${^GLOBAL_PHASE} ne 'DESTRUCT') {
        EventSource::XS->later_here(@$_, $reason)
            for EventSource::XS::Stream::CloseCallbacks::take($self->{on_close}, $self);
        $relay->see_end($reason) if $relay;
    }
    return $self->_release_connection;
}

# The retry has a random part, so that clients that end together do not reconnect at the same time. It is a line, for which no
# client reports an event.
sub end_with_retry {
    my $self = shift;
    $self->write_to_server(EventSource::XS::Stream::Native::retry_field($self->{settings}{retry}) . $self->_line_break);
    $self->end('server');
    return;
}

*close = \&end;

# This process has taken the stream over from its worker, and nothing but the server's writer is used here.
sub enter_process {
    my ($self, $socket) = @_;
    @$self{qw(owner socket on_close)} = ($$, $socket, []);
    delete @$self{qw(child_writer children_gone direct kept_open relay)};
    return;
}

# The server decides whether a write blocks. A relay must know when the handler runs, because all subscriptions of a handler are
# one request.
sub enter_handler {
    my $self = shift;
    $self->{in_handler} = 1;
    return;
}

# A stream is ended without a close if its client reads nothing, for which the close might wait, or if the server has freed the
# response.
sub end_all {
    my @streams = grep { $_ && !defined $_->{reason} && $_->{owner} == $$ } values %OPEN;
    for my $stream (@streams) {
        $stream->{is_abandoned} = !$stream->adapter->is_writable_at_exit || $stream->is_full;
        $stream->end('server');
    }
    return;
}

sub is_blocking { return !$_[0]{nonblocking} }

# Return true if the client's socket takes no bytes now. False if the server shows no socket.
sub is_full {
    my $self   = shift;
    my $socket = $self->{socket};
    return !!0 if !$socket || !defined fileno $socket;
    my $poll = IO::Poll->new;
    $poll->mask($socket => POLLOUT);
    return $poll->poll(0) == 0;
}

sub has_pushed_id { return !!$_[0]{has_pushed_id} }

# Returns false in a child of the process that has opened the stream.
sub is_here { return $_[0]{owner} == $$ }

sub is_lf { return !!$_[0]{is_lf} }

sub is_native { return !!0 }

# Return true until the stream was closed or its client has disconnected. If this call finds that the client has
# disconnected, it ends the stream, and callbacks of on_close are queued.
sub is_open {
    my $self = shift;
    return !!0 if defined $self->{reason};
    return !!1 if !$self->_has_left;
    $self->end('client');
    return !!0;
}

# A holder of a callback of on_close is being freed.
sub keep_attributes {
    my ($self, $holder) = @_;
    return EventSource::XS::Stream::CloseCallbacks::keep_attributes($holder, @{$self->{on_close}});
}

sub leave_handler {
    my $self = shift;
    delete $self->{in_handler};
    return;
}

# Another process has the connection, and no stream of this class is left here.
sub leave_to_process {
    my $self = shift;
    $self->{reason} = 'application';
    return $self->_release_connection;
}

# Have a callback called once by EventSource::XS::dispatch when the stream has ended, as Stream::Native::on_close does.
# $reason is client, application, error if a write died, or the reason that close was given.
sub on_close {
    my ($self, $callback, $holder) = @_;
    if (defined $self->{reason}) { EventSource::XS->later_here($callback, $holder || $self, $self->{reason}) }
    else                         { EventSource::XS::Stream::CloseCallbacks::add($self->{on_close}, $callback, $holder) }
    return;
}

# End a stream that is one too many, as end_with_retry does, and count it as refused.
sub refuse {
    my $self = shift;
    $COUNTED{refused}++;
    $self->end_with_retry;
    return;
}

# The client has sent something or has left. What it sends is dropped, unless the server reads it.
sub see_input {
    my $self = shift;
    return if !$self->{socket} || !$self->is_open || $self->{adapter}->reads_client;
    CORE::recv $self->{socket}, my $ignored, 65_536, MSG_DONTWAIT;
    return;
}

# The handler has returned.
*serve = \&drop;

# The server's own writer, behind the writers of middleware, where that is known.
sub server_writer { return $_[0]{server_writer} }

sub settings { return $_[0]{settings} }

sub socket { return $_[0]{socket} }

sub takes_chunks { return !!$_[0]{takes_chunks} }

*wait = \&EventSource::XS::Stream::Native::wait;

# There is nothing to wait for: end runs at once.
sub wait_for_end_briefly { return }

# A push to a stream with the member direct does the same in src/xs (esx_writer_write).
sub write {
    my ($self, $bytes) = @_;
    $self->{has_pushed_id} ||= $bytes =~ /^id:/m;    # a hub's position must not replace it
    $self->write_to_server($bytes) or return !!0;
    $COUNTED{events}++;
    $COUNTED{bytes} += length $bytes;
    return !!1;
}

# Writes bytes that are no event. Returns false, ends the stream and never dies, if the client has disconnected.
sub write_to_server {
    my ($self, $bytes) = @_;
    $self->{quiet} = 0;
    return !!0                              if !$self->is_open;
    $self->{writer} = $self->{child_writer} if $self->{child_writer} && $self->{owner} != $$;
    my $error;
    {
        local ($@, $SIG{__DIE__});
        local $| = 1;    ## no critic (RequireLocalizedPunctuationVars) some writers buffer otherwise
        return !!1 if eval { $self->{writer}->write($bytes); 1 };
        $error = $@;
    }
    return $self->writer_died($error);
}

# Part of an event may have been sent. If the client is still connected, which its socket shows until end releases it, the
# application is the cause: its $SIG{ALRM} or its filter of the body. The client may have left during the write.
sub writer_died {
    my ($self, $error) = @_;
    my $is_connected = $self->{socket} && !EventSource::XS::Adapter->is_send_timeout($error) && !$self->_has_left;
    $self->end($is_connected ? 'error' : 'client');
    die $error if $is_connected;
    return !!0;
}

# Private methods and functions

# A subscription of this stream would be its first one.
sub _has_begun { return !!0 }

# The reason for which the stream has ended, as of a native stream.
sub _want_end { return $_[0]{reason} }

# Returns true if the client has closed its side, without taking a byte from the server. A client of an event stream
# sends nothing that matters after its request, so end of input means that the client has disconnected.
sub _has_left {
    my $self   = shift;
    my $socket = $self->{socket} or return !!0;
    return !!1 if !defined fileno $socket;    # the server has closed it; another client may have its number by now
    return EventSource::XS::_is_hung_up(fileno $socket) if $IS_HUNG_UP_KNOWN;
    local $!;
    my $peer = CORE::recv $socket, my $byte, 1, MSG_PEEK | MSG_DONTWAIT;
    return !length $byte if defined $peer;
    return !($!{EAGAIN} || $!{EWOULDBLOCK} || $!{EINTR});
}

# Under an event loop, sends a comment after so many seconds of quiet.
sub _keep_alive {
    my ($self, $seconds) = @_;
    weaken $self;
    my $tick = sub {
        return if !$self;
        my $was_quiet = $self->{quiet};
        $self->write_to_server(':' . $self->_line_break) if $was_quiet;
        $self->{quiet} = !$was_quiet;
    };
    $seconds /= 2;    # quiet for two ticks
    my $loop = EventSource::XS::Loop->current or return;
    $self->{keepalive} = $loop->every($seconds, $tick);
    return;
}

# Releases the connection and what belongs to it.
sub _release_connection {
    my $self = shift;
    delete @$self{@OF_CONNECTION};
    delete $_->{refaddr $self} for \(%HELD, %OPEN);
    return;
}

sub _line_break { return $_[0]->is_lf ? "\n" : "\r\n" }

# Returns true if a child still has the stream: one that has not ended and runs no other program. Each has the write end of a
# pipe until then. Before, this process closes its own end.
sub _is_held_by_child {
    my $self = shift;
    return $self->{children_gone} && !IO::Select->new($self->{children_gone})->can_read(0);
}

# Under an event loop, ends the stream when its client disconnects. If the server offers no way to see that, the socket is
# watched. Input from the client that the server does not read is read and thrown away, or it would wake the loop forever.
sub _watch {
    my ($self, $adapter, $server_writer) = @_;
    weaken $self;
    return if $adapter->watch($server_writer, sub { $self->end('client') if $self });
    my $socket = $self->{socket}                or return;
    my $loop   = EventSource::XS::Loop->current or return;
    $self->{watch} = $loop->readable($socket, sub { $self->see_input if $self });
    return;
}

sub DESTROY {
    my $self = shift;
    delete $OPEN{refaddr $self} if ${^GLOBAL_PHASE} ne 'DESTRUCT';
    return;
}

1;

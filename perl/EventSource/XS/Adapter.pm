package EventSource::XS::Adapter;
use strict;
use warnings;

# The interface between a stream and the PSGI server under it. PSGI does not say where the client's socket is, when the head is
# sent, how a client that disconnects is seen. Everything that is specific to one server is in its adapter: a subclass in the
# folder EventSource/XS/Adapter/. No other module names a server. This class finds the right one, and its own methods are those
# of a server that is not known. An adapter has no objects and no state: all methods are class methods.
#
#   package EventSource::XS::Adapter::MyServer;
#   use parent 'EventSource::XS::Adapter';
#   sub name            { return 'MyServer' }
#   sub writer_packages { return 'MyServer' }    # where the server's inline_object(write => sub { ... }) is written
#
# To add a server:
#
#   1. Read in its source what its responder does for [200, $headers]: which class its writer has, when it sends the head, what
#      happens to the socket after close.
#   2. Write perl/EventSource/XS/Adapter/NAME.pm with the name and what identifies the writer. It is loaded because it is there.
#   3. Add its command line to the table in t/lib/Testing/Server.pm, its name to @NATIVE there, its packages to `servers` in
#      script/prepare, and what it cannot do to %CANNOT in t/lib/Testing/Contract.pm.
#   4. Run prove -b xt/servers/contract.t. Override a method for each behaviour that differs.
#   5. Add its name to $SERVER in xt/layout.t, and rows to t/lib/Testing/AttackedServer.pm, t/hub/outlive/ and
#      t/native/.
#   6. Name it in Plack::App::EventSource (NATIVE STREAMS) and, if it recycles its workers, in
#      EventSource::Deployment.
#
# A writer may be declared only if it writes to the socket itself, in full, before write returns: then the response can be
# captured (Stream::Takeover). A server that queues needs a take_over of its own. A stream sets $| while it
# writes, because some servers keep what a writer is given until the buffer of the selected handle is flushed.

use EventSource::XS::Library;
use EventSource::XS::Settings;
use EventSource::XS::Stream::Obstacle;
use Scalar::Util qw(blessed weaken);

my $OBSTACLE = 'EventSource::XS::Stream::Obstacle';
my $SETTINGS = EventSource::XS::Settings->new('EventSource::XS::Adapter');

# The class of the objects that Plack::Util::inline_object makes. Most servers make their writer that way.
my $INLINE_OBJECT = 'Plack::Util::Prototype';

# Classes of handles that cannot be encrypted. A handle that becomes encrypted changes its class.
my %IS_PLAIN;

# The adapters of this interpreter.
my @ADAPTERS;

# The properties that the adapters declare, indexed at the first use. Only class names and code are kept, so a cloned
# interpreter can use its copy.
my ($is_indexed, @BY_KEY, @BY_ENV, %BY_WRITER, %BY_PACKAGE, %BY_WRAPPER, %BY_SUB, %SEND_TIMEOUT, @READ_FAILURE, %PLAIN);

# The server that serves in this process, from the first takeover on: its adapter, with its end_keep_alive, and its object.
my ($process, $serving, $end_keep_alive, $server) = (0);

# Detection

# True if the writer is that of a middleware that filters the body.
sub is_filter { return _kind_of(@_) eq 'Plack::Util' }

# True if a server, as of_caller has found it, waits for the current response to end this worker.
sub is_worker_ending {
    my ($class, $adapter, $server) = @_;
    local ($@, $SIG{__DIE__});
    return !!($adapter && eval { $adapter->is_ending($server) });
}

# True if some server throws this exception when the body of a request does not arrive.
sub is_read_failure {
    my ($class, $error) = @_;
    _index() if !$is_indexed;
    return !ref $error && !!grep { $error =~ $_ } @READ_FAILURE;
}

# True if the writer of some server throws this exception when the client reads nothing for too long. The stream then ends as
# if the client had disconnected, though the socket does not show that. The writer may be behind a filter of the body, so this
# checks the exceptions of all servers.
sub is_send_timeout {
    my ($class, $error) = @_;
    _index() if !$is_indexed;
    return !ref $error && exists $SEND_TIMEOUT{$error};
}

# The adapter by the environment, or else by the writer; this class if the server is not known.
sub of {
    my ($class, $env, $writer) = @_;
    my $adapter = $class->of_env($env);
    return $adapter if $adapter ne __PACKAGE__;
    return $class->of_writer($writer) || $adapter;
}

# Looks for a known server among the callers. Perl shows the arguments of a sub to package DB. Only the invocant is
# read, which the server keeps while its method runs.
sub of_caller {
    my $depth = 0;
    _index() if !$is_indexed;
    while (my $sub = (caller $depth)[3]) {
        return ($BY_SUB{$sub}, _invocant($depth)) if $BY_SUB{$sub};
        $depth++;
    }
    return;
}

# The adapter by the environment alone, before there is a response; this class if that does not identify the server.
sub of_env {
    my ($class, $env) = @_;
    _index() if !$is_indexed;
    for my $known (@BY_KEY) { return $known->[0] if exists $env->{$known->[1]} }
    for my $known (@BY_ENV) { return $known->[0] if $known->[1]->($known->[0], $env) }
    return __PACKAGE__;
}

# The adapter by the writer that a responder has returned; undef if the writer belongs to no known server, as that of a
# middleware that filters the body.
sub of_writer {
    my $kind = _kind_of(@_);
    return $BY_WRITER{$kind} || $BY_PACKAGE{$kind};
}

# The server has responded with a native stream. From here on requests that are like this one do not come here.
sub note_takeover {
    my ($class, $env, $is_multiprocess) = @_;
    my $noted = $env->{'psgi.nonblocking'} ? 'noted_in_loop' : 'noted';
    $PLAIN{$noted}          = EventSource::XS::_generation() if $PLAIN{can_note};
    $PLAIN{is_multiprocess} = 1                              if $is_multiprocess;
    return;
}

# Return what a takeover recognises without an adapter, as sets of names: classes of psgix.io that obstacle has accepted
# (handles), and the classes and packages of writers of adapters that inherit takes_chunks and sends_head_late; keys and errors,
# by which other servers are known (recognized_by); the server's end_keep_alive with two arguments; and the process in which a
# takeover has been noted.
sub plain {
    _index() if !$is_indexed;
    return \%PLAIN;
}

# An application calls this for an adapter that is not in the folder. It takes the name of a loaded subclass.
sub register {
    my ($class, $adapter) = @_;
    $SETTINGS->refuse(adapter => 'register takes the name of a loaded subclass of EventSource::XS::Adapter')
        if !defined $adapter || ref $adapter || $adapter eq __PACKAGE__ || !$adapter->isa(__PACKAGE__);
    push @ADAPTERS, $adapter if !grep { $_ eq $adapter } @ADAPTERS;
    $is_indexed = $process = 0;
    return;
}

# The next request is to be seen here.
sub see_next_request {
    delete @PLAIN{qw(noted noted_in_loop seen_in)};
    return;
}

# Calls add_timer of all adapters.
sub run_in_idle_workers {
    my ($class, @timer) = @_;
    return !!grep { $_->add_timer(@timer) } @ADAPTERS;
}

# The server's own writer inside the writers of frameworks (wrapper_classes, inner_writer), or the writer itself.
sub server_writer {
    my ($class, $writer) = @_;
    _index() if !$is_indexed;
    while (my $adapter = $BY_WRAPPER{blessed $writer || ''}) {
        my $inner = $adapter->inner_writer($writer) or last;
        $writer = $inner;
    }
    return $writer;
}

# Recognition

# The server's name, for messages.
sub name { return 'PSGI server' }

# By what the server is known: a member of the environment that only it has (key => $name); or by recognizes_env, to which the
# class of psgi.errors (errors => $class) belongs, or among others that there is no psgix.io (io => 0). src/xs knows other
# servers by that.
sub recognized_by { return () }

# True if the environment is this server's, where it must be known before it responds. It runs for each request of every server,
# so it must be cheap, and must not read psgix.io, which one of them forbids.
sub recognizes_env { return !!0 }

# The full names of the server's methods that call the application, if other methods need their object ($server below).
sub serving_subs { return () }

# The classes of the server's writer; and the packages in which it is compiled, if Plack::Util::inline_object makes it: its
# class alone says nothing then, because middleware that filters the body has writers of that class too.
sub writer_classes  { return () }
sub writer_packages { return () }

# For a framework instead of a server: the classes of writers that pass on every call unchanged, and the writer inside; undef if
# that is not what the adapter expects.
sub wrapper_classes { return () }
sub inner_writer    { return undef }

# The exceptions of the server's writer when the client reads nothing for too long, as exact strings, and those of reading the
# body of a request when the client does not send it, as patterns.
sub send_timeouts { return () }
sub read_failures { return () }

# The client's socket

# A handle of the client's socket for polling, or undef. $writer is the server's own.
sub client_socket {
    my ($class, $env, $writer) = @_;
    my $socket = $env->{'psgix.io'};
    return defined $class->number_of($socket) && defined getsockname $socket ? $socket : undef;
}

# A handle on a duplicate of a descriptor that belongs to the server, or undef: for client_socket.
sub copy_handle {
    my ($class, $number) = @_;
    open my $copy, '+<&', $number or return undef;
    return $copy;
}

# The number of the descriptor on which the server writes to the client.
sub descriptor {
    my ($class, $env) = @_;
    return fileno $env->{'psgix.io'};
}

# The number of a handle's descriptor; undef if it has none, as one of a server or an application need not.
sub number_of {
    my ($class, $handle) = @_;
    local ($@, $SIG{__DIE__});
    my $number = defined $handle ? eval { fileno $handle } : undef;
    return defined $number && $number >= 0 ? $number : undef;
}

# True if the client is known to have disconnected: its connection was reset, or an earlier request of it was taken over.
sub has_left {
    my ($class, $env) = @_;
    local $SIG{__DIE__};
    my $number = eval { $class->descriptor($env) };
    return defined $number && $number >= 0 && EventSource::XS::_has_left($number);
}

# True if the server reads from the client while it responds. Otherwise the stream drops what the client sends.
sub reads_client { return !!0 }

# Under an event loop, has a callback called when the client disconnects: watch($writer, $code). If it returns false, the stream
# watches client_socket.
sub watch { return !!0 }

# Takeover

# The server of a process is looked for once.
sub after_takeover {
    my ($class, $env) = @_;
    local ($@, $SIG{__DIE__});
    if ($process != $$) {
        $process = $$;
        ($serving, $server) = $class->of_caller;
        $end_keep_alive = $serving && $serving->can('end_keep_alive');
        weaken $server                           if ref $server;
        eval { $serving->hear_signals($server) } if $server;
        delete $PLAIN{end_keep_alive};
        if (ref $server && $end_keep_alive != \&end_keep_alive) {
            $PLAIN{end_keep_alive} = [$end_keep_alive, $serving, $server];
            weaken $PLAIN{end_keep_alive}[2];
        }
    }
    return if !$server;
    eval { $end_keep_alive->($serving, $server, $env) };
    return;
}

# Why the reactor cannot use a descriptor, or undef: for obstacle. A client that has disconnected is none; it may do so between
# the two calls, so that is checked second.
sub descriptor_obstacle {
    my ($class, $number) = @_;
    return undef if EventSource::XS::_is_connection($number) || EventSource::XS::_has_left($number);
    return $OBSTACLE->new('socket');
}

# Make the server wait for no further request on the connection of this request, which was taken over: end_keep_alive($server,
# $env). It must check that $server serves this request. Exceptions are dropped.
sub end_keep_alive { return }

# Why a response to this request cannot be taken over, as far as the environment shows: an obstacle, one of its list or
# new($code, $text, $remedy); otherwise undef. Changes nothing.
sub obstacle {
    my ($class, $env) = @_;
    my $io = $env->{'psgix.io'};
    return _no_socket()                if !defined $io;
    return $OBSTACLE->new('encrypted') if !$IS_PLAIN{ref $io} && _is_tls($io);
    my $number = $class->number_of($io);
    return defined $number ? $class->descriptor_obstacle($number) : $OBSTACLE->new('handle');
}

# False if the server sends the head of a response before it is known whether the stream is native. The head names the content
# coding, and a stream on the server's writer has none.
sub codes_content { return !!1 }

# Changes the environment so that a stream can use it, before the responder is called. Returns an obstacle, or undef.
sub prepare_env { return undef }

# True if psgi.input can be read only once, although the server sets psgix.input.buffered: then the body is copied.
sub reads_body_once { return !!0 }

# Calls the responder, and returns the writer; if a filter of the body is between, the server's own may follow.
sub respond {
    my ($class, $respond, $response) = @_;
    return scalar $respond->($response);
}

# An adapter may have a method take_over($env, $respond, $response, \%settings, $opening): it responds and takes the response
# over, in the way of Stream::Takeover::begin.

# True if the response may be chunked (RFC 9112, section 6.1). The version is that of the request line, unless a middleware has
# changed it, which no server would ignore either.
sub takes_chunks { return ($_[1]{SERVER_PROTOCOL} || '') eq 'HTTP/1.1' }

# Writing

# A writer for a child that the handler forks, if that cannot use the server's: child_writer($env, $writer, $socket).
sub child_writer { return undef }

# False if the server may have freed a response that has not ended when END blocks run.
sub is_writable_at_exit { return !!1 }

# True if the server sends the head only with the first write. The stream writes an empty string first then.
sub sends_head_late { return !!0 }

# Processes of relays (Stream::Relay::Process)

# In the process: ends the response, after its writer was closed: end_relayed_response($server, $socket).
sub end_relayed_response { return }

# In the process, before it writes: replaces what must not be used outside of the worker: enter_relay_process($server, $stream).
sub enter_relay_process { return }

# The descriptor of the client's connection, if a process may take the stream over: relay_descriptor($stream, $server). A copy
# of the server's writer must work in a forked process, and the server must not mind that the descriptor is /dev/null then.
sub relay_descriptor { return undef }

# Under an event loop: calls code, at once or later, when the server has sent everything that was written. Returns false if that
# is never known. Nothing is written meanwhile.
sub when_sent {
    my ($class, $stream, $code) = @_;
    $code->();
    return !!1;
}

# Workers

# Make the server call code in its idle workers each second, if these wait outside of perl, where no signal reaches a handler:
# add_timer($number, $code) with the number of a signal that is set aside for this. Returns true if it does.
sub add_timer { return !!0 }

# True if a worker repeats what a signal has interrupted, so that it may be sent one.
sub bears_signals { return !!0 }

# Makes a worker that has native streams see a signal that ends it soon, if the server could miss it: hear_signals($server).
# Exceptions are caught.
sub hear_signals { return }

# True if the server waits for the current response to end this worker: is_ending($server). Exceptions are caught.
sub is_ending { return !!0 }

sub is_multiprocess { return !!$_[1]{'psgi.multiprocess'} }

# The server's option that limits the requests of a worker, and its value: requests_per_worker($server). The object may be of
# another class with that name, so exceptions are caught.
sub recycling_option    { return undef }
sub requests_per_worker { return undef }

# Private functions

sub _index {
    my @known = map { [$_, $_->recognized_by, ''] } @ADAPTERS;
    my ($key, $errors, $io, $other) = map {
        my $by = $_;
        [grep { $_->[1] eq $by } @known]
    } qw(key errors io), '';
    @$other       = grep { $_->[0]->can('recognizes_env') != \&recognizes_env } @$other;
    @BY_KEY       = map  { [@$_[0, 2]] } @$key;
    @BY_ENV       = map  { [$_->[0], $_->[0]->can('recognizes_env')] } map { @$_ } $errors, $io, $other;
    %BY_WRITER    = _index_by(sub { $_[0]->writer_classes });
    %BY_PACKAGE   = _index_by(sub { $_[0]->writer_packages });
    %BY_WRAPPER   = _index_by(sub { $_[0]->wrapper_classes });
    %BY_SUB       = _index_by(sub { $_[0]->serving_subs });
    %SEND_TIMEOUT = _index_by(sub { $_[0]->send_timeouts });
    @READ_FAILURE = map { $_->read_failures } @ADAPTERS;
    my @plain =
        grep { $_->can('takes_chunks') == \&takes_chunks && $_->can('sends_head_late') == \&sends_head_late } @ADAPTERS;
    %PLAIN = (
        can_note => !@$other,
        errors   => {map { ($_->[2] => 1) } @$errors},
        handles  => \%IS_PLAIN,
        keys     => [map { $_->[1] } @BY_KEY],
        classes  => {map { ($_ => 1) } map { $_->writer_classes } grep { !$_->can('take_over') } @plain},
        packages => {map { ($_ => 1) } map { $_->writer_packages } @plain},
    );
    $is_indexed = 1;
    return;
}

sub _index_by {
    my $keys = shift;
    return map {
        my $adapter = $_;
        map { ($_ => $adapter) } $keys->($adapter)
    } @ADAPTERS;
}

# The invocant of the sub that is so many frames above the caller.
sub _invocant {
    my $depth = shift;

    package DB;    ## no critic (Modules::ProhibitMultiplePackages)
    my @frame = caller $depth + 1;
    return $DB::args[0];
}

# The class decides, not psgi.url_scheme: a middleware may take that from a header of the client. The second test is for
# servers that stand on Net::Server. A class that names its protocol without an object has the same for all its objects.
sub _is_tls {
    my $io    = shift;
    my $class = blessed $io or return !!0;
    return !!1 if $class =~ /SSL/ || $io->isa('IO::Socket::SSL');
    my $protocol = $io->can('NS_proto');
    return !!1 if $protocol && ($io->$protocol || '') =~ /SSL/;
    local ($@, $SIG{__DIE__});
    $IS_PLAIN{$class} = 1 if !$protocol || defined eval { $class->$protocol };
    return !!0;
}

# The class of a writer, or the package in which one that Plack::Util::inline_object has made is written.
sub _kind_of {
    my $writer = $_[0]->server_writer($_[1]);
    my $kind   = blessed $writer || '';
    my $write  = $kind eq $INLINE_OBJECT && $writer->{write};
    return ref $write eq 'CODE' ? EventSource::XS::_package_of($write) : $kind;
}

# Loads each module of the folder EventSource/XS/Adapter, so that a new server needs no list. All are loaded with this
# module, in the parent of a server that forks its workers.
sub _load_adapters {
    my ($folder) = __FILE__ =~ /\A(.*)\.pm\z/s;
    opendir my $entries, $folder
        or $SETTINGS->throw(unavailable => "$folder: $!");
    for my $name (sort map { /\A(\w+)\.pm\z/ ? $1 : () } readdir $entries) {
        require "EventSource/XS/Adapter/$name.pm";    ## no critic (RequireBarewordIncludes)
        push @ADAPTERS, __PACKAGE__ . "::$name";
    }
    return;
}

# The servers are those that have a writer of their own.
sub _no_socket {
    my @servers = sort map { $_->name } grep { $_->writer_classes || $_->writer_packages } @ADAPTERS;
    return $OBSTACLE->new('server', undef, 'use one that does: ' . join(', ', @servers));
}

_load_adapters();

1;

package EventSource::XS::Adapter;
use strict;
use warnings;

# The interface between a stream and the PSGI server under it. Each server has a subclass in EventSource/XS/Adapter/;
# this class finds the right one, and its own methods are those of a server that is not known.

our $VERSION = '0.100';

use EventSource::Error;
use EventSource::XS ();
use EventSource::XS::Stream::Obstacle;
use EventSource::XS::Stream::Takeover;
use Scalar::Util qw(blessed weaken);

my $OBSTACLE = 'EventSource::XS::Stream::Obstacle';

# The class of the objects that Plack::Util::inline_object makes. Most servers make their writer that way.
my $INLINE_OBJECT = 'Plack::Util::Prototype';

# Classes of handles that cannot be encrypted. A handle that becomes encrypted changes its class.
my %IS_PLAIN;

# The adapters of this interpreter.
my @ADAPTERS;

# The properties that the adapters declare, indexed at the first use. Only class names and code are kept, so a cloned
# interpreter can use its copy.
my ($is_indexed, @BY_ENV, %BY_WRITER, %BY_PACKAGE, %BY_WRAPPER, %BY_SUB, %SEND_TIMEOUT, @READ_FAILURE, %PLAIN);

# The server that serves in this process, from the first takeover on: its adapter, with its end_keep_alive, and its object.
my ($process, $serving, $end_keep_alive, $server) = (0);

# Detection

sub is_read_failure {
    my ($class, $error) = @_;
    _index() if !$is_indexed;
    return !ref $error && !!grep { $error =~ $_ } @READ_FAILURE;
}

sub is_send_timeout {
    my ($class, $error) = @_;
    _index() if !$is_indexed;
    return !ref $error && exists $SEND_TIMEOUT{$error};
}

sub of {
    my ($class, $env, $writer) = @_;
    my $adapter = $class->of_env($env);
    return $adapter if $adapter ne __PACKAGE__;
    return $class->of_writer($writer) || $adapter;
}

# Looks for a known server among the callers. Perl shows the arguments of a sub to package DB. Only the invocant is
# read, which the server holds while its method runs.
sub of_caller {
    my $depth = 0;
    _index() if !$is_indexed;
    while (my $sub = (caller $depth)[3]) {
        return ($BY_SUB{$sub}, _invocant($depth)) if $BY_SUB{$sub};
        $depth++;
    }
    return;
}

sub of_env {
    my ($class, $env) = @_;
    _index() if !$is_indexed;
    for my $known (@BY_ENV) { return $known->[0] if $known->[1]->($known->[0], $env) }
    return __PACKAGE__;
}

sub of_sub {
    my ($class, $sub) = @_;
    _index() if !$is_indexed;
    return $BY_SUB{$sub};
}

sub of_writer {
    my ($class, $writer) = @_;
    $writer = $class->server_writer($writer);
    my $kind = blessed $writer or return undef;
    return $BY_WRITER{$kind} if $kind ne $INLINE_OBJECT;
    return ref $writer->{write} eq 'CODE' ? $BY_PACKAGE{EventSource::XS::_package_of($writer->{write})} : undef;
}

sub plain {
    _index() if !$is_indexed;
    return \%PLAIN;
}

sub register {
    my ($class, $adapter) = @_;
    EventSource::Error->throw(
        code    => 'invalid',
        field   => 'adapter',
        message => 'EventSource::XS::Adapter: register takes the name of a loaded subclass of EventSource::XS::Adapter'
    ) if !defined $adapter || ref $adapter || $adapter eq __PACKAGE__ || !$adapter->isa(__PACKAGE__);
    push @ADAPTERS, $adapter if !grep { $_ eq $adapter } @ADAPTERS;
    $is_indexed = 0;
    return;
}

sub run_in_idle_workers {
    my ($class, @timer) = @_;
    return !!grep { $_->add_timer(@timer) } @ADAPTERS;
}

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

sub name            { return 'PSGI server' }
sub recognizes_env  { return !!0 }
sub serving_sub     { return undef }
sub wrapper_classes { return () }
sub writer_classes  { return () }
sub writer_packages { return () }
sub read_failures   { return () }
sub send_timeouts   { return () }
sub inner_writer    { return undef }

# The client's socket

sub client_socket {
    my ($class, $env, $writer) = @_;
    my $socket = $env->{'psgix.io'};
    return $socket if defined $socket && defined eval { fileno $socket } && defined getsockname $socket;
    return undef;
}

sub copy_handle {
    my ($class, $number) = @_;
    open my $copy, '+<&', $number or return undef;
    return $copy;
}

sub descriptor {
    my ($class, $env) = @_;
    return fileno $env->{'psgix.io'};
}

sub has_left {
    my ($class, $env) = @_;
    my $number = eval { $class->descriptor($env) };
    return defined $number && $number >= 0 && EventSource::XS::_has_left($number);
}

sub watch { return !!0 }

# Takeover

# The server of a process is looked for once.
sub after_takeover {
    my ($class, $env) = @_;
    local $@;
    if ($process != $$) {
        $process = $$;
        ($serving, $server) = $class->of_caller;
        $end_keep_alive = $serving && $serving->can('end_keep_alive');
        weaken $server                           if ref $server;
        eval { $serving->hear_signals($server) } if $server;
    }
    return if !$server;
    eval { $end_keep_alive->($serving, $server, $env) };
    return;
}

# The client may disconnect between the two calls, so the disconnect is checked second.
sub descriptor_obstacle {
    my ($class, $number) = @_;
    return undef if EventSource::XS::_is_connection($number) || EventSource::XS::_has_left($number);
    return $OBSTACLE->new(
        socket => "the server's socket is not a connection",
        'let the server listen on TCP or on a Unix socket'
    );
}

sub end_keep_alive { return }

sub obstacle {
    my ($class, $env) = @_;
    my $io = $env->{'psgix.io'};
    return _no_socket()                                               if !defined $io;
    return $OBSTACLE->new(encrypted => 'the connection is encrypted') if !$IS_PLAIN{ref $io} && _is_tls($io);
    my $number = eval { fileno $io };
    return $class->descriptor_obstacle($number) if defined $number && $number >= 0;
    return $OBSTACLE->new(
        handle => 'psgix.io has no descriptor',
        'leave psgix.io of the environment as the server sets it'
    );
}

sub prepare_env     { return undef }
sub reads_body_once { return !!0 }

# The version is that of the request line, unless a middleware has changed it, which no server would ignore either.
sub takes_chunks { return ($_[1]{SERVER_PROTOCOL} || '') eq 'HTTP/1.1' }

sub take_over {
    my ($class, @request) = @_;
    return EventSource::XS::Stream::Takeover->begin($class, @request);
}

# Writing

sub child_writer    { return undef }
sub sends_head_late { return !!0 }

# Processes of relays

sub end_relayed_response { return }
sub enter_relay_process  { return }
sub relay_descriptor     { return undef }

sub when_sent {
    my ($class, $stream, $code) = @_;
    $code->();
    return;
}

# Workers

sub add_timer           { return !!0 }
sub bears_signals       { return !!0 }
sub hear_signals        { return }
sub is_ending           { return !!0 }
sub is_multiprocess     { return !!$_[1]{'psgi.multiprocess'} }
sub recycling_option    { return undef }
sub requests_per_worker { return undef }

# Private functions

sub _index {
    @BY_ENV       = grep { $_->[1] != \&recognizes_env } map { [$_, $_->can('recognizes_env')] } @ADAPTERS;
    %BY_WRITER    = _index_by(sub { $_[0]->writer_classes });
    %BY_PACKAGE   = _index_by(sub { $_[0]->writer_packages });
    %BY_WRAPPER   = _index_by(sub { $_[0]->wrapper_classes });
    %BY_SUB       = _index_by(sub { return defined $_[0]->serving_sub ? $_[0]->serving_sub : () });
    %SEND_TIMEOUT = _index_by(sub { $_[0]->send_timeouts });
    @READ_FAILURE = map { $_->read_failures } @ADAPTERS;
    my @plain =
        grep { $_->can('takes_chunks') == \&takes_chunks && $_->can('sends_head_late') == \&sends_head_late } @ADAPTERS;
    %PLAIN = (
        handles  => \%IS_PLAIN,
        classes  => {map { ($_ => 1) } map { $_->writer_classes } grep { $_->can('take_over') == \&take_over } @plain},
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
    local $@;
    $IS_PLAIN{$class} = 1 if !$protocol || defined eval { $class->$protocol };
    return !!0;
}

# Loads each module of the folder EventSource/XS/Adapter, so that a new server needs no list. All are loaded with this
# module, in the parent of a server that forks its workers.
sub _load_adapters {
    my ($folder) = __FILE__ =~ /\A(.*)\.pm\z/s;
    opendir my $entries, $folder
        or EventSource::Error->throw(code => 'unavailable', message => "EventSource::XS::Adapter: $folder: $!");
    for my $name (sort map { /\A(\w+)\.pm\z/ ? $1 : () } readdir $entries) {
        require "EventSource/XS/Adapter/$name.pm";    ## no critic (RequireBarewordIncludes)
        push @ADAPTERS, __PACKAGE__ . "::$name";
    }
    return;
}

# The servers are those that have a writer of their own.
sub _no_socket {
    my @servers = sort map { $_->name } grep { $_->writer_classes || $_->writer_packages } @ADAPTERS;
    return $OBSTACLE->new(
        server => 'the server does not give its socket',
        'use one that does: ' . join(', ', @servers)
    );
}

_load_adapters();

1;
__END__

=encoding utf8

=head1 NAME

EventSource::XS::Adapter - How to add a PSGI server

=head1 SYNOPSIS

    package EventSource::XS::Adapter::MyServer;
    use parent 'EventSource::XS::Adapter';

    sub name            { return 'MyServer' }
    sub writer_packages { return 'MyServer' }    # where the server's inline_object(write => sub { ... }) is written

=head1 DESCRIPTION

PSGI describes what a server and an application exchange. A stream has to know more: where the client's socket is, when
the head is sent, how a client that disconnects is seen. Servers differ in all of that. Everything that is specific to
one server is in one module, its I<adapter>: a subclass of this class in the folder F<EventSource/XS/Adapter/>. No other
module names a server.

An adapter is a class without objects: it holds no state, and all its methods are class methods. The methods of this
class are those of a server that is not known. An adapter overrides what differs.

=head1 HOW TO ADD A SERVER

=over

=item 1

Read in the server's source what its responder does for C<[200, $headers]>: which class its writer has, when it sends
the head, what happens to the socket after C<close>.

=item 2

Write F<perl/EventSource/XS/Adapter/NAME.pm> with C<name> and whatever identifies the writer: L</writer_classes> or
L</writer_packages>. The module is loaded because it is in that folder.

=item 3

Add the server's command line to the table in F<t/lib/Testing/Server.pm>, its packages to F<script/prepare>, what it
cannot do to the table C<%CANNOT> in F<t/lib/Testing/Contract.pm>, and the files F<t/servers/NAME.t> and
F<t/servers/native/NAME.t>, which run the contract.

=item 4

Run both files. Override a method for each behaviour that the contract shows to differ.

=item 5

Add how the server is recognised to F<t/stream/adapter.t>, its name to C<$SERVER> in F<xt/layout.t>, and the server to
the tests of attacks: rows in F<t/lib/Testing/AttackedServer.pm> and F<t/lib/Testing/HostileRun.pm>, and the lists of
servers in F<t/attack/>. F<CONTRIBUTING.md> lists all files that name each server, documents included.

=back

A writer may be declared only if it writes to the socket itself, in full, before C<write> returns. Then the response
can be captured (L<EventSource::XS::Stream::Takeover>). A server that queues what it is given needs a L</take_over> of its
own, as L<EventSource::XS::Adapter::Feersum> has.

An application may have an adapter outside this distribution. It calls L</register>.

A stream sets C<$|> while it writes, because some servers keep what a writer is given until the buffer of the selected
handle is flushed.

=head1 METHODS THAT FIND AN ADAPTER

=head2 after_takeover

    EventSource::XS::Adapter->after_takeover($env);

Call L</end_keep_alive> of the server that serves this request, which blocks and has lost its client to a native stream;
for the first one in a process L</hear_signals>, too. The server must be among the callers.

=head2 of

    my $adapter = EventSource::XS::Adapter->of($env, $writer);

Find the adapter by the environment, or else by the writer. Returns C<EventSource::XS::Adapter> if the server is not known.

=head2 of_caller

    my ($adapter, $server) = EventSource::XS::Adapter->of_caller;

Find the adapter by its L</serving_sub>, which is among the callers, and the object that the sub was called on. Returns
nothing if there is none.

=head2 of_env

    my $adapter = EventSource::XS::Adapter->of_env($env);

Find the adapter by the environment alone, before there is a response. Returns C<EventSource::XS::Adapter> if the
environment does not identify the server.

=head2 of_sub

    my $adapter = EventSource::XS::Adapter->of_sub('Starman::Server::dispatch_request');

Find the adapter whose L</serving_sub> has this name. Returns C<undef> if there is none.

=head2 of_writer

    my $adapter = EventSource::XS::Adapter->of_writer($writer);

Find the adapter by the writer that a responder has returned. Returns C<undef> if the writer belongs to no known
server, as that of a middleware that filters the body.

=head2 server_writer

    my $inner = EventSource::XS::Adapter->server_writer($writer);

Return the server's own writer inside the writers of frameworks (L</wrapper_classes, inner_writer>), or the writer itself.

=head2 is_read_failure

    my $is_failure = EventSource::XS::Adapter->is_read_failure($exception);

Return true if some server throws this exception when the body of a request does not arrive.

=head2 is_send_timeout

    my $is_timeout = EventSource::XS::Adapter->is_send_timeout($exception);

Return true if the writer of some server throws this exception when the client reads nothing for too long. The stream
then ends as if the client had disconnected, though the socket does not show that. The writer may be behind a filter of
the body, so this checks the exceptions of all servers.

=head2 plain

    my $plain = EventSource::XS::Adapter->plain;

Return what a takeover without special cases needs to recognise, as sets of names: C<handles>, classes of C<psgix.io> that
L</obstacle> has accepted; C<classes> and C<packages>, those of L</writer_classes> and L</writer_packages> of adapters
that inherit C<takes_chunks> and C<sends_head_late>. For L<EventSource::XS::Stream::Takeover>.

=head2 register

    EventSource::XS::Adapter->register('My::Adapter');

Add an adapter that is not in the folder F<EventSource/XS/Adapter/>. Throws an L<EventSource::Error> with the code
C<invalid> unless it is given the name of a loaded subclass.

=head2 run_in_idle_workers

    EventSource::XS::Adapter->run_in_idle_workers($number, $code);

Call L</add_timer> of all adapters.

=head1 METHODS OF AN ADAPTER: RECOGNITION

=head2 name

    my $name = $adapter->name;

Return the server's name, for messages.

=head2 recognizes_env

    my $is_mine = $adapter->recognizes_env($env);

Return true if the server's environment can be told from all others. Override this only if the server must be known
before it responds. It runs for each request of every server, so it must be cheap, and it must not read C<psgix.io>:
under Feersum that changes it.

=head2 serving_sub

    my $sub = $adapter->serving_sub;

Return the full name of the server's method that calls the application, if L</requests_per_worker> or L</end_keep_alive>
needs the server object; otherwise C<undef>.

=head2 writer_classes

    my @classes = $adapter->writer_classes;

Return the names of the classes of the server's writer.

=head2 writer_packages

    my @packages = $adapter->writer_packages;

Return the packages in which the server's writer is compiled, if C<Plack::Util::inline_object> makes it. Its class alone
says nothing, because each middleware that filters the body has a writer of that class too.

=head2 wrapper_classes, inner_writer

    my @classes = $adapter->wrapper_classes;
    my $inner   = $adapter->inner_writer($writer);

For a framework instead of a server: return the names of the classes of writers that pass on every call unchanged, and
the writer inside such a writer. C<inner_writer> returns C<undef> if the writer is not what the adapter expects; then
it counts as unknown.

=head2 send_timeouts, read_failures

    my @messages = $adapter->send_timeouts;
    my @patterns = $adapter->read_failures;

Return the exceptions of L</is_send_timeout>, as exact strings, and those of L</is_read_failure>, as regular
expressions.

=head1 METHODS OF AN ADAPTER: THE CLIENT'S SOCKET

=head2 client_socket

    my $handle = $adapter->client_socket($env, $writer);

Return a handle of the client's socket for polling, or C<undef>. C<$writer> is the server's own writer. By default
this is C<psgix.io> if that is a socket.

=head2 copy_handle

    my $handle = $adapter->copy_handle($number);

Return a handle on a duplicate of a descriptor that belongs to the server, or C<undef>. This is a helper for
L</client_socket>.

=head2 descriptor

    my $number = $adapter->descriptor($env);

Return the number of the descriptor on which the server writes to the client. By default it is that of C<psgix.io>.

=head2 has_left

    my $has_left = $adapter->has_left($env);

Return true if the client of this request is known to have disconnected: its connection was reset, or an earlier request
of the same connection was taken over. A server that reads several requests at once (Starlet) runs the next one on
F</dev/null>. Needs Linux.

=head2 watch

    my $is_watching = $adapter->watch($writer, sub { ... });

Under an event loop, have the callback called when the client disconnects. Returns false, as by default, if the server
offers no way; then the stream watches L</client_socket>.

=head1 METHODS OF AN ADAPTER: TAKEOVER

=head2 descriptor_obstacle

    my $obstacle = $adapter->descriptor_obstacle($number);

Return why the reactor cannot use a descriptor, an L<EventSource::XS::Stream::Obstacle>, or C<undef>. This is a helper for
L</obstacle>. A client that has disconnected is no obstacle. Needs Linux.

=head2 end_keep_alive

    $adapter->end_keep_alive($server, $env);

Have the server wait for no further request on the connection of this request, which has been taken over. C<$server> is
the object that L</serving_sub> was called on for the first takeover of this process; the method must check that it
serves this request. Exceptions are dropped. It does nothing by default: a server then finds that F</dev/null> is no
connection.

=head2 obstacle

    my $obstacle = $adapter->obstacle($env);

Return why a response to this request cannot be taken over, as far as the environment shows; C<undef> if it may be. The
reason is an L<EventSource::XS::Stream::Obstacle>, which says what to do about it, or a string. The method changes nothing.
By default C<psgix.io> must be a connection without TLS. Needs Linux.

=head2 prepare_env

    my $obstacle = $adapter->prepare_env($env);

Change the environment so that a stream can use it. Returns C<undef>, or why a response cannot be taken over now. By
default it does nothing. L<EventSource::XS::Stream/open> calls it once for each stream, before it calls the responder,
whether or not the stream is to be native.

=head2 reads_body_once

    my $reads_once = $adapter->reads_body_once;

Return true if C<psgi.input> can be read only once, although the server sets C<psgix.input.buffered>. The body is copied
then (L<EventSource::XS::RequestBody>).

=head2 take_over

    my ($stream, $obstacle, @writer) = $adapter->take_over($env, $respond, $response, \%settings, $opening);

Respond and take the response over. Returns and throws the same as L<EventSource::XS::Stream::Takeover/begin>, which is the
default.

=head2 takes_chunks

    my $takes_chunks = $adapter->takes_chunks($env);

Return true if the response to this request may be chunked: if its request line says HTTP/1.1 (RFC 9112, section 6.1), and if
what is written to the descriptor is HTTP. By default C<SERVER_PROTOCOL> decides.

=head1 METHODS OF AN ADAPTER: WRITING

=head2 child_writer

    my $writer = $adapter->child_writer($env, $writer, $socket);

Return a writer for a child that the handler forks, if that child cannot use the server's own; otherwise C<undef>.
C<$writer> is the server's own writer, C<$socket> what L</client_socket> has returned.

=head2 sends_head_late

    my $is_late = $adapter->sends_head_late;

Return true if the server sends the head only with the first write. The stream then writes an empty string first, so
that its client learns at once that the stream is open.

=head1 METHODS OF AN ADAPTER: PROCESSES OF RELAYS

A stream on the server's writer may follow a hub with a name. A forked process then copies to its copy of the writer
(L<EventSource::XS::Stream::Relay::Process>), while the worker writes to F</dev/null> and takes the next request.

=head2 end_relayed_response

    $adapter->end_relayed_response($server, $socket);

In the process: end the response, after its writer was closed. By default nothing is left to do.

=head2 enter_relay_process

    $adapter->enter_relay_process($server, $stream);

In the process, before it writes: replace what must not be used outside of the worker. By default nothing.

=head2 relay_descriptor

    my $number = $adapter->relay_descriptor($stream, $server);

Return the descriptor of the client's connection, if a process may take the stream over: a copy of the server's writer must work
in a forked process, and the server must not mind that the descriptor is F</dev/null> from then on. C<$server> is the object
that L</serving_sub> was called on. By default C<undef>: the stream stays with its worker.

=head2 when_sent

    $adapter->when_sent($stream, $code);

Under an event loop: call code, at once or later, when the server has sent everything that was written to the stream. By
default at once: what the server has queued is the process's to send.

=head1 METHODS OF AN ADAPTER: WORKERS

=head2 add_timer

    $adapter->add_timer($number, $code);

Have the server call C<$code> in its idle workers each second, if this process runs in a server whose idle workers wait
outside of perl, where no signal reaches a handler of perl. C<$number> is the number of a signal that the application
has set aside for this (L<EventSource::XS/notify_signal>). Returns true if this process runs in such a server: then no signal is
sent. Nothing happens by default.

=head2 bears_signals

    my $bears = $adapter->bears_signals($env);

Return true if a worker that a signal interrupts, while it waits for a client or reads a request, repeats what it was about. No
signal is sent to the others (L<EventSource::XS/notify_signal>). False by default.

=head2 hear_signals

    $adapter->hear_signals($server);

Make a worker that has native streams now see a signal that ends it soon, though no further client comes, if the server
could miss it. C<$server> is the object that L</serving_sub> was called on. Exceptions are caught. Nothing happens by
default.

=head2 is_ending

    my $is_ending = $adapter->is_ending($server);

Return true if the server waits for the current response to end this worker, because it was asked to replace its workers.
C<$server> is the object that L</serving_sub> was called on. A stream whose bytes go through the worker ends then, and its
client resumes in another one. Exceptions are caught. By default false.

=head2 is_multiprocess

    my $several = $adapter->is_multiprocess($env);

Return true if the server has several processes. By default C<psgi.multiprocess> says so.

=head2 recycling_option

    my $option = $adapter->recycling_option;

Return the name of the server's option that limits the requests per worker; C<undef> if there is none.

=head2 requests_per_worker

    my $number = $adapter->requests_per_worker($server);

Return the value of that option. C<$server> is the object that L</serving_sub> was called on, or C<undef> without such
a sub. The object may be of another class with that name, so exceptions are caught.

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut

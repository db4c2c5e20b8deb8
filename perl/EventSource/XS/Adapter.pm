package EventSource::XS::Adapter;
use strict;
use warnings;

# The interface between a stream and the PSGI server under it. Each server has a subclass in EventSource/XS/Adapter/;
# this class finds the right one, and its own methods are those of a server that is not known.

use EventSource::Error;
use EventSource::XS::Library;
use EventSource::XS::Stream::Obstacle;
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

# The adapter by the environment alone, before there is a response; this class if that does not identify the server.
sub of_env {
    my ($class, $env) = @_;
    _index() if !$is_indexed;
    for my $known (@BY_ENV) { return $known->[0] if $known->[1]->($known->[0], $env) }
    return __PACKAGE__;
}

# The adapter by the writer that a responder has returned; undef if the writer belongs to no known server, as that of a
# middleware that filters the body.
sub of_writer {
    my ($class, $writer) = @_;
    $writer = $class->server_writer($writer);
    my $kind = blessed $writer or return undef;
    return $BY_WRITER{$kind} if $kind ne $INLINE_OBJECT;
    return ref $writer->{write} eq 'CODE' ? $BY_PACKAGE{EventSource::XS::_package_of($writer->{write})} : undef;
}

# What a takeover without special cases recognises, as sets of names: classes of psgix.io that obstacle has accepted (handles),
# and the classes and packages of writers of adapters that inherit takes_chunks and sends_head_late.
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
    return $OBSTACLE->new('socket');
}

sub end_keep_alive { return }

sub obstacle {
    my ($class, $env) = @_;
    my $io = $env->{'psgix.io'};
    return _no_socket()                if !defined $io;
    return $OBSTACLE->new('encrypted') if !$IS_PLAIN{ref $io} && _is_tls($io);
    my $number = eval { fileno $io };
    return $class->descriptor_obstacle($number) if defined $number && $number >= 0;
    return $OBSTACLE->new('handle');
}

sub prepare_env     { return undef }
sub reads_body_once { return !!0 }

sub respond {
    my ($class, $respond, $response) = @_;
    return scalar $respond->($response);
}

# The version is that of the request line, unless a middleware has changed it, which no server would ignore either.
sub takes_chunks { return ($_[1]{SERVER_PROTOCOL} || '') eq 'HTTP/1.1' }

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
    return !!1;
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
    return $OBSTACLE->new('server', undef, 'use one that does: ' . join(', ', @servers));
}

_load_adapters();

1;

package EventSource::XS::Stream::Obstacle;
use strict;
use warnings;

# Why a stream is not native, and what to do about it, which it prints once. This is the list of all reasons but those of one
# server, which its adapter has. src/runtime/handles/takeover.rs has the codes of those that the library finds.

use EventSource::XS::Library;
use overload
    '""'     => sub { $_[0]{text} },
    'bool'   => sub { 1 },
    fallback => 1;

# Without a remedy of its own.
my $SEE_MANUAL = 'see NATIVE STREAMS in the documentation of Plack::App::EventSource';

my $EXCLUDE =
      'exclude text/event-stream from the middleware that filters the body, such as Deflater with a content_type,'
    . ' or mount the stream outside of it';

# The text and the remedy of each code. Whoever finds the obstacle says what is not here.
my %KNOWN = (
    busy      => ['the server still writes to this connection'],
    encrypted => ['the connection is encrypted', 'let a proxy terminate TLS'],
    fetched   =>
        ['something has fetched psgix.io and closed it', 'let no middleware fetch psgix.io, or copy the environment'],
    filter => ["the response's body is filtered", $EXCLUDE],
    handle => ['psgix.io has no descriptor',      'leave psgix.io of the environment as the server sets it'],
    head => ["the response's head is not understood", 'let middleware leave the head alone, and a proxy terminate TLS'],
    left    => ['the client has disconnected'],
    limit   => [undef, 'raise the limit of the system that is reached, such as that of descriptors (ulimit -n)'],
    method  => ['the response to a HEAD has no body'],
    server  => ['the server does not give its socket'],
    setting => ['native is 0'],
    size    => ["the response's head is too large",           'set fewer headers'],
    socket  => ["the server's socket is not a connection",    'let the server listen on TCP or on a Unix socket'],
    system  => ['there are no native streams on this system', 'run it on Linux'],
    writer  => ["the response's writer is not known",         "take a server with native streams, or $EXCLUDE"],
);

# The middleware that collects the body, and the loader that places it in front of each application. The texts and remedies.
my ($COLLECTS, $LOADER) = map { "Plack/$_.pm" } 'Middleware/BufferedStreaming', 'Loader/Shotgun';
my %COLLECTS_FOR = (
    loader => [
        'plackup -L Shotgun runs the application in a child, which collects the response',
        'start plackup with -L Restarter, which starts the server again when a file has changed'
    ],
    middleware => ['Plack::Middleware::BufferedStreaming collects the response', 'mount the stream outside of it'],
);

# Public methods

# Return the obstacle if a loader that runs the application in a child process, or a middleware, sends nothing before the
# response is complete; otherwise undef. Call it while the application responds.
sub collected {
    my $class = shift;
    return undef if !$INC{$COLLECTS} || !EventSource::XS->is_below(qr/\APlack::Middleware::BufferedStreaming::call\z/);
    return $class->new(collected => @{$COLLECTS_FOR{$INC{$LOADER} ? 'loader' : 'middleware'}});
}

sub code { return $_[0]{code} }

# $text and $remedy are for what the list does not have. A text of the library may have a remedy of its own.
sub new {
    my ($class, $code, $text, $remedy) = @_;
    ($text, $remedy) = split /; /, $text, 2 if defined $text && !defined $remedy;
    my $known = $KNOWN{$code} || [];
    return bless {code => $code, text => $known->[0] || $text, remedy => $remedy || $known->[1] || $SEE_MANUAL}, $class;
}

sub remedy { return $_[0]{remedy} }

# Print the reason and the remedy to psgi.errors, once for each code in a process. A stream that is not native occupies a
# worker of a server that blocks, or a process if it follows a named hub; nothing on a server with an event loop
# (psgi.nonblocking), or in a process that serves one request only (psgi.run_once). On any server a middleware that collects
# or filters the response may send nothing.
sub warn_once {
    my ($self, $env) = @_;
    my $code = $self->{code};
    my $occupies_worker = !$env->{'psgi.nonblocking'} && !$env->{'psgi.run_once'};
    return if !$env->{'psgi.errors'} || !$occupies_worker && $code !~ /\A(?:collected|filter)\z/;
    return if !EventSource::XS->is_first_time("fallback $code");
    my $what =
          $code eq 'collected' ? 'the client of a stream receives nothing until it ends'
        : $occupies_worker ? 'a stream is not native, and occupies this worker, or a process if it follows a named hub'
        :                    'the events of a stream may be held back';
    $env->{'psgi.errors'}->print("EventSource::XS: $what: $self; $self->{remedy} (native => 'quiet' silences this)\n");
    return;
}

1;

package EventSource::XS::Framework::Mojolicious::Server;
use strict;
use warnings;

# The adapter of Mojolicious' own servers. They are not PSGI servers; an action gives its stream a PSGI environment and a
# responder, so that everything of this distribution that is a PSGI application runs there.

use parent 'EventSource::XS::Adapter';
use EventSource::XS::Settings;
use EventSource::XS::Framework::Mojolicious::Response;
use EventSource::XS::Library;
use EventSource::XS::Stream::Native;
use EventSource::XS::Stream::Obstacle;
use Mojo::IOLoop;
use Mojo::Util  qw(url_unescape);
use POSIX       ();
use Plack::Util ();

my $OBSTACLE = 'EventSource::XS::Stream::Obstacle';

my $WRITER = 'EventSource::XS::Framework::Mojolicious::Response';

# In the environment: the response as an object of that class.
my $RESPONSE = 'eventsource.mojolicious.response';

EventSource::XS::Adapter->register(__PACKAGE__);

# Public methods

# Call a PSGI application in an action. If it streams, the response of the action is that stream, and undef is returned.
# Otherwise return its PSGI response, which the caller renders. @servers are the servers that may have the connection; by
# default it is looked for in the loop that all share.
sub call_app {
    my ($class, $c, $stream_app, @servers) = @_;
    my $id       = $c->tx->connection;
    my ($server) = defined $id ? grep { $_ && $_->ioloop->stream($id) } @servers : ();
    my $stream   = $server     ? $server->ioloop->stream($id) : defined $id ? Mojo::IOLoop->stream($id) : undef;
    EventSource::XS::Settings->new('EventSource::Framework::Mojolicious')
        ->throw(
        unsupported => 'there is no connection to stream to. Streams need daemon, prefork, hypnotoad or a PSGI server')
        if !$stream;
    my $response = $WRITER->new($c, $stream);
    my %env      = _environment($c, $server && $server->isa('Mojo::Server::Prefork'));
    my $psgi     = $stream_app->({%env, $RESPONSE => $response});
    return $psgi if ref $psgi ne 'CODE';
    $psgi->(sub { return $response->respond($_[0]) });
    return undef;
}

# Methods of an adapter

sub name            { return 'Mojolicious' }
sub recognizes_env  { return exists $_[1]{$RESPONSE} }
sub writer_classes  { return $WRITER }
sub sends_head_late { return !!1 }

# A copy, because Mojolicious closes its connections by releasing the handle.
sub client_socket {
    my ($class, $env) = @_;
    my $number = $class->descriptor($env);
    return defined $number ? $class->copy_handle($number) : undef;
}

sub descriptor {
    my ($class, $env) = @_;
    my $handle = $env->{$RESPONSE}->handle;
    return $handle ? fileno $handle : undef;
}

sub obstacle {
    my ($class, $env) = @_;
    my $response = $env->{$RESPONSE};
    my $handle   = $response->handle or return $OBSTACLE->new('left');
    return $OBSTACLE->new('encrypted') if $handle->isa('IO::Socket::SSL');
    return $OBSTACLE->new('busy')      if $response->is_writing;
    return $class->descriptor_obstacle(fileno $handle);
}

# The native stream sends the head of Mojolicious on a duplicate of the socket.
sub take_over {
    my ($class, $env, $respond, $response, $setting, $opening) = @_;
    my $writer = $respond->($response);
    return (undef, $OBSTACLE->new('filter'), $writer) if ref $writer ne $WRITER;
    my $socket = EventSource::XS::_duplicate($class->descriptor($env));
    return (undef, $OBSTACLE->new(limit => "its socket cannot be duplicated: $!"), $writer) if !defined $socket;
    my %setting = %$setting;
    delete @setting{qw(coding coding_number native_settings)} if $writer->describes_content;
    my ($stream, $why) = EventSource::XS::Stream::Native->try_open(
        $socket, $writer->head($setting{coding}),
        %setting,
        opening    => $opening,
        is_loop    => 1,
        is_chunked => $writer->is_chunked
    );

    if (!$stream) {
        POSIX::close($socket);
        return (undef, $why, $writer);
    }
    $writer->release;
    return $stream;
}

sub watch {
    my ($class, $writer, $on_leave) = @_;
    $writer->on_leave($on_leave);
    return !!1;
}

# Private functions

sub _environment {
    my ($c, $is_multiprocess) = @_;
    my ($tx,  $req) = ($c->tx,    $c->req);
    my ($url, $log) = ($req->url, $c->app->log);
    open my $input, '<', \'';    # EventSource::Framework::Mojolicious gives the body
    return (
        _headers($req),
        REQUEST_METHOD         => $req->method,
        SCRIPT_NAME            => '',
        PATH_INFO              => url_unescape($url->path->to_abs_string),
        QUERY_STRING           => $url->query->to_string,
        REQUEST_URI            => $url->path_query,
        SERVER_PROTOCOL        => 'HTTP/' . $req->version,
        SERVER_NAME            => $tx->local_address  || 'localhost',
        SERVER_PORT            => $tx->local_port     || 0,
        REMOTE_ADDR            => $tx->remote_address || '',
        'psgi.version'         => [1, 1],
        'psgi.url_scheme'      => $req->is_secure ? 'https' : 'http',
        'psgi.input'           => $input,
        'psgi.errors'          => Plack::Util::inline_object(print => sub { $log->error(join('', @_) =~ s/\n\z//r) }),
        'psgi.multithread'     => !!0,
        'psgi.multiprocess'    => !!$is_multiprocess,
        'psgi.run_once'        => !!0,
        'psgi.nonblocking'     => !!1,
        'psgi.streaming'       => !!1,
        'psgix.input.buffered' => !!1,
    );
}

sub _headers {
    my $fields = $_[0]->headers->to_hash(1);
    my %env;
    for my $name (keys %$fields) {
        my $key = uc($name) =~ tr/-/_/r;
        $key = "HTTP_$key" if $key !~ /\ACONTENT_(?:LENGTH|TYPE)\z/;
        $env{$key} = join ', ', @{$fields->{$name}};
    }
    return %env;
}

1;

package EventSource::XS::Framework::Mojolicious::Server;
use strict;
use warnings;

# The adapter of Mojolicious' own servers. They are no PSGI servers; an action gives its stream a PSGI environment and a
# responder, so that everything of this distribution that is a PSGI application runs there.

our $VERSION = '0.100';

use parent 'EventSource::XS::Adapter';
use EventSource::Error;
use EventSource::XS ();
use EventSource::XS::Framework::Mojolicious::Response;
use EventSource::XS::Stream::Native;
use EventSource::XS::Stream::Obstacle;
use Mojo::IOLoop;
use Mojo::Util  qw(url_unescape);
use POSIX       ();
use Plack::Util ();

my $WRITER = 'EventSource::XS::Framework::Mojolicious::Response';

# In the environment: the response as an object of that class.
my $RESPONSE = 'eventsource.mojolicious.response';

EventSource::XS::Adapter->register(__PACKAGE__);

# Public methods

sub respond {
    my ($class, $c, $stream_app, @servers) = @_;
    my $id       = $c->tx->connection;
    my ($server) = defined $id ? grep { $_ && $_->ioloop->stream($id) } @servers : ();
    my $stream   = $server     ? $server->ioloop->stream($id) : defined $id ? Mojo::IOLoop->stream($id) : undef;
    EventSource::Error->throw(
        code    => 'unsupported',
        message => 'EventSource::Framework::Mojolicious: there is no connection to stream to.'
            . ' Streams need daemon, prefork, hypnotoad or a PSGI server'
    ) if !$stream;
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
    my $handle   = $response->handle or return 'the connection is closed';
    return EventSource::XS::Stream::Obstacle->new(encrypted => 'the connection is encrypted')
        if $handle->isa('IO::Socket::SSL');
    return 'Mojolicious still writes to this connection' if $response->is_writing;
    return $class->descriptor_obstacle(fileno $handle);
}

# The native stream sends the head of Mojolicious on a duplicate of the socket.
sub take_over {
    my ($class, $env, $respond, $response, $setting, $opening) = @_;
    my $writer = $respond->($response);
    return (undef, EventSource::XS::Stream::Obstacle->new(filter => 'its body is filtered'), $writer)
        if ref $writer ne $WRITER;
    my $socket = EventSource::XS::_duplicate($class->descriptor($env));
    return (undef, "its socket cannot be duplicated: $!", $writer) if !defined $socket;
    my ($stream, $why) = EventSource::XS::Stream::Native->try_open(
        $socket, $writer->head,
        %$setting,
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
__END__

=encoding utf8

=head1 NAME

EventSource::XS::Framework::Mojolicious::Server - The adapter of Mojolicious' own servers

=head1 SYNOPSIS

    use EventSource::XS::Framework::Mojolicious::Server;

    print EventSource::XS::Framework::Mojolicious::Server->name, "\n";    # Mojolicious

=head1 DESCRIPTION

Mojolicious has servers of its own: daemon, prefork and hypnotoad. They are no PSGI servers. An action that responds
with a stream calls a PSGI application of this distribution with an environment and a responder that this class makes.

The response begins as any other: its headers are set, and the hooks of Mojolicious run. Then the native stream gets
the head and a duplicate of the client's socket, and Mojolicious closes its connection. What the client has pipelined
behind the request is dropped. The body is chunked for HTTP/1.1.

If the connection is encrypted, the stream is on a writer that sends by Mojolicious, with the same methods.

=head1 METHODS

=head2 respond

    my $response = EventSource::XS::Framework::Mojolicious::Server->respond($c, $stream_app, @servers);

Call a PSGI application in an action. If it streams, the response of the action is that stream, and C<undef> is
returned. Otherwise return its PSGI response, which the caller renders. C<@servers> are the servers that may have the
connection; by default it is looked for in the loop that all share. Throws an L<EventSource::Error> with the code
C<unsupported> if there is no connection.

=head2 name, recognizes_env, writer_classes, sends_head_late, client_socket, descriptor, obstacle, take_over, watch

See L<EventSource::XS::Adapter>.

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut

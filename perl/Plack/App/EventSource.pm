package Plack::App::EventSource;
use strict;
use warnings;

# A drop-in for the module of this name: a request becomes a stream, and the application's handler runs over it.

our $VERSION = '0.100';

use parent 'Plack::Component';
use Carp qw(croak);
use EventSource::Stream::Writer;
use EventSource::XS ();
use Plack::App::EventSource::Connection;
use Plack::Util::Accessor qw(characters handler_cb headers on_gone preamble retry);
use Scalar::Util          qw(blessed);

# Public methods

sub call {
    my ($self, $env) = @_;
    EventSource::XS->dispatch;
    return [405, [], ['Method not allowed']] if $env->{REQUEST_METHOD} ne 'GET';
    $self->_check_options;
    croak 'Plack::App::EventSource: there is no handler_cb' if !$self->handler_cb;
    return sub {
        my $respond = shift;
        my $writer  = $respond->([200, $self->_response_headers]);
        $self->_handle(EventSource::Stream::Writer->new($writer, $env), $env);
        return;
    };
}

sub prepare_app {
    my $self = shift;
    $self->_check_options;
    return;
}

# Private methods

sub _check_options {
    my $self = shift;
    my ($on_gone, $preamble, $retry) = map { $self->$_ } qw(on_gone preamble retry);
    croak "Plack::App::EventSource: on_gone must be undef or 'unwind'" if defined $on_gone && $on_gone ne 'unwind';
    croak 'Plack::App::EventSource: retry must be a whole number of milliseconds'
        if defined $retry && $retry !~ /\A[0-9]+\z/;
    croak 'Plack::App::EventSource: preamble must be a number of bytes from 3 to 65536, or 0'
        if $preamble && ($preamble !~ /\A[0-9]+\z/ || $preamble < 3 || $preamble > 65_536);
    return;
}

# The handler has died, and its head is out. No server can make a response of that: some would end the process with all
# its streams, some write a second head into this one, some leave it open. In a child that the handler has forked there
# is no server to go back to.
sub _end_badly {
    my ($stream, $env, $trouble, $process) = @_;
    die $trouble if $$ != $process;
    $stream->close('error');
    my $text = eval { "$trouble" };
    $text = 'of a ' . ref($trouble) . ' that cannot be made a string' if !defined $text;
    utf8::encode($text) if $text =~ /[^\x00-\xFF]/;
    chomp $text;
    $env->{'psgi.errors'}->print("Plack::App::EventSource: the handler died: $text\n");
    return;
}

# Runs the handler over a stream that has begun.
sub _handle {
    my ($self, $stream, $env) = @_;
    my $opening = $self->_opening;
    $stream->write($opening) if length $opening;

    # What a push may unwind to: this call, as long as it runs, in this process.
    my $unwind     = $self->on_gone && $stream->is_blocking ? $$ : 0;
    my $process    = $$;
    my $connection = Plack::App::EventSource::Connection->new(
        stream        => $stream,
        characters    => $self->characters ? 1 : 0,
        last_event_id => _last_event_id($env),
        unwind        => \$unwind,
    );
    my $handled = eval { $self->handler_cb->($connection, $env); 1 };
    my $trouble = $@;
    $unwind = 0;
    my $is_gone = !$handled && blessed $trouble && eval { $trouble->isa('EventSource::Gone') };
    _end_badly($stream, $env, $trouble, $process) if !$handled && !$is_gone;
    undef $connection;
    EventSource::XS->dispatch if $stream->is_blocking;
    return;
}

# The Last-Event-ID that the client sent, as characters. It is the client's word: any string.
sub _last_event_id {
    my $id = $_[0]{HTTP_LAST_EVENT_ID};
    utf8::decode($id) if defined $id;
    return $id;
}

# What is sent before the first event, if anything: padding for proxies and polyfills that hold back the first bytes, and
# the reconnection time.
sub _opening {
    my $self    = shift;
    my $opening = '';
    $opening .= ':' . ' ' x ($self->preamble - 3) . "\r\n" if $self->preamble;
    $opening .= 'retry: ' . $self->retry . "\r\n\r\n"      if defined $self->retry;
    return $opening;
}

sub _response_headers {
    my $self    = shift;
    my @headers = @{$self->headers || []};
    my @own     = (
        'Content-Type'                 => 'text/event-stream; charset=UTF-8',
        'Cache-Control'                => 'no-store, no-cache, must-revalidate, max-age=0',
        'Access-Control-Allow-Methods' => 'GET',
    );
    my $has_buffering = grep { !($_ % 2) && lc $headers[$_] eq 'x-accel-buffering' } 0 .. $#headers;
    push @own, 'X-Accel-Buffering' => 'no' if !$has_buffering;
    return [@own, @headers];
}

1;
__END__

=encoding utf8

=head1 NAME

Plack::App::EventSource - Server-sent events in a Plack application

=head1 SYNOPSIS

    use Plack::App::EventSource;
    use Plack::Builder;

    builder {
        mount '/events' => Plack::App::EventSource->new(
            handler_cb => sub {
                my ($conn, $env) = @_;
                $conn->push('hello');
                $conn->push({id => 1, event => 'tick', data => "two\nlines"});
                $conn->close;
            },
            headers => ['Access-Control-Allow-Origin' => 'http://localhost:5000'],
        )->to_app;
        mount '/' => sub { [200, ['Content-Type' => 'text/plain'], ['see /events']] };
    };

=head1 DESCRIPTION

A drop-in for the module of this name: an application that uses it goes on as it is, with its bytes formatted natively
and with clients that have left noticed. It is a L<Plack::Component>: subclass it, change its attributes at any time.

It runs on any PSGI server with C<psgi.streaming>. On servers with an event loop (Twiggy, Feersum) the handler returns
at once and pushes later, from timers and watchers; a stream stays open until its client leaves or the application
closes it. (Under Feersum the leaving is not seen through middleware that filters the body: have none there, or close
such streams after a time.) On the others the handler may loop, sleep and push; it keeps its worker as long as it runs,
and the stream ends when the last reference to the connection is gone.

A request that is not a GET is answered with 405.

=head1 ATTRIBUTES

=head2 characters

    characters => 1

Says that what is pushed are strings of characters, all of which are encoded. Unless it is true, as by default, each
field that is valid UTF-8 when taken as bytes is sent as it is (ASCII always is), and any other is encoded: callers of
this module have always passed both.

=head2 handler_cb

    handler_cb => sub { my ($conn, $env) = @_; ... }

Called for each stream, with its L<Plack::App::EventSource::Connection> and the PSGI environment. It has to be given: a
GET croaks without it. If it dies the stream ends, and the exception is written to C<psgi.errors>: the head of the
response is out, so no server could answer with an error.

It runs when the server asks for the stream, after C<call>: what middleware changes in the environment for the time of a
call only, as C<mount> does with C<SCRIPT_NAME> and C<PATH_INFO>, has been put back by then. So it was with the
original.

=head2 headers

    headers => ['Access-Control-Allow-Origin' => 'http://localhost:5000']

More headers of the response, none by default, sent after C<Content-Type>, C<Cache-Control>,
C<Access-Control-Allow-Methods> and C<X-Accel-Buffering: no>. The last asks nginx not to hold events back; it is left
out if it is given here.

=head2 on_gone

    on_gone => 'unwind'

What a push to a client that has left does. By default it returns false, so that a job that reports its progress runs to
its end. With C<unwind> it dies with an L<EventSource::Gone>, which this application catches: a handler that pushes in
an endless loop then ends, and its worker is free. Only where the server blocks, only while the connection's own handler
runs, and never in a child that it has forked.

=head2 preamble

    preamble => 2048

Sends a comment of that many bytes first, from 3 to 65,536; 0 sends none, and so does the default. Old proxies and
polyfills hold back a response until they have seen some 2 KB of it.

=head2 retry

    retry => 5000

Sends the reconnection time first, in whole milliseconds from 0; not sent by default.

=head1 METHODS

=head2 new

    my $component = Plack::App::EventSource->new(handler_cb => $code, %attributes);

Takes attributes as names and values, or as a reference to a hash.

=head2 to_app

    my $app = $component->to_app;

The PSGI application. Croaks if C<on_gone>, C<preamble> or C<retry> has a value that it cannot have; a value that is set
later makes the next GET croak.

=head2 call, prepare_app

What L<Plack::Component> asks for; a subclass may wrap them.

=head1 DIFFERENCES

From the original it differs where that module breaks a stream or loses it:

=over

=item *

A line break in pushed data makes two C<data:> lines. There it ends the line, and what follows is a field of its own.

=item *

A line break or NUL in C<event>, C<id> or C<retry> croaks, and nothing is sent. There it injects fields.

=item *

Text that is not UTF-8 as bytes is encoded. There wide characters kill the connection or reach the browser as garbage.

=item *

C<X-Accel-Buffering: no> is sent, unless C<headers> has it.

=item *

C<data> of a pushed hash may be a reference to an array of strings, and so may a message; there they are sent as
C<ARRAY(0x...)>.

=item *

A push to a client that has left returns false, on every server. There it is true, or what the server returns, on most.

=item *

A client that closes its sending side counts as one that has left. There it goes on being written to.

=item *

If the server's writer dies while the client is still there, of a signal's handler or a filter of the body, the push dies
of that, and the stream ends. There every such exception is swallowed.

=item *

A connection whose last reference is gone is closed where the server blocks. There it is left to the server: Starman
lets an HTTP/1.1 client wait for its keep-alive timeout.

=item *

An exception in the handler ends its stream and is written to C<psgi.errors>. There it ends the process on some servers,
and leaves the response open on others.

=item *

On uWSGI the head is sent at once. There the client waits for the first event.

=item *

A connection is freed when the application lets go of it. There a cycle of references in each stream keeps it for ever.

=back

=head1 BEHIND NGINX

    location /events {
        proxy_pass http://127.0.0.1:5000;
        proxy_http_version 1.1;
        proxy_set_header Connection '';
        proxy_read_timeout 1h;
    }

Buffering needs no setting, for C<X-Accel-Buffering: no> turns it off.

=head1 SEE ALSO

L<Plack::App::EventSource::Connection>, L<EventSource::XS>

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut

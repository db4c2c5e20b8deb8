package Plack::App::EventSource;
use strict;
use warnings;

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
    $stream->close;
    $env->{'psgi.errors'}->print("Plack::App::EventSource: the handler died: $trouble");
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
    undef $connection;
    _end_badly($stream, $env, $trouble, $process)
        if !$handled && !(blessed $trouble && $trouble->isa('EventSource::Gone'));
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

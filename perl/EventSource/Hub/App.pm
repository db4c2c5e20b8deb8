package EventSource::Hub::App;
use strict;
use warnings;

# The PSGI application of a hub: each request becomes a stream that follows the channels which a callback names.

our $VERSION = '0.100';

use parent 'Plack::App::EventSource';
use Carp qw(croak);
use EventSource::Hub;
use EventSource::Stream::Recycling;
use EventSource::Stream::Relay;
use EventSource::XS ();
use Plack::Request;
use Plack::Util::Accessor qw(channels hub start);

# Where polyfills that cannot set headers say which event they have received last.
my @PARAMETERS = qw(last_event_id lastEventId evs_last_event_id);

# Public methods

sub call {
    my ($self, $env) = @_;
    return $self->SUPER::call($env) if $env->{REQUEST_METHOD} ne 'GET';
    my @channels = $self->channels->($env);
    return $channels[0] if @channels == 1 && (ref $channels[0] eq 'ARRAY' || ref $channels[0] eq 'CODE');
    return [404, ['Content-Type' => 'text/plain; charset=utf-8'], ["There is no such stream\n"]] if !@channels;
    EventSource::Hub::_names(@channels);    # what is wrong with them croaks before the response has begun
    $env->{'eventsource.hub.channels'} = \@channels;
    return $self->SUPER::call($env);
}

sub prepare_app {
    my $self = shift;
    croak 'EventSource::Hub: to_app takes channels, a code reference' if ref $self->channels ne 'CODE';
    EventSource::Hub::_check_start($self->start);
    $self->SUPER::prepare_app;
    return;
}

# Private methods

# What the parent runs a handler for.
sub _check_options {
    my $self = shift;
    $self->handler_cb(sub { }) if !$self->handler_cb;
    return $self->SUPER::_check_options;
}

sub _handle {
    my ($self, $stream, $env) = @_;
    my $channels = delete $env->{'eventsource.hub.channels'};
    my $relay    = $stream->can('is_native') ? undef : EventSource::Stream::Relay->of($stream);
    my $handled  = eval {
        $self->hub->_begin($stream, $self->_last_event_id($env), @$channels, {start => $self->start});
        1;
    };
    my $trouble = $@;
    Plack::App::EventSource::_end_badly($stream, $env, 'the hub failed', $trouble, $$) if !$handled;
    $relay->serve if $relay && $handled && $stream->is_blocking;
    $stream->leave_handler;
    return                                          if !$stream->is_blocking;
    EventSource::Stream::Recycling->warn_once($env) if !$relay && $stream->is_open;
    EventSource::XS->dispatch;
    return;
}

# What the client says that it has received: by the header of the standard, else in the query.
sub _last_event_id {
    my ($self, $env) = @_;
    my $id = Plack::App::EventSource::_last_event_id($env);
    return $id if defined $id || !length(defined $env->{QUERY_STRING} ? $env->{QUERY_STRING} : '');
    my $query = Plack::Request->new($env)->query_parameters;
    ($id) = grep { defined && length } map { $query->get($_) } @PARAMETERS;
    utf8::decode($id) if defined $id;
    return $id;
}

1;
__END__

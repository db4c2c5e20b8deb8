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

# A setting is wrong where the hub or the application was made.
our @CARP_NOT = qw(EventSource::Hub Plack::App::EventSource Plack::Component);

# Public methods

sub call {
    my ($self, $env) = @_;
    return $self->SUPER::call($env) if $env->{REQUEST_METHOD} ne 'GET';
    my @channels = $self->channels->($env);
    return $channels[0] if @channels == 1 && (ref $channels[0] eq 'ARRAY' || ref $channels[0] eq 'CODE');
    return [404, ['Content-Type' => 'text/plain; charset=utf-8'], ["There is no such stream\n"]] if !@channels;
    $self->hub->_topics(@channels);    # what is wrong with them croaks before the response has begun
    $env->{'eventsource.hub.channels'} = \@channels;
    return $self->SUPER::call($env);
}

# Croaks if a setting of streams has a value that it cannot have.
sub check {
    my ($class, %setting) = @_;
    $class->new(%setting)->_check_options;
    return;
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
    my $channels  = delete $env->{'eventsource.hub.channels'};
    my $is_served = EventSource::Hub::_is_served($stream);
    my $process   = $$;
    my $handled   = eval {
        $self->hub->_begin($stream, $self->_last_event_id($env), @$channels, {start => $self->start});
        EventSource::Stream::Relay->serve_stream($stream) if $is_served;
        1;
    };
    my $trouble = $@;
    Plack::App::EventSource::_end_badly($stream, $env, 'the hub failed', $trouble, $process) if !$handled;
    $stream->leave_handler;
    return                                          if !$stream->is_blocking;
    EventSource::Stream::Recycling->warn_once($env) if !$is_served && $stream->is_open;
    EventSource::XS->dispatch;
    return;
}

# What the client says that it has received: by the header of the standard, else in the query.
sub _last_event_id {
    my ($self, $env) = @_;
    my $id = Plack::App::EventSource::_last_event_id($env);
    return $id if defined $id && length $id || !length(defined $env->{QUERY_STRING} ? $env->{QUERY_STRING} : '');
    my $query = Plack::Request->new($env)->query_parameters;
    ($id) = grep { defined && length } map { $query->get($_) } @PARAMETERS;
    utf8::decode($id) if defined $id;
    return $id;
}

1;
__END__

=encoding utf8

=head1 NAME

EventSource::Hub::App - The application of a hub

=head1 SYNOPSIS

    use EventSource::Hub;

    my $hub = EventSource::Hub->new;
    my $app = $hub->to_app(
        channels => sub {
            my $env = shift;
            return [403, ['Content-Type' => 'text/plain'], ["who are you?\n"]] if !$env->{REMOTE_USER};
            return ('news', "user/$env->{REMOTE_USER}");
        },
    );
    $hub->publish(news => 'hello');

=head1 DESCRIPTION

What L<EventSource::Hub/to_app> makes: a L<Plack::App::EventSource> whose streams follow channels of a hub. A stream
resumes where the C<Last-Event-ID> header says, or without one the first of the query parameters C<last_event_id>,
C<lastEventId> and C<evs_last_event_id> that is not empty, by which polyfills say it.

=head1 METHODS

=head2 channels

    channels => sub { my $env = shift; ... return @channels }

Called for each GET, before the response begins. It returns the channels to follow, names or patterns
(L<EventSource::Hub/match>); or a PSGI response, an array or a code reference, which is sent instead; or nothing, and the
answer is 404. If it dies, or what it returns is no channel, the request dies of that.

=head2 check

    EventSource::Hub::App->check(%settings);

Croaks if a setting of streams has a value that it cannot have.

=head2 hub

The hub.

=head2 start

    start => 'newest'

Where a stream begins whose client does not say what it has received, as in L<EventSource::Hub/new>, whose own counts if this
is undefined.

=head2 call, prepare_app

What L<Plack::Component> asks for.

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut

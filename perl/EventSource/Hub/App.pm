package EventSource::Hub::App;
use strict;
use warnings;

# The PSGI application of a hub: each request becomes a stream that follows the channels which a callback names.

our $VERSION = '0.100';

use parent 'Plack::App::EventSource';
use Carp qw(croak);
use EventSource::Hub;
use EventSource::Stream::WorkerRecycling;
use EventSource::Stream::Relay;
use EventSource::XS       ();
use Plack::Util::Accessor qw(channels hub start);

# Where polyfills that cannot set headers say which event they have received last.
my @PARAMETERS = qw(last_event_id lastEventId evs_last_event_id);
my %PARAMETER  = map { ($_ => 1) } @PARAMETERS;

# How much of a query is looked at, and how long an id may be, in bytes: a longer one is no event's.
my $LONGEST_QUERY = 8_192;
my $LONGEST_ID    = 1_024;
my $SHORTEST_NAME = 11;

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
    return                                                if !$stream->is_blocking;
    EventSource::Stream::WorkerRecycling->warn_once($env) if !$is_served && $stream->is_open;
    EventSource::XS->dispatch;
    return;
}

# A longer id than an event may have is still an unknown one when its end is cut off, and costs no more than any other.
sub _bounded {
    my $id = shift;
    return length $id > $LONGEST_ID ? substr $id, 0, $LONGEST_ID + 1 : $id;
}

# The id in a query, in bytes: each parameter's last value counts, and of the parameters the first that is not empty.
# undef if there is none. Only the beginning of a long query is looked at; a value that goes on behind that is unknown.
sub _id_in_query {
    my $query = shift;
    return if !defined $query || !length $query;
    my @pairs = split /[&;] ?/, substr($query, 0, $LONGEST_QUERY + 1), -1;
    $pairs[-1] .= 'x' x ($LONGEST_ID + 1) if length $query > $LONGEST_QUERY;
    my %said;
    for my $pair (grep { length >= $SHORTEST_NAME } @pairs) {
        my ($name, $value) = map { _unescaped($_) } split /=/, $pair, 2;
        $said{$name} = defined $value ? $value : '' if $PARAMETER{$name};
    }
    my ($id) = grep { defined && length } @said{@PARAMETERS};
    return $id;
}

# What the client says that it has received: by the header of the standard, else in the query.
sub _last_event_id {
    my ($self, $env) = @_;
    my $id = $env->{HTTP_LAST_EVENT_ID};
    $id = _id_in_query($env->{QUERY_STRING}) if !defined $id || !length $id;
    return undef if !defined $id;
    $id = _bounded($id);
    utf8::decode($id);
    return $id;
}

sub _unescaped { return $_[0] =~ tr/+/ /r =~ s/%([0-9A-Fa-f]{2})/chr hex $1/ger }

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
C<lastEventId> and C<evs_last_event_id> that is not empty, by which polyfills say it. Of a query 8,192 bytes are looked at.
An id that is longer than one may be, or that goes on behind those bytes, is an unknown one, and the client is told of a
gap.

=head1 METHODS

=head2 channels

    channels => sub { my $env = shift; ... return @channels }

Called for each GET, before the response begins. It returns the channels to follow, names or patterns
(L<EventSource::Hub/pattern>); or a PSGI response, an array or a code reference, which is sent instead; or nothing, and the
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

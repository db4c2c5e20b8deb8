package EventSource::Hub::App;
use strict;
use warnings;

# The PSGI application of a hub. It subscribes the stream of each request to the channels that a callback returns.

our $VERSION = '0.100';

use parent 'Plack::App::EventSource';
use EventSource::Hub;
use EventSource::Settings;
use Plack::Util::Accessor qw(channels hub start);

# An error reports the line of the application. These packages create this one for it.
our @CARP_NOT = qw(EventSource::Hub Plack::App::EventSource Plack::Component);

my $SETTINGS = EventSource::Settings->new('EventSource::Hub');

# The query parameters in which polyfills that cannot set headers send the last event ID.
my @PARAMETERS    = qw(last_event_id lastEventId evs_last_event_id);
my %IS_PARAMETER  = map { ($_ => 1) } @PARAMETERS;
my $SHORTEST_NAME = 11;                                                # characters

my $MAX_QUERY = 8_192;                                                 # bytes of a query that are read
my $MAX_ID    = 1_024;                                                 # bytes; no event has a longer id

my $CHANNELS = 'eventsource.hub.channels';                             # in the PSGI environment

# Public methods

sub call {
    my ($self, $env) = @_;
    return $self->SUPER::call($env) if $env->{REQUEST_METHOD} ne 'GET';
    my @channels = $self->channels->($env);
    return $channels[0] if @channels == 1 && (ref $channels[0] eq 'ARRAY' || ref $channels[0] eq 'CODE');
    return [404, ['Content-Type' => 'text/plain; charset=utf-8'], ["There is no such stream\n"]] if !@channels;
    $self->hub->check_topics(@channels);    # before the response begins, so that an error can still be answered
    $env->{$CHANNELS} = \@channels;
    return $self->SUPER::call($env);
}

sub check {
    my ($class, %setting) = @_;
    $class->new(%setting)->check_attributes;
    return;
}

# The handler of these streams is this class itself.
sub check_attributes {
    my $self = shift;
    $self->handler_cb(sub { }) if !$self->handler_cb;
    return $self->SUPER::check_attributes;
}

sub last_event_id {
    my ($class, $env) = @_;
    my $id = $env->{HTTP_LAST_EVENT_ID};
    $id = _id_in_query($env->{QUERY_STRING}) if !defined $id || !length $id;
    return undef if !defined $id;
    $id = _bounded($id);
    utf8::decode($id);
    return $id;
}

sub prepare_app {
    my $self = shift;
    $SETTINGS->refuse(channels => 'to_app takes channels, a code reference') if ref $self->channels ne 'CODE';
    EventSource::Hub->check_start($self->start);
    $self->SUPER::prepare_app;
    return;
}

sub run_handler {
    my ($self, $stream, $env) = @_;
    my $channels = delete $env->{$CHANNELS};
    my $option   = {after => $self->last_event_id($env), start => $self->start};
    my $process  = $$;
    my $handled  = eval { $self->hub->serve_stream($stream, @$channels, $option); 1 };
    my $error    = $@;
    $self->end_with_error($stream, $env, 'the hub failed', $error, $process) if !$handled;
    $stream->leave_handler;
    $self->after_handler($stream, $env);
    return;
}

# Private functions

# An id that is too long is unknown, and it stays unknown if it is cut off one byte after the limit.
sub _bounded {
    my $id = shift;
    return length $id > $MAX_ID ? substr $id, 0, $MAX_ID + 1 : $id;
}

# The id in a query, in bytes, or undef. The last value of each parameter counts, and the first parameter of the list
# that is not empty. Only the beginning of a long query is read. A value that goes on after it becomes too long, and so
# unknown.
sub _id_in_query {
    my $query = shift;
    return if !defined $query || !length $query;
    my @pairs = split /[&;] ?/, substr($query, 0, $MAX_QUERY + 1), -1;
    $pairs[-1] .= 'x' x ($MAX_ID + 1) if length $query > $MAX_QUERY;
    my %value;
    for my $pair (grep { length >= $SHORTEST_NAME } @pairs) {
        my ($name, $value) = map { _unescaped($_) } split /=/, $pair, 2;
        $value{$name} = defined $value ? $value : '' if $IS_PARAMETER{$name};
    }
    my ($id) = grep { defined && length } @value{@PARAMETERS};
    return $id;
}

sub _unescaped { return $_[0] =~ tr/+/ /r =~ s/%([0-9A-Fa-f]{2})/chr hex $1/ger }

1;
__END__

=encoding utf8

=head1 NAME

EventSource::Hub::App - The PSGI application of a hub

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

L<EventSource::Hub/to_app> creates an object of this class: a L<Plack::App::EventSource> that subscribes each stream to
channels of a hub.

A stream resumes after the id in the header C<Last-Event-ID> (WHATWG HTML, section 9.2.4). Without that header, it
resumes after the id in the first of the query parameters C<last_event_id>, C<lastEventId> and C<evs_last_event_id> that
is not empty. Polyfills that cannot set headers send these. Only the first 8,192 bytes of a query are read. An id that
is longer than any event may have, or that goes on after those bytes, is an unknown id: the client receives a C<gap>
event (L<EventSource::Hub/Order, resume, gaps>).

=head1 ATTRIBUTES

Besides those of L<Plack::App::EventSource>:

=head2 channels

    channels => sub { my $env = shift; ... return @channels }

A callback, which is required. It is called for each GET, before the response begins. It returns

=over

=item *

the channels to subscribe to, as names or patterns (L<EventSource::Hub/pattern>),

=item *

or a PSGI response, an array or a code reference, which is sent instead,

=item *

or nothing: the response is 404.

=back

An exception of the callback is an exception of the request. So is the L<EventSource::Error> for a return value that is
no channel.

=head2 hub

    hub => $hub

The L<EventSource::Hub>, which is required.

=head2 start

    start => 'latest'

The position at which a stream begins if its client sends no id; see L<EventSource::Hub/start>. By default that of the
hub.

=head1 METHODS

=head2 check

    EventSource::Hub::App->check(%settings);

Throw an L<EventSource::Error> with the code C<invalid> if a setting of streams has a wrong value.

=head2 last_event_id

    my $id = EventSource::Hub::App->last_event_id($env);

Return the last event ID that the client sent, in the header or in the query, as characters; C<undef> if it sent none.
The client may send any string. At most 1,025 bytes of it are returned.

=head2 call, check_attributes, prepare_app, run_handler

See L<Plack::App::EventSource> and L<Plack::Component>.

=head1 SEE ALSO

L<EventSource::Hub>, L<Plack::App::EventSource>, L<Plack::App::EventSource::PubSub>

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut

package EventSource::XS::Hub::App;
use strict;
use warnings;

# The PSGI application of a hub. It subscribes the stream of each request to the channels that a callback returns.

our $VERSION = '0.100';

use parent 'Plack::App::EventSource';
use EventSource::Hub;
use EventSource::XS::LastEventID;
use EventSource::XS::Response;
use EventSource::XS::Settings;
use Plack::Util::Accessor qw(channels hub label max_age position start);

# An error reports the line of the application. These packages create this one for it.
our @CARP_NOT = qw(EventSource::Hub Plack::App::EventSource Plack::App::EventSource::PubSub Plack::Component);

my $SETTINGS = EventSource::XS::Settings->new('EventSource::Hub');

# In the PSGI environment.
my $CHANNELS = 'eventsource.hub.channels';
my $ACCESS   = 'eventsource.hub.access';

# Public methods

sub check {
    my ($class, %setting) = @_;
    EventSource::Hub->check_max_age($setting{max_age});
    EventSource::Hub->check_position($setting{position});
    EventSource::Hub->check_start($setting{start});
    $class->new(%setting);
    return;
}

# The handler of these streams is this class itself.
sub check_attributes {
    my $self = shift;
    $self->handler_cb(sub { }) if !$self->handler_cb;
    EventSource::Hub->check_max_age($self->max_age);
    EventSource::Hub->check_position($self->position);
    $SETTINGS->code(label => $self->label);
    return $self->SUPER::check_attributes;
}

sub line_end { return 'lf' }

# The hub sends the reconnection time, with the position.
sub opening { return $_[0]->preamble_line }

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
    my $option   = {
        %{delete $env->{$ACCESS} || {}},
        after    => EventSource::XS::LastEventID->of($env),
        max_age  => $self->max_age,
        position => $self->position,
        retry    => $self->random_retry,
        start    => $self->start,
    };
    my $process = $$;
    my $handled = eval { $self->hub->serve_stream($stream, @$channels, $option); 1 };
    my $error   = $@;
    if (!$handled) {
        $stream->end_with_retry if $$ == $process && $stream->is_open;
        $self->end_with_error($stream, $env, 'the hub failed', $error, $process);
    }
    $stream->leave_handler;
    $self->after_handler($stream, $env);
    return;
}

sub stream_response {
    my ($self, $env) = @_;
    my $asked_at = $self->hub->clock;         # a right that is withdrawn from here on is noticed
    my @channels = $self->channels->($env);
    return $channels[0] if @channels == 1 && EventSource::XS::Response->is_response($channels[0]);
    return EventSource::XS::Response->text(404, 'There is no such stream') if !@channels;
    $self->_check_channels(@channels);        # before the response begins, so that an error can still be answered
    my @labels = $self->label ? $self->label->($env) : ();
    $self->_check_labels(@labels);
    $env->{$CHANNELS} = \@channels;
    $env->{$ACCESS}   = {asked_at => $asked_at, label => \@labels};
    return $self->SUPER::stream_response($env);
}

# Private methods

sub _check_channels {
    my ($self, @channels) = @_;
    $self->check_at_request(
        sub {
            $SETTINGS->refuse(channels => 'channels must return a list, not a reference to an array of names')
                if ref $channels[0] eq 'ARRAY';
            $self->hub->check_topics(@channels);
        }
    );
    return;
}

sub _check_labels {
    my ($self, @labels) = @_;
    $self->check_at_request(
        sub {
            $SETTINGS->refuse(label => 'label must return a list, not a reference to an array of labels')
                if ref $labels[0] eq 'ARRAY';
            $self->hub->check_labels(@labels);
        }
    );
    return;
}

sub _is_drop_in { return !!0 }

1;
__END__

=encoding utf8

=head1 NAME

EventSource::XS::Hub::App - The PSGI application of a hub

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

A stream resumes after the id in the header C<Last-Event-ID> (WHATWG HTML, section 9.2.4), or in a query parameter of a
polyfill (L<EventSource::XS::LastEventID>). An id that is longer than any event may have is an unknown id: the client
receives a C<gap> event (L<EventSource::Hub/Order, resume, gaps>).

=head1 ATTRIBUTES

Besides those of L<Plack::App::EventSource>:

=head2 channels

    channels => sub { my $env = shift; ... return @channels }

A callback, which is required. It is called for each request by one of the L<methods|Plack::App::EventSource/methods>,
before the response begins. With L<Plack::Request> it can read the body, on every server. It returns

=over

=item *

the channels to subscribe to, as names or patterns (L<EventSource::Hub/pattern>),

=item *

or a PSGI response, an array or a code reference, which is sent instead,

=item *

or nothing: the response is 404.

=back

An exception of the callback is an exception of the request. So is the L<EventSource::Error> for a return value that is
no channel, such as a reference to an array of names; its line is the one that called L<EventSource::Hub/to_app>.

=head2 hub

    hub => $hub

The L<EventSource::Hub>, which is required.

=head2 label

    label => sub { my $env = shift; ... return @labels }

A callback that returns the labels of a stream (L<EventSource::Hub/Who reads>). It is called after L</channels>, unless
that has returned a response or nothing. C<undef> and an empty list stand for no label. An exception of it, or a wrong
label, is an exception of the request.

=head2 max_age

    max_age => 3600

How many seconds the streams stay open at most; see L<EventSource::Hub/max_age>. By default that of the hub.

=head2 position

    position => 'event'

The form in which the streams receive their position; see L<EventSource::Hub/position>. By default that of the hub.

=head2 start

    start => 'latest'

The position at which a stream begins if its client sends no id; see L<EventSource::Hub/start>. By default that of the
hub.

=head1 METHODS

=head2 check

    EventSource::XS::Hub::App->check(%settings);

Throw an L<EventSource::Error> with the code C<invalid> if a setting of streams, C<start> among them, has a wrong value.

=head2 check_attributes, line_end, opening, prepare_app, run_handler, stream_response

See L<Plack::App::EventSource> and L<Plack::Component>. The lines of these streams end in LF, and the C<retry> is part of
the first block that the hub sends.

=head1 SEE ALSO

L<EventSource::Hub>, L<Plack::App::EventSource>, L<Plack::App::EventSource::PubSub>

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut

package EventSource::XS::Hub::App;
use strict;
use warnings;

# The PSGI application of a hub. It subscribes the stream of each request to the channels that a callback returns. The lines of
# these streams end in LF, they say their keepalive, and the hub sends the reconnection time with the position.
#
# "to_app" in EventSource::Hub has the manual.

use parent 'Plack::App::EventSource';
use Digest::SHA qw(sha256_hex);
use EventSource::XS::Hub::Limit;
use EventSource::XS::Hub::Member;
use EventSource::XS::Hub::Places;
use EventSource::XS::Hub::Subscription;
use EventSource::XS::Hub::Ticket;
use EventSource::XS::Request;
use EventSource::XS::Response;
use EventSource::XS::Settings;
use Scalar::Util          qw(blessed weaken);
use Plack::Util::Accessor qw(channels hub label max_age max_streams_per member position start ticket);

my $SETTINGS = EventSource::XS::Settings->new('EventSource::Hub');

# In the PSGI environment.
my $GROUPS = 'eventsource.hub.groups';
my $ACCESS = 'eventsource.hub.access';
my $PLACES = 'eventsource.hub.places';
my $TICKET = 'eventsource.hub.ticket';
my $ASKED  = 'eventsource.hub.asked_at';

sub new {
    my ($class, @setting) = @_;
    return $class->SUPER::new(@setting, line_end => 'lf');
}

# Public methods

# Throw an EventSource::Error with the code invalid if a setting of streams, start among them, has a wrong value.
sub check {
    my ($class, %setting) = @_;
    EventSource::XS::Hub::Subscription->start($setting{start});
    $class->new(%setting)->check_attributes;
    return;
}

# The handler of these streams is this class itself.
sub check_attributes {
    my $self = shift;
    $self->handler_cb(sub { }) if !$self->handler_cb;
    EventSource::XS::Hub::Limit->of($self->max_streams_per);
    $SETTINGS->seconds(max_age => scalar $self->max_age);
    EventSource::XS::Hub::Subscription->position($self->position);
    $SETTINGS->code($_ => $self->$_) for qw(label member);
    EventSource::XS::Hub::Ticket->of($self->ticket);
    return $self->SUPER::check_attributes;
}

sub opening { return $_[0]->preamble_line . $_[0]->keepalive_line }

sub prepare_app {
    my $self = shift;
    $SETTINGS->refuse(
        channels => q{to_app takes channels, a code reference: $hub->to_app(channels => sub { return 'news' })})
        if ref $self->channels ne 'CODE';
    EventSource::XS::Hub::Subscription->start($self->start);
    $self->SUPER::prepare_app;
    $self->{_ticket} = EventSource::XS::Hub::Ticket->of($self->ticket) or return;
    weaken(my $weak = $self);
    $self->{_asked} = $self->{_ticket}->around(sub { return $weak->_asked_response($_[0]) });
    return;
}

sub run_handler {
    my ($self, $stream, $env, $last_event_id) = @_;
    my $groups  = delete $env->{$GROUPS};
    my %option  = ($self->_stream_options, after => $last_event_id, retry => $self->random_retry);
    my $access  = delete $env->{$ACCESS};
    my $opened  = delete $env->{$TICKET};
    my $places  = delete $env->{$PLACES};
    my $process = $$;
    my $is_subscribed;
    my $handled = eval {
        $is_subscribed =
              $opened
            ? $self->hub->subscribe_by_ticket($stream, $opened->{bytes}, @option{qw(after retry)}, $opened->{poll})
            : $self->hub->subscribe_groups($stream, $groups, {%option, %$access});
        1;
    };
    my $error = $@;
    $places->leave_to_hub if $places && $is_subscribed;
    if (!$handled) {
        my $is_own = $$ == $process;
        my $name   = $self->hub->{name};
        my $what   = length $name ? "the hub $name failed" : 'the hub failed';
        my $is_our = blessed $error && $error->isa('EventSource::Error');
        $error = $error->at($self->{_place}) if $is_our && $self->{_place};    # above a request is only the server
        $stream->end_with_retry if $is_own && $stream->is_open;
        $self->end_with_error($stream, $env, $what, $error, $process)
            if !$is_own || $self->hub->absence->claim_log($error);
    }
    $stream->leave_handler;
    $self->after_handler($stream, $env);
    return;
}

sub stream_response {
    my ($self, $env) = @_;
    $env->{$ASKED} = $self->hub->clock;    # a right that is withdrawn from here on is noticed
    my $ticket = $self->{_ticket} or return $self->_asked_response($env);
    my $opened = $ticket->opened($self->hub, $env, $self->_settings);
    return $opened ? $self->_response_by_ticket($env, $opened) : $self->{_asked}->($env);
}

# Private methods

# The client gets a ticket of the stream that was accepted for it.
sub _add_ticket {
    my ($self, $env, $groups, $headers, $owner) = @_;
    my %option = ($self->_stream_options, %{$env->{$ACCESS}});
    delete $option{poll};    # it is of this request
    my @passport = $self->{_ticket}->passport($self->hub, $env, $self->_beginning($env, $headers));
    push @$headers, $self->{_ticket}->header($self->hub, $env, [$groups, \%option], owner => $owner, @passport);
    return;
}

# Returns how streams of requests like this one begin. What belongs to Preference-Applied, which the request decides, is there,
# too.
sub _beginning {
    my ($self, $env, $headers) = @_;
    my $beginning = $self->stream_beginning;
    my @own       = (@{$beginning->{headers}}, @$headers, 'Preference-Applied' => '');
    return {%$beginning, headers => EventSource::XS::Response->with_cors(\@own, $env->{'eventsource.cors'} || [])};
}

# The response if the application decides.
sub _asked_response {
    my ($self, $env) = @_;
    my $asked_at = delete $env->{$ASKED} // $self->hub->clock;
    my @channels = $self->channels->($env);
    return $channels[0] if @channels == 1 && EventSource::XS::Response->is_response($channels[0]);
    return EventSource::XS::Response->text(404, 'There is no such stream') if !@channels;

    # Before the response begins, so that an error can still be answered.
    my $groups = $self->check_at_request(sub { $self->hub->groups(@channels) });
    my @labels = $self->label ? $self->label->($env) : ();
    @labels = @{$self->_checked_labels(@labels)};
    my @owner      = $self->label ? ('EventSource-Owner' => _owner(@labels)) : ();
    my $preference = EventSource::XS::Request->preference($env);
    my ($head, $headers) = _head($preference, @owner);
    return [200, $head->($self->response_headers), []] if $env->{REQUEST_METHOD} eq 'HEAD';
    $env->{$GROUPS} = $groups;
    $env->{'eventsource.head'} = $head if @owner || $preference || $self->{_ticket};
    my @members = $self->member ? $self->member->($env) : ();
    $env->{$ACCESS} = {
        asked_at => $asked_at,
        label    => \@labels,
        member   => $self->_checked_member(@members),
        $preference && $preference->is_poll ? (poll => $preference) : (),
    };
    my $response = $self->SUPER::stream_response($env);
    return $response if ref $response ne 'CODE';
    my ($places, @limits) = $self->_reserve($env, $groups);
    return $places if ref $places eq 'ARRAY';
    $response = _with_places($response, $env, $places) if @limits;
    $env->{$ACCESS}{counted_by} = [map { [$_->[1], $_->[0]{most}] } @limits];
    $self->_add_ticket($env, $groups, $headers, $owner[1]) if $self->{_ticket};
    return $response;
}

# A function that makes the head of a stream from that of all streams, and its own headers, to which others can be added.
sub _head {
    my ($preference, @headers) = @_;
    my $head = sub { $preference ? $preference->applied([@{$_[0]}, @headers]) : [@{$_[0]}, @headers] };
    return ($head, \@headers);
}

# Whose stream it is, for the script of pages: the same for the same labels, which it does not tell.
sub _owner {
    my $text = join ' ', map { length() . ":$_" } sort @_;
    utf8::encode($text);
    return substr sha256_hex($text), 0, 32;
}

# A page asks with HEAD whose stream it would have.
sub _refusal {
    my ($self, $env, $access) = @_;
    local $env->{REQUEST_METHOD} = 'GET' if $env->{REQUEST_METHOD} eq 'HEAD' && $self->label;
    return $self->SUPER::_refusal($env, $access);
}

sub _checked_labels {
    my ($self, @labels) = @_;
    return $self->check_at_request(
        sub {
            $SETTINGS->refuse(label => 'label must return a list, not a reference to an array of labels')
                if ref $labels[0] eq 'ARRAY';
            return EventSource::XS::Hub::Subscription->labels(\@labels);
        }
    );
}

sub _checked_member {
    my ($self, @given) = @_;
    return $self->check_at_request(
        sub {
            $SETTINGS->refuse(member => 'member must return one hash: for more members subscribe once for each, in a'
                    . ' handler of Plack::App::EventSource')
                if @given > 1;
            return EventSource::XS::Hub::Member->of(@given);
        }
    );
}

sub _is_drop_in { return !!0 }

# The places of the stream and its limits, each with a label by which the stream is counted, in all, or in some channels. A
# refusal instead if the key of the request has as many streams as it may have.
sub _reserve {
    my ($self, $env, $groups) = @_;
    my @limits = ([$self->max_streams_per], map { [$_->{option}{max_streams_per}, @{$_->{topics}}] } @$groups);
    my $places = EventSource::XS::Hub::Places->new($self->hub, $env->{$ACCESS}{asked_at});
    my (@reserved, %has_place);
    for (grep { defined $_->[0] } @limits) {
        my ($given, @topics) = @$_;
        my $limit = $self->check_at_request(sub { EventSource::XS::Hub::Limit->of($given) });
        my $label = $self->check_at_request(sub { $limit->label_of($env, @topics) });
        next                   if !defined $label || $has_place{$label}++;
        return $limit->refusal if !$places->add($limit, $label);
        push @reserved, [$limit, $label];
    }
    return ($places, @reserved);
}

# The application is not asked. A stream is given no ticket by a ticket: what the application has said ends with the first one.
sub _response_by_ticket {
    my ($self, $env, $opened)    = @_;
    my ($owner, $bytes, @places) = @$opened;
    my $preference = EventSource::XS::Request->preference($env);
    my @owner      = length $owner ? ('EventSource-Owner' => $owner) : ();
    ($env->{'eventsource.head'}) = _head($preference, @owner) if @owner || $preference;
    $env->{$TICKET} = {bytes => $bytes, poll => $preference && $preference->is_poll && $preference};
    my $places   = EventSource::XS::Hub::Places->new($self->hub, @places);
    my $response = $self->SUPER::stream_response($env);
    return @places > 1 ? _with_places($response, $env, $places) : $response;
}

# Returns what a ticket is bound to: it does not open if the application is deployed with others.
sub _settings {
    my $self  = shift;
    my $limit = $self->max_streams_per;
    my %of    = $self->_stream_options;
    return [@of{sort keys %of}, $limit && $limit->[1]];
}

sub _stream_options {
    my $self = shift;
    return (max_age => $self->max_age, position => $self->position, start => $self->start);
}

# A response whose stream has places. If the stream does not begin, they are given back.
sub _with_places {
    my ($response, $env, $places) = @_;
    return $response if ref $response ne 'CODE';
    return sub {
        local $env->{$PLACES} = $places;
        undef $places;
        $response->(@_);
        return;
    };
}

1;

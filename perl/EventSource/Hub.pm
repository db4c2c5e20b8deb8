package EventSource::Hub;
use strict;
use warnings;

# Channels: what is published to one goes to every stream that follows it. The hub itself is native; publish, epoch, stats
# and subscribers are in src/xs.

our $VERSION = '0.100';

use Carp qw(croak);
use EventSource::Hub::Labelled;
use EventSource::Hub::Pattern;
use EventSource::Stream;
use EventSource::Stream::Relay;
use EventSource::XS ();
use Scalar::Util    qw(blessed);

# A setting is wrong where the hub was made.
our @CARP_NOT = qw(EventSource::Hub::App Plack::App::EventSource Plack::Component);

my %HISTORY        = (events => 1000,    bytes => 1_048_576, seconds => 3600);
my %HISTORY_IN_ALL = (events => 100_000, bytes => 67_108_864);

# In the order of their numbers in eventsource.h.
my @ON_SLOW = qw(disconnect gap newest);
my @START   = qw(newest oldest);

# What the streams of an application of ours are told of what the hub was.
my @OF_STREAMS = qw(headers keepalive linger max_streams native preamble retry start timeout);

sub new {
    my ($class, @given) = @_;
    croak 'EventSource::Hub: there are no hubs on this system: they need Linux' if !$class->can('_attach');
    my %given   = @given == 1 && ref $given[0] eq 'HASH' ? %{$given[0]} : @given;
    my %raw     = (_history(\%given), gap_event => 'gap', on_slow => 0);
    my $on_slow = delete $given{on_slow};
    if (defined $on_slow) {
        ($raw{on_slow}) = grep { $ON_SLOW[$_] eq $on_slow } 0 .. $#ON_SLOW;
        croak "EventSource::Hub: on_slow must be 'disconnect', 'gap' or 'newest'" if !defined $raw{on_slow};
    }
    if (defined(my $name = delete $given{gap_event})) {
        croak 'EventSource::Hub: gap_event must be one line that is not empty' if $name !~ /\A[^\r\n\0]+\z/;
        $raw{gap_event} = $name;
    }
    my $self = bless {per_process => delete $given{per_process}}, $class;
    EventSource::Hub::Labelled->take_over($self, delete $given{show_channel});
    $self->{of_streams} = {map { exists $given{$_} ? ($_ => delete $given{$_}) : () } @OF_STREAMS};
    my ($unknown) = sort keys %given;
    croak "EventSource::Hub: unknown setting '$unknown'" if defined $unknown;
    _check_start($self->{of_streams}{start});
    $self->_attach(\%raw);
    return $self;
}

# Public methods

sub drain {
    my ($self, $seconds) = @_;
    croak 'EventSource::Hub: drain takes a number of seconds'
        if !defined $seconds || $seconds !~ /\A(?:[0-9]+\.?[0-9]*|\.[0-9]+)\z/;
    $self->_drain($seconds);
    return;
}

sub follow {
    my ($self, $connection, @channels) = @_;
    my $stream = _stream($connection, 'follow');
    return $self->_begin($stream, $connection->last_event_id, @channels) if !_is_served($stream);
    my $relay = EventSource::Stream::Relay->of($stream);
    return $self->_begin($stream, $connection->last_event_id, @channels) && $relay->serve;
}

sub match {
    my ($class, $pattern) = @_;
    return EventSource::Hub::Pattern->new($pattern);
}

sub subscribe {
    my ($self, $connection, @channels) = @_;
    my $stream = _stream($connection, 'subscribe');
    croak 'EventSource::Hub: this stream goes through the writer of a server that blocks: follow serves it'
        if _is_served($stream);
    return $self->_begin($stream, $connection->last_event_id, @channels);
}

sub to_app {
    my ($self, %given) = @_;
    require EventSource::Hub::App;
    return EventSource::Hub::App->new(%{$self->{of_streams}}, %given, hub => $self)->to_app;
}

sub unsubscribe {
    my ($self, $connection, @channels) = @_;
    my $stream = _stream($connection, 'unsubscribe');
    my $native = $stream->can('is_native') ? $stream : EventSource::Stream::Relay->native_of($stream);
    $self->_unfollow($native, @channels ? _names(@channels) : undef) if $native;
    return;
}

# Private methods and functions

# Has a stream follow channels. It is given the id after which to go on, if the options do not say.
sub _begin {
    my ($self, $stream, $after, @channels) = @_;
    my %option = ref $channels[-1] eq 'HASH' ? %{pop @channels} : ();
    $after = delete $option{after} if exists $option{after};
    my $start = delete $option{start};
    my ($unknown) = sort keys %option;
    croak "EventSource::Hub: unknown option '$unknown'"     if defined $unknown;
    croak 'EventSource::Hub: there is no channel to follow' if !@channels;
    my $names = _names(@channels);
    my ($kind, $last) = _check_start(defined $start ? $start : $self->{of_streams}{start});
    $self->_warn_once if EventSource::Stream->is_multiprocess;
    my $native = $stream->can('is_native') ? $stream : EventSource::Stream::Relay->of($stream)->native;
    undef $after if defined $after && !length $after;
    return $self->_follow($native, $names, $after, $kind, $last);
}

# Where streams begin: a number for it, and of how many events.
sub _check_start {
    my $start = shift;
    return (0, 0) if !defined $start;
    my ($kind) = grep { $START[$_] eq $start } 0 .. $#START;
    return ($kind,         0)  if defined $kind;
    return (scalar @START, $1) if $start =~ /\A-([1-9][0-9]{0,8})\z/;
    croak "EventSource::Hub: start must be 'newest', 'oldest' or a number of events, such as -10";
}

sub _history {
    my $given = shift;
    my %raw;
    for my $asked (['history', '', \%HISTORY], ['history_in_all', '_in_all', \%HISTORY_IN_ALL]) {
        my ($setting, $suffix, $default) = @$asked;
        my $value = delete $given->{$setting};
        croak "EventSource::Hub: $setting must be a hash" if defined $value && ref $value ne 'HASH';
        my %bound = (%$default, $value ? %$value : ());
        for my $name (sort keys %bound) {
            croak "EventSource::Hub: unknown bound '$name' of $setting" if !exists $default->{$name};
            croak "EventSource::Hub: $name of $setting must be a whole number, from 0"
                if $name ne 'seconds' && (!defined $bound{$name} || $bound{$name} !~ /\A[0-9]{1,15}\z/);
            croak "EventSource::Hub: $name of $setting must be a number"
                if $name eq 'seconds'
                && (!defined $bound{$name} || $bound{$name} !~ /\A(?:[0-9]+\.?[0-9]*|\.[0-9]+)\z/);
            $raw{$name . $suffix} = $bound{$name};
        }
    }
    return %raw;
}

# Whether a stream has to be served by the handler that it belongs to.
sub _is_served {
    my $stream = shift;
    return !$stream->can('is_native') && $stream->is_blocking;
}

# Names of channels, checked, and patterns. Whatever else is a reference is a mistake, unless it has a string to give.
sub _names {
    my @channels = @_;
    return [map { _name($_) } @channels];
}

sub _name {
    my $channel = shift;
    return $channel if blessed $channel && $channel->isa('EventSource::Hub::Pattern');
    croak 'EventSource::Hub: a channel is a string, or what EventSource::Hub->match makes, not undef'
        if !defined $channel;
    croak 'EventSource::Hub: a channel is a string, or what EventSource::Hub->match makes, not a reference to '
        . ref $channel
        if ref $channel && !(blessed $channel && overload::Method($channel, '""'));
    my $name = "$channel";
    croak "EventSource::Hub: a channel's name must not be empty" if !length $name;
    return $name;
}

sub _stream {
    my ($connection, $method) = @_;
    my $stream =
        blessed $connection && $connection->isa('Plack::App::EventSource::Connection') && $connection->{stream};
    croak "EventSource::Hub: $method takes a Plack::App::EventSource::Connection that has a stream" if !$stream;
    return $stream;
}

# Each process has a hub of its own, and who publishes in one does not reach the streams of another.
sub _warn_once {
    my $self = shift;
    return if $self->{per_process};
    $self->{per_process} = 1;
    warn
        'EventSource::Hub: this server has several processes, and what is published in one reaches the streams of that one'
        . " alone (per_process => 1 says that this is meant)\n";
    return;
}

1;
__END__

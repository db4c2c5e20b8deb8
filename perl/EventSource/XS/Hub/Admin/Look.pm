package EventSource::XS::Hub::Admin::Look;
use strict;
use warnings;

# A hub at one time, for the admin page: a structure for JSON. It is bounded, however many channels, members and retained
# events there are.

use EventSource::Error;
use EventSource::XS::Hub::Name;
use EventSource::XS::Hub::Proxy;
use EventSource::XS::Reason;
use Time::HiRes qw(time);

# The most that is shown.
my $MAX_CHANNELS = 50;
my $MAX_MEMBERS  = 50;
my $MAX_STATE    = 50;
my $MAX_LINES    = 50;
my $MAX_TEXT     = 1_000;    # characters

# A larger state is not read: the page says how many keys it has.
my $MAX_KEYS = 1_000;

# Options: name, that of the hub, if it has one; channel, whose members and state are shown, also a pattern; filter, what the
# names of the others contain, or their pattern. What is not a pattern is left out, and the page is told.
sub new {
    my ($class, %option) = @_;
    my $self = bless {name => $option{name}, pattern => '**'}, $class;
    local ($@, $SIG{__DIE__});
    eval {
        my $filter = $option{filter} // '';
        $self->{pattern} = _pattern($filter =~ /[*]/ ? $filter : "**$filter**") if length $filter;
        $self->{channel} = _pattern($option{channel})                           if defined $option{channel};
        1;
    } or $self->{problem} = EventSource::XS::Reason->message_of($@);
    return $self;
}

# Public methods

# An event as the page shows it. Takes one of a followed stream; returns a hash of channel, event, id, data,
# and the length of all data.
sub row {
    my ($class, $event) = @_;
    my %row = map { ($_ => _beginning($event->{$_} // '')) } qw(channel event id data);
    return {%row, length => length($event->{data} // '')};
}

# Take an EventSource::Hub or an EventSource::Hub::Process.
sub take {
    my ($self, $hub) = @_;
    my $is_process = $hub->isa('EventSource::Hub::Process');
    my $stats      = $hub->stats;
    $stats->{pid} //= $$;
    $stats->{counted} = delete $stats->{channels};
    return {
        %$stats,
        time => time,
        name => $self->{name},
        %{$self->_channels($hub)},
        defined $self->{problem} ? (problem => $self->{problem})                 : (),
        defined $self->{channel} ? (chosen => $self->_chosen($hub, $is_process)) : (),
        lines => $is_process ? [_lines($hub)] : [],
        $is_process ? (trouble => EventSource::XS::Hub::Proxy->problem($hub)) : (),
    };
}

# Private functions and methods

sub _beginning { return substr $_[0], 0, $MAX_TEXT }

# The busiest channels; those with the most subscribers if all are quiet.
sub _channels {
    my ($self,  $hub)     = @_;
    my ($count, @busiest) = (0);
    my $take = sub {
        push @busiest, shift;
        $count++;
        @busiest = _first($MAX_CHANNELS, @busiest) if @busiest > 20 * $MAX_CHANNELS;
    };
    $hub->channels($self->{pattern}, $take);
    return {channels => [_first($MAX_CHANNELS, @busiest)], matching => $count};
}

sub _chosen {
    my ($self, $hub, $is_process) = @_;
    my $name = $self->{channel};
    my ($found, %more);
    my $take = sub { my $channel = shift; $found = $channel if $channel->{name} eq $name };
    $hub->channels($name, $take) if $name !~ /[*]/;
    ($more{has_more_members}, my @members) = _members($hub, $name);
    $more{state} = [_state($hub, $name)] if $is_process && $found && $found->{keys} && $found->{keys} <= $MAX_KEYS;
    return {%{$found || {}}, name => $name, members => \@members, %more};
}

sub _first {
    my ($most, @channels) = @_;
    @channels =
        sort { $b->{rate} <=> $a->{rate} || $b->{subscribers} <=> $a->{subscribers} || $a->{name} cmp $b->{name} }
        @channels;
    splice @channels, $most if @channels > $most;
    return @channels;
}

sub _lines {
    my $hub   = shift;
    my @lines = @{EventSource::Error->attempt(sub { [$hub->log] }) || []};
    splice @lines, 0, -$MAX_LINES if @lines > $MAX_LINES;
    $_->{message} = _beginning($_->{message}) for @lines;
    return @lines;
}

# The first members of a channel, and before them whether there are more.
sub _members {
    my ($hub,  $name)  = @_;
    my ($from, @found) = $hub->_call('members', $name);
    my @members;
    while (my ($id, undef, $streams, undef, $data) = splice @found, 0, 5) {
        push @members, {id => $id, streams => $streams + 0, data => _beginning($data)};
    }
    my $has_more = length $from || @members > $MAX_MEMBERS;
    splice @members, $MAX_MEMBERS if @members > $MAX_MEMBERS;
    return ($has_more ? \1 : \0, @members);
}

sub _pattern { return ${EventSource::XS::Hub::Name->pattern(shift)} }

# The newest retained events of a channel.
sub _state {
    my ($hub, $name) = @_;
    my @events = reverse $hub->state($name);
    splice @events, $MAX_STATE if @events > $MAX_STATE;
    return map { __PACKAGE__->row({event => 'message', %$_, channel => $name}) } @events;
}

1;

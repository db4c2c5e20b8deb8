package EventSource::XS::Command::Tail::Output;
use strict;
use warnings;

# The output of `eventsource tail`: which events, in which form, and how many.

use EventSource::XS::Command;
use Time::HiRes qw(time);

my $COMMAND = 'EventSource::XS::Command';

sub new {
    my ($class, $option) = @_;
    my @formats = grep { $option->{$_} } qw(json raw data);
    $COMMAND->usage('one of --json, --raw, --data') if @formats > 1;
    my ($filter) = grep { defined $option->{$_} } qw(event match count);
    $COMMAND->usage("--raw prints all bytes of the stream: without --$filter") if $option->{raw} && defined $filter;
    $COMMAND->usage('--count takes a number from 1 on') if defined $option->{count} && $option->{count} < 1;
    $COMMAND->usage('--last takes a number from 1 on')  if defined $option->{last}  && $option->{last} < 1;
    my $match = defined $option->{match} ? $COMMAND->text('--match', $option->{match}) : undef;
    my $regex = defined $match           ? eval { qr/$match/ }                         : undef;
    $COMMAND->usage('--match is not a regular expression: ' . $COMMAND->message_of($@)) if defined $match && !$regex;
    my @names = map { $COMMAND->text('--event', $_) } @{$option->{event} || []};
    return bless {
        format => @formats ? $formats[0] : 'text',
        left   => $option->{count},
        lines  => '',
        names  => @names ? {map { $_ => 1 } @names} : undef,
        regex  => $regex,
    }, $class;
}

# Public methods

sub event {
    my ($self, $event) = @_;
    return if $self->{format} eq 'raw' || $self->is_complete;
    return if $self->{names} && !$self->{names}{$event->{event}};
    return if $self->{regex} && $event->{data} !~ $self->{regex};
    $self->{lines} .= $self->_line($event);
    $self->{left}-- if defined $self->{left};
    return;
}

sub flush {
    my $self = shift;
    $COMMAND->print(delete $self->{lines}) if length $self->{lines};
    $self->{lines} = '';
    return;
}

sub is_complete { return defined $_[0]{left} && $_[0]{left} <= 0 }

sub is_short { return defined $_[0]{left} && $_[0]{left} > 0 }

sub raw {
    my ($self, $bytes) = @_;
    $COMMAND->print($bytes) if $self->{format} eq 'raw';
    return;
}

# Private methods and functions

sub _line {
    my ($self, $event) = @_;
    if ($self->{format} eq 'data') {
        my $data = "$event->{data}\n";
        utf8::encode($data);
        return $data;
    }
    my %event = (%$event, time => $COMMAND->utc(time));
    return $COMMAND->json(\%event) . "\n" if $self->{format} eq 'json';
    return $COMMAND->line(map { defined ? $_ : '' } @event{qw(time channel event id data)});
}

1;

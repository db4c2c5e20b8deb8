package EventSource::XS::Hub::Places;
use strict;
use warnings;

# The places of limits that are reserved for a stream which is to begin: the labels by which it will be counted, and the time at
# which it was asked for, by which the hub knows its places. They are given back with the last reference to this object, unless
# the stream is subscribed: its client has left before, or another limit or a middleware has refused it, or something has died.

use EventSource::Error;

sub CLONE_SKIP { return 1 }

sub new {
    my ($class, $hub, $asked_at, @labels) = @_;
    utf8::decode($_) for @labels;
    return bless {asked_at => $asked_at, hub => $hub, labels => \@labels, process => $$}, $class;
}

# Public methods

# Add a place of a limit. Returns false if none is left.
sub add {
    my ($self, $limit, $label) = @_;
    return !!0 if !$limit->may_begin(@$self{qw(hub asked_at)}, $label);
    push @{$self->{labels}}, $label;
    return !!1;
}

sub leave_to_hub { my $self = shift; @{$self->{labels}} = (); return }

# Private methods and functions

# A place that cannot be given back expires.
sub DESTROY {
    my $self = shift;
    return if !@{$self->{labels}} || $self->{process} != $$ || ${^GLOBAL_PHASE} eq 'DESTRUCT';
    local ($!, $?);
    EventSource::Error->attempt(sub { $self->{hub}->_call('reserve', $_, 0, $self->{asked_at}) })
        for @{$self->{labels}};
    return;
}

1;

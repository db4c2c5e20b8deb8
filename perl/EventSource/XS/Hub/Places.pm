package EventSource::XS::Hub::Places;
use strict;
use warnings;

# The places of limits that are reserved for a stream which is to begin: the labels by which it will be counted. They are given
# back with the last reference to this object, unless the hub has been asked to subscribe the stream: its client has left
# before, or another limit or a middleware has refused it, or something has died.

use EventSource::Error;

sub CLONE_SKIP { return 1 }

sub new {
    my ($class, $hub, @labels) = @_;
    utf8::decode($_) for @labels;
    return bless {hub => $hub, labels => \@labels, process => $$}, $class;
}

# Public methods

sub add { my ($self, $label) = @_; push @{$self->{labels}}, $label; return }

sub leave_to_hub { my $self = shift; @{$self->{labels}} = (); return }

# Private methods and functions

# A place that cannot be given back expires.
sub DESTROY {
    my $self = shift;
    return if !@{$self->{labels}} || $self->{process} != $$ || ${^GLOBAL_PHASE} eq 'DESTRUCT';
    local ($!, $?);
    EventSource::Error->attempt(sub { $self->{hub}->_call('reserve', $_, 0) }) for @{$self->{labels}};
    return;
}

1;

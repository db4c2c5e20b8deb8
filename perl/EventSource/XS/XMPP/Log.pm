package EventSource::XS::XMPP::Log;
use strict;
use warnings;

# The log of a bridge: its lines go to the setting report, each problem once, until the connection is there again.

use EventSource::XS::Reason;

# The code is the setting report.
sub new {
    my ($class, $code) = @_;
    return bless {code => $code, written => {}}, $class;
}

# Public methods

# A problem, or all of them, is written again when it comes again.
sub forget {
    my ($self, @problems) = @_;
    delete @{$self->{written}}{@problems ? @problems : keys %{$self->{written}}};
    return;
}

# A publisher chooses the ids of items and the names of nodes, and no line of a log.
sub write {
    my ($self, $text, $is_problem) = @_;
    $self->{code}->(EventSource::XS::Reason->visible($text), !!$is_problem);
    return;
}

sub write_once {
    my ($self, $problem) = @_;
    $self->write($problem, !!1) if !$self->{written}{$problem}++;
    return;
}

1;

package EventSource::XS::XMPP::Reports;
use strict;
use warnings;

# The lines that a bridge reports: each problem once, until the connection is there again.

use EventSource::XS::Reason;
use Scalar::Util qw(blessed);

# The code is the setting report.
sub new {
    my ($class, $code) = @_;
    return bless {code => $code, reported => {}}, $class;
}

# Public methods

# A problem, or all of them, is reported again when it comes again.
sub forget {
    my ($self, @problems) = @_;
    delete @{$self->{reported}}{@problems ? @problems : keys %{$self->{reported}}};
    return;
}

# The text of an exception, without the name of one of our modules at its beginning.
sub message_of {
    my ($class, $error) = @_;
    my $text = blessed $error && $error->isa('EventSource::Error') ? $error->message : "$error";
    $text =~ s/\AEventSource::[A-Za-z:]+: //;
    $text =~ s/\s+\z//;
    return $text;
}

# A publisher chooses the ids of items and the names of nodes, and no line of a log.
sub report {
    my ($self, $text, $is_problem) = @_;
    $self->{code}->(EventSource::XS::Reason->visible($text), !!$is_problem);
    return;
}

sub report_once {
    my ($self, $problem) = @_;
    $self->report($problem, !!1) if !$self->{reported}{$problem}++;
    return;
}

1;

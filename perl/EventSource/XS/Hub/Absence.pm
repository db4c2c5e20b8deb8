package EventSource::XS::Hub::Absence;
use strict;
use warnings;

# An absence of the hub process, and whether the log has a line about it: one line for each absence, whoever notices it, a
# stream, a lease or an application. Whoever occupies a worker while the process may just begin asks here how long.

use EventSource::XS::ErrorLog;
use Scalar::Util qw(blessed);
use Time::HiRes  qw(CLOCK_MONOTONIC clock_gettime);

my $IS_NEWS  = 2;      # seconds from which on a process that does not answer is worth a line
my $PATIENCE = 0.5;    # seconds

# The name is that of the hub; undef if it has no process.
sub new {
    my ($class, $name) = @_;
    return bless {name => $name}, $class;
}

# Public methods

# Returns true if the caller is to log the error. Of the errors that say that the process is away, that is the first one.
sub claim_log {
    my ($self, $error) = @_;
    return !!1 if !blessed $error || !$error->isa('EventSource::Error') || $error->code ne 'unavailable';
    return !$self->{is_logged}++;
}

# The process has answered.
sub end {
    my $self = shift;
    delete @$self{qw(since is_logged was_patient)};
    return;
}

# A stream waits for the process. That is logged, unless it answers soon: it may just begin.
sub note {
    my $self = shift;
    $self->{since} = clock_gettime(CLOCK_MONOTONIC) if !$self->{since};
    return if $self->{is_logged} || clock_gettime(CLOCK_MONOTONIC) - $self->{since} < $IS_NEWS;
    $self->{is_logged} = 1;
    EventSource::XS::ErrorLog->warn(
        "EventSource::Hub: the hub process '$self->{name}' does not answer. Streams wait for it for publish_timeout;"
            . " then their clients are told to come back. eventsource hub log $self->{name} may say why.\n");
    return;
}

# Returns how many seconds a lease waits for the process. In an absence only the first that asks waits, because the process may
# just begin.
sub patience {
    my $self = shift;
    return $self->{since} && !$self->{was_patient}++ ? $PATIENCE : 0;
}

# The same for a stream that occupies its worker while the process has not taken it. If there is no absence, the worker has
# heard of the process just now.
sub patience_of_stream {
    my $self = shift;
    return $self->{since} ? $self->patience : $PATIENCE;
}

1;

package Testing::Doctor;
use strict;
use warnings;

# A run of `eventsource doctor` as a program, and its report.
#
#   my $doctor = Testing::Doctor->start('--seconds', 2, $server->url('/hub'));
#   is $doctor->exit_code, 0;
#   is $doctor->finding('timeout')->{verdict}, 'wrong';

use parent 'Testing::Program';
use Carp              qw(croak);
use Testing::Deadline qw(wait_until);
use Exporter          qw(import);
use JSON::PP          ();
use Test::More;

our @EXPORT_OK = qw(is_fine is_wrong);

my $WITHIN = 60;    # seconds

# How the command is started.
my @COMMAND = ($^X, '-MEventSource::Command::Doctor', '-e', 'exit EventSource::Command::Doctor->run(@ARGV)', '--');

# Public functions and methods

# Waits for the end of the program.
sub exit_code {
    my $self = shift;
    wait_until($WITHIN, sub { $self->has_ended }) or croak 'Doctor: the program does not end: ' . $self->log;
    return $self->{status} >> 8;
}

# Returns the finding of a check; undef if there is none.
sub finding {
    my ($self, $check) = @_;
    my ($finding) = grep { $_->{check} eq $check } @{$self->report->{findings}};
    return $finding;
}

# Checks that a run found nothing but what is ok, apart from the named checks.
sub is_fine {
    my ($doctor, $name, @except) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my %is_except = map { ($_ => 1) } @except;
    my @bad =
        map { "$_->{verdict}: $_->{check}: $_->{sentence}" }
        grep { $_->{verdict} ne 'ok' && !$is_except{$_->{check}} } @{$doctor->report->{findings}};
    is_deeply \@bad, [], $name;
    return is $doctor->exit_code, 0, "$name: exit code 0";
}

# Checks that a run has a finding that is not ok, whose sentence matches.
sub is_wrong {
    my ($doctor, $check, $verdict, $sentence, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $finding = $doctor->finding($check) || {};
    is $finding->{verdict}, $verdict, "$name: $check is $verdict" or diag explain $doctor->report->{findings};
    like $finding->{sentence}, $sentence, "$name: the sentence";
    ok length($finding->{remedy} // ''), "$name: there is a remedy";
    is $doctor->exit_code, 1, "$name: exit code 1" if $verdict eq 'wrong';
    return $finding;
}

# Returns what --json printed.
sub report {
    my $self = shift;
    $self->exit_code;
    $self->{report} ||= eval { JSON::PP::decode_json($self->log) } || croak 'Doctor: no report: ' . $self->log;
    return $self->{report};
}

# Starts it with --json.
sub start {
    my ($class, @arguments) = @_;
    return $class->start_plain('--json', @arguments);
}

# Starts it with the given arguments only. A hash in front of them is for the environment.
sub start_plain {
    my ($class, @arguments) = @_;
    my ($environment) = grep { ref } @arguments;
    return $class->new('eventsource doctor')->run($environment || {}, @COMMAND, grep { !ref } @arguments);
}

1;

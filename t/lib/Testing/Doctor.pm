package Testing::Doctor;
use Testing;

# A run of `eventsource doctor` as a program, and its report.
#
# The doctor judges times, and a busy machine delays what it looks at. So is_fine and is_wrong have it run again if it has not
# found what they expect, up to three runs in all.
#
#   my $doctor = Testing::Doctor->start('--seconds', 2, $server->url('/hub'));
#   is $doctor->exit_code, 0;
#   is $doctor->finding('timeout')->{verdict}, 'wrong';

use parent 'Testing::Program';
use Carp     qw(croak);
use Exporter qw(import);
use JSON::PP ();

our @EXPORT_OK = qw(is_fine is_wrong);

my $WITHIN = 60;    # seconds
my $RUNS   = 3;

# How the command is started.
my @COMMAND = ($^X, 'bin/eventsource', 'doctor');

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
    $doctor->_run_until($name, sub { !$doctor->_bad(@except) && $doctor->exit_code == 0 });
    is_deeply [$doctor->_bad(@except)], [], $name;
    return is $doctor->exit_code, 0, "$name: exit code 0";
}

# Checks that a run has a finding that is not ok, whose sentence matches.
sub is_wrong {
    my ($doctor, $check, $verdict, $sentence, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    $doctor->_run_until(
        $name,
        sub {
            my $found = $doctor->finding($check);
            return $found && $found->{verdict} eq $verdict && $found->{sentence} =~ $sentence;
        }
    );
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
    my $self = $class->new('eventsource doctor');
    $self->{started} = [$environment || {}, @COMMAND, grep { !ref } @arguments];
    return $self->run(@{$self->{started}});
}

# What a run has found that is not ok, apart from the named checks.
sub _bad {
    my ($self, @except) = @_;
    my %is_except = map { ($_ => 1) } @except;
    return map { "$_->{verdict}: $_->{check}: $_->{sentence}" }
        grep { $_->{verdict} ne 'ok' && !$is_except{$_->{check}} } @{$self->report->{findings}};
}

# Runs the program again until it has found what is expected, or has been run often enough.
sub _run_until {
    my ($self, $name, $is_expected) = @_;
    for my $run (2 .. $RUNS) {
        return if eval { $is_expected->() };
        diag "$name: run $run of the doctor, because it has found: ", $@ || join '; ', $self->_bad;
        $self->stop;
        truncate $self->{log}->filename, 0 or croak "Doctor: $!";
        delete @$self{qw(report status)};
        $self->run(@{$self->{started}});
    }
    return;
}

1;

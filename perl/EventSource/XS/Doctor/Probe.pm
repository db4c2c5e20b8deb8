package EventSource::XS::Doctor::Probe;
use strict;
use warnings;

# Causes one event on the examined stream: by a command of the user, or by publishing to a named hub. EventSource::Hub::Process
# publishes, because it takes the settings of the hub as they are.

use EventSource::Hub::Process ();
use EventSource::XS::Command  ();
use File::Temp                ();
use POSIX                     qw(WNOHANG);
use Time::HiRes               qw(CLOCK_MONOTONIC clock_gettime sleep);

my $WITHIN   = 30;                           # seconds that a command may take
my $TIMEOUT  = 2;                            # seconds for an answer of the hub
my $PUBLISH  = 5;                            # seconds for that to the probe
my $LOOK     = 0.01;                         # seconds
my $TYPE     = 'eventsource-doctor';
my $VARIABLE = 'EVENTSOURCE_DOCTOR_PROBE';

my $number = 0;

# Return a probe. socket is needed only if the hub's is not in the folder of this user.
sub new {
    my ($class, %option) = @_;
    return bless {%option}, $class;
}

# Public methods

# Starts a process that causes the event, and returns the token that the event may contain.
sub begin {
    my $self  = shift;
    my $token = sprintf 'probe-%d-%d-%06d', $$, ++$number, rand 1_000_000;
    $self->{output} = File::Temp->new;
    local $ENV{$VARIABLE} = $token;
    $self->{pid}     = fork;
    $self->{failure} = "fork: $!" if !defined $self->{pid};
    if (($self->{pid} // 1) == 0) {
        open STDIN,  '<',  '/dev/null';
        open STDOUT, '>',  $self->{output}->filename;
        open STDERR, '>&', \*STDOUT;
        STDERR->autoflush;
        POSIX::_exit($self->_publish($token)) if !defined $self->{trigger};
        exec '/bin/sh', '-c', $self->{trigger} or print STDERR "/bin/sh: $!\n";
        POSIX::_exit(127);
    }
    $self->{deadline} = clock_gettime(CLOCK_MONOTONIC) + $WITHIN;
    return $token;
}

# Ends a command that runs for too long.
sub end {
    my $self = shift;
    kill TERM => $self->{pid} if !$self->has_ended;
    return $self->finish;
}

# Waits for the end of the command.
sub finish {
    my $self = shift;
    while (!$self->has_ended) { sleep $LOOK }
    return;
}

# True if the command has ended; then failure says whether that was well.
sub has_ended {
    my $self = shift;
    my $pid  = $self->{pid} or return !!1;
    if (waitpid($pid, WNOHANG) == $pid) {
        my $status = $?;
        delete $self->{pid};
        $self->{failure} = "the command ended with the status $status: " . $self->_printed if $status;
        return !!1;
    }
    kill KILL => $pid if clock_gettime(CLOCK_MONOTONIC) > $self->{deadline};
    return !!0;
}

# A connection to the hub process. Throws if no process answers.
sub hub {
    my ($self, %how) = @_;
    my @place = (name => $self->{hub}, defined $self->{socket} ? (socket => $self->{socket}) : ());
    return EventSource::Hub::Process->connect(@place, autostart => 0, timeout => $TIMEOUT, %how);
}

sub is_possible { return !!(defined $_[0]{trigger} || defined $_[0]{hub} && defined $_[0]{channel}) }

# The hub process' answer about the probe's channel: its epoch, the readers of the channel, and the kind of its store. Nothing
# for a command of the user, or if no process answers.
sub target {
    my $self = shift;
    return undef if defined $self->{trigger};
    my $stats = eval { $self->hub->stats($self->{channel}) } or return undef;
    return {epoch => $stats->{epoch}, readers => $stats->{subscribers}, store => $stats->{store}{kind}};
}

# Private methods

sub _printed {
    my $self = shift;
    open my $file, '<:raw', $self->{output}->filename or return '';
    my $text = do { local $/ = undef; readline $file };
    return defined $text ? $text =~ s/\s+\z//r : '';
}

# Publishes the event, in the process for it. Returns the exit code.
sub _publish {
    my ($self, $token) = @_;
    my $hub = eval { $self->hub(timeout => $PUBLISH) };
    return 0 if $hub && eval { $hub->publish($self->{channel}, {event => $TYPE, data => $token}) };
    print STDERR EventSource::XS::Command->message_of($@), "\n";
    return 1;
}

1;

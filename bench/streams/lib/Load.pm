package Load;
use strict;
use warnings;

# One process of bench/load, which reads commands, one a line, and answers each with a line of JSON. It exits when its input
# ends, which happens when this process ends or the object is freed; otherwise it is killed by its pid.
#
#   Load->build;
#   my $client = Load->start('client', port => 5000, streams => 1000);
#   my $opened = $client->answer(60);

use Cargo;
use Carp              qw(croak);
use Testing::Deadline qw(wait_until);
use IO::Handle        ();
use IO::Select        ();
use IPC::Open2        qw(open2);
use JSON::PP          qw(decode_json);
use Scalar::Util      qw(weaken);
use POSIX             qw(WNOHANG);
use Time::HiRes       qw(time);

my $MANIFEST    = 'bench/load/Cargo.toml';
my $STOP_WITHIN = 5;                         # seconds

my $program;

# The running processes by pid. They are stopped at the end of this process.
my %RUNNING;

END {
    $_->stop for grep { defined } values %RUNNING;
}

# Public methods

# Returns the next answer as a hash. Croaks if there is none within so many seconds.
sub answer {
    my ($self, $seconds) = @_;
    my $deadline = time + $seconds;
    my $select   = IO::Select->new($self->{out});
    while ($self->{partial} !~ /\n/) {
        my $left = $deadline - time;
        croak "$self->{name}: no answer within $seconds s" if $left <= 0 || !$select->can_read($left);
        croak "$self->{name}: the process has ended"
            if !sysread $self->{out}, $self->{partial}, 65_536, length $self->{partial};
    }
    $self->{partial} =~ s/\A(.*)\n//;
    return decode_json($1);
}

sub ask {
    my ($self, $command, $seconds) = @_;
    $self->tell($command);
    return $self->answer($seconds);
}

# Builds the programs.
sub build {
    $program = Cargo->build($MANIFEST);
    return;
}

sub pid { return $_[0]{pid} }

sub start {
    my ($class, $name, %option) = @_;
    my @options = map { ("--$_" => $option{$_}) } sort keys %option;
    my $pid     = open2(my $out, my $in, $program, $name, @options);
    $in->autoflush(1);
    my $self = bless {name => "load $name", pid => $pid, out => $out, in => $in, partial => ''}, $class;
    weaken($RUNNING{$pid} = $self);
    return $self;
}

sub stop {
    my $self = shift;
    my $pid  = delete $self->{pid} or return;
    delete $RUNNING{$pid};
    local $?;
    close $self->{in};
    return if wait_until($STOP_WITHIN, sub { waitpid($pid, WNOHANG) == $pid });
    kill KILL => $pid;
    waitpid $pid, 0;
    return;
}

sub tell {
    my ($self, $command) = @_;
    local $SIG{PIPE} = 'IGNORE';
    print {$self->{in}} "$command\n" or croak "$self->{name}: $!";
    return;
}

sub DESTROY {
    my $self = shift;
    local ($@, $!) = ('', 0);
    $self->stop;
    return;
}

1;

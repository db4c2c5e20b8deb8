package Testing::FakeClock;
use strict;
use warnings;

# A clock of the day for programs that a test starts, which differs from that of the machine and can be stepped while they run
# (libfaketime). The monotonic clock is the real one. Redis does not start with it.
#
#   Testing::FakeClock->require_or_skip_all;
#   my $clock = Testing::FakeClock->new(120);    # seconds ahead
#   my $machine = Testing::Machine->start({redis => $url}, env => {$clock->env});
#   $clock->step(-3_600);

use File::Temp         ();
use Testing::Developer qw(needs);

my $LIBRARY = 'libfaketime.so.1';

# Public methods

# The environment of programs that have this clock.
sub env {
    my $self = shift;
    return (
        LD_PRELOAD                   => _library(),
        FAKETIME_TIMESTAMP_FILE      => $self->{file}->filename,
        FAKETIME_NO_CACHE            => 1,
        FAKETIME_DONT_FAKE_MONOTONIC => 1,
    );
}

# Creates a clock that is so many seconds ahead of the machine's.
sub new {
    my ($class, $ahead) = @_;
    my $self = bless {file => File::Temp->new}, $class;
    $self->step($ahead);
    return $self;
}

# Ends the test file green if there is no such clock; with EVENTSOURCE_XS_FULL, it has to be there.
sub require_or_skip_all { return needs(_library() ? undef : "there is no $LIBRARY here") }

# Sets the clock to so many seconds ahead of the machine's.
sub step {
    my ($self, $ahead) = @_;
    my $next = File::Temp->new;
    printf $next "%+d\n", $ahead;
    close $next or die "close: $!\n";
    rename $next->filename, $self->{file}->filename or die "rename: $!\n";
    $next->unlink_on_destroy(0);
    return;
}

# Private functions

sub _library {
    my ($path) = grep { -e } map { "$_/faketime/$LIBRARY" } glob '/usr/lib/*-linux-gnu /usr/lib /usr/local/lib';
    return $path;
}

1;

package Testing::FakeClock;
use Testing;

# A clock of the day for programs that a test starts, which differs from that of the machine and can be stepped while they run
# (libfaketime). The monotonic clock is the real one. Redis does not start with that library, so its own is compiled here.
#
#   Testing::FakeClock->require_or_skip_all;
#   my $clock = Testing::FakeClock->new(120);    # seconds ahead
#   my $machine = Testing::Machine->start({redis => $url}, env => {$clock->env});
#   my $redis   = Testing::Redis->start(env => {$clock->env_of_redis});
#   $clock->step(-3_600);

use Carp                qw(croak);
use Config              qw(%Config);
use File::Temp          ();
use Testing::Developer  qw(needs);
use Testing::SourceTree qw(write_file);

my $LIBRARY = 'libfaketime.so.1';

# Redis asks no other function for the time of the day.
my $CLOCK_OF_REDIS = <<'EOC';
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
int gettimeofday(struct timeval *restrict at, void *restrict zone) {
    struct timespec now;
    long ahead = 0;
    FILE *file = fopen(getenv("FAKETIME_TIMESTAMP_FILE"), "r");
    if (file && fscanf(file, "%ld", &ahead) != 1) ahead = 0;
    if (file) fclose(file);
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec + ahead;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}
EOC

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

# The environment of a Redis that has this clock.
sub env_of_redis {
    my $self = shift;
    $self->{folder} = File::Temp->newdir;
    my $source = "$self->{folder}/clock.c";
    write_file($source, $CLOCK_OF_REDIS);
    my @command = (split(/ /, $Config{cc}), qw(-shared -fPIC -o), "$self->{folder}/clock.so", $source);
    system(@command) == 0 or croak "FakeClock: @command";
    return (LD_PRELOAD => "$self->{folder}/clock.so", FAKETIME_TIMESTAMP_FILE => $self->{file}->filename);
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

sub _library {
    my ($path) = grep { -e } map { "$_/faketime/$LIBRARY" } glob '/usr/lib/*-linux-gnu /usr/lib /usr/local/lib';
    return $path;
}

1;

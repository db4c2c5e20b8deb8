package Testing::Fault;
use strict;
use warnings;

# Makes system calls of one thread fail, as long as the object is there: strace is attached to it. What it hits are the
# calls themselves; a library that is loaded before others would not see those that Rust makes without libc.
#
#   my $fault = Testing::Fault->begin($thread, 'sendto,sendmsg', 'error=ENOBUFS:when=1..3');
#   ...
#   is $fault->end, 3;
#
# It is to end when it has hit as often as it may: a call that is hit just then would fail with ENOSYS.

use Carp               qw(croak);
use Testing::Deadline  qw(wait_until);
use Testing::Developer qw(has_command);
use File::Temp         ();
use Testing::Program   ();

my $DEADLINE = 10;    # seconds

# Public methods

sub begin {
    my ($class, $thread, $calls, $how) = @_;
    my $self = bless {
        strace => Testing::Program->new('strace'),
        trace  => File::Temp->new(TEMPLATE => 'strace-XXXXXX', TMPDIR => 1)
        },
        $class;
    my @what = map { ('-e', $_) } "trace=$calls", 'signal=none', "inject=$calls:$how";
    $self->{strace}->run({}, 'strace', '-o', $self->{trace}->filename, @what, '-p', $thread);
    my $is_there = sub { $self->{strace}->log =~ /attached/ };
    wait_until($DEADLINE, sub { $is_there->() || $self->{strace}->has_ended });
    croak 'Fault: ' . $self->{strace}->log if !$is_there->();
    return $self;
}

# How often it has hit so far.
sub count {
    my $self = shift;
    open my $lines, '<', $self->{trace}->filename or croak "Fault: $!";
    return scalar grep { /\(INJECTED\)$/ } readline $lines;
}

# Ends it, and says how often it has hit.
sub end {
    my $self = shift;
    $self->{strace}->stop;
    return $self->count;
}

# Why there can be no faults here; undef if there can.
sub missing {
    return 'there is no strace here'       if !has_command('strace');
    return 'strace may trace nothing here' if system('strace -o /dev/null true 2>/dev/null') != 0;
    return;
}

1;

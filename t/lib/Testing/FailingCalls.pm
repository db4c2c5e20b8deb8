package Testing::FailingCalls;
use Testing;

# Makes system calls of one thread fail while the object lives, by attaching strace to the thread. An LD_PRELOAD library
# would not see the calls that Rust makes without libc.
#
#   my $failing = Testing::FailingCalls->begin($thread, 'sendto,sendmsg', 'error=ENOBUFS:when=1..3');
#   ...
#   is $failing->end, 3;    # calls have failed
#
# End it only after the last failure: a call that is intercepted while strace detaches would fail with ENOSYS.

use Carp                qw(croak);
use Testing::Developer  qw(has_command);
use File::Temp          ();
use Testing::Program    ();
use Testing::SourceTree qw(slurp);

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
    wait_until(sub { $is_there->() || $self->{strace}->has_ended });
    croak 'FailingCalls: ' . $self->{strace}->log if !$is_there->();
    return $self;
}

# Returns how many calls have failed so far.
sub count {
    my $self = shift;
    return scalar(() = slurp($self->{trace}->filename) =~ /\(INJECTED\)$/mg);
}

# Detaches strace. Returns how many calls have failed.
sub end {
    my $self = shift;
    $self->{strace}->stop;
    return $self->count;
}

# Returns why calls cannot be made to fail here; undef if they can.
sub missing {
    return 'there is no strace here'             if !has_command('strace');
    return 'strace may not trace processes here' if system('strace -o /dev/null true 2>/dev/null') != 0;
    return;
}

1;

package Fault;
use strict;
use warnings;

# Makes system calls of one thread fail, as long as the object is there: strace is attached to it. What it hits are the
# calls themselves; a library that is loaded before others would not see those that Rust makes without libc.
#
#   my $fault = Fault->begin($thread, 'sendto,sendmsg', 'error=ENOBUFS:when=1..3');
#   ...
#   is $fault->end, 3;
#
# It is to end when it has hit as often as it may: a call that is hit just then would fail with ENOSYS.

use Carp       qw(croak);
use Deadline   qw(wait_until);
use Developer  qw(has_command);
use File::Temp ();
use POSIX      ();

my $DEADLINE = 10;    # seconds

# Public methods

sub begin {
    my ($class, $thread, $calls, $how) = @_;
    my $self =
        bless {owner => $$, map { ($_ => File::Temp->new(TEMPLATE => 'strace-XXXXXX', TMPDIR => 1)) } qw(said trace)},
        $class;
    defined(my $pid = $self->{pid} = fork) or croak "Fault: fork: $!";
    if (!$pid) {
        open STDOUT, '>>', $self->{said}->filename;
        open STDERR, '>&', \*STDOUT;
        my @what = map { ('-e', $_) } "trace=$calls", 'signal=none', "inject=$calls:$how";
        exec 'strace', '-o', $self->{trace}->filename, @what, '-p', $thread or POSIX::_exit(127);
    }
    my $is_there = sub { _text($self->{said}) =~ /attached/ };
    wait_until($DEADLINE, sub { $is_there->() || $self->_has_ended });
    croak 'Fault: ' . _text($self->{said}) if !$is_there->();
    return $self;
}

# How often it has hit so far.
sub count {
    my $self = shift;
    return scalar(() = _text($self->{trace}) =~ /\(INJECTED\)$/mg);
}

# Ends it, and says how often it has hit.
sub end {
    my $self = shift;
    if (!$self->_has_ended) {
        kill TERM => $self->{pid};
        wait_until($DEADLINE, sub { $self->_has_ended }) or kill KILL => $self->{pid};
        $self->_has_ended or waitpid $self->{pid}, 0;
    }
    return $self->count;
}

# Why there can be no faults here; undef if there can.
sub missing {
    return 'there is no strace here'       if !has_command('strace');
    return 'strace may trace nothing here' if system('strace -o /dev/null true 2>/dev/null') != 0;
    return;
}

sub DESTROY {
    my $self = shift;
    local ($@, $!, $?) = ('', 0, 0);
    $self->end if $self->{owner} == $$;
    return;
}

# Private functions and methods

sub _has_ended {
    my $self = shift;
    $self->{has_ended} ||= waitpid($self->{pid}, POSIX::WNOHANG()) != 0;
    return $self->{has_ended};
}

sub _text {
    my $file = shift;
    open my $lines, '<', $file->filename or croak "Fault: $!";
    local $/;
    return readline($lines) // '';
}

1;

package EventSource::Hub::Lease;
use strict;
use warnings;

# A task that one worker does for all: of the workers that ask a named hub for a lease, one holds it.

our $VERSION = '0.100';

use EventSource::Error;
use EventSource::XS ();
use EventSource::XS::ErrorLog;
use EventSource::XS::Loop;
use EventSource::XS::Settings;
use EventSource::XS::Stream::Native;
use Scalar::Util qw(refaddr weaken);
use Time::HiRes  qw(CLOCK_MONOTONIC clock_gettime);

$EventSource::XS::is_polling = 1;    # dispatch calls collect

my $SETTINGS = EventSource::XS::Settings->new(__PACKAGE__);

my $MAX_NAME_BYTES = 1200;           # in UTF-8
my $RETRY          = 1;              # seconds between two attempts while the hub process cannot be asked
my $PAUSE          = 0.01;           # seconds between two attempts of a patient one

# The states of a native lease, in the order of src/xs/eventsource.h.
my ($WAITING, $HELD, $LOST) = (0, 1, 2);

# The leases of this process and thread by their addresses.
my %LEASES;

sub CLONE {
    $_->{is_held} = !!0 for grep { defined } values %LEASES;
    %LEASES = ();
    return;
}

sub new {
    my ($class, @given) = @_;
    my %given = $SETTINGS->options('new takes settings', \@given, 'setting %s', qw(hub name on_change));
    my ($hub, $name) = @given{qw(hub name)};
    $SETTINGS->named_hub($hub);
    $name = $SETTINGS->name(name => $name);
    utf8::encode(my $bytes = defined $name ? $name : '');
    $SETTINGS->refuse(name => "name must be a string of 1 to $MAX_NAME_BYTES bytes in UTF-8")
        if !length $bytes || length $bytes > $MAX_NAME_BYTES;
    $SETTINGS->refuse(on_change => 'on_change must be a code reference')
        if !defined $SETTINGS->code(on_change => $given{on_change});
    my $self = bless {hub => $hub, name => $name, on_change => $given{on_change}, process => $$, is_held => !!0},
        $class;
    weaken($LEASES{refaddr $self} = $self);
    EventSource::XS::Stream::Native->watch;
    $self->_update_state;
    return $self;
}

# Public methods

sub collect {
    $_->_update_state for grep { defined } values %LEASES;
    return;
}

sub is_held { return $_[0]{is_held} }

# Returns whether this worker holds the lease; undef if the hub process cannot be asked. It is asked at once: under a server
# that blocks perhaps nothing else asks.
sub is_held_now {
    my $self = shift;
    delete $self->{next};
    $self->_update_state;
    return $self->_state == $LOST ? undef : $self->{is_held};
}

sub name { return $_[0]{name} }

sub DESTROY {
    my $self = shift;
    delete $LEASES{refaddr $self};
    return;
}

# Private methods

# Asks the hub process. If that fails, asks again later: a worker must not end because it cannot do more than others. Without an
# event loop that may be never, so it waits for a process that may just begin.
sub _ask {
    my $self = shift;
    my $now  = clock_gettime(CLOCK_MONOTONIC);
    return if $self->{next} && $now < $self->{next};
    delete @$self{qw(next timer)};
    my $hub   = $self->{hub};
    my $loop  = EventSource::XS::Loop->current;
    my $until = $now + ($loop ? 0 : $hub->absence->patience);
    my $error = $self->_elect;

    while (defined $error && clock_gettime(CLOCK_MONOTONIC) < $until) {
        Time::HiRes::sleep($PAUSE);
        $error = $self->_elect;
    }
    if (!defined $error) {
        delete $self->{error};
        return $hub->absence->end;
    }
    my $message = $error->message;
    my $is_new  = !defined $self->{error} || $self->{error} ne $message;
    EventSource::XS::ErrorLog->warn("EventSource::Hub::Lease: $message\n")
        if $is_new && $hub->absence->claim_log($error);
    $self->{error} = $message;
    $self->{next}  = clock_gettime(CLOCK_MONOTONIC) + $RETRY;
    return if !$loop;    # dispatch asks again
    weaken $self;
    $self->{timer} = $loop->after($RETRY, sub { $self->_ask_again if $self });
    return;
}

# The time of an event loop may be older than the clock, so its timer may come before the second is over.
sub _ask_again {
    my $self = shift;
    delete $self->{next};
    EventSource::XS->dispatch;
    return;
}

# Asks once. Returns why that failed; undef if it did not.
sub _elect {
    my $self = shift;
    delete $self->{native};
    my $native = bless \(my $place = ''), __PACKAGE__ . '::Native';
    local ($@, $SIG{__DIE__});
    if (eval { $self->{hub}->_elect($native, $self->{name}, ${EventSource::XS::Stream::Native->interpreter}); 1 }) {
        $self->{native} = $native;
        return undef;
    }
    return EventSource::Error->own($@);
}

# While it is not known who holds the lease, nothing changes: this worker may get it again.
sub _update_state {
    my $self = shift;
    return      if $self->{process} != $$;
    $self->_ask if $self->_state == $LOST;
    my $state = $self->_state;
    return if $state == $LOST || $self->{is_held} == ($state == $HELD);
    $self->{is_held} = $state == $HELD;
    weaken(my $lease = $self);
    EventSource::XS->later_here(sub { $lease->{on_change}->($lease) if $lease });
    return;
}

sub _state {
    my $self = shift;
    return $self->{native} ? $self->{native}->_state : $LOST;
}

1;
__END__

=encoding utf8

=head1 NAME

EventSource::Hub::Lease - Elect one worker for a task

=head1 SYNOPSIS

    use EventSource::Hub;
    use EventSource::Hub::Lease;

    my $hub   = EventSource::Hub->new(name => 'shop');
    my $lease = EventSource::Hub::Lease->new(
        hub       => $hub,
        name      => 'prices',
        on_change => sub {
            my $lease = shift;
            print $lease->is_held ? "this worker reads the prices\n" : "another worker reads the prices\n";
        },
    );

=head1 DESCRIPTION

The hub process (L<EventSource::Hub/name>) elects one of the workers that ask for a lease of the same name. When that one
ends, or frees the object, the worker that has waited longest gets it. A worker that is busy or stopped (C<SIGSTOP>) keeps its
lease. A forked child or a new thread does not inherit it.

If the hub process is lost, two workers may believe for some milliseconds that they hold the lease. Do what must not be done
twice with a key that the receiver checks.

=head1 METHODS

=head2 new

    my $lease = EventSource::Hub::Lease->new(hub => $hub, name => $name, on_change => $code);

Ask for a lease, and wait at most a quarter of a second for the answer. All arguments are required. C<name> is a string of 1
to 1,200 bytes in UTF-8, which all applications of the hub share; those that begin with C<EventSource::> are for this
distribution. A worker may ask for at most 256 leases. Throws C<invalid> if an argument is wrong.

C<on_change> is called with the lease when L</is_held> has changed, also when it is first true (L<EventSource::XS/WHEN
CALLBACKS RUN>).

If the hub process cannot be asked, a warning says so, and it is asked again after a second.

=head2 collect

    EventSource::Hub::Lease->collect;

Queue the callbacks of leases that have changed, as L<EventSource::XS/dispatch> does.

=head2 is_held

    my $is_held = $lease->is_held;

Return true if this worker holds the lease.

=head2 name

    my $name = $lease->name;

Return the name.

=cut

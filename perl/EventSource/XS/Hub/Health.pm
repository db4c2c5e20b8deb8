package EventSource::XS::Hub::Health;
use strict;
use warnings;

# Looks whether a named hub delivers: asks for its counts, again if they may be those of an unlucky moment. It publishes
# nothing.

use EventSource::XS::Settings;
use Time::HiRes qw(CLOCK_MONOTONIC clock_gettime sleep);

my $SETTINGS = EventSource::XS::Settings->new(__PACKAGE__);

my %DEFAULT = (lag => 10, pending => 3);    # seconds
my $STEP    = 0.1;                          # seconds between two looks

# Who has named a store.
my %ORIGIN = (
    kept =>
        'no connected program names this store, the hub has kept it from before: eventsource hub stop NAME forgets it',
    option => 'the hub process was started with this store (--store or EVENTSOURCE_STORE)',
    worker => 'a program has named this store (store of EventSource::Hub)',
);

# Take an EventSource::Hub::Process. lag is how many seconds after its storing an event may come, by default 10, and pending
# for how many seconds events may wait while none is stored, by default 3: numbers from 0, fractions allowed. Throws an
# EventSource::Error with the code invalid if one of them is wrong.
sub new {
    my ($class, $hub, @given) = @_;
    my %given = $SETTINGS->options('new takes a hub and settings', \@given, 'setting %s', keys %DEFAULT);
    $SETTINGS->seconds($_ => $given{$_}) for sort keys %given;
    my %limit = (%DEFAULT, map { defined $given{$_} ? ($_ => $given{$_}) : () } keys %given);
    return bless {hub => $hub, limit => \%limit}, $class;
}

# Public methods

sub examine {
    my $self    = shift;
    my $first   = $self->_look;
    my $problem = $self->_is_down || $self->_is_behind($first);
    $self->{problem} = $problem;
    return !defined $problem;
}

sub problem { return $_[0]{problem} }

sub stats { return $_[0]{stats} }

# Private methods and functions

# Looks again while events wait or come late, for the time in which one must have been stored. The lag is that of the last
# event: it says nothing if none has come since.
sub _is_behind {
    my ($self, $first) = @_;
    my $limit   = $self->{limit};
    my $ends    = clock_gettime(CLOCK_MONOTONIC) + $limit->{pending};
    my $waiting = $self->{stats}{store}{pending} > 0;
    my $is_late = $self->_is_late;
    my $has_new = 0;
    while (($waiting && !$has_new || $is_late) && clock_gettime(CLOCK_MONOTONIC) < $ends) {
        sleep $STEP;
        $self->_look;
        return $self->_is_down if defined $self->_is_down;
        $has_new = $self->{stats}{published} > $first->{published};
        $waiting = $waiting && $self->{stats}{store}{pending} > 0;
        $is_late = $is_late && $self->_is_late;
    }
    my $store = $self->{stats}{store};
    return sprintf '%d events wait to be stored, and none was stored for %s seconds%s', $store->{pending},
        _number($limit->{pending}), _last_error($store)
        if $waiting && !$has_new;
    return sprintf 'events come %s seconds after they were stored', _number($store->{lag}) if $is_late && $has_new;
    return undef;
}

sub _is_down {
    my $self  = shift;
    my $store = $self->{stats}{store};
    return undef if $store->{up};
    my $age   = $store->{since} ? time - $store->{since} : undef;
    my $since = defined $age && $age >= 1 ? sprintf ' for %d seconds', $age : '';
    return
          "its store ($store->{kind}"
        . (length $store->{place} ? " $store->{place}" : '')
        . ") is down$since"
        . _last_error($store)
        . $self->_origin($store);
}

sub _is_late { return $_[0]{stats}{store}{lag} > $_[0]{limit}{lag} }

sub _last_error {
    my $store = shift;
    return '' if !defined $store->{last_error};
    return sprintf '; its last error, %s seconds ago: %s', _number($store->{last_error_age}), $store->{last_error};
}

sub _look {
    my $self = shift;
    return $self->{stats} = $self->{hub}->stats;
}

# Says where the store comes from, because the program that asks may have none.
sub _origin {
    my ($self, $store) = @_;
    my $origin = $ORIGIN{$store->{source} // ''} // return '';
    return '; ' . $origin =~ s/\bNAME\b/$self->{hub}{name}/r;
}

sub _number {
    my $number = shift;
    return $number < 10 ? 0 + sprintf '%.1f', $number : int $number;
}

1;

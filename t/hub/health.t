# What EventSource::XS::Hub::Health makes of the counts of a hub. Each case is what the hub says, one answer after the other;
# the last one is repeated.

use lib 't/lib';
use Testing;
use EventSource::XS::Hub::Health;

package My::Hub {
    sub new { my ($class, @stats) = @_; return bless {stats => \@stats, asked => 0}, $class }

    sub stats {
        my $self = shift;
        $self->{asked}++;
        return @{$self->{stats}} > 1 ? shift @{$self->{stats}} : $self->{stats}[0];
    }
}

my %UP = (
    kind           => 'redis',
    place          => 'redis://h:1/0',
    up             => 1,
    since          => 1,
    lag            => 0,
    pending        => 0,
    last_error     => undef,
    last_error_age => undef,
);

# What a hub says: published events, and how its store differs from one that is well.
sub says {
    my ($published, %store) = @_;
    return {published => $published, store => {%UP, %store}};
}

for my $case (
    ['all is well',     undef,                                                            says(0)],
    ['a store is down', qr/\Aits store \(redis redis:\S+\) is down for [0-9]+ seconds\z/, says(0, up => 0)],
    [
        'a store is down since just now',
        qr/is down; its last error, 0[.]5 seconds ago: refused\z/,
        says(0, up => 0, since => time + 5, last_error => 'refused', last_error_age => 0.5)
    ],
    ['memory is down', qr/\Aits store \(memory\) is down/, says(0, up => 0, kind => 'memory', place => '')],
    ['an event was pending',                  undef,       says(1, pending => 1), says(2, pending => 0)],
    ['others are always pending, and stored', undef,       says(1, pending => 3), says(2, pending => 3)],
    [
        'events are pending',
        qr/\A3 events wait to be stored, and none was stored for 0[.]4 seconds\z/,
        says(1, pending => 3)
    ],
    ['it goes down meanwhile', qr/is down/, says(1, pending => 3), says(1, pending => 3, up => 0)],
    ['events come late', qr/\Aevents come 12 seconds after they were stored\z/, says(1, lag => 12), says(2, lag => 12)],
    ['an event came late, and none since',    undef,                            says(1, lag => 12)],
    ['an event came late, and others do not', undef, says(1, lag        => 12), says(2, lag => 0.1)],
    ['an old error',                          undef, says(1, last_error => 'refused', last_error_age => 5)],
) {
    my ($name, $problem, @stats) = @$case;
    subtest $name => sub {
        my $hub    = My::Hub->new(@stats);
        my $health = EventSource::XS::Hub::Health->new($hub, lag => 10, pending => 0.4);
        is !!$health->examine, !defined $problem, 'it is ' . (defined $problem ? 'red' : 'green');
        ref $problem ? like $health->problem, $problem, 'with the problem' : is $health->problem, undef, 'without one';
        is ref $health->stats, 'HASH', 'the counts are there';
        is $hub->{asked},      1,      'it was asked once' if $name eq 'all is well';
    };
}

for my $wrong ([lagg => 1], [lag => -1], [pending => 'long']) {
    ok !eval { EventSource::XS::Hub::Health->new(My::Hub->new, @$wrong); 1 }, "@$wrong: refused";
    is $@->field, $wrong->[0], 'by its name';
}

done_testing;

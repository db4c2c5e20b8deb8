package EventSource::XS::Outbox::Metrics;
use strict;
use warnings;

# The counts of the table of an outbox, as text of OpenMetrics 1.0.

# The name without its prefix, the count, the unit, the text.
my @GAUGES = (
    [waiting            => 'waiting',      '',        'Committed rows that wait to be published.'],
    [oldest_age_seconds => 'oldest_age',   'seconds', 'For how long the oldest of these rows has waited.'],
    [dead_letters       => 'dead_letters', '',        'Dead letters, which wait to be mended.'],
    [followed           => 'follower',     '',        '1 if a process follows the outbox, otherwise 0.'],
);

# Public methods

# The text, of counts (EventSource::XS::Outbox::Database), with the hub and the table as labels. Their names need no escapes.
sub text {
    my ($class, $counts, %label) = @_;
    my $labels = join ',', map { qq($_="$label{$_}") } sort keys %label;
    my %value  = (%$counts, follower => defined $counts->{follower} ? 1 : 0);
    my $text   = '';
    for my $gauge (@GAUGES) {
        my ($name, $count, $unit, $help) = ("eventsource_outbox_$gauge->[0]", @$gauge[1 .. 3]);
        $text .= "# TYPE $name gauge\n";
        $text .= "# UNIT $name $unit\n" if length $unit;
        $text .= "# HELP $name $help\n$name\{$labels} $value{$count}\n";
    }
    return "$text# EOF\n";
}

1;

package EventSource::XS::Doctor::Check::HubPolls;
use strict;
use warnings;

# Counts the streams of a hub that are polls, by reason. A few are those of clients behind proxies of their own. Many mean that
# one proxy hinders all.

use EventSource::XS::Doctor::Finding qw(number ok warning);

my $MANY     = 0.1;                           # of all streams
my @HINDERED = qw(mute silent refused cut);

# Public methods

sub findings {
    my ($class, $seen) = @_;
    return if !defined $seen->{hub};
    my $stats   = $seen->hub_stats;
    my $polls   = $stats->{polls} or return;    # hub_process says that there is no process
    my @reasons = map { $polls->{$_} ? "$_ $polls->{$_}" : () } @HINDERED, 'other';
    my $sentence =
          "$polls->{waiting} of "
        . number($stats->{streams}, 'stream', 'streams')
        . " of the hub $seen->{hub} poll now; polls so far, by reason: "
        . (join(', ', @reasons) || 'none') . '.';
    my %said = (measured => {streams => $stats->{streams}, %$polls});
    return ok('hub_polls', $sentence, %said)
        if !$polls->{waiting}
        || $polls->{waiting} < $MANY * $stats->{streams}
        || !grep { $polls->{$_} } @HINDERED;
    return warning(
        'hub_polls', $sentence,
        remedy =>
            'A proxy hinders these streams. If this report shows none, run eventsource doctor URL where such a client is:'
            . ' it says what the proxy does. Most let TLS through.',
        %said
    );
}

1;

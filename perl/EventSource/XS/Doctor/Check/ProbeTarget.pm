package EventSource::XS::Doctor::Check::ProbeTarget;
use strict;
use warnings;

# Looks whether a probe that has not arrived went to the hub and the channel that the stream reads. A misspelt name looks as if
# a proxy withheld the event. The hub process knows better: its ids begin with its epoch, and it counts the readers of a
# channel.

use EventSource::XS::Doctor::Check::HubName;
use EventSource::XS::Doctor::Finding qw(wrong);

# Public methods

sub findings {
    my ($class, $seen) = @_;
    my $target = $seen->{probe_target} or return;
    my ($hub, $channel) = @{$seen->{probe}}{qw(hub channel)};
    my @epochs = EventSource::XS::Doctor::Check::HubName->epochs_of($seen->{stream}->body);
    my %said   = (measured => $target, explains => ['buffering']);
    return wrong(
        'probe', "The probe was published to the hub $hub, whose ids begin with $target->{epoch}, and those of the"
            . " stream with $epochs[0]: the stream reads another hub, so the probe has not arrived.",
        remedy => 'Compare --hub and --socket with name and socket of EventSource::Hub->new in the application. A hub'
            . ' without a name has no process.',
        %said
    ) if @epochs && !grep { $_ eq $target->{epoch} } @epochs;

    # The stream may be on another machine, whose readers this one does not count.
    return if $target->{readers} || $target->{store} eq 'redis';
    return wrong(
        'probe', "The probe was published to the channel $channel of the hub $hub, which no stream reads, not even"
            . ' the one that is examined: so the probe has not arrived.',
        remedy =>
            'Compare --channel with the channels that the application subscribes the stream to, and --hub with its'
            . " hub: eventsource channels --hub $hub lists the channels that are read.",
        %said
    );
}

1;

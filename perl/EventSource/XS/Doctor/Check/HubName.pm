package EventSource::XS::Doctor::Check::HubName;
use strict;
use warnings;

# Checks that all requests reach one hub. A hub without a name is another one in each worker, so an event that one worker
# publishes does not reach the streams of the others, which looks as if a proxy withheld it. Each hub has an epoch, with which
# its ids begin. A probe that has not arrived may have gone to another hub, too, or to another channel: the hub process knows
# its epoch and counts the readers of a channel.

use EventSource::XS::Doctor::Check::Delivery;
use EventSource::XS::Doctor::Finding qw(named warning wrong);

my $REMEDY =
    q{Give the hub a name, EventSource::Hub->new(name => 'shop'): then it has a hub process, which all workers share. Behind a}
    . q{ proxy with several machines give it a store in Redis, too ("STORES" in EventSource::Deployment).};

# Public methods

# The epochs of a body, each once. Only positions and gaps are surely of the hub: an application may give its events ids.
sub epochs_of {
    my ($class, $body) = @_;
    my %seen;
    return grep { !$seen{$_}++ } map { ($_->{id} // '') =~ /\A([0-9a-z]+)-[0-9a-z-]+\z/ ? $1 : () }
        grep { !length($_->{data} // '') || ($_->{event} // '') eq 'gap' } @{$body->{blocks}};
}

sub findings {
    my ($class, $seen) = @_;
    return (named(hub_name => $class->_hub($seen)), named(probe => $class->probe($seen)));
}

# The finding of a misspelt hub or channel; nothing if the probe went where the stream reads.
sub probe {
    my ($class, $seen) = @_;
    my $target = $seen->{probe_target} or return;
    my ($hub, $channel) = @{$seen->{probe}}{qw(hub channel)};
    my @epochs = $class->epochs_of($seen->{stream}->body);
    $seen->measure(probe => %$target);
    return wrong(
        "The probe went to the hub $hub, whose ids begin with $target->{epoch}; the stream reads another hub ($epochs[0]).",
        'Compare --hub and --socket with name and socket of EventSource::Hub->new. A hub without a name has no process.',
        explains => ['buffering']
    ) if @epochs && !grep { $_ eq $target->{epoch} } @epochs;

    # The stream may be on another machine, whose readers this one does not count.
    return if $target->{readers} || $target->{store} eq 'redis';
    return wrong(
        "The probe was published to the channel $channel of the hub $hub, which no stream reads, not even this one.",
        'Compare --channel with the channels that the application subscribes the stream to, and --hub with its hub:'
            . " eventsource channels --hub $hub lists the channels that are read.",
        explains => ['buffering']
    );
}

# Private methods

sub _hub {
    my ($class, $seen)  = @_;
    my ($own,   $other) = $seen->epochs;
    return if !defined $other;
    $seen->measure(hub_name => epochs => [$own, $other]);
    my $sentence =
        "The ids of the stream begin with $own, and those of another request with $other: each worker has a hub of its own.";
    return warning($sentence, $REMEDY) if !$seen->{is_probed} || defined $seen->{probe_seconds};
    return wrong("$sentence So the probe has not arrived.",
        $REMEDY, explains => ['buffering', EventSource::XS::Doctor::Check::Delivery->affected]);
}

1;

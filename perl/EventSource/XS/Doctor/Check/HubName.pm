package EventSource::XS::Doctor::Check::HubName;
use strict;
use warnings;

# Checks that all requests reach one hub. A hub without a name is another one in each worker, so an event that one worker
# publishes does not reach the streams of the others, which looks as if a proxy withheld it. Each hub has an epoch, with which
# its ids begin.

use EventSource::XS::Doctor::Check::Delivery;
use EventSource::XS::Doctor::Finding qw(warning wrong);

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
    my ($class, $seen)  = @_;
    my ($own,   $other) = $seen->epochs;
    return if !defined $other;
    my %said = (remedy => $REMEDY, measured => {epochs => [$own, $other]});
    my $sentence =
          "The ids of the stream begin with $own, and those of another request with $other: each worker has a hub of"
        . ' its own, and an event reaches the streams of the worker that publishes it, no others.';
    return warning(hub_name => $sentence, %said) if !$seen->{is_probed} || defined $seen->{probe_seconds};
    return wrong(
        hub_name => "$sentence So the probe has not arrived.",
        %said, explains => ['buffering', EventSource::XS::Doctor::Check::Delivery->affected]
    );
}

1;

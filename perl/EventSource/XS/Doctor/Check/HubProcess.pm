package EventSource::XS::Doctor::Check::HubProcess;
use strict;
use warnings;

# Looks whether a restart of the service by systemd would kill the hub process together with its workers.

use EventSource::XS::Doctor::Finding qw(ok warning wrong);

# Public methods

sub findings {
    my ($class, $seen) = @_;
    return if !defined $seen->{hub};
    my $stats = $seen->hub_stats;
    return warning(
        'hub_process',
        "The hub $seen->{hub} has no process that this user can ask: $stats->{failure}.",
        remedy => 'Start the workers of the hub, or check --hub and --socket. Run the doctor as the user of the hub.'
    ) if defined $stats->{failure};
    my $hub     = $stats->{pid};
    my @workers = @{$seen->{workers} || $stats->{workers}};
    my $cgroup  = _cgroup($hub);
    my %said    = (measured => {hub => 0 + $hub, workers => [map { 0 + $_ } @workers], cgroup => $cgroup});
    return warning(
        'hub_process', "The hub $seen->{hub} is the process $hub; its workers could not be found.",
        remedy => 'Start the workers, or name them with --workers PID,PID.',
        %said
    ) if !@workers || !defined $cgroup;
    my ($same) = grep { (_cgroup($_) || '') eq $cgroup } @workers;
    return ok('hub_process',
        "The hub $seen->{hub} (process $hub) is in another cgroup than its workers, so it outlives their service.",
        %said)
        if !defined $same;
    my ($unit) = $cgroup =~ m{([^/]+\.service)};
    return ok(
        'hub_process',
        "The hub $seen->{hub} (process $hub) and its worker $same are in the same cgroup,"
            . " $cgroup, which is not a service of systemd.",
        %said
    ) if !defined $unit;
    return wrong(
        'hub_process',
        "The hub $seen->{hub} (process $hub) and its worker $same are both in $unit: a restart of $unit by systemd"
            . ' kills the hub, its history and all streams.',
        remedy => 'Run the hub in a service of its own, with the shipped units eventsource-hub@.socket and'
            . " eventsource-hub\@.service: systemctl enable --now eventsource-hub\@$seen->{hub}.socket",
        %said
    );
}

# Private functions

# The cgroup as systemd sees it: of version 2, or of the hierarchy name=systemd.
sub _cgroup {
    my $pid = shift;
    open my $file, '<', "/proc/$pid/cgroup" or return undef;
    my @lines     = readline $file;
    my ($systemd) = map { /\A[0-9]+:name=systemd:(.*)/ ? $1 : () } @lines;
    my ($unified) = map { /\A0::(.*)/                  ? $1 : () } @lines;
    return defined $systemd ? $systemd : $unified;
}

1;

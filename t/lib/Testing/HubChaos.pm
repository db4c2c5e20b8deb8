package Testing::HubChaos;
use Testing;

# A named hub while everything around it dies: four workers of Starman that are replaced after 20 requests,
# kill -9 of workers and of the hub process, pauses of that process, HUP, upgrades. Testing::Chaos keeps the books.

use parent 'Testing::Chaos';

my $WORKERS = 4;

# How often an action is chosen, of 10,000. Otherwise a client disconnects or a number is published.
my %OFTEN = (kill_worker => 150, kill_hub => 20, pause_hub => 40, reload => 20, upgrade => 50);
my @FIRST = qw(kill_worker kill_hub pause_hub reload upgrade);
my @WAYS  = qw(publish publish publish job job command);

sub _begin {
    my $self = shift;
    $self->_add_machine(workers => $WORKERS, args => [qw(--max-requests 20)]);
    return;
}

sub _act {
    my ($self, $turn, $turns) = @_;
    my $action = $self->_action($turn, $turns, \%OFTEN, @FIRST) // '';
    my ($client, $way, $victim, $leaves, $part) =
        map { int rand $_ } scalar @{$self->{clients}}, scalar @WAYS, $WORKERS, 2, 1_000;
    my ($machine) = @{$self->{machines}};
    my ($server)  = @{$machine->{servers}};
    return $self->_kill_hub($machine)                 if $action eq 'kill_hub';
    return $self->_kill_worker($server, $victim)      if $action eq 'kill_worker';
    return $self->_pause_hub($machine, $part / 1_000) if $action eq 'pause_hub';
    return $self->_reload($server)                    if $action eq 'reload';
    return $self->_upgrade($machine)                  if $action eq 'upgrade';
    return $leaves ? $self->_leave($self->{clients}[$client]) : $self->_publish($WAYS[$way], 0);
}

1;

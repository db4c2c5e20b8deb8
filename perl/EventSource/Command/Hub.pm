package EventSource::Command::Hub;
use strict;
use warnings;

# `eventsource hub`: the processes of hubs. `run` and `upgrade` are commands of the program eventsource-hub.

our $VERSION = '0.100';

use EventSource::Command;
use EventSource::Hub::Process;

my $COMMAND = 'EventSource::Command';

# The methods for the commands.
my %METHOD = (
    drain   => '_drain',
    list    => '_list',
    run     => '_run',
    start   => '_start',
    stop    => '_stop',
    upgrade => '_upgrade',
);

# How long `list` waits for each process, in seconds.
my $LIST_TIMEOUT = 1;

sub run {
    my ($class, @arguments) = @_;
    my @common = qw(socket=s timeout=f);
    my @own    = qw(within=f json idle-exit=s grace=s);
    my $option = $COMMAND->options('hub', \@arguments, @common, @own) or return 0;
    my $name   = shift @arguments;
    $COMMAND->usage('run, start, list, drain, upgrade or stop?') if !defined $name;
    my $method = $METHOD{$name} or $COMMAND->usage("unknown command hub $name");
    if ($name ne 'list') {
        $option->{hub} = shift @arguments;
        $COMMAND->usage("which hub? eventsource hub $name NAME") if !defined $option->{hub};
    }
    $COMMAND->usage("what is '$arguments[0]'?") if @arguments;
    return $class->$method($option);
}

sub _drain {
    my ($class, $option) = @_;
    $COMMAND->usage('over which time? --within SECONDS') if !defined $option->{within} || $option->{within} < 0;
    $COMMAND->connect($option, spawn => 0)->drain($option->{within});
    return 0;
}

# Replaces this process by the program of a hub's process.
sub _exec {
    my ($class, $command, $option, @names) = @_;
    my $program = EventSource::Hub::Process->program;
    my @given   = map { defined $option->{$_} ? ("--$_", $option->{$_}) : () } @names;
    local $SIG{PIPE} = 'DEFAULT';    # the program inherits what is ignored
    exec {$program} $program, $command, '--name', $option->{hub}, @given or die "cannot run $program: $!\n";
}

sub _list {
    my ($class, $option) = @_;
    for my $name (EventSource::Hub::Process->names) {
        my %place = (hub => $name, spawn => 0, timeout => $LIST_TIMEOUT);
        my $stats = eval { $COMMAND->connect({%place, %$option, hub => $name})->stats };
        if (!$stats) {
            $COMMAND->complain('hub', "$name: " . $COMMAND->message_of($@));
            next;
        }
        my %hub = (
            (map { $_ => $stats->{$_} } qw(age channels pid version workers)),
            name    => $name,
            streams => $stats->{open}
        );
        $COMMAND->print($option->{json} ? $COMMAND->json(\%hub) . "\n" : _line(%hub));
    }
    return 0;
}

sub _line {
    my %hub     = @_;
    my $workers = @{$hub{workers}};
    return $COMMAND->line(@hub{qw(name pid version)}, $workers, @hub{qw(streams channels)}, int $hub{age});
}

sub _run {
    my ($class, $option) = @_;
    return $class->_exec('run', $option, qw(socket idle-exit grace));
}

sub _start {
    my ($class, $option) = @_;
    $COMMAND->print($COMMAND->connect($option, spawn => 1)->pid . "\n");
    return 0;
}

sub _stop {
    my ($class, $option) = @_;
    $COMMAND->connect({timeout => $LIST_TIMEOUT, %$option}, spawn => 0)->stop;
    return 0;
}

sub _upgrade {
    my ($class, $option) = @_;
    return $class->_exec('upgrade', $option, qw(socket timeout));
}

1;
__END__

=encoding utf8

=head1 NAME

EventSource::Command::Hub - The command eventsource hub

=head1 SYNOPSIS

    use EventSource::Command::Hub;

    my $exit_code = EventSource::Command::Hub->run('start', 'shop');

=head1 METHODS

=head2 run

    my $exit_code = EventSource::Command::Hub->run(@arguments);

Start, list, drain, upgrade or stop processes of hubs, as L<eventsource/hub> describes it.

=head1 SEE ALSO

L<eventsource>, L<EventSource::Hub::Process>

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut

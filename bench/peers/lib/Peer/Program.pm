package Peer::Program;
use strict;
use warnings;

# A server that is another project's program. All its descendants count as its processes and end with it, whatever process
# groups they have created.
#
#   my $program = Peer::Program->new('axum');
#   $program->run({PORT => $program->port}, '/path/to/program');

use parent 'Testing::Daemon';
use Carp             qw(croak);
use Testing::Process qw(is_running);

# Public methods

# Returns its process id and those of all its descendants; nothing when it has ended.
sub pids {
    my $self = shift;
    my %children;
    for my $process (_processes()) { push @{$children{$process->{parent}}}, $process->{pid} }
    my @pids = grep { is_running($_) } $self->{pid};
    for (my $at = 0; $at < @pids; $at++) { push @pids, @{$children{$pids[$at]} || []} }    ## no critic (CStyleForLoops)
    return @pids;
}

# A kill is for all of its processes at once.
sub restart {
    my ($self, $signal) = @_;
    if ($signal eq 'KILL') {
        kill KILL => $self->pids;
        $self->stop;
        return $self->start_again;
    }
    return $self->SUPER::restart($signal);
}

# Stops it, then kills its remaining processes. The start time guards against a reused process id.
sub stop {
    my $self = shift;
    return if !$self->{pid};
    my %mine   = map { $_ => 1 } $self->pids;
    my %before = map { $_->{pid} => $_->{since} } grep { $mine{$_->{pid}} } _processes();
    my @done   = $self->SUPER::stop;
    for my $process (_processes()) {
        my $since = $before{$process->{pid}};
        kill KILL => $process->{pid} if defined $since && $since == $process->{since};
    }
    return @done;
}

# Writes a file in its folder from a template and returns its path. Words between @ are replaced, folder and port included.
sub write_from {
    my ($self, $template, %word) = @_;
    %word = (folder => $self->folder, port => $self->port, %word);
    open my $from, '<', $template or croak "$template: $!";
    my $text = join '', readline $from;
    $text =~ s{\@([a-z]+)\@}{$word{$1} // croak "$template: no value for $1"}ge;
    my $path = $self->folder . '/' . ($template =~ s{.*/}{}r);
    open my $to, '>', $path or croak "$path: $!";
    print {$to} $text;
    close $to or croak "$path: $!";
    return $path;
}

# Private functions

# Returns all running processes: pid, parent, and start time in clock ticks.
sub _processes {
    my @processes;
    for my $file (glob '/proc/[0-9]*/stat') {
        open my $stat, '<', $file or next;
        my ($pid, $rest) = (readline($stat) // '') =~ /\A([0-9]+) \(.*\) (.*)/s or next;
        my ($state, $parent, @more) = split ' ', $rest;
        push @processes, {pid => $pid, parent => $parent, since => $more[17]} if $state ne 'Z';
    }
    return @processes;
}

1;

package Peer::Program;
use strict;
use warnings;

# A server that is somebody else's program. Its processes are those that it has started, whatever groups they have made
# of themselves: all of them count, and all of them end with it.
#
#   my $program = Peer::Program->new('axum');
#   $program->run({PORT => $program->port}, '/path/to/program');

use parent 'Testing::Daemon';
use Carp qw(croak);

# Public methods

# Itself, and what it has started, and so on.
sub pids {
    my $self = shift;
    my %children;
    for my $process (_processes()) { push @{$children{$process->{parent}}}, $process->{pid} }
    my @pids = $self->{pid};
    for (my $at = 0; $at < @pids; $at++) { push @pids, @{$children{$pids[$at]} || []} }    ## no critic (CStyleForLoops)
    return @pids;
}

# Whatever of it is left when it has ended is killed, if it is still the same process.
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

# Writes a file in its folder from a template: words between @ are filled in, its folder and port too. Returns its path.
sub write_from {
    my ($self, $template, %word) = @_;
    %word = (folder => $self->folder, port => $self->port, %word);
    open my $from, '<', $template or croak "$template: $!";
    my $text = join '', readline $from;
    $text =~ s{\@([a-z]+)\@}{$word{$1} // croak "$template: there is no $1"}ge;
    my $path = $self->folder . '/' . ($template =~ s{.*/}{}r);
    open my $to, '>', $path or croak "$path: $!";
    print {$to} $text;
    close $to or croak "$path: $!";
    return $path;
}

# Private functions

# All processes that run: pid, parent, and since when, in ticks of the clock.
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

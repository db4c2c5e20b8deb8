package Dashboard::Machine;
use strict;
use warnings;

# What this machine is doing, from /proc. Elsewhere there is no /proc: then only the load is known, and what is not
# known is left out.

use Sys::Hostname qw(hostname);
use Time::HiRes   qw(time);

sub new {
    my $self = bless {}, shift;
    $self->figures;    # use of the processor and the network is known from the second look on
    return $self;
}

# Public methods

# {time, load, cpu, memory, network}: seconds; three averages; percent; bytes; bytes a second.
sub figures {
    my $self    = shift;
    my $figures = {time => time};
    my %look    = (
        load    => scalar _load(),
        cpu     => scalar $self->_cpu,
        memory  => scalar _memory(),
        network => scalar $self->_network($figures->{time}),
    );
    defined $look{$_} and $figures->{$_} = $look{$_} for keys %look;
    return $figures;
}

sub name { return hostname() }

sub processors {
    my $count = () = (_read('/proc/stat') // '') =~ /^cpu[0-9]/mg;
    return $count || undef;
}

# Private methods and functions

# The part of the time since the last look, in percent, in which the processors were not idle.
sub _cpu {
    my $self   = shift;
    my ($line) = (_read('/proc/stat') // '') =~ /^cpu +([0-9 ]+)/m or return;
    my @spent  = split / /, $line;
    my $idle   = $spent[3] + ($spent[4] || 0);
    my $all    = 0;
    $all += $_ for @spent[0 .. ($#spent < 7 ? $#spent : 7)];
    my ($idle_before, $all_before) = @{$self->{cpu} || [$idle, $all]};
    return if $self->{cpu} && $all == $all_before;
    $self->{cpu} = [$idle, $all];
    return if $all == $all_before;
    return 100 * (1 - ($idle - $idle_before) / ($all - $all_before));
}

sub _load {
    my $text = _read('/proc/loadavg');
    $text = qx{uptime} =~ s/.*load averages?: *//sr =~ tr/,/ /r if !defined $text;
    my @load = $text =~ /([0-9]+\.[0-9]+)/g;
    return @load >= 3 ? [map { 0 + $_ } @load[0 .. 2]] : undef;
}

sub _memory {
    my %kilobytes = (_read('/proc/meminfo') // '') =~ /^(\w+): +([0-9]+) kB/mg;
    my ($total, $free) = @kilobytes{qw(MemTotal MemAvailable)};
    return defined $free ? {total => $total * 1024, used => ($total - $free) * 1024} : undef;
}

# All interfaces but the loopback; that one too if there is no other that anything has passed.
sub _network {
    my ($self, $now) = @_;
    my $text = _read('/proc/net/dev');
    return if !defined $text;
    my ($in, $out) = (0, 0);
    while ($text =~ /^ *(\S+): *([0-9]+)(?: +[0-9]+){7} +([0-9]+)/mg) {
        ($in, $out) = ($in + $2, $out + $3) if $1 ne 'lo';
    }
    ($in, $out) = ($1, $2) if !$in && $text =~ /^ *lo: *([0-9]+)(?: +[0-9]+){7} +([0-9]+)/m;
    my $before = $self->{network};
    $self->{network} = [$now, $in, $out];
    return if !$before;
    my $seconds = $now - $before->[0];
    return if $seconds <= 0;
    return {received => ($in - $before->[1]) / $seconds, sent => ($out - $before->[2]) / $seconds};
}

sub _read {
    open my $file, '<', $_[0] or return;
    local $/;
    return scalar readline $file;
}

1;

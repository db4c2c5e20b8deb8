package EventSource::XS::Command::Stats;
use strict;
use warnings;

# `eventsource stats`: prints the counts of a hub and of its process.

use EventSource::XS::Command;
use Time::HiRes qw(sleep);

my $COMMAND = 'EventSource::XS::Command';

sub run {
    my ($class, @arguments) = @_;
    my $option =
        $COMMAND->options('stats', \@arguments, qw(hub=s socket=s timeout=f channel=s json openmetrics watch=f));
    $COMMAND->usage("what is '$arguments[0]'?")                    if @arguments;
    $COMMAND->usage('--watch takes seconds, above 0')              if defined $option->{watch} && $option->{watch} <= 0;
    $COMMAND->usage('--json and --openmetrics exclude each other') if $option->{json} && $option->{openmetrics};
    my $channel = defined $option->{channel} ? $COMMAND->text('--channel', $option->{channel}) : undef;
    my $is_over = 0;
    local @SIG{qw(INT TERM)} = (sub { $is_over = 1 }) x 2;
    my $hub = $COMMAND->connect($option, autostart => 0);

    while (1) {
        $COMMAND->print(_printed($hub, $channel, $option));
        last if !$option->{watch} || $is_over;
        sleep $option->{watch};
        last                  if $is_over;
        $COMMAND->print("\n") if !$option->{json} && !$option->{openmetrics};
    }
    return;
}

sub _printed {
    my ($hub, $channel, $option) = @_;
    return $hub->openmetrics(defined $channel ? $channel : ()) if $option->{openmetrics};
    my $stats = $hub->stats($channel);
    return $option->{json} ? $COMMAND->json($stats) . "\n" : _text($stats);
}

sub _text {
    my $stats = shift;
    my %flat  = %$stats;
    for my $group (grep { ref $flat{$_} eq 'HASH' } keys %flat) {
        my $values = delete $flat{$group};
        $flat{"$group.$_"} = $values->{$_} for keys %$values;
    }
    $flat{workers} = join ' ', @{$flat{workers}};
    return join '', map { $COMMAND->line($_, $flat{$_}) } grep { defined $flat{$_} } sort keys %flat;
}

1;

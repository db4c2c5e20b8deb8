package EventSource::XS::Command::End;
use strict;
use warnings;

# `eventsource end`: ends streams of a hub by their labels or topics, and prints how many.

use EventSource::XS::Command;

my $COMMAND = 'EventSource::XS::Command';

sub run {
    my ($class, @arguments) = @_;
    my $option = $COMMAND->options('end', \@arguments, qw(hub=s socket=s timeout=f label=s@ topic=s@ finish))
        or return 0;
    $COMMAND->usage("what is '$arguments[0]'? --label LABEL or --topic TOPIC says which streams") if @arguments;
    my ($labels, $topics) = map { $option->{$_} || [] } qw(label topic);
    $COMMAND->usage('which streams? --label LABEL or --topic TOPIC') if !@$labels && !@$topics;
    my @labels = map { $COMMAND->text('--label', $_) } @$labels;
    my @topics = map { $COMMAND->topic('--topic', $_) } @$topics;
    my $hub    = $COMMAND->connect($option, autostart => 0);
    my $count  = $hub->end(label => \@labels, topics => \@topics, finish => $option->{finish});
    $COMMAND->print("$count\n");
    return 0;
}

1;

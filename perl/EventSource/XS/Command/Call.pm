package EventSource::XS::Command::Call;
use strict;
use warnings;

# The commands that are a call of a hub: each has a method of its name.

use EventSource::XS::Command;
use Time::HiRes qw(sleep);

my $COMMAND = 'EventSource::XS::Command';

# Lists the channels of a hub.
sub channels {
    my ($class, @arguments) = @_;
    my $option = $COMMAND->options('channels', \@arguments, qw(hub=s socket=s timeout=f match=s oldest json));
    $COMMAND->usage("what is '$arguments[0]'? --match PATTERN selects channels") if @arguments;
    my $pattern = defined $option->{match} ? $COMMAND->text('--match', $option->{match}) : undef;
    my $hub     = $COMMAND->connect($option, autostart => 0);
    my @columns = $option->{oldest} ? qw(OLDEST-ID OLDEST) : ();
    $COMMAND->print_heading($option, qw(NAME SUBSCRIPTIONS EVENTS BYTES LAST-ID KEYS), @columns);
    $hub->channels(
        $pattern,
        sub {
            my $channel = shift;
            my @fields  = @$channel{qw(name subscribers events bytes last_id keys)};
            if ($option->{oldest}) {
                my $oldest = $channel->{oldest} = $hub->oldest($channel->{name});
                push @fields, map { defined $_ ? $_ : '' } @{$oldest || {}}{qw(id time)};
            }
            $COMMAND->print_item($option, $channel, @fields);
        }
    );
    return;
}

# Ends streams by their labels or topics, and prints how many.
sub end {
    my ($class, @arguments) = @_;
    my $option = $COMMAND->options('end', \@arguments, qw(hub=s socket=s timeout=f label=s@ topic=s@ finish));
    $COMMAND->usage("what is '$arguments[0]'? --label LABEL or --topic TOPIC says which streams") if @arguments;
    my ($labels, $topics) = map { $option->{$_} || [] } qw(label topic);
    $COMMAND->usage('which streams? --label LABEL or --topic TOPIC') if !@$labels && !@$topics;
    my @labels = map { $COMMAND->text('--label', $_) } @$labels;
    my @topics = map { $COMMAND->topic('--topic', $_) } @$topics;
    my $hub    = $COMMAND->connect($option, autostart => 0);
    return $COMMAND->print($hub->end(label => \@labels, topics => \@topics, finish => $option->{finish}) . "\n");
}

# Removes a key from the state of a channel, and prints the id of the event that says so.
sub forget {
    my ($class, @arguments) = @_;
    my $option =
        $COMMAND->options('forget', \@arguments,
        qw(hub=s socket=s autostart! timeout=f event=s data=s show-channel=s quiet|q));
    $COMMAND->usage('which channel, and which key?') if @arguments < 2;
    $COMMAND->usage("what is '$arguments[2]'?")      if @arguments > 2;
    my ($channel, $key) = map { $COMMAND->text("the $_", shift @arguments) } qw(channel key);
    my %event = map { defined $option->{$_} ? ($_ => $COMMAND->text("--$_", $option->{$_})) : () } qw(event data);
    my $id    = $COMMAND->connect($option)->forget($channel, $key, \%event);
    return $option->{quiet} ? undef : $COMMAND->print("$id\n");
}

# Lists the members of a channel.
sub members {
    my ($class, @arguments) = @_;
    my $option = $COMMAND->options('members', \@arguments, qw(hub=s socket=s timeout=f json));
    $COMMAND->usage('whose members? The channel is missing') if !@arguments;
    my $channel = $COMMAND->text('channel', shift @arguments);
    $COMMAND->usage("what is '$arguments[0]'? There is one channel") if @arguments;
    $COMMAND->print_heading($option, qw(ID STREAMS SINCE DATA));
    for my $member ($COMMAND->connect($option, autostart => 0)->members($channel)) {
        my $data = $member->{data};
        utf8::decode($data = $COMMAND->json($member->{json})) if !defined $data;
        $COMMAND->print_item($option, $member, @$member{qw(id streams since)}, $data);
    }
    return;
}

# Prints the counts of a hub and of its process.
sub stats {
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
        $COMMAND->print(_printed_stats($hub, $channel, $option));
        last if !$option->{watch} || $is_over;
        sleep $option->{watch};
        last                  if $is_over;
        $COMMAND->print("\n") if !$option->{json} && !$option->{openmetrics};
    }
    return;
}

# Private functions

sub _printed_stats {
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

package EventSource::XS::Command::Forget;
use strict;
use warnings;

# `eventsource forget`: removes a key from the state of a channel, and prints the id of the event that says so.

use EventSource::XS::Command;

my $COMMAND = 'EventSource::XS::Command';

sub run {
    my ($class, @arguments) = @_;
    my $option =
        $COMMAND->options('forget', \@arguments,
        qw(hub=s socket=s autostart! timeout=f event=s data=s show-channel=s quiet|q))
        or return 0;
    $COMMAND->usage('which channel, and which key?') if @arguments < 2;
    $COMMAND->usage("what is '$arguments[2]'?")      if @arguments > 2;
    my ($channel, $key) =
        ($COMMAND->text('the channel', $arguments[0]), $COMMAND->text('the key', $arguments[1]));
    my %event = map { defined $option->{$_} ? ($_ => $COMMAND->text("--$_", $option->{$_})) : () } qw(event data);
    my $id    = $COMMAND->connect($option)->forget($channel, $key, \%event);
    $COMMAND->print("$id\n") if !$option->{quiet};
    return 0;
}

1;

package EventSource::XS::Command::Members;
use strict;
use warnings;

# `eventsource members`: lists the members of a channel.

use EventSource::XS::Command;

my $COMMAND = 'EventSource::XS::Command';

sub run {
    my ($class, @arguments) = @_;
    my $option = $COMMAND->options('members', \@arguments, qw(hub=s socket=s timeout=f json)) or return 0;
    $COMMAND->usage('whose members? The channel is missing') if !@arguments;
    my $channel = $COMMAND->text('channel', shift @arguments);
    $COMMAND->usage("what is '$arguments[0]'? There is one channel") if @arguments;
    $COMMAND->print_heading($option, qw(ID STREAMS SINCE DATA));
    for my $member ($COMMAND->connect($option, autostart => 0)->members($channel)) {
        my $data = $member->{data};
        utf8::decode($data = $COMMAND->json($member->{json})) if !defined $data;
        my @fields = (@$member{qw(id streams since)}, $data);
        $COMMAND->print($option->{json} ? $COMMAND->json($member) . "\n" : $COMMAND->line(@fields));
    }
    return 0;
}

1;

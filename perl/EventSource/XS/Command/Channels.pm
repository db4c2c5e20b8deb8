package EventSource::XS::Command::Channels;
use strict;
use warnings;

# `eventsource channels`: lists the channels of a hub.

use EventSource::XS::Command;

my $COMMAND = 'EventSource::XS::Command';

sub run {
    my ($class, @arguments) = @_;
    my $option = $COMMAND->options('channels', \@arguments, qw(hub=s socket=s timeout=f match=s oldest json))
        or return 0;
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
            $COMMAND->print($option->{json} ? $COMMAND->json($channel) . "\n" : $COMMAND->line(@fields));
        }
    );
    return 0;
}

1;

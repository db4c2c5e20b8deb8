package EventSource::XS::Command::Channels;
use strict;
use warnings;

# `eventsource channels`: lists the channels of a hub.

our $VERSION = '0.100';

use EventSource::XS::Command;

my $COMMAND = 'EventSource::XS::Command';

sub run {
    my ($class, @arguments) = @_;
    my $option = $COMMAND->options('channels', \@arguments, qw(hub=s socket=s timeout=f match=s json)) or return 0;
    $COMMAND->usage("what is '$arguments[0]'? --match PATTERN selects channels") if @arguments;
    my $pattern = defined $option->{match} ? $COMMAND->text('--match', $option->{match}) : undef;
    my $hub     = $COMMAND->connect($option, spawn => 0);
    $hub->channels(
        $pattern,
        sub {
            my $channel = shift;
            my @fields  = @$channel{qw(name subscribers events bytes last_id)};
            $COMMAND->print($option->{json} ? $COMMAND->json($channel) . "\n" : $COMMAND->line(@fields));
        }
    );
    return 0;
}

1;
__END__

=encoding utf8

=head1 NAME

EventSource::XS::Command::Channels - The command eventsource channels

=head1 SYNOPSIS

    use EventSource::XS::Command::Channels;

    my $exit_code = EventSource::XS::Command::Channels->run('--hub', 'shop', '--match', 'news/*');

=head1 METHODS

=head2 run

    my $exit_code = EventSource::XS::Command::Channels->run(@arguments);

List the channels of a hub, as L<eventsource/channels> describes it.

=head1 SEE ALSO

L<eventsource>, L<EventSource::Hub::Process/channels>

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut

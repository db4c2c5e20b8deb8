package EventSource::XS::Hub::LoggedEvent;
use strict;
use warnings;

# The events of a channel's history or state, as `history` and `state` of a hub return them. The native hub gives them in parts:
# of each event the key, and the block that clients are sent.

use EventSource::XS::Settings;

my $SETTINGS = EventSource::XS::Settings->new('EventSource::Hub');

# Public methods

# The history: all of it, or the last events. The code returns the part after a number, through another (0: all that there are
# now), of at most so many last events (0: all).
sub history {
    my ($class, $read, @given) = @_;
    my %option = $SETTINGS->parse('history takes a channel and options', @given);
    $SETTINGS->known(\%option, ['last'], 'option %s of history');
    my $last = $option{last};
    $SETTINGS->refuse(last => 'last must be a number of events from 1 on')
        if exists $option{last} && (!defined $last || ref $last || $last !~ /\A[1-9][0-9]{0,14}\z/);
    my ($after, $through, @events) = (0, 0);
    do {
        ($after, $through, my @found) = $read->(0, $after, $through, defined $last ? $last : 0);
        push @events, _infos_of(\@found);
        $last = 0;
    } while length $after;
    return @events;
}

# The state. A key that changes while it is read comes again in a later part.
sub state {
    my ($class, $read) = @_;
    my ($after, undef, @events) = (0);
    do {
        ($after, undef, my @found) = $read->(1, $after, 0, 0);
        push @events, _infos_of(\@found);
    } while length $after;
    my %is_later;
    my $name_of =
        sub { return $_->{key} // "\0" . ($_->{event} // '') };    # two of the application and the hub may have no key
    @events = reverse grep { !$is_later{$name_of->()}++ } reverse @events;
    return @events;
}

# Private functions

sub _infos_of {
    my $found = shift;
    my @infos;
    while (my ($key, $block) = splice @$found, 0, 2) {
        my %lines;
        for my $line (grep { length } split /\n/, $block) {
            my ($name, $value) = split /: ?/, $line, 2;
            push @{$lines{length $name ? $name : 'comment'}}, $value // '';
        }
        push @infos, {length $key ? (key => $key) : (), map { ($_ => join "\n", @{$lines{$_}}) } keys %lines};
    }
    return @infos;
}

1;

package EventSource::XS::Hub::ChannelList;
use strict;
use warnings;

# The channels of a hub, which its native side lists in parts of texts (of_channels in src/xs/counts.rs).

my @NUMBERS = qw(subscribers events bytes keys rate);

# Call code with a hash of each channel. The first function returns the part that begins at a place, as an array of texts.
sub each {
    my ($class, $part_at, $code) = @_;
    my $from = 0;
    while (length $from) {
        ($from, my @found) = @{$part_at->($from)};
        while (my ($name, @values) = splice @found, 0, @NUMBERS + 2) {
            my %channel = (name => $name, last_id => pop @values);
            @channel{@NUMBERS} = map { $_ + 0 } @values;
            $channel{rate} /= 3600;
            $code->(\%channel);
        }
    }
    return;
}

1;

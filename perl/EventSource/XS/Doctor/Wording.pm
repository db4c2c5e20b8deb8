package EventSource::XS::Doctor::Wording;
use strict;
use warnings;

# Numbers and times in the sentences of a report.

# Public methods

# Short words for seconds.
sub duration {
    my ($class, $seconds) = @_;
    return sprintf('%d hours',   $seconds / 3600) if $seconds >= 7200;
    return sprintf('%d minutes', $seconds / 60)   if $seconds >= 120;
    return (0 + sprintf $seconds < 10 ? '%.3f' : '%d', $seconds) . ' seconds';
}

sub number {
    my ($class, $number, $one, $more) = @_;
    return "$number " . ($number == 1 ? $one : $more);
}

1;

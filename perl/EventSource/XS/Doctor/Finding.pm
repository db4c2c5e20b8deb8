package EventSource::XS::Doctor::Finding;
use strict;
use warnings;

# The finding of one check: a verdict, a sentence, and a remedy with lines of configuration. And the words of sentences.

use EventSource::XS::Doctor::Remedy;
use Exporter qw(import);

our @EXPORT_OK = qw(duration finding number ok warning wrong);

# The longest text, in characters: a server may send long names and values.
my $MAX_TEXT = 1000;

# Public functions

# Short words for seconds.
sub duration {
    my $seconds = shift;
    return sprintf('%d hours',   $seconds / 3600) if $seconds >= 7200;
    return sprintf('%d minutes', $seconds / 60)   if $seconds >= 120;
    return (0 + sprintf $seconds < 10 ? '%.3f' : '%d', $seconds) . ' seconds';
}

# Options: remedy, proxies, the arguments of EventSource::XS::Doctor::Remedy, measured, and explains, the checks whose findings
# follow from this one.
sub finding {
    my ($verdict, $check, $sentence, %option) = @_;
    my $by = delete $option{proxies};
    $option{configuration} = EventSource::XS::Doctor::Remedy->lines(@$by) if $by;
    for my $text (grep { defined && length > $MAX_TEXT } $sentence, $option{remedy}) {
        $text = substr($text, 0, $MAX_TEXT) . '...';
    }
    my %finding = (configuration => {}, explains => [], measured => {}, remedy => undef, %option);
    return {%finding, check => $check, sentence => $sentence, verdict => $verdict};
}

sub number {
    my ($number, $one, $more) = @_;
    return "$number " . ($number == 1 ? $one : $more);
}

sub ok { return finding(ok => @_) }

sub warning { return finding(warning => @_) }

sub wrong { return finding(wrong => @_) }

1;

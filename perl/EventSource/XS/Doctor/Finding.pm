package EventSource::XS::Doctor::Finding;
use strict;
use warnings;

# The finding of one check: a verdict, a sentence, and a remedy with lines of configuration. And the words of sentences.

use EventSource::XS::Doctor::Remedy;
use Exporter qw(import);

our @EXPORT_OK = qw(duration finding judged named number ok rounded warning wrong);

# The longest text, in characters: a server may send long names and values.
my $MAX_TEXT = 1000;

# Public functions

# Short words for seconds.
sub duration {
    my $seconds = shift;
    return sprintf('%d hours',   $seconds / 3600) if $seconds >= 7200;
    return sprintf('%d minutes', $seconds / 60)   if $seconds >= 120;
    return ($seconds < 10 ? rounded($seconds) : int $seconds) . ' seconds';
}

# A finding has a remedy unless it is ok. Options: proxies, the arguments of EventSource::XS::Doctor::Remedy; explains, the
# checks whose findings follow from this one; check, its name, if it is not that of the others beside it (named).
sub finding {
    my ($verdict, $sentence, $remedy, %option) = @_;
    for my $text (grep { defined && length > $MAX_TEXT } $sentence, $remedy) {
        $text = substr($text, 0, $MAX_TEXT) . '...';
    }
    return {
        check         => $option{check},
        verdict       => $verdict,
        sentence      => $sentence,
        remedy        => $remedy,
        configuration => EventSource::XS::Doctor::Remedy->lines(@{$option{proxies} || []}),
        explains      => $option{explains} || [],
    };
}

# The finding of something: a clause if it is fine, or its troubles, each an array of a verdict, a clause and a remedy.
sub judged {
    my ($name, $fine, $figures, @troubles) = @_;
    return ok("$name $fine. $figures") if !@troubles;
    my ($verdict) = grep { $_ eq 'wrong' } map { $_->[0] } @troubles;
    my %seen;
    return finding(
        $verdict // 'warning',
        "$name " . join('; it ', map { $_->[1] } @troubles) . ". $figures",
        join ' ', grep { !$seen{$_}++ } map { $_->[2] } @troubles
    );
}

# The same findings, with the name of their check.
sub named {
    my ($check, @findings) = @_;
    $_->{check} //= $check for @findings;
    return @findings;
}

sub number {
    my ($number, $one, $more) = @_;
    return "$number " . ($number == 1 ? $one : $more);
}

sub ok { return finding(ok => @_) }

# Seconds as a number with milliseconds; undef stays.
sub rounded {
    my $seconds = shift;
    return defined $seconds ? 0 + sprintf '%.3f', $seconds : undef;
}

sub warning { return finding(warning => @_) }

sub wrong { return finding(wrong => @_) }

1;

package EventSource::XS::Doctor::Finding;
use strict;
use warnings;

# The finding of one check: a verdict, a sentence, and a remedy with lines of configuration.

use EventSource::XS::Doctor::Remedy;

# The longest text, in characters: a server may send long names and values.
my $MAX_TEXT = 1000;

# Public methods

sub check { return $_[0]{check} }

sub configuration { return $_[0]{configuration} || {} }

sub explains { return @{$_[0]{explains} || []} }

sub measured { return $_[0]{measured} || {} }

sub ok { my ($class, @rest) = @_; return $class->_new('ok', @rest) }

sub remedy { return $_[0]{remedy} }

sub sentence { return $_[0]{sentence} }

sub verdict { return $_[0]{verdict} }

sub warning { my ($class, @rest) = @_; return $class->_new('warning', @rest) }

sub wrong { my ($class, @rest) = @_; return $class->_new('wrong', @rest) }

# Private methods

sub _new {
    my ($class, $verdict, $check, $sentence, %option) = @_;
    my $by = delete $option{proxies};
    $option{configuration} = EventSource::XS::Doctor::Remedy->lines(@$by) if $by;
    for my $text (grep { defined && length > $MAX_TEXT } $sentence, $option{remedy}) {
        $text = substr($text, 0, $MAX_TEXT) . '...';
    }
    return bless {%option, verdict => $verdict, check => $check, sentence => $sentence}, $class;
}

1;

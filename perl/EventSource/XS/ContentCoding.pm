package EventSource::XS::ContentCoding;
use strict;
use warnings;

# The content coding of a response (RFC 9110, section 12.5.3), by the Accept-Encoding of its request.

use EventSource::XS::Library;

# The codings that the library has, in the order of their numbers, the best last.
my @NAMES = defined &_names ? _names() : 'identity';
my %NUMBER;
@NUMBER{@NAMES} = 0 .. $#NAMES;

# The weight of identity where nobody names it: anything else that is accepted is better.
my $LEAST = 0.0001;

# Public methods

# Return the name of the best coding that a client accepts. $field is its Accept-Encoding, undef without one. The names of the
# codings that there are may follow, the best last.
sub best {
    my ($class, $field, @names) = @_;
    return 'identity' if !defined $field;
    @names = @NAMES   if !@names;
    my %weight;
    for my $part (split /,/, lc $field) {
        my ($name, @parameters) = map { s/\A\s+|\s+\z//gr } split /;/, $part;
        next if !defined $name || !length $name;
        my ($given) = map { /\Aq\s*=\s*([01](?:[.][0-9]{0,3})?)\z/ ? $1 : /\Aq\s*=/ ? 0 : () } @parameters;
        $name =~ s/\Ax-(?=gzip\z)//;
        $weight{$name} = defined $given ? $given : 1;
    }
    my %default = (identity => $LEAST);
    my ($best, $most) = ('identity', 0);
    for my $name (@names) {
        my ($weight) = grep { defined } $weight{$name}, $weight{'*'}, $default{$name}, 0;
        ($best, $most) = ($name, $weight) if $weight > 0 && $weight >= $most;
    }
    return $best;
}

sub number { return $NUMBER{$_[1]} }

1;

package Testing::Vectors;
use strict;
use warnings;

# The cases in t/data/vectors: recorded output of the original HTTP::ServerEvent and Plack::App::EventSource. The cases of
# random.jsonl were drawn at random; each pair of kinds of values that fields can have is in one of them.
#
#   for my $case (vectors('as_string')) { ... }

use Exporter      qw(import);
use JSON::MaybeXS qw(decode_json);

our @EXPORT_OK = qw(vectors);

# Returns the cases of one kind, each {kind, args | pushes, out | croak, where}.
sub vectors {
    my $kind = shift;
    my @found;
    for my $file (glob 't/data/vectors/*.jsonl') {
        open my $lines, '<', $file or die "$file: $!";
        while (my $line = <$lines>) {
            my $case = decode_json($line);
            push @found, {%$case, where => "$file line $."} if $case->{kind} eq $kind;
        }
    }
    return @found;
}

1;

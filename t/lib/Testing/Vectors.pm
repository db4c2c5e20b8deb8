package Testing::Vectors;
use Testing;

# The cases in t/data/vectors: recorded output of the original HTTP::ServerEvent and Plack::App::EventSource. The plain twins
# of Testing::PlainFormatter must give it, too; random calls are compared with the twins.
#
#   for my $case (vectors('as_string')) { ... }
#   draw(sub { my $text = text("\n"); ... });    # many times; the pieces of the text are $PIECES and those given

use Exporter      qw(import);
use JSON::MaybeXS qw(decode_json);

our @EXPORT_OK = qw(draw text vectors);

my $CALLS = 1_000;
my $SEED  = defined $ENV{EVENTSOURCE_XS_SEED} ? $ENV{EVENTSOURCE_XS_SEED} : time;

my @PIECES = (
    'a',  ' ',    ':',    '0',        '-3',       'id: 7',    "\t",        "\x0B",
    "\f", "\x85", "\xE9", "\x{263A}", "\x{2028}", "\x{FEFF}", "\x{1F600}", 'x' x 300
);

# Runs code with random values, the same for the same EVENTSOURCE_XS_SEED.
sub draw {
    my $code = shift;
    srand $SEED;
    $code->() for 1 .. $CALLS;
    Test::More::diag("EVENTSOURCE_XS_SEED=$SEED") if !Test::More->builder->is_passing;
    return;
}

# Returns a random text, which may be empty.
sub text {
    my @pieces = (@PIECES, @_);
    return join '', map { $pieces[rand @pieces] } 1 .. rand 5;
}

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

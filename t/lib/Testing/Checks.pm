package Testing::Checks;
use Testing;

# The checks of a file, which run on each of its servers: a sentence, what a server must meet, and the code.
#
#   check 'the stream ends' => sub { my $run = shift; ... };
#   check 'the worker is free', loops => sub { ... };
#   run_checks($run, 'loops');    # what is given first, and what it meets

use Exporter 'import';
our @EXPORT_OK = qw(check run_checks);

my @CHECKS;

sub check {
    my ($sentence, @needs) = @_;
    push @CHECKS, [$sentence, pop @needs, @needs];
    return;
}

sub run_checks {
    my ($run, @meets) = @_;
    my %meets = map { ($_ => 1) } @meets;
    for (@CHECKS) {
        my ($sentence, $check, @needs) = @$_;
        next if grep { !$meets{$_} } @needs;
        subtest $sentence => sub { $check->($run) };
    }
    return;
}

1;

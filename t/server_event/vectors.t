# HTTP::ServerEvent prints the same as the original module of that name.

use lib 't/lib';
use Testing;
use HTTP::ServerEvent;
use Testing::Vectors qw(vectors);

# The only difference: the original module treated the data "0" as no data.
sub lost_zero {
    my %option = @{$_[0]};
    return defined $option{data} && $option{data} eq '0';
}

my ($same, $zero, $croaks) = (0, 0, 0);
my @warnings;
local $SIG{__WARN__} = sub { push @warnings, @_ };
for my $case (vectors('as_string')) {
    my @args = @{$case->{args}};
    my $got  = eval { HTTP::ServerEvent->as_string(@args) };
    if (defined $case->{croak}) {
        my $line = __LINE__ - 2;
        my $file = __FILE__;
        $croaks++ if is $@, "$case->{croak} at $file line $line.\n", "croaks: $case->{where}";
    }
    elsif (lost_zero(\@args)) {
        (my $expected = $case->{out}) =~ s/(\r\n)?\r\n\z/$1 ? "${1}data: 0\r\n\r\n" : "data: 0\r\n\r\n"/e;
        $expected =~ s/\A\r\n//;
        $zero++ if is $got, $expected, "0 is delivered: $case->{where}";
    }
    else {
        $same++ if is $got, $case->{out}, "the same characters: $case->{where}";
    }
}
is_deeply [map { s/ at .*//sr } @warnings], [q(EventSource::XS: as_string ignores the unknown field 'unknown')],
    'the only warning is of an unknown field';
cmp_ok $same,   '>',  400, 'more than 400 cases give the same characters';
cmp_ok $croaks, '>',  90,  'more than 90 cases croak with the same message';
cmp_ok $zero,   '>=', 2,   'at least two cases have the data "0"';

done_testing;

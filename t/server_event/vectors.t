# HTTP::ServerEvent prints the same as the original module of that name.

use lib 't/lib';
use Testing;
use HTTP::ServerEvent;
use Testing::PlainFormatter qw(plain_as_string);
use Testing::Vectors        qw(draw text vectors);

# The only difference: the original module treated the data "0" as no data.
sub lost_zero {
    my %option = @{$_[0]};
    return defined $option{data} && $option{data} eq '0';
}

# The result of a call, or its exception at this line.
sub printed {
    return eval { HTTP::ServerEvent->as_string(@_) } // $@ =~ s/ at \Q${\__FILE__}\E line ${\__LINE__}\.\n/\n/r;
}

sub printed_plainly {
    return eval { plain_as_string(undef, @_) } // $@;
}

my @warnings;
local $SIG{__WARN__} = sub { push @warnings, @_ };
for my $case (vectors('as_string')) {
    my @args     = @{$case->{args}};
    my $expected = defined $case->{croak} ? "$case->{croak}\n" : $case->{out};
    $expected = "data: 0\r\n\r\n" if lost_zero(\@args);
    is printed(@args),         $expected, "the same characters, or the same exception: $case->{where}";
    is printed_plainly(@args), $expected, "so does the plain twin: $case->{where}";
}

my @BREAKS = ("\r", "\n", "\r\n", "\0");

# A value of a random call: undef, a text, or for data an array of texts. A line break is rare in the other fields.
sub drawn {
    my $name = shift;
    return undef                                              if rand > 0.9;
    return text($name eq 'data' || rand > 0.9 ? @BREAKS : ()) if $name ne 'data' || rand > 0.3;
    return [map { text(@BREAKS) } 1 .. rand 4];
}

draw sub {
    my @args = map { ($_ => drawn($_)) } grep { rand > 0.4 } qw(data event id retry data unknown);
    is printed(@args), printed_plainly(@args), 'a random call prints the same as the plain twin'
        or diag explain \@args;
};

is_deeply [map { s/ at .*//sr } @warnings], [q(EventSource::XS: as_string ignores the unknown field 'unknown')],
    'the only warning is of an unknown field';

done_testing;

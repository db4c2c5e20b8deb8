# A string given to HTTP::ServerEvent->as_string as a field is sent as that field only: it cannot inject others.

use lib 't/lib';
use Testing;
use Encode             qw(encode);
use HTTP::ServerEvent  ();
use Testing::Injection qw(expected_lines lines no_injection require_parser);

require_parser();

sub as_bytes { return encode('UTF-8', HTTP::ServerEvent->as_string(@_)) }

my %expected = (
    expected_lines(),

    # As in the original module, line breaks at the end of data are dropped, and so is data that is then empty.
    data => sub {
        my $data = lines($_[0]);
        $data =~ s/\n+\z//;
        return {events => [length $data ? {data => $data} : ()]};
    },
);
for my $field (sort keys %expected) {
    my @beside = $field eq 'data' ? () : (data => 'beside');
    no_injection($field, sub { as_bytes($field => $_[0], @beside) }, $expected{$field});
}

done_testing;

# A string given to format_event as a field is sent as that field only: it cannot inject others.

use lib 't/lib';
use Testing;
use Encode             qw(encode);
use EventSource::XS    qw(format_event);
use Testing::Injection qw(expected_lines lines no_injection require_parser);

require_parser();

my %expected = (
    expected_lines(),
    retry => sub {
        my $string = shift;
        return if $string !~ /\A[0-9]+\z/;
        return {retries => [0 + $string], events => [{data => 'beside'}]};
    },
    data    => sub { return {events   => [{data => lines($_[0])}]} },
    comment => sub { return {comments => [split /\n/, lines($_[0]), -1], events => [{data => 'beside'}]} },
);

# split returns no line for an empty string, but an empty comment is a line.
my $comment = $expected{comment};
$expected{comment} = sub { my $want = $comment->(@_); push @{$want->{comments}}, '' if $_[0] eq ''; return $want };

for my $field (sort keys %expected) {
    my @beside = $field eq 'data' ? () : (data => 'beside');
    no_injection("$field, characters", sub { format_event($field => $_[0], @beside) }, $expected{$field});
    no_injection "$field, bytes",
        sub { format_event(bytes => 1, $field => encode('UTF-8', $_[0]), @beside) },
        $expected{$field};
}
no_injection 'elements of data',
    sub { format_event(data => [$_[0], $_[0]]) },
    sub { return {events => [{data => lines($_[0]) . "\n" . lines($_[0])}]} };

done_testing;

# A string that an application pushes as a field is sent as that field only: it cannot inject others.

use lib 't/lib';
use Testing;
use Encode             qw(encode);
use Testing::Injection qw(expected_lines lines no_injection require_parser);
use Testing::RecordingWriter;
use Plack::App::EventSource;

require_parser();

# Returns the output of an application with these options for these messages. Dies if push dies.
sub pushed {
    my ($option, @messages) = @_;
    my $writer = Testing::RecordingWriter->new;
    my $error;
    my $handler = sub {
        eval { $_[0]->push(@messages); 1 } or $error = $@;
    };
    my $app = Plack::App::EventSource->new(%$option, handler_cb => $handler)->to_app;
    $app->({REQUEST_METHOD => 'GET'})->(sub { return $writer });
    die $error if defined $error;
    return $writer->kept;
}

my %expected = (expected_lines(), data => sub { return {events => [{data => lines($_[0])}]} });
my %manner   = (
    'characters'           => [{characters => 1}, sub { return $_[0] }],
    'characters, by guess' => [{},                sub { return $_[0] }],
    'bytes, by guess'      => [{},                sub { return encode('UTF-8', $_[0]) }],
);
for my $manner (sort keys %manner) {
    my ($option, $given) = @{$manner{$manner}};
    for my $field (sort keys %expected) {
        my @beside = $field eq 'data' ? () : (data => 'beside');
        no_injection(
            "$field, $manner",
            sub { pushed($option, {$field => $given->($_[0]), @beside}) },
            $expected{$field}
        );
    }
    no_injection("a string, $manner", sub { pushed($option, $given->($_[0])) }, $expected{data});
    no_injection(
        "two strings, $manner",
        sub { pushed($option, $given->($_[0]), $given->($_[0])) },
        sub { return {events => [{data => lines($_[0]) . "\n" . lines($_[0])}]} }
    );
}

done_testing;

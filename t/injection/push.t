# A string that an application pushes as a field is sent as that field only: it cannot inject others.

use lib 't/lib';
use Testing;
use Encode             qw(encode);
use Testing::Injection qw(expected_lines lines no_injection require_parser);
use Testing::RecordingWriter;
use Plack::App::EventSource;

require_parser();

# What the handler pushes, and why push has died.
my (@messages, $error);

sub app {
    my @option  = @_;
    my $handler = sub {
        eval { $_[0]->push(@messages); 1 } or $error = $@;
    };
    return Plack::App::EventSource->new(@option, handler_cb => $handler)->to_app;
}

# Returns the output of an application for these messages. Dies if push dies.
sub pushed {
    (my $app, @messages) = @_;
    my $writer = Testing::RecordingWriter->new;
    $error = undef;
    $app->({REQUEST_METHOD => 'GET'})->(sub { return $writer });
    die $error if defined $error;
    return $writer->kept;
}

my %expected = (expected_lines(), data => sub { return {events => [{data => lines($_[0])}]} });
my %manner   = (
    'characters'           => [app(characters => 1), sub { return $_[0] }],
    'characters, by guess' => [app(),                sub { return $_[0] }],
    'bytes, by guess'      => [app(),                sub { return encode('UTF-8', $_[0]) }],
);
for my $manner (sort keys %manner) {
    my ($app, $given) = @{$manner{$manner}};
    for my $field (sort keys %expected) {
        my @beside = $field eq 'data' ? () : (data => 'beside');
        no_injection("$field, $manner", sub { pushed($app, {$field => $given->($_[0]), @beside}) }, $expected{$field});
    }
    no_injection("a string, $manner", sub { pushed($app, $given->($_[0])) }, $expected{data});
    no_injection "two strings, $manner",
        sub { pushed($app, $given->($_[0]), $given->($_[0])) },
        sub { return {events => [{data => lines($_[0]) . "\n" . lines($_[0])}]} };
}

done_testing;

# Plack::App::EventSource sends what the original module sends: head, events, end.

use lib 't/lib';
use Testing;
use Testing::RecordingWriter;
use Plack::App::EventSource;
use Testing::PlainFormatter qw(plain_push);
use Testing::Vectors        qw(draw text vectors);

# The declared difference: all bytes on the wire are UTF-8. A field that is UTF-8 as bytes is sent as it is, any other is
# encoded. No field of these cases has more than one line, so the rule applies to each line.
sub on_the_wire {
    my $text = shift;
    return join "\r\n", map {
        my $bytes = $_;
        my $valid = utf8::downgrade($bytes, 1) && utf8::decode(my $copy = $bytes);
        utf8::encode($bytes = $_) if !$valid;
        $bytes;
    } split /\r\n/, $text, -1;
}

# Calls the application as a server does. Returns the head, and the writer with what was written.
sub response_to {
    my @pushes = @_;
    my $app    = Plack::App::EventSource->new(
        handler_cb => sub {
            my $conn = shift;
            $conn->push(@$_) for @pushes;
            $conn->close;
        }
    )->to_app;
    my $writer = Testing::RecordingWriter->new;
    my $head;
    $app->({REQUEST_METHOD => 'GET', 'psgi.streaming' => 1})->(sub { $head = shift; $writer });
    return ($head, $writer);
}

my @warnings;
local $SIG{__WARN__} = sub { push @warnings, @_ };
for my $case (vectors('push')) {
    my ($head,   $writer)  = response_to(@{$case->{pushes}});
    my ($status, $headers) = @$head;
    is $writer->kept, on_the_wire($case->{out}),                              "the same bytes: $case->{where}";
    is join('', map { plain_push(@$_) } @{$case->{pushes}}), $case->{out},    "so does the plain twin: $case->{where}";
    is $writer->times_closed,                                $case->{closed}, "closed as often: $case->{where}";
    is $status,                                              $case->{status}, "the same status: $case->{where}";
    my %header = @$headers[0 .. 5];
    like $header{'Cache-Control'}, qr/, no-transform\z/, "proxies must not transform it: $case->{where}";
    s/, no-transform\z// for @$headers[0 .. 5];
    is_deeply [@$headers[0 .. 5]], $case->{headers}, "otherwise the same headers: $case->{where}";
    is_deeply [@$headers[6 .. 9]], ['X-Accel-Buffering', 'no', 'Incremental', '?1'],
        "the two for proxies come after the headers of the original: $case->{where}";
}

# A random message: a text, or fields with texts.
sub message {
    return text() if rand > 0.5;
    return {map { ($_ => rand > 0.8 ? undef : text()) } grep { rand > 0.5 } qw(event id data retry unknown)};
}

draw sub {
    my @pushes = map {
        [map { message() } 1 .. rand 4]
    } 1 .. rand 4;
    my (undef, $writer) = response_to(@pushes);
    is $writer->kept, on_the_wire(join '', map { plain_push(@$_) } @pushes),
        'random pushes send the same as the plain twin'
        or diag explain \@pushes;
};
is_deeply [map { s/ at .*//sr } @warnings], [q(EventSource::XS: push ignores the unknown field 'unknown')],
    'the only warning is of an unknown field';

done_testing;

# Plack::App::EventSource sends what the module of that name sends: head, events, end.

use strict;
use warnings;
use utf8;

use lib 't/lib';
use Plack::App::EventSource;
use Test::More;
use Vectors qw(vectors);

# The declared difference: what goes over the wire is UTF-8. A field that is UTF-8 as bytes is sent as it is, any other
# is encoded; no field of these cases has more than one line, so this can be said of each line.
sub on_the_wire {
    my $text = shift;
    return join "\r\n", map {
        my $bytes = $_;
        my $valid = utf8::downgrade($bytes, 1) && utf8::decode(my $copy = $bytes);
        utf8::encode($bytes = $_) if !$valid;
        $bytes;
    } split /\r\n/, $text, -1;
}

# Calls the application as a server does, and keeps what it does with the writer.
sub response_to {
    my @pushes = @_;
    my $app    = Plack::App::EventSource->new(
        handler_cb => sub {
            my $conn = shift;
            $conn->push(@$_) for @pushes;
            $conn->close;
        }
    )->to_app;
    my $writer = Kept->new;
    $app->({REQUEST_METHOD => 'GET', 'psgi.streaming' => 1})->(sub { $writer->{head} = shift; $writer });
    return $writer;
}

my $cases = 0;
for my $case (vectors('push')) {
    my $got = response_to(@{$case->{pushes}});
    is $got->{bytes},   on_the_wire($case->{out}), "the same bytes: $case->{where}";
    is $got->{closed},  $case->{closed},           "closed as often: $case->{where}";
    is $got->{head}[0], $case->{status},           "the same status: $case->{where}" if $case->{status};
    is_deeply [@{$got->{head}[1]}[0 .. 5]], $case->{headers}, "the same headers: $case->{where}" if $case->{headers};
    is_deeply [@{$got->{head}[1]}[6 .. 7]], ['X-Accel-Buffering', 'no'], "and one more: $case->{where}";
    $cases++;
}
cmp_ok $cases, '>', 500, 'all cases were there';

done_testing;

# A PSGI writer that keeps what it is given.
package Kept;

sub new   { return bless {bytes => '', closed => 0}, shift }
sub write { $_[0]{bytes} .= $_[1]; return }
sub close { $_[0]{closed}++;       return }

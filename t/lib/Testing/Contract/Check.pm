package Testing::Contract::Check;
use Testing;

# Building blocks for the checks of the contract's behaviours. They run in the test. A check is given the client of the
# behaviour's request, and the run (Testing::Contract).
#
#   check => text_is("data: foo\r\n\r\n"),
#   check => sub {
#       my ($client, $run) = @_;
#       response_ends_ok($client);
#       next_request_ok($run);
#   },

use Exporter                   qw(import);
use Testing::Contract::Handler qw(pushing source);

our @EXPORT_OK = qw(
    $STREAM_KIND client_leaves end_reported_ok head_is next_request_ok response_complete_ok response_ends_ok sends status_is
    stream_kind_is text_is
);

# The output of the handlers in t/lib/Testing/Contract/Middleware.pm. %s says whether the stream is native or on the server's
# writer.
our $STREAM_KIND = "data: %s\r\n\r\ndata: and goes on\r\n\r\n";

# Headers that the server adds.
my $ADDED_BY_SERVER = qr/\A(?:connection|date|server|transfer-encoding)\z/i;

# For so many seconds, other requests follow until an end is reported.
my $ASKS_FOR = 5;

# Public functions, each of which makes tests

# The callback on_close has reported. A worker of a server that blocks, which is idle before its stream has ended, runs it with
# its next request.
sub end_reported_ok {
    my ($client, $run, $report, $name) = @_;
    my $is_reported = sub { return $run->journal($client) =~ $report };
    wait_until($ASKS_FOR, sub { $is_reported->() || !$run->get('/one')->read_all }) if $run->has('blocking');
    return $run->journal_ok($client, $report, $name);
}

sub next_request_ok {
    my $run    = shift;
    my $client = $run->get('/one');
    ok $client->read_all && $client->text eq "data: foo\r\n\r\n", 'the server answers the next request';
    return;
}

sub response_complete_ok { return ok $_[0]->complete, 'the response is complete' }

sub response_ends_ok { return ok $_[0]->read_all, 'the response ends' }

# Public functions, each of which returns a check

# The client leaves while the handler pushes: with reset => 1 by RST, with bytes => TEXT after it has sent that text.
sub client_leaves {
    my %how = @_;
    return sub {
        my ($client, $run) = @_;
        ok $client->read_until(qr/data: tick 3\r\n/), 'the client receives the third event';
        $client->say($how{bytes}) if $how{bytes};
        $client->leave(reset => $how{reset});
        $run->journal_ok($client, qr/^push: (?!true)/m, 'a push to a client that has left is not true');
        like $run->journal($client), qr/^push: false$/m, 'a push to a client that has left returns false';
        $run->journal_ok($client, qr/^is_open: 0, push again: 0$/m, 'is_open and the next push are false too');
        end_reported_ok($client, $run, qr/^closed by client, open: 0$/m, 'on_close reports the reason client');
        next_request_ok($run);
    };
}

# The status is 200 and the headers are these, in this order, apart from those of the server.
sub head_is {
    my @expected = @_;
    return sub {
        my $client = shift;
        response_ends_ok($client);
        is $client->status, 200, 'the status is 200';
        my @pairs = @{$client->headers};
        my @ours;
        while (my ($name, $value) = splice @pairs, 0, 2) { push @ours, $name, $value if $name !~ $ADDED_BY_SERVER }
        is_deeply \@ours, \@expected, 'the headers are the expected ones, in order';
    };
}

# Returns a behaviour: an application with these options, whose handler pushes each of these lists, sends this text.
sub sends {
    my ($name, $path, $pushes, $text, %option) = @_;
    my $app = sub { return source(pushing(@$pushes), %option)->to_app };
    return {name => $name, request => [$path], app => $app, check => text_is($text)};
}

sub status_is {
    my $status = shift;
    return sub {
        my $client = shift;
        response_ends_ok($client);
        is $client->status, $status, "the status is $status";
    };
}

# The stream is native or on the server's writer, as said. Without an argument: native wherever the run and the server allow
# it.
sub stream_kind_is {
    my $kind = shift;
    return sub {
        my ($client, $run) = @_;
        my $expected = $kind || ($run->is_native ? 'native' : 'writer');
        return text_is(sprintf $STREAM_KIND, $expected)->($client, $run);
    };
}

# The response is complete, and its events are these.
sub text_is {
    my $expected = shift;
    return sub {
        my $client = shift;
        response_ends_ok($client);
        response_complete_ok($client);
        is $client->text, $expected, 'the events are the expected ones';
    };
}

1;

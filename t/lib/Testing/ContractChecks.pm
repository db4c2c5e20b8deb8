package Testing::ContractChecks;
use strict;
use warnings;

# What the rows of the contract check, each given the response to the row's request and the run (Contract.pm).

use Testing::Client;
use Testing::Deadline      qw(wait_until);
use Exporter               qw(import);
use IO::Uncompress::Gunzip qw($GunzipError gunzip);
use Test::More;

our @EXPORT_OK = qw(
    begins_with_a_preamble
    begins_with_a_retry
    child_goes_on
    comes_one_by_one
    copies_its_environment
    croaks_and_goes_on
    ends_by_close
    ends_by_drop
    gets_all
    has_the_subclass_way
    head_comes_first
    head_is
    is_a_megabyte
    is_chunked_by_a_filter
    is_deflated
    is_not_disturbed
    is_not_unwound
    is_unharmed
    is_unwound
    is_wrapped
    leaks_nothing
    leaves
    leaves_watched
    live_together
    not_allowed
    serves
    serves_again
    status_is
    stands_on_the_writer
    stays_when_dropped
    survives
    taken_over
    text_is
    waits_for_reader
);
our %EXPORT_TAGS = (all => \@EXPORT_OK);

my $DEADLINE = 10;     # seconds; for what should happen at once
my $STREAMS  = 200;    # how many in a row must leave no descriptor behind

# The headers of a response that are the server's own business.
my $SERVERS_OWN = qr/\A(?:connection|date|server|transfer-encoding)\z/i;

# What a stream says that tells what it stands on.
my $FOUNDATION = "data: %s\r\n\r\ndata: and goes on\r\n\r\n";

# What a client may send that was not asked for. It fits into the buffers of sockets: where nobody reads it, it is sent all
# the same.
my $JUNK = "GET /plain HTTP/1.1\r\nHost: localhost\r\n\r\n" . "junk\n" x 10_000;

# Public functions

sub begins_with_a_preamble {
    my $client = shift;
    ok $client->read_all, 'it ends';
    my ($preamble, $rest) = $client->body =~ /\A(:.*?\r\n)(.*)\z/s;
    is length $preamble, 2_048, 'of that many bytes';
    like $preamble, qr/\A: +\r\n\z/, 'which are a comment';
    is $rest, "data: foo\r\n\r\n", 'and what follows is as ever';
    return;
}

sub begins_with_a_retry {
    my $client = shift;
    ok $client->read_all, 'it ends';
    my ($retry) = $client->text =~ /\Aretry: ([0-9]+)\r\n\r\ndata: foo\r\n\r\n\z/;
    ok defined $retry && $retry >= 2_500 && $retry <= 3_000, 'with a time of its own' or diag $client->text;
    return;
}

sub child_goes_on {
    my ($client, $run) = @_;
    ok $client->read_all, 'it ends';
    is $client->text, join('', map { "data: child $_\r\n\r\n" } 1 .. 5), 'all that the child pushed';
    ok $client->complete, 'complete' if $client->{http} eq '1.0' || $client->header('Transfer-Encoding');
    return;
}

sub comes_one_by_one {
    my ($client, $run) = @_;
    for my $number (0 .. 5) {
        ok $client->read_until(qr/^data: event $number\r\n\r\n/m), "event $number is here" or return;
        $run->tell_all($client->{tag}, "event $number is here");
    }
    ok $client->read_all, 'it ends';
    ok $client->complete, 'complete';
    is $client->text, join('', map { "data: event $_\r\n\r\n" } 0 .. 5), 'with no others';
    return;
}

sub copies_its_environment {
    my ($client, $run) = @_;
    ok $client->read_all, 'it ends';
    ok $client->complete, 'complete';
    is $client->text, "data: foo\r\n\r\ndata: bar\r\n\r\n", 'with all that was pushed';
    $run->told_ok($client, qr/^copied when open, of GET$/m,   'while it was open');
    $run->told_ok($client, qr/^copied when closed, of GET$/m, 'and when it had ended');
    serves($run);
    return;
}

sub croaks_and_goes_on {
    my ($client, $run) = @_;
    ok $client->read_all, 'it ends';
    is $client->text, "data: after\r\n\r\n", 'nothing of the bad push, all of the good one';
    $run->told_ok($client,
        qr/^push croaked: .*\bid must not contain a line break.* at \S*contract\.psgi line [0-9]+\b/m);
    return;
}

sub ends_by_close {
    my ($client, $run) = @_;
    ok $client->read_all, 'it ends';
    ok $client->complete, 'complete';
    is $client->text, "data: only\r\n\r\n", 'without what was pushed after its end';
    $run->told_ok($client, qr/^said true true false false$/m,     'the connection knows');
    $run->told_ok($client, qr/^closed by application, open: 0$/m, 'and so does on_close');
    is scalar(() = $run->told($client) =~ /^closed by/mg), 1, 'which is told once';
    return;
}

sub ends_by_drop {
    my ($client, $run) = @_;
    ok $client->read_all, 'it ends';
    ok $client->complete, 'complete';
    is $client->text, "data: foo\r\n\r\n", 'with all that was pushed';
    $run->told_ok($client, qr/^closed by application, open: 0$/m, 'and on_close is told');
    return;
}

sub gets_all {
    my $client = shift;
    ok $client->read_until(qr/^id: 1\r\n/m), 'it begins';
    ok $client->read_all,                    'it ends';
    is_deeply [$client->text =~ /^id: (\d+)\r$/mg], [1 .. 384], 'nothing is missing, nothing is there twice';
    is length $client->text, 384 * (65_536 + length "data: \r\nid: \r\n\r\n") + 9 + 180 + 855, 'each block is whole';
    return;
}

sub has_the_subclass_way {
    my $client = shift;
    ok $client->read_all, 'it ends';
    is $client->header('X-Class'), 'Testing::Contract::Source', 'of its headers';
    is $client->text,              "data: hello\r\n\r\n",       'and of its handler';
    return;
}

sub head_comes_first {
    my ($client, $run) = @_;
    ok $client->read_head, 'it comes';
    is $client->status, 200, 'with the status 200';
    $run->tell_all($client->{tag}, 'the head is here');
    ok $client->read_all, 'it ends';
    is $client->text, "data: foo\r\n\r\n", 'and the event follows';
    return;
}

sub head_is {
    my @expected = @_;
    return sub {
        my $client = shift;
        ok $client->read_all, 'it ends';
        is $client->status, 200, 'the status is 200';
        my @pairs = @{$client->headers};
        my @ours;
        while (my ($name, $value) = splice @pairs, 0, 2) { push @ours, $name, $value if $name !~ $SERVERS_OWN }
        is_deeply \@ours, \@expected, 'and these are the headers';
        return;
    };
}

sub is_a_megabyte {
    my $client = shift;
    ok $client->read_all, 'it ends';
    ok $client->text eq 'data: ' . '0123456789abcdef' x 65_536 . "\r\n\r\ndata: after\r\n\r\n", 'byte by byte'
        or diag length($client->text) . ' bytes';
    return;
}

# The middleware frames the body for a client of HTTP/1.1, and some servers do it once more.
sub is_chunked_by_a_filter {
    my ($client, $run) = @_;
    return taken_over()->($client, $run) if $client->{http} eq '1.0';
    ok $client->read_all, 'it ends';
    ok $client->complete, 'complete';
    like $client->text, qr/data: writer\r\n\r\n.*data: and goes on\r\n\r\n/s, 'on the writer';
    return;
}

sub is_deflated {
    my $client = shift;
    ok $client->read_all, 'it ends';
    ok $client->complete, 'complete';
    is $client->header('Content-Encoding'), 'gzip', 'its head says so';
    gunzip(\$client->body, \my $text) or fail "it is gzip: $GunzipError";
    is Testing::Client::text({body => $text}), sprintf($FOUNDATION, 'writer'), 'and what it says, on the writer';
    return;
}

# A client of an event stream has nothing to say. What it says all the same is at most a request of its own, for
# afterwards.
sub is_not_disturbed {
    my ($client, $run) = @_;
    ok $client->read_until(qr/^data: event 0\r\n/m), 'it runs';
    $client->say($JUNK);
    for my $number (0 .. 5) {
        $client->read_until(qr/^data: event $number\r\n\r\n/m) or return fail "event $number is here";
        $run->tell_all($client->{tag}, "event $number is here");
    }
    ok $client->read_all, 'it ends';
    ok $client->complete, 'complete' if $run->ends_connection || $client->header('Transfer-Encoding');
    is $client->text, join('', map { "data: event $_\r\n\r\n" } 0 .. 5), 'as if nothing had been said';
    serves($run);
    return;
}

sub is_not_unwound {
    my ($client, $run) = @_;
    ok $client->read_until(qr/data: tick/), 'it runs';
    $client->leave;
    $run->told_ok($client, qr/^handler returned$/m, 'the handler returned long ago');
    $run->told_ok($client, qr/^closed by client/m,  'the client is known to have left');
    serves($run);
    return;
}

sub is_unharmed {
    my ($client, $run) = @_;
    ok $client->read_all, 'it ends';
    ok $client->complete, 'complete';
    is $client->text, join('', map { "data: event $_\r\n\r\n" } 1 .. 100), 'and is not mixed up with anything';
    my $rest = $client->rest;
    if ($run->ends_connection) { is $rest, '', 'and is the last of its connection' }
    else { like $rest, qr{\A(?:HTTP/1[.][01] 200 .*\r\n\r\nplain)?\z}s, 'only the other may follow' }
    serves($run);
    return;
}

sub is_unwound {
    my ($client, $run) = @_;
    ok $client->read_until(qr/data: tick/), 'it runs';
    $client->leave;
    $run->told_ok($client, qr/^handler ended by EventSource::Gone$/m, 'the handler is ended');
    $run->told_ok($client, qr/^closed by client/m,                    'and the reason is known');
    unlike $run->told($client), qr/returned/, 'it did not come to its last line';
    serves($run);
    return;
}

sub is_wrapped {
    my $client = shift;
    ok $client->read_all, 'it ends';
    is $client->header('X-Set'), 'on the way out', 'a header set';
    is_deeply [$client->header('X-App')], ['yes', 'also'], 'and one appended';
    is $client->text, "data: foo\r\n\r\n", 'and the events come';
    return;
}

sub leaks_nothing {
    my ($client, $run) = @_;
    my $server = $run->{server};
    $client->leave;
    my $before = _quiet_descriptors($server);
    for my $count (1 .. $STREAMS) {
        my $one = $run->get($count % 2 ? '/one' : '/tick');
        $one->read_until(qr/data: /) or return fail "stream $count came";
        $one->leave(reset => $count % 4 == 0);
    }
    my $after;
    my $clean = wait_until($DEADLINE, sub { ($after = _descriptors($server)) <= $before });
    ok $clean, "$STREAMS streams" or diag "$before descriptors before, $after after";
    serves($run);
    return;
}

sub leaves {
    my %how = @_;
    return sub {
        my ($client, $run) = @_;
        ok $client->read_until(qr/data: tick 3\r\n/), 'it runs';
        $client->say($how{saying}) if $how{saying};
        $client->leave(reset => $how{reset});
        $run->told_ok($client, qr/^push: (?!true)/m, 'push says something else than true');
        like $run->told($client), qr/^push: false$/m, 'it returns false and does not die';
        $run->told_ok($client, qr/^is_open: 0, push again: 0$/m, 'and so it stays');
        $run->told_ok($client, qr/^closed by client, open: 0$/m, 'on_close is told');
        serves($run);
        return;
    };
}

sub leaves_watched {
    my ($client, $run) = @_;
    ok $client->read_until(qr/data: watching/), 'it runs';
    $client->leave;
    $run->told_ok($client, qr/^closed by client, open: 0$/m, 'on_close is told');
    serves($run);
    return;
}

sub live_together {
    my ($client, $run) = @_;
    $client->leave;
    my $tag     = 'all' . ++$run->{tags};
    my @clients = map { $run->get('/together', tag => "$tag-$_") } 1 .. 3;
    is scalar(grep { $_->read_until(qr/data: open/) } @clients), 3, 'all are open';
    $run->tell_all($tag, 'all are open');
    is scalar(grep { $_->read_all && $_->text eq "data: open\r\n\r\ndata: all\r\n\r\n" } @clients), 3, 'and complete';
    return;
}

sub not_allowed {
    my $client = shift;
    ok $client->read_all, 'it ends';
    is $client->status, 405,                  'the status is 405';
    is $client->body,   'Method not allowed', 'and the body says so' if $client->{method} ne 'HEAD';
    return;
}

# That the server lives and serves.
sub serves {
    my $run    = shift;
    my $client = $run->get('/one');
    ok $client->read_all && $client->text eq "data: foo\r\n\r\n", 'the next request is served';
    return;
}

# A stream that was taken over is the last of its connection, and says so.
sub serves_again {
    my ($client, $run) = @_;
    ok $client->read_all, 'it ends';
    is $client->header('Connection'), 'close', 'and says that its connection does' if $run->ends_connection;
    return is $client->rest, '', 'and closes' if $run->ends_connection || $client->{http} eq '1.0';
    $client->request('/one?tag=again');
    ok $client->read_all, 'the second ends';
    is $client->text, "data: foo\r\n\r\n", 'and is the same';
    return;
}

# Whatever the mode, there is something in the way of a native stream.
sub stands_on_the_writer { return text_is(sprintf $FOUNDATION, 'writer') }

sub status_is {
    my $status = shift;
    return sub {
        my $client = shift;
        ok $client->read_all, 'it ends';
        is $client->status, $status, "the status is $status";
        return;
    };
}

sub stays_when_dropped {
    my ($client, $run) = @_;
    ok $client->read_until(qr/data: foo/), 'it runs';
    serves($run);
    ok !$client->ended, 'it is open while others come and go';
    is $run->told($client), '', 'and no one says otherwise';
    $client->leave;
    $run->told_ok($client, qr/^closed by client, open: 0$/m, 'it ends with its client');
    return;
}

sub survives {
    my ($client, $run) = @_;
    ok $client->read_all, 'the response ends';
    like $client->text, qr/\Adata: foo\r\n\r\n/, 'with what had been pushed';
    $run->told_ok($client, qr/^closed by error, open: 0$/m, 'on_close is told');
    serves($run);
    return;
}

# In a native run the stream is a native one; on some servers it cannot be, for this row's reason.
sub taken_over {
    return sub {
        my ($client, $run) = @_;
        return text_is(sprintf $FOUNDATION, $run->is_native ? 'native' : 'writer')->($client, $run);
    };
}

sub text_is {
    my $expected = shift;
    return sub {
        my $client = shift;
        ok $client->read_all, 'it ends';
        ok $client->complete, 'complete';
        is $client->text, $expected, 'with these events';
        return;
    };
}

sub waits_for_reader {
    my ($client, $run) = @_;
    ok $client->read_until(qr/^id: 2\r\n/m), 'it has begun';
    unlike $run->told($client), qr/^pushed/m, 'and cannot have ended, for that is more than sockets hold';
    ok $client->read_all, 'it ends';
    $run->told_ok($client, qr/^pushed 384$/m, 'when all is read');
    return;
}

# Private functions

sub _descriptors {
    my $server = shift;
    my @open   = map { glob "/proc/$_/fd/*" } $server->pids;
    return scalar @open;
}

# The number of descriptors of a server that no longer changes.
sub _quiet_descriptors {
    my $server = shift;
    my ($count, $same) = (-1, 0);
    wait_until(
        $DEADLINE,
        sub {
            my $now = _descriptors($server);
            $same  = $now == $count ? $same + 1 : 0;
            $count = $now;
            return $same >= 10;
        }
    );
    return $count;
}

1;

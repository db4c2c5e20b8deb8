# Servers that want something of the doctor: its secrets, its time, its memory.

use lib 't/lib';
use Testing;
use File::Temp             ();
use IO::Compress::Gzip     qw(gzip);
use Testing::Doctor        qw(is_wrong);
use Testing::HostileServer qw(hostile_server);

my $STREAM = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n";

# A server whose streams have this body, and stay open.
sub serve {
    my ($headers, @body) = @_;
    return hostile_server sub {
        my $client = shift;
        print {$client} "$STREAM$headers\r\n";
        print {$client} $_ or return for @body;
        sysread $client, my $rest, 1;
    };
}

sub redirect_to {
    my $to = shift;
    return hostile_server sub { print {$_[0]} "HTTP/1.1 307 Over there\r\nLocation: $to\r\nContent-Length: 0\r\n\r\n" };
}

subtest 'cookie, headers and data do not go to another origin' => sub {
    my @secret = ('--cookie', 'a=secret', '--header', 'Authorization: secret', '--header', 'X-Key: secret');
    my $end    = serve('', "id: 1\ndata: a\n\n");
    my $first  = redirect_to($end->url('/'));
    is_wrong(
        Testing::Doctor->start('--seconds', 0.5, @secret, '--data', 'secret', $first->url('/')),
        redirect => 'warning',
        qr/another origin.*not sent/, 'another port'
    );
    like join("\n", $first->requests), qr/^Cookie: a=secret\r$/m, 'the first origin has got them';
    ok scalar($end->requests), 'the other one was examined';
    unlike join("\n", $end->requests), qr/secret|Content-Length: [1-9]/, 'without them';

    my $same = hostile_server sub {
        my ($client, $head) = @_;
        print {$client} $head =~ m{\AGET /start}
            ? "HTTP/1.1 301 Moved\r\nLocation: /here\r\nContent-Length: 0\r\n\r\n"
            : "$STREAM\r\nid: 1\ndata: a\n\n";
    };
    my $doctor = Testing::Doctor->start('--seconds', 0.5, @secret, $same->url('/start'));
    $doctor->exit_code;
    is scalar(grep { !/^Cookie: a=secret\r$/m } grep { /\AGET/ } $same->requests), 0, 'they go on within an origin';
};

subtest 'a redirect to a host with a NUL is not followed' => sub {
    my $end   = serve('', "id: 1\ndata: a\n\n");
    my $first = redirect_to($end->url('/') =~ s/127[.]0[.]0[.]1/$&%00.other/r);
    Testing::Doctor->start('--seconds', 0.5, $first->url('/'))->exit_code;
    ok scalar($first->requests), 'the first server is asked';
    is scalar(my @requests = $end->requests), 0, 'the other one is not';
};

subtest 'a few bytes that are very many' => sub {
    my $zeros = "data: 0\n" x 131_072;
    my $text  = $zeros x 200;
    gzip \$text, \my $bomb, -Level => 9;
    cmp_ok length $bomb, '<', 1_000_000, 'a bomb: ' . length($bomb) . ' bytes of ' . length $text;
    is_wrong(
        Testing::Doctor->start('--seconds', 10, serve("Content-Encoding: gzip\r\n", $bomb)->url('/')),
        end => 'warning',
        qr/read no further/, 'lines'
    );
    my $long = "\0" x 209_715_200;
    gzip \$long, \$bomb, -Level => 9;
    is_wrong(
        Testing::Doctor->start('--seconds', 10, serve("Content-Encoding: gzip\r\n", $bomb)->url('/')),
        end => 'warning',
        qr/read no further/, 'one line'
    );
};

subtest 'bytes without an end' => sub {
    my %body = (
        'empty lines'              => ['', ("\n" x 65_536) x 1000],
        'lines of one event'       => ['', ("data\n" x 13_107) x 1000],
        'one line'                 => ['', ('x' x 65_536) x 1000],
        'a chunk'                  => ["Transfer-Encoding: chunked\r\n", "FFFFFFF\r\n", ("data: x\n" x 8192) x 1000],
        'a name of a field'        => ['',                               'Data' . ('x' x 100_000) . "\n\n"],
        'a size of a chunk'        => ["Transfer-Encoding: chunked\r\n", 'F' x 100_000],
        'a Content-Length of text' => ["Content-Length: many\r\n",       "data: x\n\n"],
    );
    my %server = map { ($_ => serve(@{$body{$_}})) } keys %body;
    my %doctor = map { ($_ => Testing::Doctor->start('--seconds', 1, $server{$_}->url('/'))) } keys %body;
    for my $name (sort keys %body) {
        my $doctor = $doctor{$name};
        ok $doctor->report, "$name: the doctor ends, with a report";
        cmp_ok length $doctor->log, '<', 100_000, "$name: which is not long";
        unlike $doctor->log, qr/ at [^\n]*[.]\w+ line [0-9]+/, "$name: without a warning of perl";
    }
};

subtest 'a server that does not read the request' => sub {
    my $listen = Testing::ControlledProcess->listener;
    my $data   = File::Temp->new;
    print {$data} 'x' x 50_000_000;
    close $data;
    my $doctor =
        Testing::Doctor->start('--seconds', 1, '--data', "\@$data", 'http://127.0.0.1:' . $listen->sockport . '/');
    is $doctor->exit_code, 3, 'the doctor gives up';
    like $doctor->log, qr/does not read it within/, 'and says why';
};

done_testing;

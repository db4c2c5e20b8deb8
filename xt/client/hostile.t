# Servers that want the client's memory, its time, its secrets. With every library.

use lib 't/lib';
use Testing;
use IO::Compress::Gzip     qw(gzip);
use Testing::HostileServer qw(hostile_server);
use Testing::ReadingClient;
use Time::HiRes qw(sleep time);

my $STREAM = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n";

# A server that sends these strings to each client, a string with a number so often, and stays.
sub sending {
    my @strings = @_;
    return hostile_server sub {
        my $client = shift;
        for my $string (@strings) {
            my ($text, $times) = ref $string ? @$string : ($string, 1);
            for (1 .. $times) { print {$client} $text or return }
        }
        sysread $client, my $rest, 1;
    };
}

# A test for each library; the libraries go side by side.
my @cases;
sub each_way { return push @cases, [@_] }

# The memory of this process in bytes, at its most.
sub memory {
    open my $status, '<', '/proc/self/status' or return 0;
    my ($kilobytes) = join('', <$status>) =~ /^VmHWM:\s*([0-9]+)/m;
    return 1024 * ($kilobytes || 0);
}

each_way 'bytes without an end' => sub {
    my $read    = shift;
    my $before  = memory();
    my %endless = (
        'one line'            => ["$STREAM\r\n",                                 ['x' x 65_536,      2000]],
        'lines of one event'  => ["$STREAM\r\n",                                 ["data\n" x 13_107, 2000]],
        'one line in a chunk' => ["${STREAM}Transfer-Encoding: chunked\r\n\r\n", "7FFFFFFF\r\n", ['x' x 65_536, 2000]],
        'a size of a chunk'   => ["${STREAM}Transfer-Encoding: chunked\r\n\r\n", ['0' x 65_536,              2000]],
        'a head'              => ["${STREAM}X-Endless: ",                        ['x' x 65_536,              2000]],
        'lines of a head'     => [$STREAM,                                       ["X-Endless: x\r\n" x 4096, 2000]],
    );
    for my $name (sort keys %endless) {
        my $seen = $read->({url => sending(@{$endless{$name}})->url('/'), reconnect => 0, timeout => 1});
        ok $seen->{closed}, "$name ends the client";
        like join(' ', @{$seen->{errors}}), qr/\A(?:invalid|unavailable|timeout|refused)\z/, 'with an error'
            or diag explain $seen->{errors};
    }
    cmp_ok memory() - $before, '<', 60_000_000, 'its memory is bounded';
};

each_way 'a gzip bomb' => sub {
    my $read = shift;
    my $bomb = do {
        my $piece = "\0" x 100_000_000;
        gzip \$piece, \my $packed, -Level => 9;
        $packed;
    };
    my $before = memory();
    my $head   = "${STREAM}Content-Encoding: gzip\r\n\r\n";
    my $seen   = $read->({url => sending($head, $bomb)->url('/')});
    is_deeply [@$seen{qw(errors closed)}], [['invalid'], 1], 'one line of 100 MB in 97 kB is too long an event';
    cmp_ok memory() - $before, '<', 30_000_000, 'its memory is bounded';
    gzip \"data: a\n\n", \my $good;
    $seen = $read->({url => sending($head, substr($good, 0, 12) . ('x' x 1000))->url('/'), reconnect => 0});
    is_deeply [@$seen{qw(errors closed)}], [['unavailable'], 1], 'a damaged stream is an error';
    $seen = $read->({url => sending("${STREAM}Content-Encoding: br\r\n\r\n", 'x')->url('/')});
    is_deeply [@$seen{qw(errors closed)}], [['refused'], 1], 'so is another coding';
};

each_way 'silence' => sub {
    my $read = shift;
    my %late = (
        'no head'             => [''],
        'a head in part'      => ["HTTP/1.1 200 OK\r\nContent"],
        'nothing in a stream' => ["$STREAM\r\ndata: a"],
    );
    my $dripping = hostile_server sub {
        my $client = shift;
        local $SIG{PIPE} = 'DEFAULT';
        print {$client} "HTTP/1.1 200 OK\r\n";
        while (sleep 0.05) { print {$client} "X: y\r\n" }
    };
    my $dripped = $read->({url => $dripping->url('/'), reconnect => 0, timeout => 0.5});
    is_deeply [@$dripped{qw(errors closed)}], [['timeout'], 1], 'a head that comes slowly is not a sign of life';
    for my $name (sort keys %late) {
        my $seen = $read->({url => sending(@{$late{$name}})->url('/'), reconnect => 0, timeout => 0.3});
        is_deeply [@$seen{qw(errors closed)}], [['timeout'], 1], "$name: the client ends";
    }
    my $server = hostile_server sub {
        my $client = shift;
        print {$client} "$STREAM\r\n";
        for (1 .. 6) { sleep 0.2; print {$client} ":\n" }
        print {$client} "data: a\n\n";
    };
    my $seen = $read->({url => $server->url('/'), reconnect => 0, timeout => 0.8});
    is_deeply [$seen->{errors}, scalar @{$seen->{events}}], [[], 1], 'comments are signs of life';
};

each_way 'a server that is gone at once, each time' => sub {
    my $read     = shift;
    my $server   = hostile_server(sub { print {$_[0]} "$STREAM\r\nretry: 0\n\n" });
    my $began    = time;
    my $seen     = $read->({url => $server->url('/'), on_error => sub { $_[0]->close if time - $began > 2.5 }});
    my $requests = () = $server->requests;
    cmp_ok $requests, '>=', 2, 'is asked again';
    cmp_ok $requests, '<=', 4, 'but more and more seldom';
};

each_way 'secrets are for one origin' => sub {
    my $read  = shift;
    my $end   = hostile_server(sub { print {$_[0]} "$STREAM\r\nid: 1\ndata: a\n\n" });
    my $there = $end->url('/') =~ s{//}{//other:secret2\@}r;
    my $first =
        hostile_server(sub { print {$_[0]} "HTTP/1.1 307 There\r\nLocation: $there\r\nContent-Length: 0\r\n\r\n" });
    my $url  = $first->url('/') =~ s{//}{//me:secret\@}r;
    my $seen = $read->({url => $url, headers => ['X-Key' => 'mine', Cookie => 'mine'], reconnect => 0});
    is $seen->{events}[0]{data}, 'a', 'the redirect is followed';
    like join('', $first->requests), qr/^Authorization: Basic .*^|^X-Key: mine/ms, 'the first origin receives them';
    unlike join('', $end->requests), qr/Authorization|mine/i,                      'the other one does not';
    $seen = $read->({url => $url, content => 'mine'});
    is_deeply [@$seen{qw(errors closed)}], [['refused'], 1], 'content goes to no other origin';
    is scalar(my @requests = $end->requests), 1, 'which is not even asked';
};

Testing::ReadingClient->run_cases(@cases);

done_testing;

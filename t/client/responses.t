# Responses, with every library: the meaning of their status, type, redirects and retry; and the headers of requests.

use lib 't/lib';
use Testing;
use EventSource::XS::Reason;
use Testing::HostileServer qw(hostile_server);
use Testing::ReadingClient;

my $STREAM     = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
my $NO_CONTENT = "HTTP/1.1 204 No Content\r\n\r\n";

# A server with an answer for each path; one that is a function gets the number of the request, and the head.
sub serving {
    my %answer = @_;
    return hostile_server sub {
        my ($client, $head, $number) = @_;
        my ($path) = $head =~ /\A\S+ (\S+)/;
        my $answer = $answer{$path};
        $answer = $answer->($number, $head) if ref $answer;
        print {$client} $answer // "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
    };
}

sub data_of {
    return join ' ', map { $_->{data} } @{$_[0]{events}};
}

sub header_of { return $_[1] =~ /^\Q$_[0]\E:[ \t]*(.*?)\r$/mi ? $1 : undef }

sub requests_of {
    return map { [/\A(\S+) (\S+)/] } $_[0]->requests;
}

# A test for each library; the libraries go side by side.
my @cases;
sub each_way { return push @cases, [@_] }

each_way 'types' => sub {
    my $read = shift;
    my @good = (
        'text/event-stream',  'TEXT/Event-Stream',
        'text/event-stream;', 'text/event-stream;charset=windows-1252',
        'text/event-stream ; x=y',
    );
    my @bad = ('text/event-streamm', 'text/plain', 'text/x-bogus, text/x', '');
    my $of  = sub { "HTTP/1.1 200 OK\r\n" . (length $_[0] ? "Content-Type: $_[0]\r\n" : '') . "\r\ndata:data\n\n" };
    for my $type (@good) {
        my $seen = $read->({url => serving('/' => $of->($type))->url('/'), reconnect => 0});
        is data_of($seen), 'data', "'$type' is a stream";
    }
    for my $type (@bad) {
        my $seen = $read->({url => serving('/' => $of->($type))->url('/')});
        is_deeply [data_of($seen), $seen->{errors}, $seen->{closed}], ['', ['refused'], 1], "'$type' is none";
    }
};

each_way 'statuses' => sub {
    my $read = shift;
    for my $status (205, 210, 299, 304, 400, 404, 410, 503) {
        my $length = $status == 205 || $status == 304 ? '' : "Content-Length: 0\r\n";
        my $answer = "HTTP/1.1 $status Text\r\nContent-Type: text/event-stream\r\n$length\r\n";
        my $seen   = $read->({url => serving('/' => $answer)->url('/')});
        is_deeply [@$seen{qw(errors closed opened)}], [['refused'], 1, 0], "$status ends it with an error";
        is $seen->{client}->status, $status, 'which is known';
    }
    my $seen = $read->({url => serving('/' => $NO_CONTENT)->url('/')});
    is_deeply [@$seen{qw(errors closed opened)}], [[], 1, 0], '204 ends it without one';
};

each_way 'redirects' => sub {
    my $read = shift;
    for my $status (301, 302, 303, 307, 308) {
        my $server = serving
            '/'          => "HTTP/1.1 $status Moved\r\nLocation: there?a=b#c\r\nContent-Length: 0\r\n\r\n",
            '/there?a=b' => sub { $_[0] > 2 ? $NO_CONTENT : $STREAM . "retry: 1\ndata: data\n\n" };
        my $again = $status == 301;
        my $seen  = $read->({url => $server->url('/'), reconnect => $again});
        is data_of($seen), 'data', "$status is followed";
        is_deeply [map { $_->[1] } requests_of($server)], [('/', '/there?a=b') x (1 + $again)],
            'the next connection asks the first URL again';
        is $seen->{client}->url, $server->url('/'), 'which is the URL of the client';
    }
    my %elsewhere = (
        'a redirect to another scheme' => 'ftp://127.0.0.1/',
        'a redirect without a host'    => 'http:///',
        'an endless redirect'          => '/',
    );
    for my $name (sort keys %elsewhere) {
        my $server = serving('/' => "HTTP/1.1 302 Found\r\nLocation: $elsewhere{$name}\r\nContent-Length: 0\r\n\r\n");
        my $seen   = $read->({url => $server->url('/')});
        is_deeply [@$seen{qw(errors closed)}], [['refused'], 1], "$name is an error";
        cmp_ok scalar(requests_of($server)), '<=', 21, 'after few requests';
    }
    my $seen = $read->({url => serving('/' => "HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n")->url('/')});
    is_deeply [@$seen{qw(errors closed)}], [['refused'], 1], 'so is one to nowhere';
};

each_way 'requests' => sub {
    my $read = shift;
    my $server =
        serving('/?q=1' => sub { $_[0] > 2 ? $NO_CONTENT : $STREAM . "retry: 1\nid: \xE2\x80\xA6\ndata: a\n\n" });
    my $url  = $server->url('/?q=1#part') =~ s{//}{//na%20me:pass\@}r;
    my $seen = $read->({url => $url, headers => ['X-Own' => 'mine', 'user-agent' => 'me']});
    my ($first, $second) = $server->requests;
    like $first, qr{\AGET /\?q=1 HTTP/1\.1\r$}m, 'GET, without the fragment';
    is header_of(Accept            => $first),  'text/event-stream',      'Accept';
    is header_of('Cache-Control'   => $first),  'no-cache',               'Cache-Control';
    is header_of('Accept-Encoding' => $first),  'gzip',                   'Accept-Encoding';
    is header_of('Last-Event-ID'   => $first),  undef,                    'no Last-Event-ID before there is one';
    is header_of('X-Own'           => $first),  'mine',                   'a header of the application';
    is header_of('User-Agent'      => $first),  'me',                     'and one instead of another';
    is header_of(Authorization     => $first),  'Basic bmEgbWU6cGFzcw==', 'name and password of the URL';
    is header_of('Last-Event-ID'   => $second), "\xE2\x80\xA6",           'Last-Event-ID is sent back as it came';
    unlike $seen->{client}->url, qr/pass/, 'the URL of the client is without the password';

    $server = serving('/' => sub { $_[0] > 1 ? $NO_CONTENT : $STREAM . "retry: 1\nid\ndata: a\n\n" });
    $read->({url => $server->url('/'), last_event_id => ' ü'});
    ($first, $second) = $server->requests;
    like $first, qr/^Last-Event-ID:  ?\xC3\xBC\r$/mi, 'an id to begin with';
    is header_of('Last-Event-ID' => $second), undef, 'the server has reset it';
};

each_way 'ids with control characters' => sub {
    my $read = shift;
    my %sent = ("a\x01b" => undef, "a\e[2J" => undef, "a\x7F" => undef, "a\tb" => "a\tb", "\xC2\x85" => "\xC2\x85");
    for my $bytes (sort keys %sent) {
        my $id     = $bytes;
        my $server = serving('/' => sub { $_[0] > 1 ? $NO_CONTENT : $STREAM . "id: $bytes\ndata: a\n\n" });
        my $seen   = $read->({url => $server->url('/'), retry => 1});
        my ($first, $second) = $server->requests;
        my $shown = EventSource::XS::Reason->visible($id);
        is header_of('Last-Event-ID' => $second), $sent{$bytes},
            "$shown is " . (defined $sent{$bytes} ? 'sent' : 'not sent');
        utf8::decode($id);
        is $seen->{events}[0]{id}, $id, 'the application has it';
    }
};

each_way 'retry' => sub {
    my $read = shift;
    my %retry =
        ('retry: 1' => 1, "retry: 1\nretry:1000x" => 1, "retry: 1\nretry" => 1, 'retry: 1' . ('0' x 30) => undef);
    for my $field (sort keys %retry) {
        my $server = serving('/' => $STREAM . "$field\ndata: a\n\n");
        my $seen   = $read->({url => $server->url('/'), retry => 60_000}, defined $retry{$field} ? 2 : 1);
        is data_of($seen), defined $retry{$field} ? 'a a' : 'a', $field =~ s/\n/, /r;
    }
};

each_way 'failed attempts' => sub {
    my $read   = shift;
    my $server = serving '/' =>
        sub { $_[0] == 1 ? $STREAM . "retry: 1\nid: 7\ndata: a\n\n" : $_[0] < 3 ? "\r\n" : $STREAM . "data: b\n\n" };
    my $seen = $read->({url => $server->url('/')}, 2);
    is data_of($seen), 'a b', 'a server that answers nothing is asked again';
    is_deeply $seen->{errors}, [('unavailable') x 2],                                      'each time is an error';
    is_deeply [map { header_of('Last-Event-ID' => $_) } $server->requests], [undef, 7, 7], 'with the last event ID';

    my $listen = Testing::ControlledProcess->listener;
    my $url    = 'http://127.0.0.1:' . $listen->sockport . '/';
    close $listen;
    $seen = $read->({url => $url, reconnect => 0});
    is_deeply [@$seen{qw(errors closed)}], [['unavailable'], 1], 'a connection that is refused';
};

each_way 'retry_statuses' => sub {
    my $read   = shift;
    my $busy   = "HTTP/1.1 429 Busy\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n";
    my $server = serving('/' => sub { $_[0] < 2 ? $busy : $STREAM . "data: a\n\n" });
    my $seen   = $read->({url => $server->url('/'), retry => 1, retry_statuses => [429, 503]}, 1);
    is_deeply [data_of($seen), $seen->{errors}], ['a', ['refused']], 'it asks again after 429';
};

Testing::ReadingClient->run_cases(@cases);

done_testing;

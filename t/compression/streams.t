# Native streams have a content coding that their client accepts, on every server; all other streams have none.

use lib 't/lib';
use Testing            qw(native);
use Testing::Developer qw(has_command needs_module);
use Testing::Checks    qw(check run_checks);
use Testing::CodedClient;
use Testing::Server     qw(path);
use Testing::SideBySide qw(run_each);
use Testing::Subscriber qw(events wait_for_events);
use EventSource::XS::Request;

my $BEST    = EventSource::XS::Request->coding('zstd, gzip');
my @CODINGS = ('gzip', $BEST eq 'zstd' && has_command('curl') ? 'zstd' : ());

# Opens a stream and reads its head. Options of the client besides the query: accepts, coding, http.
sub stream {
    my ($server, $path, %query) = @_;
    my %option = map { exists $query{$_} ? ($_ => delete $query{$_}) : () } qw(accepts coding http);
    my $client = Testing::CodedClient->get($server->port, path($path, %query), %option);
    $client->read_head or die "no head\n";
    return $client;
}

sub coding_of { return join '; ', $_[0]->header('Content-Encoding') }

check 'the field and the head' => sub {
    my $server = shift;
    for my $row (
        ['gzip, deflate',           'gzip'],
        ['gzip, deflate, br, zstd', $BEST],
        ['zstd;q=0.5, gzip',        'gzip'],
        ['gzip;q=0',                ''],
        ['br',                      ''],
        ['',                        ''],
    ) {
        my ($accepts, $coding) = @$row;
        my $client = stream($server, '/hub', accepts => $accepts, coding => 'none');
        is coding_of($client),                  $coding,           "Accept-Encoding '$accepts': '$coding'";
        is join('; ', $client->header('Vary')), 'Accept-Encoding', 'with one Vary';
    }
    my $client = stream($server, '/nodes/news', coding => 'gzip');
    is coding_of($client), 'gzip', 'a node has a coding, too';
    ok $client->read_until(qr/^id: /m), 'and can be decoded at once';
    $client->leave;
    $client = stream($server, '/off', coding => 'gzip');
    is_deeply [map { $client->header($_) } qw(Content-Encoding Vary)], [], 'without compress neither field is there';
};

sub decodes_at_once {
    my ($server, $coding, $http) = @_;
    my $client = stream($server, '/hub', coding => $coding, http => $http);
    is coding_of($client), $coding, 'the head names the coding, once';
    ok $client->read_until(qr/^id: [^\n]+\n\n/m), 'the position can be decoded at once';
    for my $number (1 .. 5) {
        $server->ask('/publish', from => $number, rows => 100);
        ok $client->read_until(qr/^data: number $number\.[^\n]+\nid: \S+\n\n/m), "event $number can be decoded at once";
    }
    my $late = stream($server, '/hub', coding => $coding, http => $http);
    ok $late->read_until(qr/^id: [^\n]+\n\n/m), 'a stream that comes later begins';
    $server->ask('/publish', from => 6, count => 3, rows => 100);
    for my $of ([early => $client, [1 .. 8]], [late => $late, [6 .. 8]]) {
        my ($name, $each, $numbers) = @$of;
        my @events = grep { defined $_->{data} } wait_for_events($each, scalar @$numbers);
        is_deeply [map { $_->{data} =~ /\Anumber ([0-9]+)/ } @events], $numbers, "$name: each event arrives, once";
        my $whole = grep { $_->{data} =~ m{<td>cell 100</td>\z} } @events;
        is $whole, scalar @$numbers, "$name: whole";
    }
    $server->ask('/drain');
    for my $each ($client, $late) {
        ok $each->read_all, 'drain ends the stream';
        like $each->body, qr/^retry: [0-9]+\n(?:(?:data: \n)?\n)?\z/m, 'with a reconnection time';
        ok $each->is_whole, 'and a correct end of the coding';
    }
    return;
}

check 'the bytes of a round' => sub {
    my $server = shift;
    my $client = stream($server, '/hub', coding => 'gzip', channels => 'saved');
    $client->read_until(qr/^id: /m);
    $server->ask('/publish', channel => 'saved', from => $_, rows => 100) for 1 .. 20;
    ok $client->read_until(qr/number 20\..*\nid: .*\n\n/), 'the events arrive';
    my ($bytes, $coded) = (length $client->body, length $client->coded);
    cmp_ok $coded * 10, '<', $bytes, "20 similar events take a tenth of their bytes ($coded of $bytes)";
};

sub keeps_alive {
    my ($server, $coding) = @_;
    my $client = stream($server, '/quiet', coding => $coding, channels => 'quiet');
    ok $client->read_until(qr/^:\n(?:.*\n)*:\n/m), 'keepalives can be decoded at once';
    $server->ask('/publish', channel => 'quiet', data => $_) for qw(one two);
    ok $client->read_until(qr/^data: two\nid: \S+\n\n:\n/m), 'so can events between them';
    return;
}

sub is_handled {
    my ($server, $coding, $path) = @_;
    my $end  = $path eq '/lf' ? "\n" : "\r\n";
    my $name = "$coding$path";
    for my $way ('close', 'finish') {
        my $client = stream($server, $path, coding => $coding, name => $name, channels => $name, first => 'first');
        ok $client->read_until(qr/^data: first$end$end(?:.+$end)*id: \S+$end$end/m),
            'a push of the handler comes first';
        $server->ask('/publish', channel => $name, data => 'published 1');
        ok $client->read_until(qr/^data: published 1$end/m), 'an event of the hub';
        $server->ask('/push', name => $name, data => 'pushed 1');
        ok $client->read_until(qr/^data: pushed 1$end$end/m), 'a push later';
        $server->ask('/publish', channel => $name, data => "published $_") for 2 .. 3;
        ok $client->read_until(qr/^data: published 3$end/m), 'two more events of the hub';
        $server->ask('/push', name => $name, data => 'pushed 2');
        $server->ask("/$way", name => $name);
        ok $client->read_all, "$way ends the stream";
        ok $client->is_whole, 'the coding has a correct end';
        my @data = map { $_->{data} } grep { ($_->{event} // '') ne 'finish' } events($client->body);
        is_deeply \@data, ['first', 'published 1', 'pushed 1', 'published 2', 'published 3', 'pushed 2'],
            'all events, in their order';
        like $client->body, qr/^id: eventsource-finished$end/m, 'and the last id' if $way eq 'finish';
    }
    return;
}

check 'what is not coded' => sub {
    my $server = shift;
    my @rows   = (
        ['/filtered', '',         'behind a filter of the body'],
        ['/length',   '',         'with a Content-Length of the application'],
        ['/encoded',  'identity', 'with a Content-Encoding of the application'],
    );
    for my $row (@rows) {
        my ($path, $coding, $why) = @$row;
        my $client = stream($server, $path, coding => 'gzip');
        is coding_of($client), $coding, "$why: no coding";
        ok $client->read_until($path eq '/filtered' ? qr/^id: /m : qr/^data: one/m),
            "$why: the stream can be read as it is";
    }
};

# Deflater, which does not flush, may hold events back: only the head is read.
check 'Deflater' => sub {
    my $server = shift;
    needs_module('Plack::Middleware::Deflater');
    my $client = stream($server, '/others', coding => 'gzip');
    is coding_of($client), 'gzip', 'behind a Deflater for other types: one coding';
    ok $client->read_until(qr/^id: /m), 'the stream can be decoded at once';
    $client->leave;
    $client = stream($server, '/deflated', coding => 'gzip');
    is coding_of($client), 'gzip', 'behind a Deflater for streams: one coding';
};

check 'HEAD' => sub {
    my $server = shift;
    my $client = Testing::Client->get(
        $server->port, '/hub',
        method  => 'HEAD',
        headers => ['Accept-Encoding' => 'gzip', Connection => 'close']
    );
    ok $client->read_head, 'HEAD is answered';
    is_deeply [$client->header('Content-Encoding')], [], 'without a coding';
};

run_each [Testing::Server->names] => sub {
    my $name   = shift;
    my $server = Testing::Server->start_or_skip_all($name, 't/compression/streams.psgi', workers => 1);
    if ($name eq 'Feersum') {
        my $client = stream($server, '/hub', coding => 'gzip');
        is coding_of($client), '', 'Feersum: no coding';
        ok $client->read_until(qr/^id: /m), 'the stream can be read as it is';
        return;
    }
    run_checks($server);
    for my $coding (@CODINGS) {
        subtest "$coding: keepalives" => sub { keeps_alive($server, $coding) };
        subtest "$coding: a handler, $_" => sub { is_handled($server, $coding, $_) }
            for '/held', '/lf';
    }
    $server->stop;

    for my $coding (@CODINGS) {
        for my $http ('1.0', '1.1') {
            $server = Testing::Server->start($name, 't/compression/streams.psgi', workers => 1);
            subtest "$coding over HTTP/$http: events" => sub { decodes_at_once($server, $coding, $http) };
            $server->stop;
        }
    }
};

done_testing;

# Testing::Middlebox: each mode hinders a stream as it says, lets other paths pass, and tells what it has done.

use lib 't/lib';
use Testing;
use JSON::PP     qw(encode_json);
use MIME::Base64 qw(encode_base64);
use Testing::Client;
use Testing::Deadline qw(wait_until);
use Testing::Middlebox;
use Testing::Server;

my %RAW    = (incremental => {headers => [Incremental => '?1'], body => encode_base64('data: one')});
my $server = Testing::Server->start('Twiggy', 't/data/doctor.psgi', env => {DOCTOR_RAW => encode_json(\%RAW)});
my $number = 0;

sub middlebox { my $mode = shift; return Testing::Middlebox->start($mode, $server->port, path => '/hub', @_) }
sub publish   { my $data = shift; return $server->ask("/publish?$data") }
sub stream    { return Testing::Client->get($_[0]->port, '/hub?' . ($_[1] || 'keepalive=30')) }

# Returns a stream that is open.
sub open_stream {
    my $client = stream(@_);
    ok $client->read_until(qr/^id: /m), 'the stream is open';
    return $client;
}

# Publishes, and a stream of the server itself has the event: what of it has not come through the middlebox, is held back.
my $direct = Testing::Client->stream($server->port, '/hub');

sub published {
    my $data = shift;
    publish($data);
    return $direct->has($data) || die "not published\n";
}

subtest 'pass: events pass one by one, on a connection that is kept' => sub {
    my $middlebox = middlebox('pass');
    my $client    = Testing::Client->get($middlebox->port, '/raw?incremental');
    ok $client->read_all, 'a response ends';
    is $client->body, 'data: one', 'the response is whole';
    $client->request('/hub');
    ok $client->read_until(qr/^id: /m), 'the next request has the same connection';
    for my $data (qw(first second)) {
        published($data);
        ok $client->has($data), $data;
    }
    is_deeply [map { "$_->{method} $_->{path} $_->{status}" } $middlebox->requests], ['GET /hub 200'],
        'it has noted the request';
};

subtest 'hold: a response comes when it has ended' => sub {
    my $middlebox = middlebox('hold');
    my $client    = stream($middlebox);
    wait_until(sub { $middlebox->requests });
    published('held');
    ok !$client->read_head(0.2), 'nothing of a stream comes';
    $middlebox = middlebox('hold', path => '/');
    my $whole = Testing::Client->ask($middlebox->port, '/raw?incremental');
    is $whole->header('Content-Length'), 9,           'a response that ends has a length';
    is $whole->body,                     'data: one', 'and comes';
    is $middlebox->count('held'),        1,           'it was held until then';
    $middlebox = middlebox('hold', head => 1);
    $client    = stream($middlebox);
    ok $client->read_head,               'with head, the head of a stream comes';
    ok !$client->read_until(qr/./, 0.2), 'and nothing else';
};

subtest 'batch: so many bytes at a time' => sub {
    my $middlebox = middlebox('batch', bytes => 3_000);
    my $client    = stream($middlebox);
    wait_until(sub { $middlebox->requests });
    published('in-a-batch');
    ok !$client->read_head(0.2), 'less does not come';
    published('x' x 4_000);
    ok $client->read_until(qr/x\z/), 'what fills it comes';
    is length $client->body, 3_000, 'and the rest does not';
};

for my $how (qw(close reset end)) {
    subtest "cut: after a time, by $how" => sub {
        my $middlebox = middlebox('cut', seconds => 0.3, how => $how);
        my $client    = open_stream($middlebox);
        $client->read_all;
        ok $client->ended, 'the response ends';
        is $client->complete || !!0, $how eq 'end', 'in order, if it was to';
        is $middlebox->count('cut'), 1,             'it was cut';
    };
}

subtest 'fail: 502 for each third request' => sub {
    my $middlebox = middlebox('fail', first => 2);
    my @status    = map { my $client = stream($middlebox); $client->read_head; $client->status } 1 .. 5;
    is_deeply \@status,                                    [200, 502, 200, 200, 502], 'the status of each';
    is_deeply [map { $_->{status} } $middlebox->requests], \@status,                  'it has noted them';
};

subtest 'silence: nothing comes after a time, and nothing ends' => sub {
    my $middlebox = middlebox('silence', seconds => 0.3);
    my $client    = open_stream($middlebox);
    ok wait_until(sub { $middlebox->count('silenced') }), 'it is silent';
    published('in-silence');
    ok !$client->read_until(qr/silence/, 0.3), 'an event does not come';
    ok !$client->ended,                        'the connection is open';
};

subtest 'cache: the response to the first GET for a URL' => sub {
    my $middlebox = middlebox('cache');
    my $first     = open_stream($middlebox);
    published('for-two');
    ok $first->has('for-two'), 'the first stream has an event';
    my $second = stream($middlebox);
    ok $second->has('for-two'), 'the second one has it, too';
    published('later');
    ok $_->has('later'), 'what comes later is sent to both' for $first, $second;
    is $second->body, $first->body, 'both are one response';
    my $other = open_stream($middlebox, 'keepalive=29');
    unlike $other->body, qr/for-two/, 'another URL has its own';
    is $middlebox->count('cached'), 1, 'one was answered from the cache';
    $_->leave for $first, $second;
    open_stream($middlebox);
    is $middlebox->count('cached'), 1, 'what has not ended is gone with its clients';

    $middlebox = middlebox('cache', share => 0, path => '/', seconds => 60);
    my @bodies = map { Testing::Client->ask($middlebox->port, '/count')->body } 1, 2;
    is $bodies[1], $bodies[0], 'what has ended is answered with, without share, too';
    open_stream($middlebox) for 1, 2;
    is $middlebox->count('cached'), 1, 'and what has not, is not';
};

subtest 'refuse: 501 instead of what is Incremental' => sub {
    my $middlebox = middlebox('refuse', path => '/raw');
    my $refused   = Testing::Client->ask($middlebox->port, '/raw?incremental');
    is $refused->status,                 501,                                    'the status';
    is $refused->header('Proxy-Status'), 'middlebox; error=incremental_refused', 'the reason';
    is $middlebox->count('refused'),     1,                                      'it was refused';
    is(Testing::Client->ask($middlebox->port, '/count')->status, 200, 'another response passes');
};

subtest 'become: a response that has begun is hindered, too, and no longer' => sub {
    my $middlebox = middlebox('pass');
    my $client    = open_stream($middlebox);
    $middlebox->become('hold');
    published('held-later');
    ok !$client->read_until(qr/held-later/, 0.2), 'an event does not come';
    $middlebox->become('cut', seconds => 30);
    ok $client->has('held-later'),                      'it comes when the mode is another one';
    ok !eval { $middlebox->become('cut', bytes => 1) }, 'an option of another mode is refused';
};

done_testing;

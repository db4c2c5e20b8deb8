# A native stream after its handler has returned, on every server: it stays open, later requests push to it, and it ends.

use lib 't/lib';
use Testing;
use Testing::Deadline  qw(wait_until);
use Testing::Developer qw(needs);
use Testing::Server;
use Testing::ServerWithJournal;

my $DEADLINE = 10;    # seconds; for what should happen at once

# Whether handlers block, or an event loop runs. Each server has one process, so that all requests meet.
my @SERVERS = (
    ['HTTP::Server::PSGI' => 'blocks'],
    ['Starman' => 'blocks', workers => 1],
    ['Starlet' => 'blocks', workers => 1],
    ['Twiggy'  => 'loops'],
    ['Feersum' => 'loops'],
    ['uWSGI'   => 'blocks', workers => 1],
);

sub stays_open {
    my $run    = shift;
    my @kept   = map  { $run->get('/keep') } 1 .. 3;
    my @opened = grep { $_->read_until(qr/data: kept by \d+\r\n\r\n/) } @kept;
    is scalar @opened,                3,                                  'three streams begin whose handlers return';
    is $run->ask('/tell?text=hello'), '1 1 1',                            'a later request pushes to all three streams';
    is scalar(grep { $_->read_until(qr/data: hello\r\n\r\n/) } @kept), 3, 'all three clients receive the event';
    my ($native) = $run->ask('/stats') =~ /\bnative=(\d+)/;
    is $native, 3, 'stats counts three native streams';
    $_->leave for @kept;
    ends_by($run, $_, 'client') for @kept;
    is $run->ask('/tell?text=hello'), '', 'no stream is open when the clients have left';
    return;
}

# Requests to /dispatch run the callbacks, whether the server blocks or not.
sub ends_by {
    my ($run, $client, $why) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    wait_until($DEADLINE, sub { $run->ask('/dispatch'); $run->journal($client) =~ /^closed by/m });
    like $run->journal($client), qr/^closed by $why$/m, "on_close reports the reason $why";
    is scalar(() = $run->journal($client) =~ /^closed by/mg), 1, 'on_close is called once';
    return;
}

sub pushes_to_absent_client {
    my $run    = shift;
    my $client = $run->get('/keep');
    ok $client->read_until(qr/data: kept/), 'the stream begins';
    $client->leave(reset => 1);

    # The application runs no callback meanwhile: on_close would drop the connection.
    ok wait_until($DEADLINE, sub { $run->ask("/tell?to=$client->{tag}&text=foo") =~ /\A0?\z/ }),
        'a push to the reset connection returns false';
    is $run->ask('/pid') > 0, 1, 'the worker still answers';
    ends_by($run, $client, 'client');
    return;
}

sub sends_buffered_events {
    my $run    = shift;
    my $client = $run->get('/backlog');
    $run->journal_ok($client, qr/^closed$/m, 'the handler closes with eight megabytes buffered');
    like $run->ask('/pid'),   qr/\A\d+\z/,          'the worker answers before the client reads';
    like $run->ask('/stats'), qr/\bbuffered=\d{7}/, 'the bytes are buffered';
    ok $client->read_all, 'the stream ends';
    is_deeply [$client->text =~ /^id: (\d+)\r$/mg], [1 .. 128], 'every event arrives once, in order';
    is length $client->text, 128 * (65_536 + length "data: \r\nid: \r\n\r\n") + 9 + 180 + 87,
        'each event arrives whole';
    ends_by($run, $client, 'application');
    return;
}

sub ends_when_dropped {
    my $run    = shift;
    my $client = $run->get('/dropped');
    ok $client->read_all, 'the stream ends';
    is $client->text, join('', map { "data: foo $_\r\n\r\n" } 1 .. 100), 'all pushed events arrive';
    ends_by($run, $client, 'application');
    return;
}

sub stays_when_dropped {
    my $run    = shift;
    my $client = $run->get('/dropped');
    ok $client->read_until(qr/data: foo 100\r\n\r\n/), 'the stream begins';
    like $run->ask('/stats'), qr/\bnative=1\b/, 'the stream stays open';
    is $run->journal($client), '', 'on_close is not called';
    $client->leave;
    ends_by($run, $client, 'client');
    return;
}

sub ends_by_later_request {
    my $run = shift;
    my @ends =
        (['/act/close', 'a later request closes the stream'], ['/act/forget', 'a later request drops the stream']);
    for my $end (@ends) {
        my ($path, $what) = @$end;
        my $client = $run->get('/keep');
        ok $client->read_until(qr/data: kept/), 'the stream begins';
        is $run->ask("$path?to=$client->{tag}"), 'gone', $what;
        ok $client->read_all && $client->complete, 'the stream ends';
        ends_by($run, $client, 'application');
    }
    return;
}

sub refuses_beyond_max_streams {
    my $run   = shift;
    my $first = $run->get('/full');
    ok $first->read_until(qr/data: kept/), 'the first stream begins';
    my $second = $run->get('/full');
    ok $second->read_all, 'a stream beyond max_streams ends';
    is $second->status, 200, 'a stream beyond max_streams has the status 200';
    my ($retry) = $second->text =~ /\Aretry: (\d+)\r\n\r\n\z/;
    ok defined $retry && $retry >= 2_000 && $retry <= 4_000, 'a stream beyond max_streams has a retry of 2 to 4 seconds'
        or diag $second->body;
    is $run->journal($second), '', 'the handler of a stream beyond max_streams does not run';
    my ($counted, $stats) = (qr/\brefused=1\b.*\bclosed\.server=1\b/, '');
    wait_until($DEADLINE, sub { ($stats = $run->ask('/stats')) =~ $counted });
    like $stats, $counted, 'stats counts the refused stream and its end';
    $first->leave;
    ends_by($run, $first, 'client');
    return;
}

sub handler_dies {
    my $run    = shift;
    my $client = $run->get('/dies');
    ok $client->read_all, 'the stream ends';
    is $client->text, "data: foo\r\n\r\n", 'the event pushed before the exception arrives';
    ends_by($run, $client, 'error');
    like $run->server->log, qr/the handler died: on purpose/, 'the exception is in the log of the server';
    return;
}

sub handler_sleeps {
    my $run    = shift;
    my $client = $run->get('/loop');
    ok $client->read_until(qr/(?:data: tick\r\n\r\n){20}/), 'the handler pushes and sleeps';
    $client->leave;
    $run->journal_ok($client, qr/^push: false, again: 0$/m, 'pushes return false when the client has left');
    $run->journal_ok($client, qr/^handler returned$/m,      'the handler returns normally');
    ends_by($run, $client, 'client');
    return;
}

sub handler_unwinds {
    my $run    = shift;
    my $client = $run->get('/unwound');
    ok $client->read_until(qr/(?:data: tick\r\n\r\n){3}/), 'the handler pushes and sleeps';
    $client->leave;
    $run->journal_ok(
        $client,
        qr/^handler ended by EventSource::Gone$/m,
        'EventSource::Gone ends the handler when the client has left'
    );
    like $run->ask('/pid'), qr/\A\d+\z/, 'the worker answers afterwards';
    ends_by($run, $client, 'client');
    return;
}

my @CONTRACT = (
    ['a kept connection stays open after its handler, and its worker is free' => \&stays_open],
    ['a push to a client that has left returns false'                         => \&pushes_to_absent_client],
    ['close sends all buffered events'                                        => \&sends_buffered_events],
    ['a dropped connection ends on a server that blocks'                      => \&ends_when_dropped,     'blocks'],
    ['a dropped connection stays open in an event loop'                       => \&stays_when_dropped,    'loops'],
    ['a later request may end a stream'                                       => \&ends_by_later_request, 'blocks'],
    ['a stream beyond max_streams is refused'                                 => \&refuses_beyond_max_streams],
    ['a handler that dies ends its stream'                                    => \&handler_dies],
    ['a handler may push and sleep'                                           => \&handler_sleeps,  'blocks'],
    ['with on_gone => unwind a handler ends when its client leaves'           => \&handler_unwinds, 'blocks'],
);

for (@SERVERS) {
    my ($name, $kind, %option) = @$_;
    subtest $name => sub {
        needs(Testing::Server->missing($name));
        my $run = Testing::ServerWithJournal->start($name, %option);
        for (@CONTRACT) {
            my ($sentence, $check, $where) = @$_;
            subtest $sentence => sub { $check->($run) }
                if !defined $where || $where eq $kind;
        }
        $run->server->stop;
    };
}

done_testing;

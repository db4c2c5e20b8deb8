# The life of a native stream beside its handler, on every server: who holds it, who may push to it, how it ends.

use strict;
use warnings;

use lib 't/lib';
use Testing::Deadline  qw(wait_until);
use Testing::Developer qw(only_developers);
use Testing::Server;
use Testing::ServerWithJournal;
use Test::More;

only_developers();

my $DEADLINE = 10;    # seconds; for what should happen at once

# Whether handlers wait, or an event loop runs; each with as few processes as it can have, so that all requests meet.
my @SERVERS = (
    ['HTTP::Server::PSGI' => 'blocks'],
    ['Starman' => 'blocks', workers => 1],
    ['Starlet' => 'blocks', workers => 1],
    ['Twiggy'  => 'loops'],
    ['Feersum' => 'loops'],
    ['uWSGI'   => 'blocks', workers => 1],
);

sub keeps {
    my $run    = shift;
    my @kept   = map  { $run->get('/keep') } 1 .. 3;
    my @opened = grep { $_->read_until(qr/data: kept by \d+\r\n\r\n/) } @kept;
    is scalar @opened,                3,       'three streams of handlers that have returned';
    is $run->ask('/tell?text=hello'), '1 1 1', 'a later request pushes to them';
    is scalar(grep { $_->read_until(qr/data: hello\r\n\r\n/) } @kept), 3, 'and they receive it';
    my ($native) = $run->ask('/stats') =~ /\bnative=(\d+)/;
    is $native, 3, 'they are counted';
    $_->leave for @kept;
    ends_by($run, $_, 'client') for @kept;
    is $run->ask('/tell?text=hello'), '', 'and no one is left to push to';
    return;
}

# Whether a server blocks or not, requests do come by.
sub ends_by {
    my ($run, $client, $why) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    wait_until($DEADLINE, sub { $run->ask('/dispatch'); $run->journal($client) =~ /^closed by/m });
    like $run->journal($client), qr/^closed by $why$/m, "on_close says $why";
    is scalar(() = $run->journal($client) =~ /^closed by/mg), 1, 'once';
    return;
}

sub is_false_to_who_left {
    my $run    = shift;
    my $client = $run->get('/keep');
    ok $client->read_until(qr/data: kept/), 'it runs';
    $client->leave(reset => 1);

    # The application lets no callback run meanwhile, for that would forget the connection.
    ok wait_until($DEADLINE, sub { $run->ask("/tell?to=$client->{tag}&text=foo") =~ /\A0?\z/ }), 'a push is false';
    is $run->ask('/pid') > 0, 1, 'and no exception';
    ends_by($run, $client, 'client');
    return;
}

sub flushes_its_backlog {
    my $run    = shift;
    my $client = $run->get('/backlog');
    $run->journal_ok($client, qr/^closed$/m, 'closed with eight megabytes on the way');
    like $run->ask('/pid'),   qr/\A\d+\z/,          'its worker is free before they are read';
    like $run->ask('/stats'), qr/\bbuffered=\d{7}/, 'so they wait';
    ok $client->read_all, 'it ends';
    is_deeply [$client->text =~ /^id: (\d+)\r$/mg], [1 .. 128], 'nothing is missing, nothing is there twice';
    is length $client->text, 128 * (65_536 + length "data: \r\nid: \r\n\r\n") + 9 + 180 + 87, 'each event is whole';
    ends_by($run, $client, 'application');
    return;
}

sub ends_when_dropped {
    my $run    = shift;
    my $client = $run->get('/dropped');
    ok $client->read_all, 'it ends';
    is $client->text, join('', map { "data: foo $_\r\n\r\n" } 1 .. 100), 'with all that was pushed';
    ends_by($run, $client, 'application');
    return;
}

sub stays_when_dropped {
    my $run    = shift;
    my $client = $run->get('/dropped');
    ok $client->read_until(qr/data: foo 100\r\n\r\n/), 'it runs';
    like $run->ask('/stats'), qr/\bnative=1\b/, 'and stays';
    is $run->journal($client), '', 'without an end';
    $client->leave;
    ends_by($run, $client, 'client');
    return;
}

sub ends_by_another_hand {
    my $run  = shift;
    my @ends = (['/act/close', 'closed by a later request'], ['/act/forget', 'let go of by a later request']);
    for my $end (@ends) {
        my ($path, $what) = @$end;
        my $client = $run->get('/keep');
        ok $client->read_until(qr/data: kept/), 'it runs';
        is $run->ask("$path?to=$client->{tag}"), 'gone', $what;
        ok $client->read_all && $client->complete, 'it ends';
        ends_by($run, $client, 'application');
    }
    return;
}

sub closes_a_full_house {
    my $run   = shift;
    my $first = $run->get('/full');
    ok $first->read_until(qr/data: kept/), 'the only one that may be';
    my $second = $run->get('/full');
    ok $second->read_all, 'the next one ends';
    is $second->status, 200, 'as a stream';
    my ($retry) = $second->text =~ /\Aretry: (\d+)\r\n\r\n\z/;
    ok defined $retry && $retry >= 2_000 && $retry <= 4_000, 'with a time to come back at' or diag $second->body;
    is $run->journal($second), '', 'and without its handler';
    my ($counted, $stats) = (qr/\brefused=1\b.*\bclosed\.server=1\b/, '');
    wait_until($DEADLINE, sub { ($stats = $run->ask('/stats')) =~ $counted });
    like $stats, $counted, 'both are counted';
    $first->leave;
    ends_by($run, $first, 'client');
    return;
}

sub dies {
    my $run    = shift;
    my $client = $run->get('/dies');
    ok $client->read_all, 'it ends';
    is $client->text, "data: foo\r\n\r\n", 'with what had been pushed';
    ends_by($run, $client, 'error');
    like $run->server->log, qr/the handler died: on purpose/, 'and the server is told why';
    return;
}

sub loops_on {
    my $run    = shift;
    my $client = $run->get('/loop');
    ok $client->read_until(qr/(?:data: tick\r\n\r\n){20}/), 'it pushes and sleeps';
    $client->leave;
    $run->journal_ok($client, qr/^push: false, again: 0$/m, 'a push is false when its client has left, no exception');
    $run->journal_ok($client, qr/^handler returned$/m,      'the handler sees to the rest');
    ends_by($run, $client, 'client');
    return;
}

sub unwinds {
    my $run    = shift;
    my $client = $run->get('/unwound');
    ok $client->read_until(qr/(?:data: tick\r\n\r\n){3}/), 'it pushes and sleeps';
    $client->leave;
    $run->journal_ok($client, qr/^handler ended by EventSource::Gone$/m, 'it ends when its client has left');
    like $run->ask('/pid'), qr/\A\d+\z/, 'and its worker answers';
    ends_by($run, $client, 'client');
    return;
}

my @CONTRACT = (
    ['a connection that is kept lives on, its worker is free' => \&keeps],
    ['a client that has left makes a push false'              => \&is_false_to_who_left],
    ['close sends all that waits'                             => \&flushes_its_backlog],
    ['a connection that is dropped ends'                      => \&ends_when_dropped,    'blocks'],
    ['a connection that is dropped stays'                     => \&stays_when_dropped,   'loops'],
    ['a later request may end it'                             => \&ends_by_another_hand, 'blocks'],
    ['one too many is sent away'                              => \&closes_a_full_house],
    ['a handler that dies ends its stream'                    => \&dies],
    ['a handler may push and sleep'                           => \&loops_on, 'blocks'],
    ['a handler may be ended by its client'                   => \&unwinds,  'blocks'],
);

for (@SERVERS) {
    my ($name, $kind, %option) = @$_;
    if (my $missing = Testing::Server->missing($name)) {
    SKIP: { skip $missing, 1 if !$ENV{EVENTSOURCE_XS_FULL}; fail $missing }
        next;
    }
    subtest $name => sub {
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

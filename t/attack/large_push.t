# Large pushes: a handler pushes more than max_buffered at once. A client that reads receives all of it. A client that never
# reads is disconnected as slow, and each accepted event has arrived whole or is counted as lost.

use lib 't/lib';
use Testing;
use Testing::Client;
use Testing::NumberedEvents qw(numbers);
use Testing::StreamServer   qw(on_each_server path);
use Testing::Server;
use Testing::SlowReader;

my @SERVERS = Testing::Server->names;
my $COUNT   = 30;
my %BURST   = (burst => $COUNT, bytes => 100_000);

# How many of the events that the handler pushed the stream has accepted.
sub accepted {
    my ($server, $name) = @_;
    $server->journal_ok($name, qr/^taken: [0-9]+$/m, 'the handler has pushed all');
    return $server->journal($name) =~ /^taken: ([0-9]+)$/m ? $1 : 0;
}

sub client_reads {
    my ($server, $name, %setting) = @_;
    my $client = Testing::Client->get($server->port, path('/held', name => $name, %BURST, %setting));
    ok $client->read_until(qr/^id: $COUNT\r\n.*\r\n\r\n/m), 'the last event arrives';
    is accepted($server, $name), $COUNT, 'every push is accepted';
    is_deeply [numbers($client->text =~ s/^event: held\r\n\r\n//r)], [1 .. $COUNT],
        'every event arrives once, in order';
    is $server->ended($name), undef, 'the stream is open';
    $client->leave;
    return $server->rests_ok;
}

sub client_never_reads {
    my $server = shift;
    my $before = $server->stats->{lost};
    my $client =
        Testing::SlowReader->get($server->port, path('/held', name => 'never', %BURST, on_full => 'disconnect'));
    my $count = accepted($server, 'never');
    $count += $server->push(name => 'never', from => $COUNT + 1, count => 30, bytes => 100_000);
    $server->ended_ok('never', 'slow', 'a client that never reads ends as slow');
    cmp_ok $count, '<', $COUNT + 30, 'not every push is accepted';
    is $server->push(name => 'never'), 0, 'the ended stream accepts nothing';
    $client->read_all;
    my $text  = $client->text =~ s/^event: held\r\n\r\n//r;
    my $whole = rindex $text, "\r\n\r\n";
    my @got   = numbers($whole < 0 ? '' : substr $text, 0, 4 + $whole);
    is_deeply \@got, [1 .. @got], 'the events that arrive are the first ones, in order';
    is @got + $server->stats->{lost} - $before, $count, 'each accepted event has arrived or is counted as lost';
    return $server->rests_ok;
}

for my $name (@SERVERS) {
    on_each_server [$name] => sub {
        my $server = shift;
        my $native = $server->stream(name => 'probe');
        ok $server->stats->{held}{probe}{native}, 'streams are native';
        $native->leave;
        subtest 'a client that reads' => sub { client_reads($server, 'reads') };
        subtest 'a client that reads, and may lose old events' =>
            sub { client_reads($server, 'lossy', on_full => 'drop_oldest') }
            if $name eq 'Feersum';
        subtest 'a client that never reads' => sub { client_never_reads($server) };
        $server->serves_ok;
    };
}

done_testing;

# A worker says once that its server ends workers after few requests, when a stream is to live on in it.

use strict;
use warnings;

use lib 't/lib';
use Testing::Developer qw(only_developers);
use EventSource::Stream::WorkerRecycling;
use Testing::Server;
use Testing::ServerWithJournal;
use Test::More;

only_developers();

my $SENTENCE = qr/^EventSource::XS: (\w+) ends a worker .* after (\d+) requests; give it a larger (\S+), such as \d+$/m;

# What each server says by default, when it is told a low number, and a high one.
my @SERVERS = (
    ['Starman', '--max-requests',       1_000, ['--max-requests',       9_999], ['--max-requests',       10_000]],
    ['Starlet', '--max-reqs-per-child', 100,   ['--max-reqs-per-child', 9_999], ['--max-reqs-per-child', 10_000]],
    ['uWSGI',   'max-requests',         undef, ['--max-requests',       9_999], ['--max-requests',       10_000]],
);

# What the server has said when streams have come and lived on.
sub said {
    my ($name, @args) = @_;
    my $run    = Testing::ServerWithJournal->start($name, workers => 1, args => \@args);
    my $within = $run->get('/dropped');
    $within->read_all or return 'no stream';
    my $early = join '|', $run->server->log =~ /$SENTENCE/g;
    my @kept  = map { $run->get('/keep') } 1 .. 3;
    return 'no streams' if grep { !$_->read_until(qr/data: kept/) } @kept;
    $run->ask('/pid');    # when it has answered that, the handlers have returned
    my $later = join '|', $run->server->log =~ /$SENTENCE/g;
    $run->server->stop;
    return $early eq '' ? $later : "$early too early";
}

for (@SERVERS) {
    my ($name, $option, $default, $low, $high) = @$_;
    if (my $missing = Testing::Server->missing($name)) {
    SKIP: { skip $missing, 1 if !$ENV{EVENTSOURCE_XS_FULL}; fail $missing }
        next;
    }
    subtest $name => sub {
        is said($name), defined $default ? "$name|$default|$option" : '', 'by default';
        is said($name, @$low),  "$name|9999|$option", 'when told a low number';
        is said($name, @$high), '',                   'when told a high one, nothing';
    };
}

is said('HTTP::Server::PSGI'), '', 'a server that recycles nothing says nothing';
is_deeply [EventSource::Stream::WorkerRecycling->limit({})], [], 'without a server nothing is known';
is_deeply [EventSource::Stream::WorkerRecycling->limit({'psgi.errors' => *STDERR})], [], 'nor by its errors';

# A server that has changed inside, or somebody's of the same name.
sub Starman::Server::dispatch_request {
    my $self = shift;
    return EventSource::Stream::WorkerRecycling->limit({});
}
is_deeply [Starman::Server::dispatch_request()],                  [], 'an object that is none says nothing';
is_deeply [Starman::Server::dispatch_request('Starman::Server')], [], 'nor does a class';
is_deeply [Starman::Server::dispatch_request([])],                [], 'nor one of another make';
is_deeply [Starman::Server::dispatch_request({server => {max_requests => 7}})], ['Starman', '--max-requests', 7],
    'one that is says it';

done_testing;

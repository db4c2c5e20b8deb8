# A worker says once that its server ends workers after few requests, when a stream is to live on in it.

use lib 't/lib';
use Testing;
use EventSource::XS::Stream::WorkerRecycling;
use Testing::Server;

my $SENTENCE = qr/^EventSource::XS: (\w+) ends a worker .* after (\d+) requests; give it a larger (\S+), such as \d+$/m;

# The option and the default limit of each server, a limit that is warned of, and one that is not.
my @SERVERS = (
    ['Starman', '--max-requests',       1_000, ['--max-requests',       9_999], ['--max-requests',       10_000]],
    ['Starlet', '--max-reqs-per-child', 100,   ['--max-reqs-per-child', 9_999], ['--max-reqs-per-child', 10_000]],
    ['uWSGI',   'max-requests',         undef, ['--max-requests',       9_999], ['--max-requests',       10_000]],
);

# Returns the warning of a server whose streams outlive their handlers.
sub warned {
    my ($name, @args) = @_;
    my $run =
        Testing::Server->start($name, 't/data/native.psgi', journal => 1, workers => 1, recycles => 1, args => \@args);
    my $within = $run->get('/dropped');
    $within->read_all or return 'no stream';
    my $early = join '|', $run->log =~ /$SENTENCE/g;
    my @kept  = map { $run->get('/keep') } 1 .. 3;
    return 'no streams' if grep { !$_->read_until(qr/data: kept/) } @kept;
    $run->ask('/pid');    # when it has answered that, the handlers have returned
    my $later = join '|', $run->log =~ /$SENTENCE/g;
    $run->stop;
    return $early eq '' ? $later : "$early too early";
}

for (@SERVERS) {
    my ($name, $option, $default, $low, $high) = @$_;
    subtest $name => sub {
        is warned($name), defined $default ? "$name|$default|$option" : '', "$name warns of its default limit";
        is warned($name, @$low),  "$name|9999|$option", "$name warns of a limit of 9999 requests";
        is warned($name, @$high), '',                   "$name does not warn of a limit of 10000 requests";
    };
}

is warned('HTTP::Server::PSGI'), '', 'HTTP::Server::PSGI, which recycles no worker, does not warn';
is_deeply [EventSource::XS::Stream::WorkerRecycling->limit({})], [], 'limit is empty without a server';
is_deeply [EventSource::XS::Stream::WorkerRecycling->limit({'psgi.errors' => *STDERR})], [],
    'limit is empty for psgi.errors of another kind';

# A server whose internals have changed, or another module of the same name.
sub Starman::Server::dispatch_request {
    my $self = shift;
    return EventSource::XS::Stream::WorkerRecycling->limit({});
}
is_deeply [Starman::Server::dispatch_request()],                  [], 'limit is empty without a server object';
is_deeply [Starman::Server::dispatch_request('Starman::Server')], [], 'limit is empty if the server is a class name';
is_deeply [Starman::Server::dispatch_request([])], [], 'limit is empty if the server has another structure';
is_deeply [Starman::Server::dispatch_request({server => {max_requests => 7}})], ['Starman', '--max-requests', 7],
    'limit is read from a Starman object';

done_testing;

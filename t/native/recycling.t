# A worker warns once that its server ends workers after few requests, when a stream outlives its handler.

use strict;
use warnings;

use lib 't/lib';
use Testing::Developer qw(only_developers);
use EventSource::Stream::WorkerRecycling;
use Testing::Server;
use Testing::Stage;
use Test::More;

only_developers();

my $SENTENCE = qr/^EventSource::XS: (\w+) ends a worker .* after (\d+) requests; give it a larger (\S+), such as \d+$/m;

# Each server: its option, its default, and arguments with a low and a high number.
my @SERVERS = (
    ['Starman', '--max-requests',       1_000, ['--max-requests',       9_999], ['--max-requests',       10_000]],
    ['Starlet', '--max-reqs-per-child', 100,   ['--max-reqs-per-child', 9_999], ['--max-reqs-per-child', 10_000]],
    ['uWSGI',   'max-requests',         undef, ['--max-requests',       9_999], ['--max-requests',       10_000]],
);

# The warnings of a server after streams have outlived their handlers.
sub warnings_of {
    my ($name, @args) = @_;
    my $stage  = Testing::Stage->start($name, workers => 1, args => \@args);
    my $within = $stage->get('/dropped');
    $within->read_all or return 'no stream';
    my $early = join '|', $stage->server->log =~ /$SENTENCE/g;
    my @kept  = map { $stage->get('/keep') } 1 .. 3;
    return 'no streams' if grep { !$_->read_until(qr/data: kept/) } @kept;
    $stage->ask('/pid');    # the handlers have returned when the worker answers
    my $later = join '|', $stage->server->log =~ /$SENTENCE/g;
    $stage->server->stop;
    return $early eq '' ? $later : "$early too early";
}

for (@SERVERS) {
    my ($name, $option, $default, $low, $high) = @$_;
    if (my $missing = Testing::Server->missing($name)) {
    SKIP: { skip $missing, 1 if !$ENV{EVENTSOURCE_XS_FULL}; fail $missing }
        next;
    }
    subtest $name => sub {
        is warnings_of($name), defined $default ? "$name|$default|$option" : '', 'the default';
        is warnings_of($name, @$low),  "$name|9999|$option", 'a low number is warned about';
        is warnings_of($name, @$high), '',                   'a high number is not warned about';
    };
}

is warnings_of('HTTP::Server::PSGI'), '', 'a server without recycling does not warn';
is_deeply [EventSource::Stream::WorkerRecycling->limit({})], [], 'limit of an empty environment is empty';
is_deeply [EventSource::Stream::WorkerRecycling->limit({'psgi.errors' => *STDERR})], [],
    'limit of an environment with psgi.errors as a glob is empty';

# A server whose internals have changed, or another class of the same name.
sub Starman::Server::dispatch_request {
    my $self = shift;
    return EventSource::Stream::WorkerRecycling->limit({});
}
is_deeply [Starman::Server::dispatch_request()], [], 'limit below a method without an invocant is empty';
is_deeply [Starman::Server::dispatch_request('Starman::Server')], [], 'limit below a class method is empty';
is_deeply [Starman::Server::dispatch_request([])], [], 'limit below an object of another structure is empty';
is_deeply [Starman::Server::dispatch_request({server => {max_requests => 7}})], ['Starman', '--max-requests', 7],
    'limit below a server object is its number';

done_testing;

# Streams of a named hub outlive the workers of each server.

use lib 't/lib';
use Testing;
use Testing::Outlive;
use Testing::SideBySide qw(run_each);
use Testing::Server;

my %OPTIONS = (
    'HTTP::Server::PSGI' => [single => 1],
    'Twiggy'             => [single => 1],

# Its master does not listen any more when it forks a worker again, so that this one serves nobody: there are enough from
# the start.
    'Feersum' => [workers => 6],
    'Starman' => [endless => [qw(--max-requests 1000000)], recycle => [qw(--max-requests 10)], reload => 'HUP'],
    'Starlet' =>
        [endless => [qw(--max-reqs-per-child 1000000)], recycle => [qw(--max-reqs-per-child 10)], reload => 'HUP'],
    'uWSGI' => [recycle => [qw(--max-requests 10 --min-worker-lifetime 0)], reload => 'HUP'],
);

run_each(sub { Testing::Outlive->run($_[0], @{$OPTIONS{$_[0]}}) }, Testing::Server->names);
done_testing;

# Streams of a named hub outlive the workers of each server.

use lib 't/lib';
use Testing;
use Testing::Outlive;
use Testing::SideBySide qw(run_each);
use Testing::Server;

run_each(sub { Testing::Outlive->run($_[0]) }, Testing::Server->names);
done_testing;

# Streams of a named hub outlive the workers of each server.

use lib 't/lib';
use Testing;
use Testing::Outlive;
use Testing::SideBySide qw(run_each);
use Testing::Server;

run_each([Testing::Server->names] => sub { Testing::Outlive->run($_[0]) });
done_testing;

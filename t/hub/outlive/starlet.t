# Streams of a named hub outlive the workers of Starlet.

use strict;
use warnings;

use lib 't/lib';
use Testing::Outlive;

Testing::Outlive->run(
    'Starlet',
    endless => [qw(--max-reqs-per-child 1000000)],
    recycle => [qw(--max-reqs-per-child 10)],
    reload  => 'HUP',
);

# Streams of a named hub outlive the workers of Starman.

use strict;
use warnings;

use lib 't/lib';
use Testing::Outlive;

Testing::Outlive->run(
    'Starman',
    endless => [qw(--max-requests 1000000)],
    recycle => [qw(--max-requests 10)],
    reload  => 'HUP',
);

# Streams of a named hub outlive the workers of uWSGI.

use strict;
use warnings;

use lib 't/lib';
use Testing::Outlive;

Testing::Outlive->run(
    'uWSGI',
    recycle => [qw(--max-requests 10 --min-worker-lifetime 0)],
    reload  => 'HUP',
);

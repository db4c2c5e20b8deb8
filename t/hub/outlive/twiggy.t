# Streams of a named hub outlive the workers of Twiggy.

use strict;
use warnings;

use lib 't/lib';
use Testing::Outlive;

Testing::Outlive->run('Twiggy', single => 1);

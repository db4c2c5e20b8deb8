# Streams of a named hub outlive the workers of Feersum. Its master does not listen any more when it forks a
# worker again, so that this one serves nobody: there are enough from the start.

use strict;
use warnings;

use lib 't/lib';
use Testing::Outlive;

Testing::Outlive->run('Feersum', workers => 6);

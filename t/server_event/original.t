# HTTP::ServerEvent accepts what the original module accepts, with the same result.

use strict;
use warnings;

use lib 't/lib';
use Testing::Originals;
use Testing::Originals::ServerEvent;

Testing::Originals->compare('Testing::Originals::ServerEvent');

# HTTP::ServerEvent accepts what the original module accepts, with the same result.

use lib 't/lib';
use Testing;
use Testing::Originals;
use Testing::Originals::ServerEvent;

Testing::Originals->compare('Testing::Originals::ServerEvent');

package Testing;
use strict;
use warnings;
use utf8;

# What each test file begins with: strict, warnings, utf8 and Test::More, whose output is UTF-8.
#
#   use lib 't/lib';
#   use Testing;
#   use Testing qw(native);    # skips the file on a system without native streams and hubs

use Test::More;

binmode $_, ':encoding(UTF-8)' for map { Test::More->builder->$_ } qw(output failure_output todo_output);

sub import {
    my ($class, $need) = @_;
    $_->import for qw(strict warnings utf8);
    Test::More->export_to_level(1);
    return if !$need;
    require EventSource::XS;
    return EventSource::XS->can('_next_end') || plan skip_all => 'there are no native streams and hubs on this system';
}

1;

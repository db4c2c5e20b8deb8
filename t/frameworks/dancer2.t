# Streams in an application of Dancer2: with a login, native, with resume and on_close.

use strict;
use warnings;

use lib 't/lib';
use Testing::Developer  qw(needs_module only_developers);
use Testing::Frameworks qw(streams_on);
use Test::More;

only_developers();
needs_module('Dancer2');

streams_on('dancer2.psgi', 'Starman', 'Twiggy');

done_testing;

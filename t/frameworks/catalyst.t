# Streams in an application of Catalyst: with a login, native, with resume and on_close.

use lib 't/lib';
use Testing;
use Testing::Developer  qw(needs_module);
use Testing::Frameworks qw(streams_on);

needs_module('Catalyst');

streams_on('catalyst.psgi', 'Starman', 'Twiggy');

done_testing;

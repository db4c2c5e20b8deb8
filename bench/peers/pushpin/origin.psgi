# Pushpin's origin in bench/peers/run: it answers each request at once, and has Pushpin hold it for one channel.

use strict;
use warnings;

my @HEADERS = (
    'Content-Type'    => 'text/event-stream',
    'Grip-Hold'       => 'stream',
    'Grip-Channel'    => 'all',
    'Grip-Keep-Alive' => ':\n\n; format=cstring; timeout=15',
);

sub { return [200, \@HEADERS, [":\n\n"]] };

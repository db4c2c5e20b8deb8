# Pushpin's origin in bench/peers/run: it answers each request at once and tells Pushpin to hold the stream for one channel.

use strict;
use warnings;

my @HEADERS = (
    'Content-Type'    => 'text/event-stream',
    'Grip-Hold'       => 'stream',
    'Grip-Channel'    => 'all',
    'Grip-Keep-Alive' => ':\n\n; format=cstring; timeout=15',
);

sub { return [200, \@HEADERS, [":\n\n"]] };

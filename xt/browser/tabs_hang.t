# 200 tabs instead of none, of those that t/browser/tabs_hang.t describes.

use lib 't/lib';
use Testing;

local $ENV{EVENTSOURCE_XS_STEPS} = $ENV{EVENTSOURCE_XS_STEPS} // 200;
defined(do './t/browser/tabs_hang.t') or die $@ || "t/browser/tabs_hang.t: $!\n";

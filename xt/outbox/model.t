# More schedules than those of t/outbox/model.t.

use lib 't/lib';
use Testing;

local $ENV{EVENTSOURCE_XS_STEPS} = $ENV{EVENTSOURCE_XS_STEPS} // 1000;
defined(do './t/outbox/model.t') or die $@ || "t/outbox/model.t: $!\n";

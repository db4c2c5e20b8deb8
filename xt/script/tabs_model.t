# More seeds than those of t/script/tabs_model.t.

use lib 't/lib';
use Testing;

local $ENV{EVENTSOURCE_XS_STEPS} = $ENV{EVENTSOURCE_XS_STEPS} // 1000;
defined(do './t/script/tabs_model.t') or die $@ || "t/script/tabs_model.t: $!\n";

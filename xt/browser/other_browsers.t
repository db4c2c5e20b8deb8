# The tests of t/browser that do not need Chromium, in the browsers that they leave out. script/check runs
# tabs_leave.t in each browser, at length.

use lib 't/lib';
use Testing;
use Testing::Others qw(again);

again('t/browser', 'browsers', 't/browser/tabs_leave.t');

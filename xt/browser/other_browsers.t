# The tests of t/browser that do not need Chromium, in the browsers that they leave out.

use lib 't/lib';
use Testing;
use Testing::Others qw(again);

again('t/browser', 'browsers');

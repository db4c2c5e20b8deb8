# The dashboards of EventSource::Cookbook in a real browser, with htmx and Turbo; xt has Datastar, and another htmx.

use lib 't/lib';
use Testing;
use Testing::Dashboards qw(dashboards_ok);

dashboards_ok('Turbo', 'htmx 4');

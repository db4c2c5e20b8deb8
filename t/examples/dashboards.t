# The dashboards of EventSource::Cookbook in a real browser, with htmx, Turbo and Datastar; xt has more versions.

use lib 't/lib';
use Testing;
use Testing::Dashboards qw(dashboards_ok);

dashboards_ok('Datastar beta', 'Turbo', 'htmx 4');

# The dashboards of EventSource::Cookbook in a real browser, with other versions of htmx and Datastar.

use lib 't/lib';
use Testing;
use Testing::Dashboards qw(dashboards_ok);

dashboards_ok('Datastar 1.0', 'htmx 2');

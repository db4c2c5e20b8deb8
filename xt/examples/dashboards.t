# The dashboards of EventSource::Cookbook in a real browser, with Datastar, and another version of htmx.

use lib 't/lib';
use Testing;
use Testing::Dashboards qw(dashboards_ok);

dashboards_ok('Datastar', 'htmx 2');

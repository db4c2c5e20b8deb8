# A dashboard with htmx and its extension sse: each event is a fragment of HTML for one element.
use strict;
use warnings;

use EventSource::Hub;
use Plack::Builder;
use Plack::Request;
use Plack::Util;

# One channel for each figure, with its latest value: that is what a new page receives first.
my $hub = EventSource::Hub->new(start => 'oldest', history => {events => 1}, on_slow => 'gap');

sub set {
    my $given = Plack::Request->new(shift)->parameters;
    my ($name, $value) = @$given{qw(name value)};
    return [400, [], []] if ($name // '') !~ /\A(?:load|users)\z/ || !defined $value;
    $hub->publish(
        "figure/$name" => {event => $name, data => '<b>' . Plack::Util::encode_html($value) . '</b>', bytes => 1});
    return [204, [], []];
}

builder {
    mount '/events' => $hub->to_app(channels => sub { EventSource::Hub->pattern('figure/*') });
    mount '/set'    => \&set;
    mount '/'       => sub { [200, ['Content-Type' => 'text/html; charset=utf-8'], [<<'HTML']] };
<!doctype html>
<script src="https://unpkg.com/htmx.org@2.0.4/dist/htmx.min.js"></script>
<script src="https://unpkg.com/htmx-ext-sse@2.2.2/sse.js"></script>
<dl hx-ext="sse" sse-connect="/events">
  <dt>Load</dt>  <dd sse-swap="load"></dd>
  <dt>Users</dt> <dd sse-swap="users"></dd>
</dl>
HTML
};

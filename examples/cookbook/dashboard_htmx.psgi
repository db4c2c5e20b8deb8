# A dashboard with htmx 4 and its extension hx-sse: each event replaces one element of the page.
use strict;
use warnings;

use Encode qw(decode);
use EventSource::Hub;
use File::Basename qw(dirname);
use Plack::App::File;
use Plack::Builder;
use Plack::Request;
use Plack::Util;

# One channel for each figure, with its latest value: that is what a new page receives first.
my $hub = EventSource::Hub->new(start => 'oldest', history => {events => 1, seconds => 86_400}, on_slow => 'gap');

sub set {
    my $given = Plack::Request->new(shift)->body_parameters;
    my ($name, $value) = @$given{qw(name value)};
    return [400, [], []] if ($name // '') !~ /\A(?:load|users)\z/ || !defined $value;
    my $html = sprintf '<dd id="%s" hx-swap-oob="true">%s</dd>', $name,
        Plack::Util::encode_html(decode('UTF-8', $value));
    $hub->publish("figure/$name" => {data => $html});
    return [204, [], []];
}

builder {
    mount '/events' => $hub->to_app(channels => sub { EventSource::Hub->pattern('figure/*') });
    mount '/set'    => \&set;
    mount '/lib'    => Plack::App::File->new(root => dirname(__FILE__) . '/node_modules')->to_app;
    mount '/'       => sub { [200, ['Content-Type' => 'text/html; charset=utf-8'], [<<'HTML']] };
<!doctype html>
<script src="/lib/htmx.org/dist/htmx.min.js"></script>
<script src="/lib/htmx.org/dist/ext/hx-sse.min.js"></script>
<div hx-sse:connect="/events" hx-swap="none" hx-on:gap="location.reload()"></div>
<dl>
  <dt>Load</dt>  <dd id="load"></dd>
  <dt>Users</dt> <dd id="users"></dd>
</dl>
HTML
};

# A dashboard with Datastar: each event patches one element of the page.
use strict;
use warnings;

use Encode qw(decode);
use EventSource::Hub;
use Plack::Builder;
use Plack::Request;
use Plack::Util;

# One channel for each figure, with its latest value: that is what a new page receives first. A page that has missed events
# is loaded again.
my $hub = EventSource::Hub->new(
    start     => 'oldest',
    history   => {events => 1, seconds => 86_400},
    on_slow   => 'gap',
    gap_event => 'datastar-patch-elements',
    gap_data  => 'elements <p id="gap" data-init="location.reload()"></p>',
);

sub set {
    my $given = Plack::Request->new(shift)->body_parameters;
    my ($name, $value) = @$given{qw(name value)};
    return [400, [], []] if ($name // '') !~ /\A(?:load|users)\z/ || !defined $value;
    my $html  = sprintf '<dd id="%s">%s</dd>', $name, Plack::Util::encode_html(decode('UTF-8', $value));
    my @lines = map { "elements $_" } split /\r\n?|\n/, $html;    # each line of data begins with the word
    $hub->publish("figure/$name" => {event => 'datastar-patch-elements', data => \@lines});
    return [204, [], []];
}

builder {
    mount '/events' => $hub->to_app(channels => sub { EventSource::Hub->pattern('figure/*') });
    mount '/set'    => \&set;
    mount '/'       => sub { [200, ['Content-Type' => 'text/html; charset=utf-8'], [<<'HTML']] };
<!doctype html>
<script type="module" src="https://cdn.jsdelivr.net/gh/starfederation/datastar@1.0.0-RC.7/bundles/datastar.js"></script>
<dl data-init="@get('/events', {retry: 'always', retryMaxCount: Infinity})">
  <dt>Load</dt>  <dd id="load"></dd>
  <dt>Users</dt> <dd id="users"></dd>
</dl>
<p id="gap"></p>
HTML
};

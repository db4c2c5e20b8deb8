# A dashboard with Turbo: each event is a turbo-stream element, which updates one element of the page.
use strict;
use warnings;

use Encode qw(decode);
use EventSource::Hub;
use File::Basename qw(dirname);
use Plack::App::File;
use Plack::Builder;
use Plack::Request;
use Plack::Util;

# One channel for each figure, with its latest value: that is what a new page receives first. A page that has missed events
# is loaded again.
my $hub = EventSource::Hub->new(
    start     => 'oldest',
    history   => {events => 1, seconds => 86_400},
    on_slow   => 'gap',
    gap_event => 'message',
    gap_data  => '<turbo-stream action="refresh"></turbo-stream>',
);

sub set {
    my $given = Plack::Request->new(shift)->body_parameters;
    my ($name, $value) = @$given{qw(name value)};
    return [400, [], []] if ($name // '') !~ /\A(?:load|users)\z/ || !defined $value;
    my $html     = Plack::Util::encode_html(decode('UTF-8', $value));
    my $fragment = qq{<turbo-stream action="update" target="$name"><template>$html</template></turbo-stream>};
    $hub->publish("figure/$name" => {data => $fragment});
    return [204, [], []];
}

builder {
    mount '/events' => $hub->to_app(channels => sub { EventSource::Hub->pattern('figure/*') });
    mount '/set'    => \&set;
    mount '/lib'    => Plack::App::File->new(root => dirname(__FILE__) . '/node_modules')->to_app;
    mount '/'       => sub { [200, ['Content-Type' => 'text/html; charset=utf-8'], [<<'HTML']] };
<!doctype html>
<script type="module" src="/lib/@hotwired/turbo/dist/turbo.es2017-esm.js"></script>
<turbo-stream-source src="/events"></turbo-stream-source>
<dl>
  <dt>Load</dt>  <dd id="load"></dd>
  <dt>Users</dt> <dd id="users"></dd>
</dl>
HTML
};

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

# The state has the latest fragment of each figure: that is what a new page receives first.
my $hub = EventSource::Hub->new(start => 'state', show_channel => 'data', on_slow => 'gap');

sub set {
    my $given = Plack::Request->new(shift)->body_parameters;
    my ($name, $value) = @$given{qw(name value)};
    return [400, [], []] if ($name // '') !~ /\A(?:load|users)\z/ || !defined $value;
    my $html = sprintf '<turbo-stream action="update" target="%s"><template>%s</template></turbo-stream>', $name,
        Plack::Util::encode_html(decode('UTF-8', $value));
    $hub->publish(figures => {key => $name, data => $html, retain => 1});
    return [204, [], []];
}

builder {
    mount '/events' => $hub->to_app(channels => sub { 'figures' });
    mount '/hub.js' => EventSource::Hub->script_app;
    mount '/set'    => \&set;
    mount '/lib'    => Plack::App::File->new(root => dirname(__FILE__) . '/node_modules')->to_app;
    mount '/'       => sub { [200, ['Content-Type' => 'text/html; charset=utf-8'], [<<'HTML']] };
<!doctype html>
<script type="module">
import { renderStreamMessage } from '/lib/@hotwired/turbo/dist/turbo.es2017-esm.js'
import { connect } from '/hub.js'
const figures = connect('/events').state('figures')
figures.addEventListener('change', ({key, value}) => {
  if (value === undefined) document.getElementById(key).replaceChildren()
  else renderStreamMessage(value)
})
</script>
<dl>
  <dt>Load</dt>  <dd id="load"></dd>
  <dt>Users</dt> <dd id="users"></dd>
</dl>
HTML
};

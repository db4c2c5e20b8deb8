# A dashboard with Datastar: each event patches one element of the page.
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
    my $html = sprintf '<dd id="%s">%s</dd>', $name, Plack::Util::encode_html(decode('UTF-8', $value));
    $hub->publish(figures => {key => $name, data => $html, retain => 1});
    return [204, [], []];
}

builder {
    mount '/events'      => $hub->to_app(channels => sub { 'figures' });
    mount '/hub.js'      => EventSource::Hub->script_app;
    mount '/set'         => \&set;
    mount '/datastar.js' => Plack::App::File->new(file => dirname(__FILE__) . '/datastar.js')->to_app;
    mount '/'            => sub { [200, ['Content-Type' => 'text/html; charset=utf-8'], [<<'HTML']] };
<!doctype html>
<script type="module">
import '/datastar.js'
import { connect } from '/hub.js'
const patch = elements => document.dispatchEvent(new CustomEvent('datastar-fetch',
  {detail: {type: 'datastar-patch-elements', argsRaw: {elements}, el: document.body}}))
const figures = connect('/events').state('figures')
figures.addEventListener('change', ({key, value}) => {
  if (value === undefined) document.getElementById(key).replaceChildren()
  else patch(value)
})
</script>
<dl>
  <dt>Load</dt>  <dd id="load"></dd>
  <dt>Users</dt> <dd id="users"></dd>
</dl>
HTML
};

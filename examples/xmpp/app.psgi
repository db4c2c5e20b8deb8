# The nodes of an XMPP service as streams of events at /eventsource/NODE, as Prosody's mod_pubsub_eventsource has them, and a
# page. The bridge is another process: eventsource xmpp --hub xmpp --prefix xmpp/ --publish ...
use strict;
use warnings;

use EventSource::Hub;
use EventSource::XMPP;
use File::Basename qw(dirname);
use Plack::App::EventSource::PubSub;
use Plack::App::File;
use Plack::Builder;

# XMPP_SOCKET is for tests; without it the hub is found by its name.
my @socket = defined $ENV{XMPP_SOCKET} ? (socket => $ENV{XMPP_SOCKET}) : ();
my $hub    = EventSource::Hub->new(name => 'xmpp', keep_history => {events => 1000, seconds => 86_400}, @socket);
my $editor = $ENV{EDITOR_SECRET};

# Everybody may read. An item of an editor goes to the service; when it comes back from there, the streams receive it.
my $nodes = Plack::App::EventSource::PubSub->new(
    hub       => EventSource::XMPP->publisher(hub => $hub, service => 'pubsub.example.test', prefix => 'xmpp/'),
    prefix    => 'xmpp/',
    start     => -20,
    authorize => sub {
        my ($env, $action, $node) = @_;
        return $action eq 'subscribe' || defined $editor && ($env->{HTTP_X_EDITOR_SECRET} // '') eq $editor;
    },
);

builder {
    mount '/eventsource' => $nodes->to_app;
    mount '/'            => Plack::App::File->new(file => dirname(__FILE__) . '/page.html')->to_app;
};

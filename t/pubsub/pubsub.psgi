# Nodes under a path and by host, paths that publish to them from Perl and that report the statistics of their hub, and an
# empty page for a browser. All in one process; or, with the name of a hub in PUBSUB_HUB, in any number. With PUBSUB_MISTAKE the
# hub has neither a name nor per_process.

use Testing::Application;
use EventSource::Hub;
use JSON::PP ();
use Plack::App::EventSource::PubSub;
use Plack::Builder;

my $PAGE = '<!doctype html><title>Page</title><link rel="icon" href="data:,">';

my @kind = $ENV{PUBSUB_HUB} ? (name => $ENV{PUBSUB_HUB}) : $ENV{PUBSUB_MISTAKE} ? () : (per_process => 1);
my $hub  = EventSource::Hub->new(@kind, retry => 100);

# A client with the key, in a header or in a cookie, may do everything.
sub authorize {
    my ($env, $action, $node) = @_;
    my $has_key = "$env->{HTTP_X_KEY};$env->{HTTP_COOKIE}" =~ /\b(?:key=)?open sesame\b/;
    return $has_key || $action eq 'subscribe' && $node !~ /\Asecret/;
}

sub pubsub {
    my @origins = $ENV{PUBSUB_ORIGIN} ? (origins => $ENV{PUBSUB_ORIGIN}) : ();
    no warnings 'uninitialized';
    return Plack::App::EventSource::PubSub->new(hub => $hub, authorize => \&authorize, @origins, @_)->to_app;
}

sub text {
    my $text = shift;
    return [200, ['Content-Type' => 'text/html; charset=utf-8', 'Content-Length' => length $text], [$text]];
}

builder {
    mount '/eventsource'           => pubsub();
    mount '/declared'              => pubsub(nodes     => ['news']);
    mount '/elsewhere'             => pubsub(http_host => 'nodes.example');
    mount 'http://events.example/' => pubsub();
    mount '/publish'               => sub { text($hub->publish(split /=/, $_[0]{QUERY_STRING}, 2)) };
    mount '/stats' => sub { text(JSON::PP::encode_json({%{$hub->stats}, news => $hub->subscribers('news')})) };
    mount '/'      => sub { text($PAGE) };
};

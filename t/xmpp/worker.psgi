# The application of t/xmpp/worker.t: a bridge in the worker of a server with an event loop. The environment has the settings as
# JSON.

use Testing::Application qw(answer);
use EventSource::Hub;
use EventSource::XMPP;
use JSON::PP ();

my %setting = %{JSON::PP->new->decode($ENV{BRIDGE_SETTINGS})};
my $hub     = EventSource::Hub->new(name => 'xmpp', socket => delete $setting{socket}, start => 'oldest');
our $bridge = EventSource::XMPP->new(
    %setting,
    hub    => $hub,
    events => {purge => undef, retract => 'gone'},
    poll   => 1,
    format => sub {
        my $item = shift;
        die "this item is broken\n" if $item->{id} eq 'broken';
        return undef                if $item->{id} eq 'private';
        return $item->{text}        if $item->{id} eq 'text';
        return {event => 'item', data => "$item->{node} $item->{id} " . ($item->{text} // $item->{xml})};
    },
);
$bridge->start;

my $streams = $hub->to_app(channels => sub { return 'news' });

sub {
    my $env = shift;
    return $streams->($env) if $env->{PATH_INFO} eq '/events';
    return answer($bridge->is_connected ? 'connected' : 'not connected');
};

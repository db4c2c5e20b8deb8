package EventSource::XMPP;
use strict;
use warnings;

# The items of nodes of an XMPP service (XEP-0060) as events of a named hub.
#
# AnyEvent::XMPP 0.55 (2014) speaks XMPP. It is in Debian, depends on expat and on nothing heavy, runs in the event loop of the
# bridge, and knows clients and components. What it lacks was found by running it against Prosody, and stands where it is
# mended: EventSource::XS::XMPP::Connection and Parser. Net::XMPP 1.05 (2014) was the other one: it has no components, blocks,
# reads XML with regular expressions (XML::Stream: "&amp;amp;lt;" becomes "<"), decodes UTF-8 piece by piece too, and warns of
# undefined values at each connection. A crate would be a program of its own with tokio, for what is not busy.
#
# Parts that live as long as the bridge: Options. While it holds the lease: Positions, which the hub keeps, and
# HubQueue. As long as a connection: Session, with a Node for each that is followed. Each is in EventSource::XS::XMPP. Calls go
# from here to Session, from there to Node and HubQueue, and from these to Positions.

our $VERSION = '0.100';

use EventSource::Hub::Lease;
use EventSource::XS ();
use EventSource::XS::Reason;
use EventSource::XS::Settings;
use EventSource::XS::XMPP::Options;
use EventSource::XS::XMPP::Publisher;
use Scalar::Util qw(weaken);

my $SETTINGS = EventSource::XS::Settings->new(__PACKAGE__);
my $OPTIONS  = 'EventSource::XS::XMPP::Options';

my $FIRST_PAUSE   = 1;      # seconds
my $MAX_PAUSE     = 60;
my $LONG_PAUSE    = 300;    # if the credentials are wrong
my $MAX_HUB_PAUSE = 5;

sub new {
    my ($class, @given) = @_;
    return bless {options => $OPTIONS->new($SETTINGS->parse('new takes settings', @given)), lists => {}}, $class;
}

# Public methods

sub is_connected { return !!($_[0]{session} && $_[0]{session}->is_ready) }

sub publisher {
    my ($class, @given) = @_;
    my %given = $SETTINGS->parse('publisher takes settings', @given);
    %given = (map({ $_ => $class->{options}{$_} } qw(hub prefix service)), %given) if ref $class;
    $SETTINGS->known(\%given, [qw(hub payload prefix service)], 'option %s of publisher');
    $SETTINGS->named_hub($given{hub});
    my $service = $OPTIONS->service_of($given{service});
    $SETTINGS->code(payload => $given{payload});
    my $prefix = $SETTINGS->name(prefix => defined $given{prefix} ? $given{prefix} : '');
    return EventSource::XS::XMPP::Publisher->new(
        hub     => $given{hub},
        channel => $OPTIONS->channel_of($service, $prefix, 'publish'),
        payload => $given{payload},
        prefix  => $prefix
    );
}

sub start {
    my $self = shift;
    return $self if $self->{lease};
    _load();
    AnyEvent::detect();
    $self->{process}    = $$;
    $self->{connecting} = EventSource::XS::XMPP::Timer->new($self, most => $MAX_PAUSE);
    $self->{loading}    = EventSource::XS::XMPP::Timer->new($self, most => $MAX_HUB_PAUSE);
    weaken(my $weak = $self);
    $self->{lease} = EventSource::Hub::Lease->new(
        hub       => $self->{options}{hub},
        name      => $self->{options}->channel('bridge'),
        on_change => sub { $weak->_follow_lease if $weak },
    );
    return $self;
}

sub stop {
    my $self = shift;
    $self->{positions}->save_changed if $self->{positions};
    $self->_end;
    delete $self->{lease};
    return;
}

sub DESTROY {
    my $self = shift;
    return if ${^GLOBAL_PHASE} eq 'DESTRUCT' || !$self->{lease} || $self->{process} != $$;
    local ($@, $!, $?, $SIG{__DIE__});
    eval { $self->_end };
    return;
}

# Private methods and functions

# The lease is held: reads what was published, and connects.
sub _begin {
    my $self      = shift;
    my $options   = $self->{options};
    my $is_loaded = do {
        local $SIG{__DIE__};
        eval { $self->{positions} = EventSource::XS::XMPP::Positions->load($options); 1 }
    };
    if (!$is_loaded) {
        $options->report_once('the hub: ' . EventSource::XS::Reason->message_of($@));
        return $self->{loading}->retry('_begin');
    }
    $self->{loading}->reset;
    $self->{queue} = EventSource::XS::XMPP::HubQueue->new($options, $self->{positions});
    return $self->_connect;
}

sub _connect {
    my $self = shift;
    return $self->{connecting}->after($FIRST_PAUSE, '_connect')
        if !$self->{queue}->is_empty;    # a list says nothing of what waits
    weaken(my $weak = $self);
    $self->{session} = EventSource::XS::XMPP::Session->open(
        (map { $_ => $self->{$_} } qw(lists options positions queue)),
        on_ready => sub { $weak->_note_login(@_)    if $weak },
        on_nodes => sub { $weak->_note_connection   if $weak },
        on_end   => sub { $weak->_connect_later(@_) if $weak },
    );
    return;
}

# The connection has ended, or there is none.
sub _connect_later {
    my ($self, $reason, $is_final) = @_;
    delete $self->{session};
    my $options = $self->{options};
    if ($is_final) {
        return $options->{on_refused}->($reason) if $options->{on_refused} && !$self->{was_ready};
        $options->report_once("the server refuses the login ($reason); the next attempt is in some minutes");
        return $self->{connecting}->after($LONG_PAUSE * (0.5 + rand 0.5), '_connect');
    }
    $options->report_once("no connection: $reason");
    return $self->{connecting}->retry('_connect');
}

# Everything that lives as long as the lease is held ends.
sub _end {
    my $self = shift;
    $_->stop  for grep { defined } @$self{qw(connecting loading)};
    $_->close for grep { defined } delete @$self{qw(session queue)};
    delete $self->{positions};
    return;
}

sub _follow_lease {
    my $self = shift;
    return $self->_end if !$self->{lease} || !$self->{lease}->is_held;
    return $self->_begin;
}

# AnyEvent::XMPP is not a prerequisite: few applications need it.
sub _load {
    local ($@, $SIG{__DIE__});
    my @modules = map { "EventSource/XS/XMPP/$_.pm" } qw(HubQueue Positions Session Timer);
    return if eval { require $_ for @modules; 1 };
    my $error = $@;
    die $error if $error !~ /\ACan't locate (?:AnyEvent|Object|XML|Net|Authen)\b/;
    return $SETTINGS->throw(unsupported => 'AnyEvent::XMPP is not installed (on Debian: libanyevent-xmpp-perl)');
}

# The service answers: what was reported before is news again.
sub _note_connection {
    my $self = shift;
    $self->{options}->forget_reports if $self->{connecting}->has_failed;
    return $self->{connecting}->reset;
}

sub _note_login {
    my ($self, $jid) = @_;
    $self->{was_ready} = 1;
    return $self->{options}->report("connected as $jid", !!0);
}

1;
__END__

=encoding utf8

=head1 NAME

EventSource::XMPP - The items of nodes of an XMPP service as events of a hub

=head1 SYNOPSIS

    use EventSource::Hub;
    use EventSource::XMPP;

    my $hub    = EventSource::Hub->new(name => 'shop');
    my $bridge = EventSource::XMPP->new(
        hub      => $hub,
        service  => 'pubsub.example.org',
        nodes    => ['news', EventSource::Hub->pattern('weather/*')],
        jid      => 'bridge.example.org',
        host     => '127.0.0.1',
        password => 'the secret of the component',
    );
    # $bridge->start;    # in an application that runs in an event loop; or run `eventsource xmpp`

=head1 DESCRIPTION

A bridge subscribes to nodes of a publish-subscribe service of XMPP (XEP-0060), and publishes each item to the channel of a
named hub with the name of the node. L<EventSource::Cookbook/ITEMS OF AN XMPP SERVICE> has an application.

Run the command L<eventsource/xmpp>, or L</start> the bridge in each worker of a server with an event loop: one of them runs it
(L<EventSource::Hub::Lease>). A bridge needs AnyEvent::XMPP (on Debian: libanyevent-xmpp-perl).

=head2 What is published

=over

=item an item

The data is the text of the payload (L</format>), or the item's id if it has none. The event has no type; its key is the
item's id.

=item a retraction, C<retract>

The data is the item's id.

=item a purge, C<purge>, and the deletion of a node, C<delete>

The data is the name of the node.

=back

=head2 Once, and in order

Each event is published once, in the order of the service.

The bridge keeps in the hub which items of a node it has published (L</max_items>), as the state of the channel
C<EventSource::XMPP/SERVICE/nodes/PREFIX>. The next bridge, here or on another machine with the hub's store, continues there;
without a L<store|EventSource::Hub/store> all items come again after the end of the hub process. Keep pages from this channel:
with the L</prefix> as L<Plack::App::EventSource::PubSub/prefix> it has no URL.

A lost subscription is made again within L</poll> seconds, and L<reported|/report>.

While the hub takes no events, the bridge waits.

There are exceptions:

What the service has dropped before the bridge came back is lost, as is each version of an item but the last. Prosody keeps
the last 20 items of a node by default (C<pubsub#max_items>).

A retraction while the bridge was away is missed for the oldest items, and for one of the second before a crash.

=head2 The account

A B<component> (XEP-0114) has a domain and a secret, and B<no TLS>: keep its server on the same machine, or behind a tunnel. A
B<client> has an account (C<user@example.org/resource>), best one of its own, and a password, which is sent over TLS only, by
SASL PLAIN. The certificate must be that of the JID's domain.

The JID must have the right to subscribe to the nodes and read their items: with the access model C<whitelist> the affiliation
C<member>, for L</publish> C<publisher>.

=head1 METHODS

=head2 new

    my $bridge = EventSource::XMPP->new(%settings);
    my $bridge = EventSource::XMPP->new(\%settings);

Create a bridge. Throws C<invalid> (L<EventSource::Error>).

=over

=item hub, service

The L<EventSource::Hub>, with a name, and the JID of the service. Required.

=item nodes

An array of names of nodes and patterns (L<EventSource::Hub/pattern>), which need a service that lists its nodes. Required.

=item jid, password

The domain and the secret of a component, or the account of a client and its password (L</The account>). Required.

=item host, port

By default those of the JID's domain: for a client by SRV records and port 5222, for a component port 5347.

=item ca, tls

A file with certificates of authorities, instead of the system's; whether a client sends its password over TLS only, true by
default.

=item prefix

What the name of a node's channel begins with; empty by default.

=item format

What the data of an item is:

    text    the default: the text of JSON (XEP-0335), of data (https://prosody.im/protocol/data), and of an entry of Atom
            (the first of content, summary and title that is not empty); the XML of any other payload
    xml     the XML of the payload, as mod_pubsub_eventsource sends it
    json    an object with "node", "id", and "text" or "xml"

Or code that is given a hash with C<node>, C<id>, C<text> (undef if it would be the XML) and C<xml>, and returns the data, a
hash of the fields of L<EventSource::Hub/publish> (not C<id>), or undef to publish nothing. If it dies, the item is left out
and reported.

=item events

    events => {retract => 'gone', purge => undef}

Other types of the events. With undef they are not published.

=item start

C<oldest>, the default, publishes the items that nodes have when a bridge first reads a service; C<latest> only later ones,
also of nodes that come later.

=item max_items

How many items of a node are asked for and remembered, best those that the service keeps: 1 to 100,000, 256 by default.

=item max_stanza

The longest stanza of the server in bytes: 65,536 to 1,073,741,824, 67,108,864 by default. Of a node whose items are longer
together, only the newest are read; a longer notification is skipped.

=item newest_first

True if the service lists the newest item first, as ejabberd does; false, the default, is for Prosody.

=item poll

How often the bridge asks for new nodes and lost subscriptions, in seconds: above 0, fractions allowed, 30 by default. A dead
connection is noticed a minute later.

=item publish

True, or a callback that returns true for the name of a node, lets applications publish items (L</publisher>). False by
default.

=item on_refused

A callback that is called with the reason, instead of the next attempt, if the server refuses the first login.

=item report

    report => sub { my ($text, $is_problem) = @_; ... }

Called with a line about a new connection or a problem, each once until the connection is back. By default problems are
warnings.

=back

=head2 is_connected

    my $is_connected = $bridge->is_connected;

Return true if this bridge has logged in.

=head2 publisher

    my $publisher = $bridge->publisher;
    my $publisher = EventSource::XMPP->publisher(hub => $hub, service => 'pubsub.example.org', prefix => $prefix);

    my $app = Plack::App::EventSource::PubSub->new(hub => $publisher, authorize => $code)->to_app;

Return an object that takes the place of the hub in a L<Plack::App::EventSource::PubSub>, in any process that has the hub. A
C<POST> to a node then publishes an item to the service, once and in order, and it comes to the channel from there. It waits
in the hub for the bridge, which needs L</publish>. The response has its id, that of the request or a new one.

A JSON object or array has the payload C<< <json xmlns="urn:xmpp:json:0"> >>, other data C<< <data
xmlns="https://prosody.im/protocol/data"> >>. The option C<payload> is code that is given the channel and the event, a hash,
and returns the XML instead.

    my $id = $publisher->publish($channel, $event);

does the same. Throws C<invalid> for another field than C<data>, C<json> and C<id>, or a character that XML cannot have, and
what L<EventSource::Hub/publish> throws.

=head2 start

    $bridge->start;

Connect when this process, which must run an event loop of AnyEvent, holds the lease. Returns the bridge, which ends when it
is freed. A lost connection is made again after 1 second at first, later up to a minute; after a refused login, two to five
minutes (L</on_refused>). Throws C<unsupported> without AnyEvent::XMPP.

=head2 stop

    $bridge->stop;

End the connection, and give the lease back.

=cut

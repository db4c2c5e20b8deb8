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
# Parts that live as long as the bridge: Options, Reports, SubscriptionList. While it holds the lease: Positions, which the hub
# keeps, and HubQueue. As long as a connection: Session, with a Node for each that is followed, and Outbox. Each is in
# EventSource::XS::XMPP. Calls go from here to Session, from there to Node, Outbox and HubQueue, and from these to Positions.

our $VERSION = '0.100';

use EventSource::Error;
use EventSource::Hub::Lease;
use EventSource::XS ();
use EventSource::XS::Settings;
use EventSource::XS::XMPP::Options;
use EventSource::XS::XMPP::Publisher;
use EventSource::XS::XMPP::Reports;
use EventSource::XS::XMPP::SubscriptionList;
use Scalar::Util qw(weaken);

my $SETTINGS = EventSource::XS::Settings->new(__PACKAGE__);
my $OPTIONS  = 'EventSource::XS::XMPP::Options';

my $FIRST_PAUSE   = 1;      # seconds
my $MAX_PAUSE     = 60;
my $LONG_PAUSE    = 300;    # if the credentials are wrong
my $MAX_HUB_PAUSE = 5;

sub new {
    my ($class, @given) = @_;
    my $options = $OPTIONS->new($SETTINGS->parse('new takes settings', @given));
    return bless {
        options           => $options,
        reports           => EventSource::XS::XMPP::Reports->new($options->report),
        subscription_list => EventSource::XS::XMPP::SubscriptionList->new,
    }, $class;
}

# Public methods

sub is_connected { return !!($_[0]{session} && $_[0]{session}->is_ready) }

sub publisher {
    my ($class, @given) = @_;
    my %given = $SETTINGS->parse('publisher takes settings', @given);
    %given = (map({ $_ => $class->{options}->$_ } qw(hub prefix service)), %given) if ref $class;
    $SETTINGS->known(\%given, [qw(hub payload prefix service)], 'option %s of publisher');
    $OPTIONS->check_hub($given{hub});
    $OPTIONS->check_service($given{service});
    $SETTINGS->code(payload => $given{payload});
    my $prefix = defined $given{prefix} ? "$given{prefix}" : '';
    return EventSource::XS::XMPP::Publisher->new(
        hub     => $given{hub},
        channel => $OPTIONS->channel_of(lc $given{service}, $prefix, 'publish'),
        payload => $given{payload},
        prefix  => $prefix
    );
}

sub start {
    my $self = shift;
    return $self if $self->{lease};
    _load();
    AnyEvent::detect();
    $self->{connecting} = EventSource::XS::XMPP::Timer->new($self, most => $MAX_PAUSE);
    $self->{loading}    = EventSource::XS::XMPP::Timer->new($self, most => $MAX_HUB_PAUSE);
    weaken(my $weak = $self);
    $self->{lease} = EventSource::Hub::Lease->new(
        hub       => $self->{options}->hub,
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
    return if ${^GLOBAL_PHASE} eq 'DESTRUCT' || !$self->{lease};
    local ($@, $!, $?, $SIG{__DIE__});
    eval { $self->_end };
    return;
}

# Private methods and functions

# The lease is held: reads what was published, and connects.
sub _begin {
    my $self = shift;
    my ($options, $reports) = @$self{qw(options reports)};
    my $is_loaded = do {
        local $SIG{__DIE__};
        eval { $self->{positions} = EventSource::XS::XMPP::Positions->load($options, $reports); 1 }
    };
    if (!$is_loaded) {
        $reports->report_once('the hub: ' . $reports->message_of($@));
        return $self->{loading}->retry('_begin');
    }
    $self->{loading}->reset;
    $self->{queue} = EventSource::XS::XMPP::HubQueue->new($options, $reports, $self->{positions});
    return $self->_connect;
}

sub _connect {
    my $self = shift;
    return $self->{connecting}->after($FIRST_PAUSE, '_connect')
        if !$self->{queue}->is_empty;    # a list says nothing of what waits
    weaken(my $weak = $self);
    $self->{session} = EventSource::XS::XMPP::Session->open(
        (map { $_ => $self->{$_} } qw(options positions queue reports subscription_list)),
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
    my ($options, $reports) = @$self{qw(options reports)};
    if ($is_final) {
        return $options->on_refused->($reason) if $options->on_refused && !$self->{was_ready};
        $reports->report_once("the server refuses the login ($reason); the next attempt is in some minutes");
        return $self->{connecting}->after($LONG_PAUSE * (0.5 + rand 0.5), '_connect');
    }
    $reports->report_once("no connection: $reason");
    return $self->{connecting}->retry('_connect');
}

# Everything that lives as long as the lease is held ends.
sub _end {
    my $self = shift;
    for my $timer (grep { defined } @$self{qw(connecting loading)}) {
        $timer->stop;
    }
    for my $part (grep { defined } delete @$self{qw(session queue)}) {
        $part->close;
    }
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
    return EventSource::Error->throw(
        code    => 'unsupported',
        message => __PACKAGE__ . ': AnyEvent::XMPP is not installed (on Debian: libanyevent-xmpp-perl)'
    );
}

# The service answers: what was reported before is news again.
sub _note_connection {
    my $self = shift;
    $self->{reports}->forget if $self->{connecting}->has_failed;
    return $self->{connecting}->reset;
}

sub _note_login {
    my ($self, $jid) = @_;
    $self->{was_ready} = 1;
    return $self->{reports}->report("connected as $jid", !!0);
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

A bridge connects to an XMPP server, subscribes to nodes of a publish-subscribe service (XEP-0060), and publishes each item to a
channel of a named hub, which has the name of the node. The page of L<Prosody|https://prosody.im/>'s mod_pubsub_eventsource
works with the channels, if L<Plack::App::EventSource::PubSub> gives them the same URLs:

    const source = new EventSource('/eventsource/news');
    source.onmessage = event => console.log(event.data);

Run C<eventsource xmpp> (L<eventsource/xmpp>) as a service of its own, or L</start> the bridge in each worker of a server with
an event loop: all that serve the same hub elect one of them (L<EventSource::Hub::Lease>), and when it ends, another one
continues. A hub needs one bridge for a service and a L</prefix>. A bridge needs AnyEvent::XMPP (on Debian:
libanyevent-xmpp-perl), which is loaded when it starts.

=head2 What is published

=over

=item an item (XEP-0060, sections 7.1.2 and 12.4)

The data is the text of the payload (L</format>), and the event has no type: C<onmessage> receives it. Its key
(L<EventSource::Hub/publish>) is the item's id. An item that is published again under its id is another event, whatever its
payload. An item without payload has its id as the data.

=item a retraction (section 7.2), C<retract>

The data is the item's id.

=item a purge (section 8.5), C<purge>, and the deletion of a node (section 8.4), C<delete>

The data is the name of the node.

=back

=head2 Once, and in order

Each event is published once, in the order of the service, whatever happens to the connection, the server, the bridge or a hub:

=over

=item *

The bridge subscribes to a node before it asks for its items (section 6.5), so that none is missed in between. It publishes
those that it has not published yet. It asks again whenever it connects, and looks for new nodes every L</poll> seconds.

=item *

It keeps in the hub which items of a node it has published: the last 256 (L</max_items>) at least, with a digest of their
payloads, as the state (L<EventSource::Hub/State>) of the channel C<EventSource::XMPP/SERVICE/nodes/PREFIX>. Whoever holds the
lease next, on this machine or on another one that shares the hub's store, continues there. It is as durable as the hub: if a
hub without a L<store|EventSource::Hub/store> ends, the next one has no history, and receives again what the nodes have. No
page has to read this channel: with a L</prefix>, and the same one as L<Plack::App::EventSource::PubSub/prefix>, it has no URL.

=item *

What was published in the second before a crash may not be kept there yet. So each event is published with C<once>
(L<EventSource::Hub/publish>), with a key that is made of the item's id, its payload, and how often the id was published. The
hub remembers these keys for the time of its history, so this second is covered unless the bridge is away for longer than
that.

=item *

A service may end a subscription: its owner removes it (section 8.8.2), or the service loses its data. The bridge takes the
notification, and compares its subscriptions with those that the service lists (section 5.6) every L</poll> seconds. It
L<reports|/report> the loss, subscribes again with the next poll, and publishes what it has missed. A service that does not list
subscriptions is reported, too: then only a notification tells.

=item *

While the hub takes no events, the bridge waits, and tries again. If more than 8 MiB wait, it closes its connection, and fetches
the rest later.

=back

These are the bounds. A node has the items that its service keeps: what it has dropped before the bridge came back is lost (with
Prosody the last 20, unless the node is configured to have more, C<pubsub#max_items>). Of several versions of an item that were
published while the bridge was away there is the last. That an item was retracted while the bridge was away is seen from its
absence among newer and older ones; if only the oldest are absent, they may have made room. A retraction is missed if its item
was published in the second before a crash, and is gone when the bridge comes back; if that item is published again as it was,
there is no second event. Two machines with one store have a bridge each, and what both publish comes once: the second one has
to begin a second after the first has published something, or later.

=head2 The account

A B<component> (XEP-0114) has a domain and a secret, no account, and no TLS: its server is on the same machine, or behind a
tunnel. A B<client> has an account with a password. The connection is encrypted, and the certificate must be that of the
domain of the JID. The password is sent over TLS only, by SASL: PLAIN with the SASL library of Debian 12, which has no SCRAM.
The client sends no presence, so nobody sees it, and receives what is sent to its full JID only. Give the bridge an account of
its own.

The service must let the JID subscribe to the nodes and read their items: the access model C<open> does, with C<whitelist> the
JID needs the affiliation C<member>, for L</publish> C<publisher>.

=head1 METHODS

=head2 new

    my $bridge = EventSource::XMPP->new(%settings);
    my $bridge = EventSource::XMPP->new(\%settings);

Create a bridge, which does nothing before L</start>. Throws an L<EventSource::Error> with the code C<invalid> if a setting is
unknown, missing or wrong.

=over

=item hub

The L<EventSource::Hub>, which must have a name. Required.

=item service

The JID of the service, such as C<pubsub.example.org>. Required.

=item nodes

The names of nodes, and patterns of names (L<EventSource::Hub/pattern>), in an array. A name is followed as soon as there is
such a node, a pattern if the service lists its nodes (section 5.2). Required.

=item jid, password

The domain of a component and its secret, or the JID of an account, C<user@example.org/resource>, and its password. Required.

=item host, port

Where the server is, if it is not found by the JID's domain: for a client by SRV records and port 5222, for a component port
5347.

=item ca

The path of a file with certificates of authorities, instead of those of the system.

=item tls

False lets a client send its password without TLS. True by default.

=item prefix

A string before the name of a node that makes it the name of the channel; empty by default.

=item format

What the data of an item is:

C<text>, the default: the text of JSON (C<json>, XEP-0335), of C<data> (C<https://prosody.im/protocol/data>), and of an entry of
Atom, where it is the first of C<content>, C<summary> and C<title> that is not empty; the XML of any other payload.

C<xml>: the XML of the payload, as mod_pubsub_eventsource sends it.

C<json>: an object with C<node>, C<id>, and C<text> or C<xml>.

Code that is given a hash with C<node>, C<id>, C<text> (undef if C<text> would be the XML) and C<xml>, and returns the data,
or a hash of the fields of L<EventSource::Hub/publish> (not C<id>), or undef if nothing is to be published. C<retain> with the
item's id as the C<key>, which is the default, makes the items the state of the channel. If the code dies, the item is
reported and left out.

=item events

    events => {retract => 'gone', purge => undef}

Other types of the events. With undef they are not published.

=item start

What to do with the items that nodes have when a bridge reads a service for the first time: with C<oldest>, the default, publish
them; with C<latest> only those that come later, also of nodes that come later.

=item max_items

How many items of a node are asked for, and remembered: a whole number from 1 to 100,000, 256 by default. Choose what the
service keeps.

=item max_stanza

The longest stanza of the server in bytes: a whole number from 65,536 to 1,073,741,824, 67,108,864 by default. All items of a
node come in one; if that is too long, the newest half is asked for, and so on. A longer notification is skipped.

=item newest_first

True if the service lists the newest item first, as ejabberd does. False by default: Prosody lists the oldest first.

=item poll

Every so many seconds the bridge asks for the nodes and for its subscriptions; above 0, fractions allowed, 30 by default. It
also finds out so that the connection is dead, in a minute more.

=item publish

True lets applications publish items (L</publisher>), or a callback that returns true for the name of a node to which they may.
False by default.

=item on_refused

    on_refused => sub { my $reason = shift; ... }

Called instead of the next attempt, if the server refuses the first login.

=item report

    report => sub { my ($text, $is_problem) = @_; ... }

What takes a line of text, without control characters, about a connection that is made, or a problem. By default a problem is
a warning. Each is reported once until the connection is there again.

=back

=head2 is_connected

    my $is_connected = $bridge->is_connected;

Return true if this bridge has a connection on which it has logged in.

=head2 publisher

    my $publisher = $bridge->publisher;
    my $publisher = EventSource::XMPP->publisher(hub => $hub, service => 'pubsub.example.org', prefix => $prefix);

    my $app = Plack::App::EventSource::PubSub->new(hub => $publisher, authorize => $code)->to_app;

Return an object that takes the place of the hub in a L<Plack::App::EventSource::PubSub>. A C<POST> to a node, if C<authorize>
allows it, publishes an item to the service; when it comes back from there, the channel has it. It works in any process that
has the hub. The item waits in the hub, in the state of a channel of its own, for the bridge, whose setting C<publish> must be
true: it is published when the bridge and the service are there, once, in order. The response has its id, which is the C<id>
of the request, or a new one.

Data that is JSON, an object or an array, has the payload C<< <json xmlns="urn:xmpp:json:0"> >>, other data
C<< <data xmlns="https://prosody.im/protocol/data"> >>. The option C<payload> is code that returns the payload's XML instead; it
is given the channel and the event, a hash.

    my $id = $publisher->publish($channel, $event);

does the same. Throws C<invalid> if the event has another field than C<data>, C<json> and C<id>, or a character that XML cannot
have, and what L<EventSource::Hub/publish> throws.

=head2 start

    $bridge->start;

Ask for the lease, and connect as soon as this process holds it. The process must run an event loop that AnyEvent knows.
Returns the bridge; when it is freed, it ends. A connection that is lost is made again, after 1 second at first and up to a
minute later, with jitter. If the server refuses the login, the next attempt is in two to five minutes (L</on_refused>).

Throws C<unsupported> if AnyEvent::XMPP is not installed.

=head2 stop

    $bridge->stop;

Save what was published, end the connection, and give the lease back.

=head1 SEE ALSO

L<EventSource::Hub>, L<Plack::App::EventSource::PubSub>, L<eventsource>,
L<https://xmpp.org/extensions/xep-0060.html>, L<https://xmpp.org/extensions/xep-0114.html>

=cut

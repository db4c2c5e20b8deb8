package Testing::XMPPServer;
use Testing;

# A server of XMPP components that the test plays itself, byte by byte: for what no real server does.
#
#   my $server = Testing::XMPPServer->new;
#   my $bridge = Testing::XMPPBridge->new({$server->as_component}, 'news')->start;
#   $server->accept;                                   # a stream, and the handshake
#   $server->follow(news => $items);                   # answers until the node is followed
#   $server->notify('<items node="news">...</items>');

use Carp       qw(croak);
use IO::Select ();
use IO::Socket::INET;

my $JID     = 'bridge.example.test';
my $PUBSUB  = 'http://jabber.org/protocol/pubsub';
my $SERVICE = 'pubsub.example.test';

# Accepts the next connection, and its handshake.
sub accept {
    my $self = shift;
    $self->accept_only;
    $self->send($self->head . '<handshake/>');
    $self->read_until(qr{</handshake>});
    return $self;
}

# Accepts the next connection, and waits for the beginning of its stream.
sub accept_only {
    my $self = shift;
    IO::Select->new($self->{listener})->can_read($DEADLINE) or croak 'XMPPServer: nobody connects';
    $self->{socket} = $self->{listener}->accept             or croak "XMPPServer: accept: $!";
    $self->{socket}->autoflush;
    $self->{buffer} = '';
    $self->read_until(qr{<stream:stream[^>]*>});
    return $self;
}

# The answer to an iq that was read. Options: from, id, type.
sub answer {
    my ($self, $iq, $content, %option) = @_;
    my ($id) = $iq =~ /\bid="([^"]*)"/;
    my %with = (from => $SERVICE, id => $id, type => 'result', %option);
    return qq(<iq type="$with{type}" id="$with{id}" from="$with{from}" to="$JID">$content</iq>);
}

sub as_component {
    my $self = shift;
    return (
        host     => '127.0.0.1',
        jid      => $JID,
        password => 'x',
        port     => $self->{listener}->sockport,
        service  => $SERVICE
    );
}

# True when the client has ended the connection.
sub has_ended {
    my $self = shift;
    while (IO::Select->new($self->{socket})->can_read($DEADLINE)) {
        my $count = sysread $self->{socket}, my ($bytes), 65_536;
        return !!1 if !$count;
    }
    return !!0;
}

# Answers all requests until the node is followed: it is listed, and has the items.
sub follow {
    my ($self, $node, $items) = @_;
    $self->list($node);
    my $subscribe = $self->read_iq;
    $self->send($self->answer($subscribe, ''));
    my $fetch = $self->read_iq;
    $self->send($self->answer($fetch, $self->items($node, defined $items ? $items : '')));
    return $self;
}

sub head {
    return qq(<?xml version="1.0"?><stream:stream xmlns="jabber:component:accept")
        . qq( xmlns:stream="http://etherx.jabber.org/streams" id="1" from="$JID">);
}

sub items {
    my ($self, $node, $items) = @_;
    return qq(<pubsub xmlns="$PUBSUB"><items node="$node">$items</items></pubsub>);
}

# Answers the question for the nodes.
sub list {
    my ($self, @nodes) = @_;
    my $ask   = $self->read_iq;
    my $items = join '', map { qq(<item jid="$SERVICE" node="$_"/>) } @nodes;
    $self->send($self->answer($ask, qq(<query xmlns="$PUBSUB/../disco#items">$items</query>) =~ s{pubsub/[.][.]/}{}r));
    return;
}

# Answers the question for the subscriptions, which comes before that for the nodes once a node is followed.
sub list_subscriptions {
    my ($self, @nodes) = @_;
    my $list = join '', map { qq(<subscription node="$_" jid="$JID" subscription="subscribed"/>) } @nodes;
    my $ask  = $self->read_iq;
    croak "XMPPServer: not asked for subscriptions: $ask" if $ask !~ /<subscriptions/;
    $self->send($self->answer($ask, qq(<pubsub xmlns="$PUBSUB"><subscriptions>$list</subscriptions></pubsub>)));
    return $self;
}

sub new {
    my $class    = shift;
    my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 0, Listen => 5, ReuseAddr => 1)
        or croak "XMPPServer: $!";
    return bless {listener => $listener}, $class;
}

# A message about nodes. Options: from, to, type.
sub notification {
    my ($self, $content, %option) = @_;
    my %with = (from => $SERVICE, to => $JID, type => 'headline', %option);
    return qq(<message from="$with{from}" to="$with{to}" type="$with{type}"><event xmlns="$PUBSUB#event">)
        . qq($content</event></message>);
}

sub notify {
    my ($self, @given) = @_;
    $self->send($self->notification(@given));
    return;
}

# Returns the next iq. Questions for nodes that come again are answered.
sub read_iq { return $_[0]->read_until(qr{<iq\b(?:[^>]*/>|.*?</iq>)}s) }

sub read_until {
    my ($self, $pattern) = @_;
    my $read;
    until (defined $read) {
        if ($self->{buffer} =~ s/\A.*?($pattern)//s) { $read = $1; last }
        IO::Select->new($self->{socket})->can_read($DEADLINE) or croak "XMPPServer: it does not say $pattern";
        sysread $self->{socket}, $self->{buffer}, 65_536, length $self->{buffer}
            or croak "XMPPServer: the client has ended the connection";
    }
    return $read;
}

# Sends bytes.
sub send {
    my ($self, $bytes) = @_;
    print {$self->{socket}} $bytes;
    return;
}

1;

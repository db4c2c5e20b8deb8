package Testing::XMPPClient;
use Testing;

# A client of an XMPP server that is not ours: Net::XMPP, with an account of Testing::Prosody. It publishes to nodes.
#
#   my $alice = Testing::XMPPClient->login($prosody, 'alice');
#   $alice->publish(news => 'id 1', text('hello'));
#   $alice->retract(news => 'id 1');

use Carp     qw(croak);
use Exporter qw(import);
use Net::XMPP;

our @EXPORT_OK = qw(atom escaped json text);

my $PUBSUB = 'http://jabber.org/protocol/pubsub';
my $WITHIN = 30;                                    # seconds

# Public functions: payloads

sub atom {
    my ($title, %more) = @_;
    return
          '<entry xmlns="http://www.w3.org/2005/Atom"><title>'
        . escaped($title)
        . '</title>'
        . join('', map { "<$_>" . escaped($more{$_}) . "</$_>" } sort keys %more)
        . '</entry>';
}

sub escaped {
    my $text = shift;
    $text =~ s/([&<>"\r])/'&#' . ord($1) . ';'/ge;
    return $text;
}

sub json { return '<json xmlns="urn:xmpp:json:0">' . escaped($_[0]) . '</json>' }

sub text { return '<data xmlns="https://prosody.im/protocol/data">' . escaped($_[0]) . '</data>' }

# Waits for the answer to the last request, and returns its type.
sub answer {
    my $self = shift;
    my $answer;
    wait_until($WITHIN, sub { $self->_process; $answer = delete $self->{answers}{"test-$self->{count}"} })
        or croak 'XMPPClient: no answer';
    return $answer;
}

# Sends the content of an iq to the service, and returns the type of the answer. Options: no_wait.
sub ask {
    my ($self, $content, %option) = @_;
    my $id = 'test-' . ++$self->{count};
    $self->{client}->Send(qq(<iq type="set" to="$self->{service}" id="$id">$content</iq>));
    return $option{no_wait} ? undef : $self->answer;
}

# The configuration of the node by the names of its fields, such as max_items, may follow. By default Prosody keeps 20 items.
sub create {
    my ($self, $node, %field) = @_;
    my $fields = join '', map { qq(<field var="pubsub#$_"><value>$field{$_}</value></field>) } sort keys %field;
    my $type   = qq(<field var="FORM_TYPE" type="hidden"><value>$PUBSUB#node_config</value></field>);
    my $form   = qq(<configure><x xmlns="jabber:x:data" type="submit">$type$fields</x></configure>);
    return $self->ask(qq(<pubsub xmlns="$PUBSUB"><create node="$node"/>$form</pubsub>));
}

sub delete { return $_[0]->ask(qq(<pubsub xmlns="$PUBSUB#owner"><delete node="$_[1]"/></pubsub>)) }

# An account may not do anything with a node.
sub forbid {
    my ($self, $node, $jid) = @_;
    my $affiliation = qq(<affiliation jid="$jid" affiliation="outcast"/>);
    return $self->ask(
        qq(<pubsub xmlns="$PUBSUB#owner"><affiliations node="$node">$affiliation</affiliations></pubsub>));
}

sub login {
    my ($class, $prosody, $user) = @_;
    my $client = Net::XMPP::Client->new;
    my $self   = bless {client => $client, service => $prosody->service, answers => {}, count => 0}, $class;
    local $SIG{__WARN__} = sub { };    # XML::Stream has many for each connection
    my %address = (
        hostname      => '127.0.0.1',
        port          => $prosody->port,
        componentname => $prosody->domain,
        srv           => 0,
        timeout       => $WITHIN
    );
    $client->Connect(%address, tls => 1, ssl_ca_path => $prosody->ca) or croak 'XMPPClient: no connection';
    my @result = $client->AuthSend(username => $user, password => $user, resource => 'test');
    croak "XMPPClient: $result[0]" if $result[0] ne 'ok';
    $client->SetCallBacks(iq => sub { $self->{answers}{$_[1]->GetID} = $_[1]->GetType });
    return $self;
}

# Options: no_wait.
sub publish {
    my ($self, $node, $id, $payload, %option) = @_;
    my $item = '<item id="' . _attribute($id) . qq(">$payload</item>);
    return $self->ask(qq(<pubsub xmlns="$PUBSUB"><publish node="$node">$item</publish></pubsub>), %option);
}

sub purge { return $_[0]->ask(qq(<pubsub xmlns="$PUBSUB#owner"><purge node="$_[1]"/></pubsub>)) }

sub retract {
    my ($self, $node, $id) = @_;
    my $item = '<item id="' . _attribute($id) . '"/>';
    return $self->ask(qq(<pubsub xmlns="$PUBSUB"><retract node="$node" notify="true">$item</retract></pubsub>));
}

# The owner ends the subscription of a JID.
sub unsubscribe {
    my ($self, $node, $jid) = @_;
    my $none = qq(<subscription jid="$jid" subscription="none"/>);
    return $self->ask(qq(<pubsub xmlns="$PUBSUB#owner"><subscriptions node="$node">$none</subscriptions></pubsub>));
}

# A line break in an attribute would become a space.
sub _attribute { return escaped($_[0]) =~ s/\n/&#10;/gr }

sub _process {
    my $self = shift;
    local $SIG{__WARN__} = sub { };
    defined $self->{client}->Process(0.05) or croak 'XMPPClient: the connection has ended';
    return;
}

1;

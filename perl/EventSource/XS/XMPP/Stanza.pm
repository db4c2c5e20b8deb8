package EventSource::XS::XMPP::Stanza;
use strict;
use warnings;

# The XML of the stanzas that the bridge sends, and what it reads of those that come. The numbers are sections of XEP-0060.

use List::Util qw(first);

my $PUBSUB = 'http://jabber.org/protocol/pubsub';
my $EVENT  = "$PUBSUB#event";
my $DISCO  = 'http://jabber.org/protocol/disco#items';
my $ATOM   = 'http://www.w3.org/2005/Atom';
my $JSON   = 'urn:xmpp:json:0';                          # XEP-0335
my $TEXT   = 'https://prosody.im/protocol/data';

# The elements of an Atom entry whose text is that of the entry; the first one that is there counts.
my @ATOM_TEXT = qw(content summary title);

my %ESCAPED = ('&' => '&amp;', '<' => '&lt;', '>' => '&gt;', '"' => '&quot;', "'" => '&apos;', "\r" => '&#13;');
my %ESCAPED_IN_ATTRIBUTE = (%ESCAPED, "\n" => '&#10;', "\t" => '&#9;');

# Characters that XML cannot have.
my $UNFIT = qr/[^\x{9}\x{A}\x{D}\x{20}-\x{D7FF}\x{E000}-\x{FFFD}\x{10000}-\x{10FFFF}]/;

# Public methods: requests

# The content of an iq that asks for a service's nodes (5.2).
sub ask_for_nodes { return _element('query', [xmlns => $DISCO]) }

# The content of an iq that asks for the subscriptions at a service (5.6).
sub ask_for_subscriptions { return _pubsub(_element('subscriptions', [])) }

# The items of a node, the newest ones if it has more (6.5.7).
sub ask_for_items {
    my ($class, $node, $most) = @_;
    return _pubsub(_element('items', [node => $node, max_items => $most]));
}

sub iq {
    my ($class, $id, $type, $to, $from, $content) = @_;
    return _element('iq', [type => $type, id => $id, to => $to, from => $from], $content);
}

# Publishes an item (7.1). The payload is XML.
sub publication {
    my ($class, $node, $id, $payload) = @_;
    return _pubsub(_element('publish', [node => $node], _element('item', [id => $id], $payload)));
}

# Subscribes to a node (6.1).
sub subscribe {
    my ($class, $node, $jid) = @_;
    return _pubsub(_element('subscribe', [node => $node, jid => $jid]));
}

# Public methods: payloads

# Returns false if a text has a character that XML cannot have.
sub is_fit { return $_[1] !~ $UNFIT }

# The payload for data: JSON, or a text, as the modules of Prosody wrap them.
sub payload_of {
    my ($class, $data, $is_json) = @_;
    return $is_json
        ? _element('json', [xmlns => $JSON], _escaped($data))
        : _element('data', [xmlns => $TEXT], _escaped($data));
}

# The text of a payload of JSON or text, or of an Atom entry; undef of any other one.
sub text_of {
    my ($class, $payload) = @_;
    return $payload->text if $payload->eq($JSON  => 'json') || $payload->eq($TEXT => 'data');
    return undef          if !$payload->eq($ATOM => 'entry');
    for my $name (@ATOM_TEXT) {
        my ($part) = $payload->find_all([$ATOM, $name]) or next;
        my $text = _all_text($part);
        return $text if $text =~ /\S/;
    }
    return undef;
}

# A text that is the same for the same payload, however it is written: a server may write attributes in any order.
sub canonical {
    my ($class, $payload) = @_;
    my $text = '';
    $payload->to_sax_events(bless \$text, 'EventSource::XS::XMPP::Stanza::Canonical') if $payload;
    return $text;
}

# Public methods: what comes

# The name of the condition of an error (RFC 6120, section 8.3).
sub condition {
    my ($class, $node) = @_;
    my ($error) = grep { $_->name eq 'error' } $node->nodes or return 'undefined-condition';
    my $condition = first { $_->eq_ns('urn:ietf:params:xml:ns:xmpp-stanzas') && $_->name ne 'text' } $error->nodes;
    return $condition ? '' . $condition->name : 'undefined-condition';
}

# The events that a message notifies of (7.1.2.1, 7.2.2.1, 8.4.2, 8.5.2), in its order: hashes with the fields of
# EventSource::XS::XMPP::Event.
sub events_of {
    my ($class, $message) = @_;
    my @events;
    for my $part (map { $_->nodes } $message->find_all([$EVENT, 'event'])) {
        my $node = $part->attr('node');
        next if !defined $node || !$part->eq_ns($EVENT);
        my $kind = $part->name;
        push @events, {kind => $kind, node => $node} if $kind eq 'purge' || $kind eq 'delete';
        next                                         if $kind ne 'items';
        for my $item (grep { $_->eq_ns($EVENT) && defined $_->attr('id') } $part->nodes) {
            my %event = (kind => '' . $item->name, node => $node, id => $item->attr('id'));
            push @events, {%event, payload => ($item->nodes)[0]} if $event{kind} eq 'item';
            push @events, \%event if $event{kind} eq 'retract';
        }
    }
    return @events;
}

# The items of an answer, in its order: hashes with id and payload.
sub items_of {
    my ($class, $answer) = @_;
    return map { {id => $_->attr('id'), payload => ($_->nodes)[0]} }
        grep { defined $_->attr('id') } $answer->find_all([$PUBSUB, 'pubsub'], [$PUBSUB, 'items'], [$PUBSUB, 'item']);
}

# The subscriptions that an answer lists or has made, or of whose change a message notifies, in either namespace (5.6, 6.1.2,
# 8.8.4): hashes with node, state (subscribed, or pending, for example) and jid.
sub subscriptions_of {
    my ($class, $stanza) = @_;
    my @places =
        ([[$PUBSUB, 'pubsub']], [[$PUBSUB, 'pubsub'], [$PUBSUB, 'subscriptions']], [[$EVENT, 'event']]);
    my @found = grep { $_->name eq 'subscription' } map { $_->nodes } map { $stanza->find_all(@$_) } @places;
    return grep { defined $_->{state} }
        map { {node => $_->attr('node') // '', state => $_->attr('subscription'), jid => $_->attr('jid')} } @found;
}

# The names of a service's nodes.
sub nodes_of {
    my ($class, $answer) = @_;
    return grep { defined } map { $_->attr('node') } $answer->find_all([$DISCO, 'query'], [$DISCO, 'item']);
}

# Private functions

# The text of an element and of those in it.
sub _all_text {
    my $node = shift;
    return join '', $node->text, map { _all_text($_) } $node->nodes;
}

# An element. Attributes that are undef are left out; what it contains is XML.
sub _element {
    my ($name, $attributes, @content) = @_;
    my ($tag, @pairs) = ("<$name", @$attributes);
    while (my ($attribute, $value) = splice @pairs, 0, 2) {
        next if !defined $value;
        $value =~ s/([&<>"'\r\n\t])/$ESCAPED_IN_ATTRIBUTE{$1}/g;
        $tag .= qq( $attribute="$value");
    }
    return @content ? join '', "$tag>", @content, "</$name>" : "$tag/>";
}

sub _escaped {
    my $text = shift;
    $text =~ s/([&<>"'\r])/$ESCAPED{$1}/g;
    return $text;
}

sub EventSource::XS::XMPP::Stanza::Canonical::characters { ${$_[0]} .= $_[1]; return }

sub EventSource::XS::XMPP::Stanza::Canonical::end_document { return }

sub EventSource::XS::XMPP::Stanza::Canonical::end_element { ${$_[0]} .= "\3"; return }

sub EventSource::XS::XMPP::Stanza::Canonical::start_document { return }

# XML has no such control characters.
sub EventSource::XS::XMPP::Stanza::Canonical::start_element {
    my ($text, $element) = @_;
    my $attributes = $element->{Attributes};
    $$text .= join "\1", "\2" . $element->{Name}, $element->{NamespaceURI},
        map { ($_, $attributes->{$_}{Value}) } grep { $_ ne 'xmlns' } sort keys %$attributes;
    $$text .= "\2";
    return;
}

sub _pubsub { return _element('pubsub', [xmlns => $PUBSUB], @_) }

1;

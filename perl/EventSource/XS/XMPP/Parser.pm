package EventSource::XS::XMPP::Parser;
use strict;
use warnings;

# The XML of an XMPP stream, as AnyEvent::XMPP::Parser reads it with expat: with a bound for a stanza, without DTDs, and with
# one piece of text where the library has one for each line of it.

use parent 'AnyEvent::XMPP::Parser';

use AnyEvent;
use AnyEvent::XMPP::Node;

# The fields of AnyEvent::XMPP::Node and the kinds of what a node has, in their order.
my ($NODES, $TEXT, $RAW) = (4, 1, 2);

# Elements in one another. The library makes the text of each of them from that of those in it, so time and memory grow with the
# square: 20,000 take seconds, 80,000 all memory.
my $MAX_DEPTH = 256;

# Public methods

# Sets the longest stanza in bytes, and what is called for a longer one: code, with its first node, which is empty.
sub bound {
    my ($self, $bytes, $code) = @_;
    @$self{qw(max_bytes skipped_cb)} = ($bytes, $code);
    return;
}

# The parser that reads now. It has a circular reference, so it is to be released when a stream restarts, after it has
# returned.
sub before { return $_[0]{parser} }

# Frees what refers to itself: expat, which may be parsing now, and the nodes, which know their parser.
sub end {
    my $self  = shift;
    my $expat = $self->{parser};
    AnyEvent::postpone(
        sub {
            $expat->release;
            delete @$self{qw(nodestack skipped skipped_cb)};
        }
    );
    return;
}

# Reads, and reports what is wrong unless the connection has ended meanwhile.
sub feed {
    my ($self, $bytes) = @_;
    local ($@, $SIG{__DIE__});
    return                             if eval { $self->{parser}->parse_more($bytes); 1 };
    $self->{error_cb}->($@, '', 'xml') if $self->{error_cb};
    return;
}

# RFC 6120, section 11.1: there are no DTDs, so there are no entities besides those of XML.
sub init {
    my $self = shift;
    $self->SUPER::init;
    $self->{parser}->setHandlers(Doctype => sub { die "a document type declaration\n" });
    @$self{qw(bytes depth)} = (0, 0);
    delete $self->{skipped};
    return;
}

# Restarts the stream in a parser that has read nothing.
sub restart {
    my $self = shift;
    $self->{parser}->release;
    return $self->init;
}

# Methods that the library calls

sub cb_char_data {
    my ($self, $parser, $text) = @_;
    return if !$self->_has_room($parser);
    my $stack = $self->{nodestack};
    return if @$stack < 2;
    my $nodes = $stack->[-1][$NODES] ||= [];
    if (@$nodes > 1 && $nodes->[-1][0] == $RAW && $nodes->[-2][0] == $TEXT) {
        $nodes->[-2][1] .= $text;
        $nodes->[-1][1] .= $parser->recognized_string;
        return;
    }
    return $self->SUPER::cb_char_data($parser, $text);
}

sub cb_default {
    my ($self, $parser, $text) = @_;
    return $self->_has_room($parser) ? $self->SUPER::cb_default($parser, $text) : undef;
}

sub cb_end_tag {
    my ($self, $parser, @rest) = @_;
    $self->{depth}--;
    if ($self->{skipped}) {
        return if $self->{depth} > 1;
        my $node = delete $self->{skipped};
        splice @{$self->{nodestack}}, 1;
        $self->{bytes} = 0;
        return $self->{skipped_cb}->($node);
    }
    $self->{bytes} = 0 if $self->{depth} <= 1;
    return             if !$self->{stanza_cb};    # the connection has ended
    return $self->SUPER::cb_end_tag($parser, @rest);
}

sub cb_start_tag {
    my ($self, $parser, @rest) = @_;
    $self->{depth}++;
    return $self->_has_room($parser) ? $self->SUPER::cb_start_tag($parser, @rest) : undef;
}

# Private methods

# Counts what was read. Of a stanza that is too long or too deep only the first node is kept, without what it has.
sub _has_room {
    my ($self, $parser) = @_;
    return !!0 if $self->{skipped};
    $self->{bytes} += length $parser->recognized_string;
    return !!1
        if $self->{bytes} <= $self->{max_bytes} && $self->{depth} <= $MAX_DEPTH || @{$self->{nodestack}} < 2;
    $self->{skipped} = $self->{nodestack}[1];
    $self->{skipped}[$NODES] = [];
    return !!0;
}

1;

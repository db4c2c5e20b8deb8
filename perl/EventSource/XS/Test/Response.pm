package EventSource::XS::Test::Response;
use strict;
use warnings;

# Parses an HTTP response incrementally: its head, and the bytes of its body without the framing.

use HTTP::Response;

sub new {
    my ($class, %option) = @_;
    return bless {method => $option{method} || 'GET', buffer => '', is_ended => !!0, is_complete => !!0, left => 0},
        $class;
}

# Public methods

sub break_off {
    my $self = shift;
    $self->{is_ended}    = !!1;
    $self->{is_complete} = !!0;
    return;
}

sub finish {
    my $self = shift;
    return if $self->{is_ended};
    $self->{is_ended}    = !!1;
    $self->{is_complete} = $self->{head} && !$self->{is_chunked} && !defined $self->{length};
    return;
}

sub head { return $_[0]{head} }

sub is_complete { return !!$_[0]{is_complete} }

sub is_ended { return $_[0]{is_ended} }

sub problem { return $_[0]{problem} }

sub take {
    my ($self, $bytes) = @_;
    $self->{buffer} .= $bytes;
    return ''                                          if $self->{is_ended} || !$self->{head} && !$self->_take_head;
    return $self->_take_chunks                         if $self->{is_chunked};
    return $self->_take_buffer(length $self->{buffer}) if !defined $self->{length};
    my $body = $self->_take_buffer($self->{length});
    $self->{length} -= length $body;
    $self->_complete if !$self->{length};
    return $body;
}

# Private methods

sub _break {
    my ($self, $problem) = @_;
    $self->{problem}  = $problem;
    $self->{is_ended} = !!1;
    return;
}

sub _complete {
    my $self = shift;
    $self->{is_ended} = $self->{is_complete} = !!1;
    return;
}

sub _take_chunks {
    my $self = shift;
    my $body = '';
    while (!$self->{is_ended}) {
        if ($self->{left}) {
            my $part = $self->_take_buffer($self->{left});
            return $body if !length $part;
            $body .= $part;
            $self->{left} -= length $part;
            $self->{is_between} = !!1;
            next;
        }
        $self->{buffer} =~ s/\A([^\n]*?)\r?\n// or last;
        my $line = $1;
        if    ($self->{is_last}) { $self->_complete if !length $line }    # another line is a trailer
        elsif ($self->{is_between}) {
            $self->{is_between} = !!0;
            $self->_break('a chunk does not end at its length') if length $line;
        }
        elsif ($line !~ /\A([0-9a-fA-F]{1,15})[ \t]*(?:;.*)?\z/) { $self->_break("not a chunk: $line") }
        else { $self->{left} = hex $1; $self->{is_last} = !$self->{left} }
    }
    return $body;
}

# Returns true when the head is complete and a body follows. Informational responses (100 Continue) are skipped.
sub _take_head {
    my $self = shift;
    $self->{buffer} =~ s/\A(.*?\r?\n)\r?\n//s or return !!0;
    my $text = $1;
    if ($text !~ m{\AHTTP/1\.[0-9] [1-9][0-9][0-9]\b}) {
        $self->_break('not an HTTP response: ' . substr $text, 0, 60);
        return !!0;
    }
    my $head = HTTP::Response->parse($text);
    return $self->_take_head if $head->code =~ /\A1/;
    $self->{head}       = $head;
    $self->{is_chunked} = ($head->header('Transfer-Encoding') || '') =~ /\bchunked\s*\z/i;
    my $length = $head->header('Content-Length');
    $self->{length} = $length if !$self->{is_chunked} && defined $length && $length =~ /\A[0-9]+\z/;
    $self->_complete if $self->{method} eq 'HEAD' || $head->code =~ /\A(?:204|304)\z/;
    return !$self->{is_ended};
}

sub _take_buffer {
    my ($self, $max_bytes) = @_;
    return substr $self->{buffer}, 0, $max_bytes, '';
}

1;

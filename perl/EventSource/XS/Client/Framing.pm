package EventSource::XS::Client::Framing;
use strict;
use warnings;

# Where the body of a response ends (RFC 9112, section 6.3), for all libraries. They differ in what they take for a chunk, and
# in whether an event comes before its chunk is complete.

my $MAX_LINE = 4096;    # bytes, of a chunk's size or a trailer

# Return the framing of a response with these headers, in a hash by their names in lower case. Its status is not one without
# a body.
sub new {
    my ($class, $headers) = @_;
    my $is_chunked = lc($headers->{'transfer-encoding'} // '') eq 'chunked';
    my ($length) = ($headers->{'content-length'} // '') =~ /\A([0-9]{1,15})\z/;
    return bless {is_chunked => $is_chunked, state => 'size', left => $is_chunked ? undef : $length}, $class;
}

# Public methods

# True if the end of the connection is the end of the body, and not a cut.
sub ends_with_connection { return !$_[0]{is_chunked} && !defined $_[0]{left} }

# True if the body is complete.
sub is_complete { return $_[0]{state} eq 'complete' || !$_[0]{is_chunked} && defined $_[0]{left} && !$_[0]{left} }

# Take what belongs to the body off the beginning of a string, and return it without its framing. The rest of an unfinished
# line is left. Returns a second value, a text, if what follows is not what the standard allows.
sub take {
    my ($self, $raw) = @_;
    return $self->_take_counted($raw) if !$self->{is_chunked};
    my $body = '';
    while ($self->{state} ne 'complete') {
        if ($self->{state} eq 'data') {
            $body .= $self->_take_counted($raw);
            last if $self->{left};
            $self->{state} = 'after';
        }
        return ($body, 'a chunk has not the length that it says')
            if $self->{state} eq 'after' && $$raw !~ /\A\r?(?:\n|\z)/;
        my $ends = index $$raw, "\n";
        return ($body, 'a line between chunks is too long')
            if $ends > $MAX_LINE || $ends < 0 && length $$raw > $MAX_LINE;
        last if $ends < 0;
        $self->_take_line(substr($$raw, 0, $ends + 1, '') =~ s/\r?\n\z//r)
            or return ($body, 'this is not the size of a chunk');
    }
    return $body;
}

# Private methods

sub _take_counted {
    my ($self, $raw) = @_;
    return substr $$raw, 0, length $$raw, '' if !defined $self->{left};
    my $part = substr $$raw, 0, $self->{left}, '';
    $self->{left} -= length $part;
    return $part;
}

# Returns false if the line should be the size of a chunk, and is not.
sub _take_line {
    my ($self, $line) = @_;
    if ($self->{state} eq 'after') {
        $self->{state} = 'size';
    }
    elsif ($self->{state} eq 'size') {
        return !!0 if $line !~ /\A0*([0-9a-fA-F]{1,8})\s*(?:;|\z)/;
        $self->{left}  = hex $1;
        $self->{state} = $self->{left} ? 'data' : 'trailer';
    }
    elsif (!length $line) {
        $self->{state} = 'complete';
    }
    return !!1;
}

1;

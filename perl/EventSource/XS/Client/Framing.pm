package EventSource::XS::Client::Framing;
use strict;
use warnings;

# Where the body of a response ends (RFC 9112, section 6.3), for the libraries that hand over a connection after its head.
# Net::HTTP can read chunks, but loses its place if a line has come only in part and it must not wait for the rest.

my $MAX_LINE = 4096;    # bytes, of a chunk's size or a trailer

# Return the framing of a response with these headers, in a hash by their names in lower case. Its status is not one without
# a body.
sub new {
    my ($class, $headers) = @_;
    my $is_chunked = lc($headers->{'transfer-encoding'} // '') =~ /\bchunked\s*\z/;
    my ($length) = ($headers->{'content-length'} // '') =~ /\A\s*([0-9]{1,15})\s*\z/;
    return bless {is_chunked => $is_chunked, state => 'size', left => $is_chunked ? undef : $length}, $class;
}

# Public methods

# True if the end of the connection is the end of the body, and not a cut.
sub ends_with_connection { return !$_[0]{is_chunked} && !defined $_[0]{left} }

# True if the body is complete.
sub is_complete { return $_[0]{state} eq 'complete' || !$_[0]{is_chunked} && defined $_[0]{left} && !$_[0]{left} }

# Take what belongs to the body off the beginning of a string, and return it without its framing. The rest of an unfinished
# line is left. Dies if it is not what the standard allows.
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
        my $ends = index $$raw, "\n";
        die "a line between chunks is too long\n" if $ends > $MAX_LINE || $ends < 0 && length $$raw > $MAX_LINE;
        last                                      if $ends < 0;
        $self->_take_line(substr($$raw, 0, $ends + 1, '') =~ s/\r?\n\z//r);
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

sub _take_line {
    my ($self, $line) = @_;
    if ($self->{state} eq 'after') {
        die "a chunk has not the length that it says\n" if length $line;
        $self->{state} = 'size';
    }
    elsif ($self->{state} eq 'size') {
        die "this is not the size of a chunk\n" if $line !~ /\A0*([0-9a-fA-F]{1,8})\s*(?:;|\z)/;
        $self->{left}  = hex $1;
        $self->{state} = $self->{left} ? 'data' : 'trailer';
    }
    elsif (!length $line) {
        $self->{state} = 'complete';
    }
    return;
}

1;

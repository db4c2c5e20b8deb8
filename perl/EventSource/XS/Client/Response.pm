package EventSource::XS::Client::Response;
use strict;
use warnings;

# Reads a response from the bytes of its connection (RFC 9112, sections 2 to 7), for all libraries, the doctor and
# Test::EventSource, so that the same bytes mean the same with each of them. The libraries differ in all that is rare:
# informational responses, a status line without a reason, long lines, lines that are not fields, what a chunk is, and whether
# an event comes before its chunk is complete. What is not a response is not an answer: the client tries again.

use List::Util qw(max);

my $MAX_HEAD = 65_536;    # bytes, of all heads that come before a body
my $MAX_LINE = 4096;      # bytes, of a chunk's size or a trailer
my $MAX_SHOW = 100;       # bytes of a line that an error shows

my $TOKEN = qr/[!#\$%&'*+.^_`|~0-9A-Za-z-]+/;

# The method of the request says whether a body follows.
sub new {
    my ($class, $method) = @_;
    return bless {is_bodiless => ($method // '') eq 'HEAD', raw => '', read => 0, searched => 0}, $class;
}

# Public methods

# No more is read, because the connection has ended, or for another reason: is_cut.
sub finish {
    my ($self, $is_cut) = @_;
    return if $self->{is_ended} && !$is_cut;
    @$self{qw(is_ended is_complete)} = (!!1, !$is_cut && $self->ends_with_connection);
    return;
}

# True if the end of the connection is the end of the body, and not a cut.
sub ends_with_connection { return $_[0]{head} && !$_[0]{is_chunked} && !defined $_[0]{left} }

# A hash: version, status, reason, fields (an array of pairs) and headers (the same in a hash, by their names in lower case).
# undef until the head is complete. Informational responses are dropped; 101 is an answer, which nobody has asked for.
sub head { return $_[0]{head} }

# True if anything has come that belongs to no complete part of the response.
sub has_rest { return length $_[0]{raw} }

sub is_complete { return !!$_[0]{is_complete} }

sub is_ended { return !!$_[0]{is_ended} }

# A text if what has come is not what the standard allows. It ends the response.
sub problem { return $_[0]{problem} }

# Take the next bytes of the connection. Returns those of the body, without their framing.
sub take {
    my ($self, $bytes) = @_;
    return '' if $self->{is_ended};
    $self->{raw} .= $bytes;
    my ($body, $problem) = ('', $self->_take_head);
    ($body, $problem) = $self->_take_body if $self->{head};
    my $is_complete = $self->{is_chunked} ? $self->{state} eq 'complete' : defined $self->{left} && !$self->{left};
    @$self{qw(is_ended is_complete problem)} = (!!1, $is_complete, $problem) if $is_complete || defined $problem;
    return $body;
}

# Private functions and methods

sub _first_line { return ($_[0] =~ /\A([^\r\n]{0,$MAX_SHOW})/)[0] }

# Takes the head, if it is complete. Returns a problem, undef if there is none.
sub _take_head {
    my $self = shift;
    my $raw  = \$self->{raw};
    while (!$self->{head}) {
        my $start = substr $$raw, 0, 5;
        return 'this is not a response of HTTP: ' . _first_line($$raw) if 'HTTP/' !~ /\A\Q$start\E/;
        pos($$raw) = max(0, $self->{searched} - 2);
        my $length = $$raw =~ /^\r?\n/mg ? $+[0] : undef;
        return 'the head of the response does not end' if $self->{read} + ($length // length $$raw) > $MAX_HEAD;
        $self->{searched} = defined $length ? 0 : length $$raw;
        return undef if !defined $length;
        $self->{read} += $length;
        my ($head, $problem) = $self->_parsed(substr $$raw, 0, $length, '');
        return $problem           if !$head;
        $self->_begin_body($head) if $head->{status} == 101 || $head->{status} >= 200;
    }
    return undef;
}

# A bare CR is a blank (section 2.2), as is the break of a line that is continued (section 5.2).
sub _parsed {
    my ($self, $text) = @_;
    return (undef, 'the head of the response has a NUL') if $text =~ /\0/;
    $text =~ s/\r?\n[ \t]+/ /g;
    my ($first, @lines) = map { s/\r/ /gr } split /\r?\n/, $text;
    my ($version, $status, $reason) = $first =~ m{\AHTTP/(1\.[0-9]+)[ \t]+([1-9][0-9]{2})(?:[ \t]+(.*?))?[ \t]*\z}
        or return (undef, 'this is not a response of HTTP: ' . _first_line($first));
    my (%header, @fields);
    for my $line (@lines) {
        my ($name, $value) = $line =~ /\A($TOKEN)[ \t]*:[ \t]*(.*?)[ \t]*\z/
            or return (undef, 'the head of the response has a line that is not a field: ' . _first_line($line));
        push @fields, [$name, $value];
        $name = lc $name;
        $header{$name} = defined $header{$name} ? "$header{$name}, $value" : $value;
    }
    my $has_body = !$self->{is_bodiless} && $status !~ /\A(?:204|304)\z/;
    if ($has_body && defined $header{'content-length'} && !defined $header{'transfer-encoding'}) {
        $header{'content-length'} = _length_of($header{'content-length'})
            // return (undef, "the length of the response is unclear: $header{'content-length'}");
    }
    my %line = (version => $version, status => $status, reason => $reason // '');
    return {%line, fields => \@fields, headers => \%header, has_body => $has_body};
}

# Several lengths that are the same are one (RFC 9110, section 8.6). Others would leave open where the body ends.
sub _length_of {
    my $header = shift;
    my %is_one = map { ($_ => 1) } split /[ \t]*,[ \t]*/, $header, -1;
    my ($length, @others) = keys %is_one;
    return @others || ($length // '') !~ /\A[0-9]+\z/ ? undef : $length;
}

# Where the body ends (section 6.3).
sub _begin_body {
    my ($self, $head) = @_;
    my $headers    = $head->{headers};
    my $is_chunked = $head->{has_body} && lc($headers->{'transfer-encoding'} // '') eq 'chunked';
    my ($length)   = ($headers->{'content-length'} // '') =~ /\A([0-9]{1,15})\z/;
    @$self{qw(head is_chunked state left)} =
        ($head, $is_chunked, 'size', !$head->{has_body} ? 0 : $is_chunked ? undef : $length);
    return;
}

# Takes what belongs to the body, and returns it without its framing, and perhaps a problem. The rest of an unfinished line is
# left.
sub _take_body {
    my $self = shift;
    return $self->_take_counted if !$self->{is_chunked};
    my ($body, $raw) = ('', \$self->{raw});
    while ($self->{state} ne 'complete') {
        if ($self->{state} eq 'data') {
            $body .= $self->_take_counted;
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

sub _take_counted {
    my $self = shift;
    my $part = substr $self->{raw}, 0, $self->{left} // length $self->{raw}, '';
    $self->{left} -= length $part if defined $self->{left};
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

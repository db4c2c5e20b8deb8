package EventSource::XS::Client::Head;
use strict;
use warnings;

# Reads the head of a response (RFC 9112, sections 3 to 6), for all libraries, so that the same bytes mean the same with each of
# them. The libraries differ in all that is rare: informational responses, a status line without a reason, long lines, many
# fields, lines that are not fields. What is not a head is not an answer: the client tries again.

use List::Util qw(max);

my $MAX_READ = 65_536;    # bytes, of all heads that come before a body
my $MAX_SHOW = 100;       # bytes of a line that an error shows

my $TOKEN = qr/[!#\$%&'*+.^_`|~0-9A-Za-z-]+/;

# The method of the request says whether a body follows.
sub new {
    my ($class, $method) = @_;
    return bless {is_bodiless => ($method // '') eq 'HEAD', read => 0, searched => 0}, $class;
}

# Public methods

# Take the head off the beginning of a string that grows from call to call. Returns a hash: version, status, reason, fields (an
# array of pairs), headers (the same in a hash, by their names in lower case) and has_body. Until the head is complete returns
# an empty list, or undef and a text if it is none. Informational responses are taken off and not returned; 101 is an answer,
# which nobody has asked for.
sub take {
    my ($self, $raw) = @_;
    while (1) {
        my $start = substr $$raw, 0, 5;
        return (undef, 'this is not a response of HTTP: ' . _first_line($raw)) if 'HTTP/' !~ /\A\Q$start\E/;
        pos($$raw) = max(0, $self->{searched} - 2);
        my $length = $$raw =~ /^\r?\n/mg ? $+[0] : undef;
        return (undef, 'the head of the response does not end')
            if $self->{read} + ($length // length $$raw) > $MAX_READ;
        $self->{searched} = defined $length ? 0 : length $$raw;
        return if !defined $length;
        $self->{read} += $length;
        my ($head, $trouble) = $self->_parse(substr $$raw, 0, $length, '');
        return ($head, $trouble) if !$head || $head->{status} == 101 || $head->{status} >= 200;
    }
    return;
}

# Private functions and methods

sub _first_line { return (${$_[0]} =~ /\A([^\r\n]{0,$MAX_SHOW})/)[0] }

# Several lengths that are the same are one (RFC 9110, section 8.6). Others would leave open where the body ends.
sub _length_of {
    my $header = shift;
    my %is_one = map { ($_ => 1) } split /[ \t]*,[ \t]*/, $header, -1;
    my ($length, @others) = keys %is_one;
    return @others || ($length // '') !~ /\A[0-9]+\z/ ? undef : $length;
}

# A bare CR is a blank (section 2.2), as is the break of a line that is continued (section 5.2).
sub _parse {
    my ($self, $text) = @_;
    return (undef, 'the head of the response has a NUL') if $text =~ /\0/;
    $text =~ s/\r?\n[ \t]+/ /g;
    my ($first, @lines) = map { s/\r/ /gr } split /\r?\n/, $text;
    my ($version, $status, $reason) = $first =~ m{\AHTTP/(1\.[0-9]+)[ \t]+([1-9][0-9]{2})(?:[ \t]+(.*?))?[ \t]*\z}
        or return (undef, 'this is not a response of HTTP: ' . _first_line(\$first));
    my (%header, @fields);
    for my $line (@lines) {
        my ($name, $value) = $line =~ /\A($TOKEN)[ \t]*:[ \t]*(.*?)[ \t]*\z/
            or return (undef, 'the head of the response has a line that is not a field: ' . _first_line(\$line));
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

1;

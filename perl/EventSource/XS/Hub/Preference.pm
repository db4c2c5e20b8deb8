package EventSource::XS::Hub::Preference;
use strict;
use warnings;

# What the client of a stream prefers (the header Prefer, RFC 7240): that the stream be a poll, by the preference `wait`; and
# that the response echo a token, by `request`, so that a response from a cache shows. What is malformed is ignored.

my $MAX_WAIT   = 60;                            # seconds
my $MAX_TOKEN  = 64;                            # characters
my $MAX_LENGTH = 32_000;                        # characters: perl warns of a pattern that repeats more often
my @REASON     = qw(mute silent refused cut);   # the native hub takes these as numbers, in the order of PollReason::ALL

my %NUMBER = map { ($REASON[$_] => $_) } 0 .. $#REASON;

my $TOKEN = qr/[!#\$%&'*+.^_`|~0-9A-Za-z-]+/;
my $VALUE = qr/[ \t]*=[ \t]*($TOKEN|"(?:[^"\\]|\\.)*+")/s;

# Public methods

# Return an object for the environment of a request, or undef if the client prefers nothing that is known here.
sub of {
    my ($class, $env) = @_;
    my $text  = $env->{HTTP_PREFER};
    my $given = defined $text && length $text <= $MAX_LENGTH ? _parse($text) : undef or return undef;
    my ($wait, $request) = @$given{qw(wait request)};
    my $self = bless {}, $class;
    if ($wait && $wait->{value} =~ /\A0*([0-9]+)\z/) {
        $self->{wait} = length $1 > 2 || $1 > $MAX_WAIT ? $MAX_WAIT : 0 + $1;
        my $number = $NUMBER{$wait->{parameter}{reason} || ''};
        $self->{reason} = defined $number ? $number : @REASON;
    }
    $self->{request} = $request->{value}
        if $request && length $request->{value} <= $MAX_TOKEN && $request->{value} =~ /\A[A-Za-z0-9._-]+\z/;
    return %$self ? $self : undef;
}

# Return the head of a response, an array of names and values, as that of a stream or a poll which is as the client prefers. A
# poll ends soon, so it need not be forwarded incrementally.
sub applied {
    my ($self, $headers) = @_;
    my @applied = map { defined $self->{$_} ? "$_=$self->{$_}" : () } qw(wait request);
    my @head    = ('Preference-Applied' => join(', ', @applied), Vary => 'Prefer');
    return [@$headers, @head] if !$self->is_poll;
    my @kept =
        map { lc $headers->[$_] eq 'incremental' ? () : @$headers[$_, $_ + 1] } grep { !($_ % 2) } 0 .. $#$headers;
    return [@kept, @head];
}

sub is_poll { return defined $_[0]{wait} }

# Return what the native hub takes.
sub native {
    my $self = shift;
    return (poll_wait => $self->{wait}, poll_reason => $self->{reason});
}

# Private functions

# The preferences by their names, in lower case, each with its value and its parameters; undef if the text is malformed. The
# first of a name counts.
sub _parse {
    my $text = shift() . ',';
    my %preference;
    pos $text = 0;
    until ($text =~ /\G[ \t,]+\z/gc) {
        $text =~ /\G[ \t,]*($TOKEN)(?:$VALUE)?/gc or return undef;
        my ($name, %found) = (lc $1, value => _unquoted($2));
        while ($text =~ /\G[ \t]*;[ \t]*(?:($TOKEN)(?:$VALUE)?)?/gc) {
            next if !defined $1;
            my ($parameter, $value) = (lc $1, _unquoted($2));
            $found{parameter}{$parameter} = $value if !exists $found{parameter}{$parameter};
        }
        $text =~ /\G[ \t]*(?=,)/gc or return undef;
        $preference{$name} ||= \%found;
    }
    return \%preference;
}

sub _unquoted {
    my $value = shift;
    return ''               if !defined $value;
    $value =~ s/\\(.)/$1/gs if $value =~ s/\A"(.*)"\z/$1/s;
    return $value;
}

1;

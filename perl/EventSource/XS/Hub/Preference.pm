package EventSource::XS::Hub::Preference;
use strict;
use warnings;

# What the client of a stream prefers (the header Prefer, RFC 7240): that the stream be a poll, and that the response echo a
# token. src/request has the rules.

use EventSource::XS::Library;

my $ONLY_OF_STREAMS = _only_of_streams();

# Public methods

# Return an object for the environment of a request, or undef if the client prefers nothing that is known here.
sub of {
    my ($class, $env) = @_;
    my $field = $env->{HTTP_PREFER};
    return undef if !defined $field;
    my %self;
    @self{qw(applied wait reason request)} = _parse($field) or return undef;
    return bless \%self, $class;
}

# Return the head of a response, an array of names and values, as that of a stream or a poll which is as the client prefers.
sub applied {
    my ($self, $headers) = @_;
    my @head = ('Preference-Applied' => $self->{applied}, Vary => 'Prefer');
    return [@$headers, @head] if !$self->is_poll;
    my @kept =
        map { lc $headers->[$_] eq $ONLY_OF_STREAMS ? () : @$headers[$_, $_ + 1] } grep { !($_ % 2) } 0 .. $#$headers;
    return [@kept, @head];
}

sub is_poll { return defined $_[0]{wait} }

# Return what the native hub takes.
sub native {
    my $self = shift;
    return (poll => @$self{qw(wait reason)});
}

1;

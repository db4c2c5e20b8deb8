package EventSource::XS::Client::Transport;
use strict;
use warnings;

# The libraries that a client can read with, and their base class. Each is a module in Transport/ and a line in one of these
# lists. It has
#
#   loop            the name of its event loop (EventSource::XS::Loop); undef if it blocks
#   open            sends a request (EventSource::XS::Client::Source) and returns an object. Its second argument is a hash of
#                   callbacks: head, with the status, a hash of headers by their names in lower case, and the reason; bytes,
#                   with the next bytes of the body; end, once, without an argument if the body is complete, otherwise with
#                   a code and a text. None is called after close
#   pause, resume   stop reading, so that the server is slowed down, and begin again. A few bytes may still come meanwhile
#   close           cuts the connection
#   turn            only if it blocks: waits for that many seconds at most, until something has come

use EventSource::XS::Settings;

my $BLOCKING = 'Net::HTTP';
my @IN_LOOP  = qw(AnyEvent::HTTP Mojo::UserAgent Net::Async::HTTP);

# Public methods

# Return the class of the blocking transport.
sub blocking {
    my $class = shift;
    return _load($BLOCKING);
}

# Return the class of a transport for an event loop: that of a library by its name, or of the first one that the application
# has loaded; nothing if it has loaded none.
sub in_loop {
    my ($class, $name) = @_;
    ($name) = grep { $INC{s{::}{/}gr . '.pm'} } @IN_LOOP if !defined $name;
    return defined $name ? _load($name) : undef;
}

# The names of all libraries for event loops.
sub names { return @IN_LOOP }

# Methods for the transports

# Close, and call back, once: without an argument if the body is complete, otherwise with a code and a text.
sub report_end {
    my ($self, @error) = @_;
    my $on = $self->{on} or return;
    $self->close;
    $on->{end}->(@error);
    return;
}

# Take what belongs to the body off the beginning of a string, which came after the head.
sub take_framed {
    my ($self, $raw) = @_;
    my $framing = $self->{framing};
    my $body;
    eval { $body = $framing->take($raw); 1 } or return $self->report_end(unavailable => $@);
    $self->{on}{bytes}->($body) if length $body;
    $self->report_end           if $framing->is_complete;
    return;
}

# Private functions

sub _load {
    my $name  = shift;
    my $class = __PACKAGE__ . '::' . $name =~ s/:://gr;
    require($class =~ s{::}{/}gr . '.pm');
    return $class;
}

1;

package EventSource::XS::Client::Transport;
use strict;
use warnings;

# The libraries that a client can read with, and their base class, which also reads for the doctor and Test::EventSource. A
# library connects, does TLS and sends the request; the answer is read here, from the bytes of the connection, so that it means
# the same with each library. Each is a module in Transport/ and a line in the list; Transport/Socket.pm blocks, and needs none.
# It has
#
#   loop            the name of its event loop (EventSource::XS::Loop); undef if it blocks
#   open            sends a request (EventSource::XS::Client::Source) and returns an object, made with new. Its second argument
#                   is a hash of callbacks: head, with the status, a hash of headers by their names in lower case, the reason,
#                   and the whole head (EventSource::XS::Client::Response); bytes, with the next bytes of the body; end, once,
#                   without an argument if the body is complete, otherwise with a code and a text. None is called after close
#   pause, resume   stop reading, so that the server is slowed down, and begin again. A few bytes may still come meanwhile
#   close           cuts the connection
#   turn            only if it blocks: waits for that many seconds at most, until something has come
#
# and calls take and lost. The library has callbacks with the link of the object; a new ithread has none of them.

use EventSource::XS::Client::Response;
use EventSource::XS::WeakLink;

my @IN_LOOP = qw(AnyEvent::HTTP Mojo::UserAgent Net::Async::HTTP);

sub CLONE_SKIP { return 1 }

# The second argument is the method of the request, if it may be HEAD.
sub new {
    my ($class, $on, $method) = @_;
    my $self = bless {response => EventSource::XS::Client::Response->new($method), on => $on}, $class;
    $self->{link} = EventSource::XS::WeakLink->new($self);
    return $self;
}

# Public methods

# Return the class of the blocking transport.
sub blocking { return _load('Socket') }

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

# The connection has ended; or there is none, and a text says why.
sub lost {
    my ($self, $text) = @_;
    my $response = $self->{response};
    $response->finish;
    return $self->report_end if $response->is_complete;
    my $what =
          $response->head     ? 'the stream was cut'
        : $response->has_rest ? 'the head of the response was cut'
        : defined $text       ? return $self->report_end(unavailable => $text)
        :                       'the server has closed the connection without an answer';
    return $self->report_end(unavailable => defined $text ? "$what: $text" : $what);
}

# Close, and call back, once: without an argument if the body is complete, otherwise with a code and a text.
sub report_end {
    my ($self, @error) = @_;
    my $on = $self->{on} or return;
    $self->close;
    $on->{end}->(@error);
    return;
}

# Take the next bytes of the connection. A callback may close it.
sub take {
    my ($self, $bytes) = @_;
    my $on       = $self->{on} or return;
    my $response = $self->{response};
    my $had_head = $response->head;
    my $body     = $response->take($bytes);
    my $head     = $response->head;
    $on->{head}->(@$head{qw(status headers reason)}, $head) if $head        && !$had_head;
    $on->{bytes}->($body)                                   if length $body && $self->{on};
    my $problem = $response->problem;
    $self->report_end(defined $problem ? (unavailable => $problem) : ()) if $response->is_ended;
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

package EventSource::XS::Client::Transport::NetHTTP;
use strict;
use warnings;

# A request of a client that blocks, over Net::HTTP, the layer below LWP. HTTP::Tiny and LWP::UserAgent return only after the
# whole response and call back meanwhile: a caller that wants one event, and then control, would need a process beside it.
# Net::HTTP connects, does TLS, formats the request and parses the head; its socket is read when the caller asks. So a caller
# that does not ask slows the server down, no call waits for longer than it is told, and close cuts at once. Only the
# connection is made in one call.

use parent 'EventSource::XS::Client::Transport';
use EventSource::XS::Client::Framing;
use EventSource::XS::Reason;
use IO::Select ();
use Net::HTTP;

my $CONNECT_WITHIN = 10;        # seconds, for each address and for TLS
my $READ           = 65_536;    # bytes
my $MAX_HEAD       = 65_536;    # bytes

sub loop { return undef }

sub open {
    my ($class, $request, $on) = @_;
    return bless {request => $request, on => $on, in => ''}, $class;
}

# Public methods

sub close {
    my $self = shift;
    delete $self->{on};
    CORE::close delete $self->{socket} if $self->{socket};
    return;
}

sub pause { return }

sub resume { return }

# Connect, or send or read once. Returns true if it has connected or sent: a head that comes byte by byte is not a sign of life.
sub turn {
    my ($self, $seconds) = @_;
    return                        if !$self->{on};
    return $self->_connect        if !$self->{socket};
    return $self->_send($seconds) if length $self->{out};
    my $socket = $self->{socket};
    return if !($socket->can('pending') && $socket->pending) && !IO::Select->new($socket)->can_read($seconds);
    my $count = sysread $socket, $self->{in}, $READ, length $self->{in};
    return if !defined $count && ($!{EAGAIN} || $!{EWOULDBLOCK} || $!{EINTR});
    if   ($count) { $self->_take }
    else          { $self->_at_end }
    return;
}

# Private methods

# The end of the connection.
sub _at_end {
    my $self    = shift;
    my $framing = $self->{framing};
    return $self->report_end if $framing && $framing->ends_with_connection;
    return $self->report_end(
        unavailable => $framing
        ? 'the stream was cut'
        : 'the server has closed the connection without an answer'
    );
}

sub _connect {
    my $self    = shift;
    my $request = $self->{request};
    my $url     = $request->{url};
    my %how     = (Host => $url->host_port, Timeout => $CONNECT_WITHIN);
    my $class   = 'Net::HTTP';
    if ($url->scheme eq 'https') {
        return $self->report_end(
            unsupported => 'https needs the module IO::Socket::SSL (Debian: apt-get install libio-socket-ssl-perl)')
            if !eval { require IO::Socket::SSL; require Net::HTTPS; 1 };
        $class = 'Net::HTTPS';
        %how   = (%how, SSL_verifycn_scheme => 'http', SSL_verifycn_name => $url->host);
    }
    my $socket = eval {
        $class->new(%how) || die $class eq 'Net::HTTPS' && IO::Socket::SSL::errstr() || $@ || $!, "
";
    }
        or return $self->report_end(unavailable => 'there is no connection to ' . $url->host_port . ": $@");
    $socket->blocking(0);
    my @headers = map { @$_ } @{$request->{headers}};
    my $content = $request->{content};
    push @headers, 'Content-Length' => length $content if defined $content;
    $self->{out}    = $socket->format_request($request->{method}, $url->path_query, @headers, $content // ());
    $self->{socket} = $socket;
    return 1;
}

sub _send {
    my ($self, $seconds) = @_;
    my $socket = $self->{socket};
    return if !IO::Select->new($socket)->can_write($seconds);
    local $SIG{PIPE} = 'IGNORE';
    my $sent = syswrite $socket, $self->{out};
    substr $self->{out}, 0, $sent, '' if $sent;
    return $sent if defined $sent || $!{EAGAIN} || $!{EWOULDBLOCK} || $!{EINTR};
    return $self->report_end(unavailable => "the request could not be sent: $!");
}

sub _take {
    my $self = shift;
    $self->{framing} || $self->_take_head or return;
    return $self->take_framed(\$self->{in});
}

# Net::HTTP would wait for the rest of a head, so it is given a whole one. Returns nothing if there is none, or if no body is
# to be read.
sub _take_head {
    my $self   = shift;
    my $socket = $self->{socket};
    while ($self->{in} =~ /^\r?\n/m) {
        $socket->_rbuf($self->{in});
        my ($status, $reason, @headers) = eval { $socket->read_response_headers }
            or return $self->report_end(
            unavailable => 'this is not a response of HTTP: ' . EventSource::XS::Reason->of($@));
        $self->{in} = $socket->_rbuf('');
        next if $status =~ /\A1/;
        my %header;
        while (my ($name, $value) = splice @headers, 0, 2) {
            $name = lc $name;
            $header{$name} = defined $header{$name} ? "$header{$name}, $value" : $value;
        }
        $self->{framing} = EventSource::XS::Client::Framing->new(\%header);
        $self->{on}{head}->($status, \%header, $reason);
        return $self->{on} && $self->{framing};
    }
    return $self->report_end(unavailable => 'the head of the response does not end') if length $self->{in} > $MAX_HEAD;
    return;
}

1;

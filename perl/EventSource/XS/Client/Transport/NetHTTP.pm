package EventSource::XS::Client::Transport::NetHTTP;
use strict;
use warnings;

# A request of a client that blocks, over Net::HTTP, the layer below LWP. HTTP::Tiny and LWP::UserAgent return only after the
# whole response and call back meanwhile: a caller that wants one event, and then control, would need a process beside it.
# Net::HTTP connects, does TLS and formats the request; its socket is read when the caller asks. So a caller that does not ask
# slows the server down, no call waits for longer than it is told, and close cuts at once. Only the connection is made in one
# call. A handler of a signal may die while these wait, and not between what is read or sent and what is known of it.

use parent 'EventSource::XS::Client::Transport';
use EventSource::XS::Signals qw(without_signals);
use IO::Select               ();
use Net::HTTP;

my $CONNECT_WITHIN = 10;        # seconds, for each address and for TLS
my $READ           = 65_536;    # bytes

sub loop { return undef }

sub open {
    my ($class, $request, $on) = @_;
    my $self = $class->new($on);
    $self->{request} = $request;
    return $self;
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
    return if !$self->{on};
    my $socket    = $self->{socket} or return $self->_connect;
    my $select    = IO::Select->new($socket);
    my $does      = length $self->{out} ? '_send' : '_read';
    my $has_bytes = $socket->can('pending') && $socket->pending;
    return if !($does eq '_send' ? $select->can_write($seconds) : $has_bytes || $select->can_read($seconds));
    return without_signals(sub { $self->$does });
}

# Private methods

sub _connect {
    my $self    = shift;
    my $request = $self->{request};
    my $url     = $request->{url};
    my %how     = (Host => $url->host_port, Timeout => $CONNECT_WITHIN);
    my $class   = 'Net::HTTP';
    local ($@, $SIG{__DIE__});
    if ($url->scheme eq 'https') {
        return $self->report_end(
            unsupported => 'https needs the module IO::Socket::SSL (Debian: apt-get install libio-socket-ssl-perl)')
            if !without_signals(\&_has_tls);
        $class = 'Net::HTTPS';
        %how   = (%how, SSL_verifycn_scheme => 'http', SSL_verifycn_name => $url->host);
    }
    my $socket = $class->new(%how);              # it returns its errors
    my $error  = $socket ? undef : 'there is no connection to ' . $url->host_port . ': ' . _connect_error($class);
    return without_signals(sub { $self->report_end(unavailable => $error) }) if defined $error;
    binmode $socket if $class eq 'Net::HTTP';    # as in EventSource::XS::SocketPair
    $socket->blocking(0);
    my @headers = map { @$_ } @{$request->{headers}};
    my $content = $request->{content};
    push @headers, 'Content-Length' => length $content if defined $content;
    $self->{out}    = $socket->format_request($request->{method}, $url->path_query, @headers, $content // ());
    $self->{socket} = $socket;
    return 1;
}

# Why the constructor has failed. IO::Socket::SSL names a connection that is refused in $@ only.
sub _connect_error {
    my $class   = shift;
    my $reason  = $@ || $!;
    my $instead = $class eq 'Net::HTTPS' ? IO::Socket::SSL::errstr() : '';
    return $instead && $instead !~ /configuration failed/ ? $instead : $reason;
}

sub _has_tls {
    local $SIG{__DIE__};
    return scalar eval { require IO::Socket::SSL; require Net::HTTPS; 1 }
}

sub _read {
    my $self  = shift;
    my $count = sysread $self->{socket}, my ($bytes), $READ;
    return                     if !defined $count && ($!{EAGAIN} || $!{EWOULDBLOCK} || $!{EINTR});
    return $self->take($bytes) if $count;
    return $self->lost(defined $count ? () : "$!");
}

sub _send {
    my $self = shift;
    local $SIG{PIPE} = 'IGNORE';
    my $sent = syswrite $self->{socket}, $self->{out};
    substr $self->{out}, 0, $sent, '' if $sent;
    return $sent if defined $sent || $!{EAGAIN} || $!{EWOULDBLOCK} || $!{EINTR};
    return $self->report_end(unavailable => "the request could not be sent: $!");
}

1;

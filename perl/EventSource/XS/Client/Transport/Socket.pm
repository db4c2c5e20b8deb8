package EventSource::XS::Client::Transport::Socket;
use strict;
use warnings;

# A request of a client that blocks, on a socket. HTTP::Tiny and LWP::UserAgent return only after the whole response and call
# back meanwhile: a caller that wants one event, and then control, would need a process beside it. This socket is read when the
# caller asks. So a caller that does not ask slows the server down, no call waits for longer than it is told, and close cuts at
# once. Only the connection is made in one call. A handler of a signal may die while these wait, and not between what is read or
# sent and what is known of it.

use parent 'EventSource::XS::Client::Transport';
use EventSource::XS::Signals qw(without_signals);
use EventSource::XS::TCPConnection;
use IO::Select ();

my $CONNECT_WITHIN = 10;        # seconds, for each address and for TLS
my $READ           = 65_536;    # bytes

sub loop { return undef }

sub open {
    my ($class, $request, $on) = @_;
    my $self  = $class->new($on, $request->{method});
    my @close = grep({ lc $_->[0] eq 'connection' } @{$request->{headers}}) ? () : [Connection => 'close'];
    $self->{request} = {%$request, headers => [@{$request->{headers}}, @close]};
    return $self;
}

# Public methods

sub close {
    my $self = shift;
    delete $self->{on};
    CORE::close delete $self->{socket} if $self->{socket};
    return;
}

sub has_tls {
    local ($@, $SIG{__DIE__});
    return scalar eval { require IO::Socket::SSL; 1 }
}

sub pause { return }

# Called when the request is connected, tls or sent, its argument. A subclass may note the time.
sub reached { return }

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
    my $self = shift;
    my $url  = $self->{request}{url};
    local ($@, $SIG{__DIE__});
    my $is_tls = $url->scheme eq 'https';
    return $self->report_end(
        unsupported => 'https needs the module IO::Socket::SSL (Debian: apt-get install libio-socket-ssl-perl)')
        if $is_tls && !without_signals(sub { $self->has_tls });
    my $host = $url->host =~ s/\A\[|\]\z//gr;
    my ($socket, $error) = EventSource::XS::TCPConnection->connect($host, $url->port, $CONNECT_WITHIN);
    $error = 'there is no connection to ' . $url->host_port . ": $error" if defined $error;

    if ($socket) {
        binmode $socket;    # as in EventSource::XS::SocketPair
        $self->reached('connected');
        $error = 'TLS has failed: ' . IO::Socket::SSL::errstr() if $is_tls && !$self->_start_tls($socket);
    }
    return without_signals(sub { $self->report_end(unavailable => $error) }) if defined $error;
    $socket->blocking(0);
    $self->{out}    = $self->_request_text;
    $self->{socket} = $socket;
    return 1;
}

sub _read {
    my $self  = shift;
    my $count = sysread $self->{socket}, my ($bytes), $READ;
    return                     if !defined $count && ($!{EAGAIN} || $!{EWOULDBLOCK} || $!{EINTR});
    return $self->take($bytes) if $count;
    return $self->lost(defined $count ? () : "$!");
}

sub _request_text {
    my $request  = shift->{request};
    my $url      = $request->{url};
    my @headers  = @{$request->{headers}};
    my $content  = $request->{content};
    my $has_host = grep { lc $_->[0] eq 'host' } @headers;
    unshift @headers, [Host => $url->host_port =~ s/:${\$url->default_port}\z//r] if !$has_host;
    push @headers, ['Content-Length' => length $content] if defined $content;
    my @lines = ("$request->{method} " . $url->path_query . ' HTTP/1.1', map { join ': ', @$_ } @headers);
    return join "\r\n", @lines, '', $content // '';
}

sub _send {
    my $self = shift;
    local $SIG{PIPE} = 'IGNORE';
    my $sent = syswrite $self->{socket}, $self->{out};
    substr $self->{out}, 0, $sent, '' if $sent;
    $self->reached('sent') if !length $self->{out};
    return $sent           if defined $sent || $!{EAGAIN} || $!{EWOULDBLOCK} || $!{EINTR};
    return $self->report_end(unavailable => "the request could not be sent: $!");
}

sub _start_tls {
    my ($self, $socket) = @_;
    my $request = $self->{request};
    my $host    = $request->{url}->host;
    my %tls     = (SSL_hostname => $host, SSL_verifycn_name => $host, SSL_verifycn_scheme => 'http');
    $tls{SSL_verify_mode}    = 0                if $request->{insecure};
    $tls{SSL_hostname}       = ''               if $host =~ /\A[0-9.]+\z|:/;
    $tls{SSL_alpn_protocols} = $request->{alpn} if $request->{alpn} && IO::Socket::SSL->can_alpn;
    return if !IO::Socket::SSL->start_SSL($socket, %tls, Timeout => $CONNECT_WITHIN);
    $self->reached('tls');
    return 1;
}

1;

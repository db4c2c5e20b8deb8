package Testing::Client;
use strict;
use warnings;

# A raw HTTP client for streams: it speaks HTTP/1.0 or 1.1, reads a response piece by piece, and can leave in the middle of
# it. No common client does all three.
#
#   my $client = Testing::Client->get($server->port, '/ticks', http => '1.1');
#   ok $client->read_until(qr/data: 3/);
#   $client->leave;

use Carp  qw(croak);
use Errno ();
use IO::Select;
use IO::Socket::INET;
use IO::Socket::UNIX;
use Socket            qw(SOL_SOCKET SO_LINGER);
use Testing::Deadline qw($DEADLINE);
use Time::HiRes       qw(time);

# As get, on a connection of its own; reads the whole response.
sub ask {
    my ($class, $at, $path, %option) = @_;
    my $self = $class->get($at, $path, %option, headers => [Connection => 'close', @{$option{headers} || []}]);
    $self->read_all;
    return $self;
}

# Returns the body that has been received, without its framing.
sub body { return $_[0]{body} }

# True if the response has ended where its framing says. A response without framing ends with the connection.
sub complete { return $_[0]{ended} && !$_[0]{cut} }

# True if the response has ended.
sub ended { return $_[0]{ended} }

# Connects to a port of 127.0.0.1 or to the path of a Unix socket, and sends nothing.
sub connected {
    my ($class, $at) = @_;
    my %response = (http => '1.1', raw => '', method => 'GET', headers => [], body => '');
    return bless {%response, socket => _connect($at) || croak "Client: no connection to $at: $!"}, $class;
}

# Connects to a port of 127.0.0.1 or to the path of a Unix socket, and sends a request. Options: http, '1.0' or '1.1';
# protocol, the text for the request line instead of that version; method; headers, a list of names and values; then, bytes
# to send directly after the request; certificate, for TLS, the file with the server's certificate.
sub get {
    my ($class, $at, $path, %option) = @_;
    my $self = bless {http => $option{http} || '1.1', host => $at =~ m{/} ? 'localhost' : "127.0.0.1:$at"}, $class;
    $self->{socket} = _connect($at) or croak "Client: no connection to $at: $!";
    $self->_start_tls($option{certificate}) if $option{certificate};
    return $self->request($path, %option);
}

# Returns all values of one header, in order.
sub header {
    my ($self, $name) = @_;
    my @pairs = @{$self->{headers}};
    my @values;
    while (my ($key, $value) = splice @pairs, 0, 2) { push @values, $value if lc $key eq lc $name }
    return wantarray ? @values : $values[0];
}

sub headers { return $_[0]{headers} }

# Reads until there is an event with this data.
sub has {
    my ($self, $data) = @_;
    return $self->read_until(qr/^data: \Q$data\E\r?$/m);
}

# Closes the connection without waiting for anything; with reset => 1, by RST.
sub leave {
    my ($self, %option) = @_;
    my $socket = delete $self->{socket} or return;
    setsockopt $socket, SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0 if $option{reset};
    close $socket;
    return;
}

# As ask: sends a body by POST.
sub post {
    my ($class, $at, $path, $body, @headers) = @_;
    my @all = ('Content-Length' => length $body, @headers);
    return $class->ask($at, $path, method => 'POST', headers => \@all, then => $body);
}

# Reads to the end of the response. False at the deadline.
sub read_all {
    my ($self, $seconds) = @_;
    return $self->_read_while($seconds, sub { !$self->{ended} });
}

# Reads until the server asks for the body (100 Continue). False at the end of the response or at the deadline.
sub read_continue {
    my ($self, $seconds) = @_;
    $self->_read_while($seconds, sub { !$self->{ended} && !defined $self->{status} && !$self->{continued} });
    return $self->{continued};
}

# Reads until the head is complete. False at the deadline.
sub read_head {
    my ($self, $seconds) = @_;
    $self->_read_while($seconds, sub { !$self->{ended} && !defined $self->{status} });
    return defined $self->{status};
}

# Reads until the body matches. False at the end of the response or at the deadline.
sub read_until {
    my ($self, $pattern, $seconds) = @_;
    $self->_read_while($seconds, sub { !$self->{ended} && $self->{body} !~ $pattern });
    return $self->{body} =~ $pattern;
}

# Sends one more request on the connection.
sub request {
    my ($self, $path, %option) = @_;
    my $method  = $option{method} || 'GET';
    my @headers = ('Host', $self->{host}, @{$option{headers} || []});
    my $version = defined $option{protocol} ? $option{protocol} : "HTTP/$self->{http}";
    my $head    = "$method $path $version\r\n";
    while (my ($name, $value) = splice @headers, 0, 2) { $head .= "$name: $value\r\n" }
    %$self = (
        %$self,
        raw     => defined $self->{raw} ? $self->{raw} : '',
        method  => $method,
        status  => undef,
        headers => [],
        body    => '',
        ended   => !!0,
        cut     => !!0,

        continued => !!0,
    );
    return $self->say("$head\r\n" . (defined $option{then} ? $option{then} : ''));
}

# Returns the bytes that follow the response until the server closes the connection; undef at the deadline.
sub rest {
    my ($self, $seconds) = @_;
    my $rest = $self->_read_while($seconds, sub { !$self->{closed} });
    return $rest ? $self->{raw} : undef;
}

# Sends bytes.
sub say {
    my ($self, $bytes) = @_;
    local $SIG{PIPE} = 'IGNORE';
    while (length $bytes) {    # one record of TLS at a time
        my $sent = syswrite $self->{socket}, $bytes;
        croak "Client: not sent: $!" if !defined $sent;
        substr $bytes, 0, $sent, '';
    }
    return $self;
}

sub status { return $_[0]{status} }

sub status_line { return $_[0]{first} }

# As get, for a stream of a hub; waits for its position.
sub stream {
    my ($class, $at, $path, %option) = @_;
    my $self = $class->get($at, $path, %option);
    $self->read_until(qr/^id: .*\n\r?\n/m)
        or croak "Client: no position at $path: ", join ' ', map { $_ // () } @$self{qw(status body)};
    return $self;
}

# The body without its comments, which may stand anywhere in a stream.
sub text { return $_[0]{body} =~ s/^:[^\r\n]*(?:\r\n|\n)(?:\r\n|\n)?//gmr }

sub _connect {
    my $at = shift;
    return IO::Socket::UNIX->new(Peer     => $at) if $at =~ m{/};
    return IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $at, Proto => 'tcp', Timeout => $DEADLINE);
}

# True if bytes can be read within that many seconds. TLS may have buffered some that the socket no longer has.
sub _can_read {
    my ($self, $seconds) = @_;
    my $socket = $self->{socket};
    return $socket->can('pending') && $socket->pending || IO::Select->new($socket)->can_read($seconds);
}

# Moves bytes out of {raw}: first the head, then the body in the framing of the head.
sub _parse {
    my $self = shift;
    if (!defined $self->{status}) {
        $self->{continued} = !!1 while $self->{raw} =~ s{\AHTTP/1\.1 100 Continue\r\n(?:[^\r\n]+\r\n)*\r\n}{};
        $self->{raw} =~ s/\A(.*?\r\n)\r\n//s or return;
        my ($first, @lines) = split /\r\n/, $1;
        $first =~ m{\AHTTP/1\.[01] ([0-9]{3})\b} or croak "Client: this is not a status line: $first";
        $self->{first}   = $first;
        $self->{status}  = $1;
        $self->{headers} = [map { /\A([^:]+):[ \t]*(.*?)[ \t]*\z/ ? ($1, $2) : croak "Client: no header: $_" } @lines];
        $self->{chunked} = lc($self->header('Transfer-Encoding') || '') eq 'chunked';
        $self->{length}  = $self->{method} eq 'HEAD' ? 0 : $self->header('Content-Length');
    }
    return $self->_parse_chunks if $self->{chunked} && $self->{method} ne 'HEAD';
    my $most = defined $self->{length} ? $self->{length} - length $self->{body} : length $self->{raw};
    $self->{body} .= substr $self->{raw}, 0, $most, '';
    $self->{ended} = !!1 if defined $self->{length} && $self->{length} == length $self->{body};
    return;
}

sub _parse_chunks {
    my $self = shift;
    while ($self->{raw} =~ /\A([0-9a-fA-F]+)[^\r\n]*\r\n/) {
        my ($start, $size) = ($+[0], hex $1);
        return if length $self->{raw} < $start + $size + 2;
        my $chunk = substr $self->{raw}, $start, $size;
        croak 'Client: a chunk does not end where it should' if substr($self->{raw}, $start + $size, 2) ne "\r\n";
        substr $self->{raw}, 0, $start + $size + 2, '';
        $self->{body} .= $chunk;
        return $self->{ended} = !!1 if !$size;
    }
    croak "Client: this is not a chunk: $self->{raw}" if $self->{raw} !~ /\A(?:[0-9a-fA-F]+[^\r\n]*\r?)?\z/;
    return;
}

sub _read_while {
    my ($self, $seconds, $wanted) = @_;
    my $deadline = time + (defined $seconds ? $seconds : $DEADLINE);
    $self->_parse if !$self->{ended};
    while ($wanted->()) {
        my $left = $deadline - time;
        return !!0 if $left <= 0;
        local $! = 0;
        if (!$self->_can_read($left)) { next if $!{EINTR}; return !!0 }    # a signal: a program of the test has ended
        my $count = sysread $self->{socket}, $self->{raw}, 65_536, length $self->{raw};
        if ($count) {
            $self->_parse if !$self->{ended};
            next;
        }
        $self->{closed} = !!1;
        next if $self->{ended};

        # The connection has ended; the response with it, whether or not it was complete.
        $self->{cut}   = !defined $count || $self->{chunked} || defined $self->{length} || !defined $self->{status};
        $self->{ended} = !!1;
    }
    return !!1;
}

sub _start_tls {
    my ($self, $certificate) = @_;
    require IO::Socket::SSL;
    IO::Socket::SSL->start_SSL($self->{socket}, SSL_ca_file => $certificate, SSL_verifycn_name => '127.0.0.1')
        or croak "Client: no TLS: $IO::Socket::SSL::SSL_ERROR";
    return;
}

1;

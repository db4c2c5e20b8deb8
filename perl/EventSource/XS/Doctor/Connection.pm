package EventSource::XS::Doctor::Connection;
use strict;
use warnings;

# One request of the doctor and its response, as bytes with the times of their arrival. Clients such as HTTP::Tiny and LWP
# take the framing off, and do not say when a byte came or whether a response was complete; here that is all that counts.
# HTTP::Tiny also repeats a GET by itself with the old Last-Event-ID, and sends no id that is not ASCII.
#
# A response is read no further (is_excessive) if it has more than 16 MiB, with or without its compression, more than
# 100,000 lines, or comes in more than 100,000 pieces.

use EventSource::XS::Client::Decoder;
use EventSource::XS::Client::Framing;
use EventSource::XS::Doctor::Body;
use IO::Select ();
use IO::Socket::INET;
use List::Util  qw(min);
use Time::HiRes qw(sleep time);
use URI;

my $CONNECT_WITHIN = 10;            # seconds, also for the request
my $MAX_BYTES      = 16_777_216;    # of a response, as it came and without its compression
my $MAX_HEAD       = 65_536;        # bytes
my $MAX_PIECES     = 100_000;       # reads of a response whose times are kept
my $MAX_QUOTE      = 200;           # bytes of what is not HTTP
my $MAX_TURNS      = 64;            # reads of one connection in a row
my $READ           = 65_536;        # bytes
my $LONGEST_WAIT   = 0.5;           # seconds between two looks at the condition

# Return a connection that is not open yet. url is an object of URI with the scheme http or https. Options: method (by
# default GET), headers_sent (an array of pairs [name, value], by default empty), content (the bytes of the request's body, by
# default none), insecure (true: certificates are not checked), token (that of its preference "request").
sub new {
    my ($class, %option) = @_;
    my %response = (raw => '', pieces => [], headers => [], read => 0);
    return bless {method => 'GET', headers_sent => [], %option, %response, body => EventSource::XS::Doctor::Body->new},
        $class;
}

# Public methods

# The preferences that the response says it has applied (RFC 7240, section 3): their values by name.
sub applied {
    my $self = shift;
    return {
        map { /\A\s*([\w-]+)\s*=\s*"?([^"\s;]*)/ ? (lc $1 => $2) : () } split /,/,
        $self->header('Preference-Applied') // ''
    };
}

# The protocol that the server selects for browsers, which offer HTTP/2; undef if it cannot be known.
sub alpn {
    my $self = shift;
    return undef if $self->{url}->scheme ne 'https' || !$self->_has_tls || !IO::Socket::SSL->can_alpn;
    local $self->{alpn} = ['h2', 'http/1.1'];
    $self->_connect or return undef;
    my $selected = $self->{socket}->alpn_selected;
    $self->leave;
    return defined $selected ? $selected : 'http/1.1';
}

sub body { return $_[0]{body} }

# Why there is no response; undef if nothing has failed.
sub failure { return $_[0]{failure} }

sub has_head { return defined $_[0]{status} }

# Return the values of a header, joined by a comma; undef if there is none.
sub header {
    my ($self, $name) = @_;
    my @values = map { $_->[1] } grep { lc $_->[0] eq lc $name } @{$self->{headers}};
    return @values ? join ', ', @values : undef;
}

# True if the response is that to another request: it has another token.
sub is_copy {
    my $self  = shift;
    my $token = $self->applied->{request};
    return defined $token && $token ne ($self->{token} // '');
}

sub is_open { return !!$_[0]{socket} }

# True if a response was read no further, because it has sent too much.
sub is_excessive { return !!$_[0]{is_excessive} }

# True if what one URL may know, such as a cookie, may be sent to the other.
sub is_same_origin {
    my ($class, $url, $other) = @_;
    return $url->scheme eq $other->scheme && lc $url->host eq lc $other->host && $url->port == $other->port;
}

sub leave {
    my $self   = shift;
    my $socket = delete $self->{socket} or return;
    $self->{left_at} = time - $self->{began};
    close $socket;
    return;
}

# Connects and sends the request. Returns itself; failure says whether it has failed.
sub request {
    my $self = shift;
    $self->_connect or return $self;
    my $url  = $self->{url};
    my $body = defined $self->{content} ? $self->{content} : '';
    my @head = ("$self->{method} " . ($url->path_query || '/') . ' HTTP/1.1', 'Host: ' . $self->_host);
    push @head, map { "$_->[0]: $_->[1]" } @{$self->{headers_sent}};
    push @head, 'Content-Length: ' . length $body if length $body || $self->{method} =~ /\A(?:POST|PUT|PATCH)\z/;
    local $SIG{PIPE} = 'IGNORE';
    $self->{socket}->blocking(0);
    my $trouble = _send($self->{socket}, join("\r\n", @head, '', '') . $body);
    return $self->_fail('send', "the request could not be sent: $trouble") if defined $trouble;
    $self->{sent_at} = time - $self->{began};
    return $self;
}

# Where the response sends its client; undef if it does not.
sub redirect {
    my $self = shift;
    my $to   = $self->header('Location');
    return undef if ($self->{status} || 0) !~ /\A30[12378]\z/ || !defined $to;
    return URI->new_abs($to, $self->{url})->canonical;
}

# Seconds since the request began.
sub seconds { return time - $_[0]{began} }

sub status { return $_[0]{status} }

# Reads all connections until a condition is true; false if the seconds are over first.
sub wait_for {
    my ($class, $seconds, $condition, @connections) = @_;
    my $deadline = time + $seconds;
    while (!$condition->()) {
        my $left = $deadline - time;
        return !!0 if $left <= 0;
        my @open  = grep { $_->{socket} } @connections;
        my $wait  = $left < $LONGEST_WAIT ? $left : $LONGEST_WAIT;
        my @ready = grep { $_->{socket}->can('pending') && $_->{socket}->pending } @open;
        if (!@ready) {
            my %is_ready = map { ($_ => 1) } IO::Select->new(map { $_->{socket} } @open)->can_read(@open ? $wait : 0);
            @ready = grep { $is_ready{$_->{socket}} } @open;
            sleep $wait if !@open;
        }
        $_->_read for @ready;
    }
    return !!1;
}

# Private functions and methods

sub _connect {
    my $self = shift;
    my $url  = $self->{url};
    $self->{began} = time;
    return !$self->_fail(
        tls => 'https needs the module IO::Socket::SSL (Debian: apt-get install libio-socket-ssl-perl)')
        if $url->scheme eq 'https' && !$self->_has_tls;
    my $class  = eval { require IO::Socket::IP; 1 } ? 'IO::Socket::IP' : 'IO::Socket::INET';
    my %to     = (PeerHost => $url->host =~ s/\A\[|\]\z//gr, PeerPort => $url->port, Proto => 'tcp');
    my $socket = $class->new(%to, Timeout => $CONNECT_WITHIN)
        or return !$self->_fail('connect', 'there is no connection to ' . $self->_host . ': ' . ($@ || $!));
    binmode $socket;    # as in EventSource::XS::SocketPair
    $self->{connected_at} = time - $self->{began};
    $self->{peer}         = $socket->peerhost;
    $self->{socket}       = $socket;
    return $url->scheme ne 'https' || $self->_start_tls;
}

# Ends the connection. Returns itself, so that a method may return what this returns.
sub _fail {
    my ($self, $where, $why) = @_;
    $self->{failure} = {where => $where, sentence => $why =~ s/\s+\z//r};
    $self->leave;
    return $self;
}

sub _has_tls {
    return scalar eval { require IO::Socket::SSL; 1 }
}

sub _host {
    my $url = shift->{url};
    return $url->port == $url->default_port ? $url->host : $url->host . ':' . $url->port;
}

# Notes how the response ended: complete, cut, or closed if its framing does not tell.
sub _end {
    my ($self, $end) = @_;
    $self->{end}      = $end;
    $self->{ended_at} = time - $self->{began};
    $self->leave;
    return;
}

sub _read {
    my $self = shift;
    for (1 .. $MAX_TURNS) {
        my $socket = $self->{socket} or return;
        my $count  = sysread($socket, my $bytes, $READ);
        if ($count) {
            $self->{last_at} = time - $self->{began};
            $self->{read} += $count;
            $self->{raw} .= $bytes;
            $self->_take;
            next;
        }
        return if !defined $count && ($!{EAGAIN} || $!{EWOULDBLOCK} || $!{EINTR});
        return $self->_end(
              !defined $self->{status}                                   ? 'none'
            : !defined $count || !$self->{framing}->ends_with_connection ? 'cut'
            :                                                              'closed'
        );
    }
    return;
}

sub _start_tls {
    my $self = shift;
    my $host = $self->{url}->host;
    my %tls  = (SSL_hostname => $host, SSL_verifycn_name => $host, SSL_verifycn_scheme => 'http');
    $tls{SSL_verify_mode}    = 0                             if $self->{insecure};
    $tls{SSL_hostname}       = ''                            if $host =~ /\A[0-9.]+\z|:/;
    $tls{SSL_alpn_protocols} = $self->{alpn} || ['http/1.1'] if IO::Socket::SSL->can_alpn;
    IO::Socket::SSL->start_SSL($self->{socket}, %tls, Timeout => $CONNECT_WITHIN)
        or return !$self->_fail('tls', 'TLS has failed: ' . IO::Socket::SSL::errstr());
    $self->{tls_at} = time - $self->{began};
    return !!1;
}

# Sends all bytes to a socket that does not block. Returns what has prevented it.
sub _send {
    my ($socket, $bytes) = @_;
    my $deadline = time + $CONNECT_WITHIN;
    while (length $bytes) {
        my $sent = syswrite $socket, $bytes;
        if (defined $sent) {
            substr $bytes, 0, $sent, '';
            next;
        }
        return "$!" if !$!{EAGAIN} && !$!{EWOULDBLOCK} && !$!{EINTR};
        my $left = $deadline - time;
        return "the server does not read it within $CONNECT_WITHIN s" if $left <= 0;
        IO::Select->new($socket)->can_write(min($left, $LONGEST_WAIT));
    }
    return undef;
}

# Moves what has arrived into the head and the body.
sub _take {
    my $self = shift;
    return if !defined $self->{status} && !$self->_take_head;
    my ($bytes, $trouble) = $self->{framing}->take(\$self->{raw});
    $self->_take_body($bytes) if length $bytes;
    return                    if !$self->{socket};
    return $self->_end('cut') if defined $trouble;
    return $self->{framing}->is_complete ? $self->_end('complete') : undef;
}

# Hands the text of a body on, in pieces: a few compressed bytes may be very many.
sub _take_body {
    my ($self, $bytes) = @_;
    my $body = $self->{body};
    $self->{body_at} = $self->{last_at} if !defined $self->{body_at};
    push @{$self->{pieces}}, [$self->{last_at}, length $bytes];
    while ($self->{socket} && length(my $text = $self->_next_text(\$bytes))) {
        $body->feed($self->{last_at}, $text);
        next
            if $self->{read} <= $MAX_BYTES
            && $body->{bytes} <= $MAX_BYTES
            && !$body->is_full
            && @{$self->{pieces}} < $MAX_PIECES;
        $self->{is_excessive} = 1;
        $self->leave;
        $self->{left_at} = $self->{last_at};    # taking the lines may have lasted for seconds: that is no silence
    }
    return;
}

sub _take_head {
    my $self = shift;
    $self->{first_at} = $self->{last_at} if !defined $self->{first_at};
    while ($self->{raw} =~ s/\A(.*?\r?\n)\r?\n//s) {
        my ($first, @lines) = split /\r?\n/, $1;
        next if $first =~ m{\AHTTP/1\.[01] 1[0-9][0-9]};
        return $self->_fail('head', "this is not a response of HTTP: " . substr $first, 0, $MAX_QUOTE) && 0
            if $first !~ m{\AHTTP/([0-9.]+) ([0-9]{3})(?: (.*))?\z};
        @$self{qw(version status reason head_at)} = ($1, $2, $3, $self->{last_at});
        $self->{headers} = [map { /\A([^:]+?)[ \t]*:[ \t]*(.*?)[ \t]*\z/ ? [$1, $2] : () } @lines];
        my %framed_by = map { $_ => $self->header($_) } qw(content-length transfer-encoding);
        $self->{framing}    = EventSource::XS::Client::Framing->new(\%framed_by);
        $self->{is_chunked} = defined $framed_by{'transfer-encoding'};
        my $has_no_body = $self->{method} eq 'HEAD' || $self->{status} == 204 || $self->{status} == 304;
        return !$self->_end('complete') && 0 if $has_no_body || $self->{framing}->is_complete;
        return 1;
    }
    return $self->_fail('head', 'the head of the response does not end') && 0 if length $self->{raw} > $MAX_HEAD;
    return 0;
}

# Takes the next piece of a body's text off its bytes: without its compression, if there is one that can be read.
sub _next_text {
    my ($self, $bytes) = @_;
    $self->{decoder} ||= EventSource::XS::Client::Decoder->new($self->header('Content-Encoding'), 1) or return '';
    my ($text) = $self->{decoder}->next_text($bytes);
    return $text;
}

1;

package Testing::Middlebox;
use strict;
use warnings;

# An HTTP proxy in front of a port that hinders responses in one way, as proxies of companies, virus scanners and CDNs do. It
# listens on a port of 127.0.0.1 and runs in a process of its own, which ends with the object.
#
#   my $middlebox = Testing::Middlebox->start('hold', $server->port, path => '/events');
#   $browser->open($middlebox->url('/'));
#   is $middlebox->count('held'), 1;
#   print "$_->{path} $_->{prefer}\n" for $middlebox->requests;
#
# The modes, and their options with their defaults:
#
#   pass      hinders nothing
#   hold      sends a response when it has ended; with head => 1 its head at once
#   batch     sends bytes => 65_536 at a time, and what is left at the end; with head => 1 the head at once
#   cut       cuts a response after seconds => 30: how => 'close' (in the middle), 'reset' (RST) or 'end' (in order)
#   fail      answers 502 to each third request: each => 3; the first that fails is first => 3
#   silence   drops all bytes of a connection in both directions after seconds => 30 of a request, and keeps it open
#   cache     answers a GET for seconds => 60 with the response to the first one for that URL, whatever that says; share => 1:
#             also while it lasts; 0: only with one that has ended
#   refuse    answers 501 instead of a response with Incremental: ?1, as RFC 10036 asks of a proxy that would hold it
#
# It may become another one, also for responses that have begun: $middlebox->become('pass').
#
# path => '/events' hinders only requests with this path, so that pages and scripts pass.

use parent 'Testing::CuttableProxy';
use Carp qw(croak);
use IO::Socket::INET;
use Time::HiRes qw(time);

my $BYTES = 65_536;
my $TURN  = 0.1;      # seconds that the main loop waits at most

# The options of each mode. What a mode does stands in the methods _request_MODE, _head_MODE, _data_MODE, _end_MODE and
# _timeout_MODE, if there are any. The first two return true if they have answered.
my %MODE = (
    pass    => {},
    hold    => {head    => 0},
    batch   => {head    => 0,  bytes => 65_536},
    cut     => {seconds => 30, how   => 'close'},
    fail    => {each    => 3,  first => 3},
    silence => {seconds => 30},
    cache   => {seconds => 60, share => 1},
    refuse  => {},
);

# Changes the mode and its options.
sub become {
    my ($self, $mode, %option) = @_;
    return $self->order(become => $mode, _options($mode, %option));
}

# Returns how many responses it has held, cut, failed, silenced, cached (answered from its cache) or refused.
sub count { return $_[0]->state->{counts}{$_[1]} || 0 }

sub modes { return keys %MODE }

# Returns the requests that it may hinder, in their order: references to hashes with method, path, prefer, last_event_id, and
# status: that of the answer that the client has got, if it has got one.
sub requests { return @{$_[0]->state->{requests}} }

# What the modes do

sub _head_batch { return _hold_head(@_) }
sub _head_hold  { return _hold_head(@_) }

sub _head_refuse {
    my ($self, $exchange) = @_;
    return !!0 if $exchange->{head} !~ /^Incremental:[ \t]*[?]1[ \t]*\r$/mi;
    $self->_count('refused');
    $self->_answer($exchange, '501 Not Implemented', 'Proxy-Status: middlebox; error=incremental_refused');
    return !!1;
}

# Sends full buffers.
sub _data_batch {
    my ($self, $exchange) = @_;
    my $length = length $exchange->{body};
    my $rest   = $length % $self->{option}{bytes};
    return if $rest == $length;
    my $held = substr $exchange->{body}, $length - $rest, $rest, '';
    $self->_send_held($exchange);
    $exchange->{body} = $held;
    return;
}

sub _data_hold { return }

sub _end_batch { my ($self, $exchange) = @_; return $self->_send_held($exchange) }

sub _end_hold {
    my ($self, $exchange) = @_;
    $self->_count('held');
    return $self->_send_held($exchange);
}

sub _request_cache {
    my ($self, $exchange) = @_;
    return !!0 if $exchange->{method} ne 'GET';
    my ($path, $stored) = ($exchange->{path}, $self->{cache}{$exchange->{path}});
    if ($stored && $stored->{until} > time) {
        return !!0 if !$stored->{exchange}{has_ended} && !$self->{option}{share};
        $self->_count('cached');
        $self->_join($stored->{exchange}, $exchange);
        return !!1;
    }
    $self->{cache}{$path} = {exchange => $exchange, until => time + $self->{option}{seconds}};
    $exchange->{keeps} = 1;
    return !!0;
}

sub _hold_head {
    my ($self, $exchange) = @_;
    $exchange->{holds} = !$self->{option}{head};
    return !!0;
}

sub _request_fail {
    my ($self, $exchange) = @_;
    my ($each, $first)    = @{$self->{option}}{qw(each first)};
    return !!0 if ($self->{number}++ + 1 - $first) % $each;
    $self->_count('failed');
    $self->_answer($exchange, '502 Bad Gateway');
    return !!1;
}

sub _timeout_cut {
    my ($self, $exchange) = @_;
    $self->_count('cut');
    my $how = $self->{option}{how};
    return $self->_end($exchange) if $how eq 'end' && $exchange->{has_begun};
    return $self->_close($exchange, $how);
}

# The sockets stay open, and nobody reads them any more.
sub _timeout_silence {
    my ($self, $exchange) = @_;
    $self->_count('silenced');
    for my $connection (grep { defined } $exchange->{server}, @{$exchange->{clients}}) {
        delete $self->{connections}{$connection->{socket}};
        $self->{readers}->remove($connection->{socket});
        push @{$self->{silent}}, $connection;
    }
    delete $self->{exchanges}{$exchange};
    return;
}

# The proxy

# Calls the method of the mode, if there is one, for a request that the mode hinders.
sub _hinder {
    my ($self, $what, $exchange) = @_;
    my $method = "_${what}_$self->{mode}";
    return $exchange->{is_hindered} && $self->can($method) ? $self->$method($exchange) : undef;
}

# Answers a request itself.
sub _answer {
    my ($self, $exchange, $status, @fields) = @_;
    $self->_leave_server($exchange);
    $exchange->{head} = join '', map { "$_\r\n" } "HTTP/1.1 $status", 'Content-Type: text/plain', @fields, '';
    $exchange->{body} = "$status\n";
    $self->_send_held($exchange);
    $self->_end($exchange);
    return delete $self->{cache}{$exchange->{path}};
}

# Closes the connections of an exchange.
sub _close {
    my ($self, $exchange, $how) = @_;
    $self->_drop($_, $how) for grep { defined } $exchange->{server}, @{$exchange->{clients}};
    return $self->_forget($exchange);
}

sub _connection {
    my ($self, $socket, %known) = @_;
    $socket->blocking(0);
    return $self->SUPER::_connection($socket, in => '', out => '', %known);
}

sub _count { my ($self, $what) = @_; return $self->{counts}{$what}++ }

# Ends a response in order. The next request of each client may follow.
sub _end {
    my ($self, $exchange) = @_;
    return if $exchange->{has_ended}++;
    $self->_leave_server($exchange);
    for my $client (@{$exchange->{clients}}) { $self->_end_for($client) }
    return $self->_forget($exchange);
}

sub _end_for {
    my ($self, $client) = @_;
    $self->_write($client, "0\r\n\r\n") if $client->{is_chunked};
    $client->{closes} = 1               if !$client->{is_kept};
    delete $client->{exchange};
    $self->_write($client, '');
    return $client->{in} eq '' ? undef : $self->_read_request($client);
}

sub _forget {
    my ($self, $exchange) = @_;
    delete $self->{exchanges}{$exchange};
    my $stored = $self->{cache}{$exchange->{path}};
    delete $self->{cache}{$exchange->{path}}
        if $stored && $stored->{exchange} == $exchange && !$exchange->{has_ended};
    return;
}

# Gives a client the response of another exchange: what of it has come, and the rest as it comes.
sub _join {
    my ($self, $source, $exchange) = @_;
    my ($client) = @{$exchange->{clients}};
    delete $self->{exchanges}{$exchange};
    $client->{exchange} = $source;
    push @{$source->{clients}}, $client if !$source->{has_ended};
    return if !$source->{has_begun};
    $self->_send_head($source, $client);
    $self->_send_body($client, $source->{kept} // '');
    return $source->{has_ended} ? $self->_end_for($client) : undef;
}

sub _leave_server {
    my ($self, $exchange) = @_;
    my $server = delete $exchange->{server} or return;
    return $self->_drop($server);
}

# A client has gone: so does the request, when it was the last that waited for it.
sub _lose_client {
    my ($self, $client) = @_;
    my $exchange = $client->{exchange};
    $self->_drop($client);
    return if !$exchange;
    @{$exchange->{clients}} = grep { $_ != $client } @{$exchange->{clients}};
    return $self->_close($exchange) if !@{$exchange->{clients}};
    return;
}

sub _new {
    my ($class, $mode, $to, %option) = @_;
    my $path   = delete $option{path} // '/';
    my %hinder = (mode => $mode, option => _options($mode, %option), number => 0, counts => {});
    $hinder{path} = $path eq '/' ? qr/\A/ : qr/\A\Q$path\E(?:[?]|\z)/;
    return $class->SUPER::_new($to, %hinder, exchanges => {}, cache => {}, requests => []);
}

sub _order_become {
    my ($self, @mode) = @_;
    return @$self{qw(mode option)} = @mode;
}

# Reads what has come on a connection.
sub _read {
    my ($self, $connection) = @_;
    my $count = sysread $connection->{socket}, $connection->{in}, $BYTES, length $connection->{in};
    return if !defined $count && $!{EAGAIN};
    if ($connection->{is_server}) {
        return $self->_read_response($connection, !$count);
    }
    return $self->_lose_client($connection) if !$count;
    return $connection->{exchange} ? undef : $self->_read_request($connection);
}

# Takes a request with its body, once it is whole.
sub _read_request {
    my ($self, $client) = @_;
    my ($head) = $client->{in} =~ /\A(?:\r\n)*(.*?\r\n\r\n)/s or return;
    my $end    = $+[0];
    my $length = $head =~ /^Content-Length:[ \t]*([0-9]+)/mi ? $1 : 0;
    return if length $client->{in} < $end + $length;
    my $body = substr substr($client->{in}, 0, $end + $length, ''), $end;
    my ($method, $path, $minor) = $head =~ m{\A(\S+) (\S+) HTTP/1[.]([01])\r\n} or return $self->_lose_client($client);
    $client->{is_kept} = $minor && $head !~ /^Connection:.*\bclose\b/mi;
    my $exchange = $client->{exchange} =
        {method => $method, path => $path, clients => [$client], since => time, body => ''};
    $self->{exchanges}{$exchange} = $exchange;
    $exchange->{is_hindered} = $path =~ $self->{path};
    $self->_record($exchange, $head) if $exchange->{is_hindered};
    return                           if $self->_hinder('request', $exchange);
    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $self->{to})
        or return $self->_answer($exchange, '502 Bad Gateway');
    $head =~ s/^(?:Connection|Keep-Alive|Proxy-Connection):.*\r\n//gmi;
    $head =~ s/\r\n\r\n\z/\r\nConnection: close\r\n\r\n/;
    $exchange->{server} = $self->_connection($socket, is_server => 1, exchange => $exchange);
    return $self->_write($exchange->{server}, "$head$body");
}

sub _read_response {
    my ($self, $server, $is_closed) = @_;
    my $exchange = $server->{exchange};
    if (!$exchange->{head}) {
        $server->{in} =~ s{\AHTTP/1[.][01] 1[0-9][0-9] .*?\r\n\r\n}{}s;    # of an interim response
        if ($server->{in} !~ s/\A(.*?\r\n)\r\n//s) {
            return $is_closed ? $self->_answer($exchange, '502 Bad Gateway') : undef;
        }
        $exchange->{head} = $1;
        _note_framing($server, $exchange);
        return                       if $self->_hinder('head', $exchange);
        $self->_send_held($exchange) if !$exchange->{holds};
    }
    my $bytes = _decoded($server);
    $exchange->{body} .= $bytes;
    $exchange->{kept} .= $bytes if $exchange->{keeps};
    if ($exchange->{is_hindered} && $self->can("_data_$self->{mode}")) { $self->_hinder('data', $exchange) }
    else                                                               { $self->_send_held($exchange) }
    my $is_whole = $server->{has_ended} || $is_closed && $server->{framing} eq 'close';
    return $is_closed ? $self->_close($exchange) : undef if !$is_whole;
    $self->_leave_server($exchange);
    $self->_hinder('end', $exchange);
    return $self->_end($exchange);
}

# The options of a mode, with its defaults.
sub _options {
    my ($mode, %option) = @_;
    my $known = $MODE{$mode // ''} or croak "Middlebox: there is no mode '" . ($mode // '') . q{'};
    for (keys %option) { croak "Middlebox: $mode has no option '$_'" if !exists $known->{$_} }
    return {%$known, %option};
}

sub _record {
    my ($self, $exchange, $head) = @_;
    my %fields = map { ($_ => $head =~ /^\Q$_\E:[ \t]*([^\r\n]*)/mi ? $1 : undef) } qw(Prefer Last-Event-ID);
    my $record = {
        method        => $exchange->{method},
        path          => $exchange->{path},
        prefer        => $fields{Prefer},
        last_event_id => $fields{'Last-Event-ID'},
        status        => undef,
    };
    push @{$self->{requests}}, $exchange->{clients}[0]{record} = $record;
    return;
}

sub _report {
    my $self = shift;
    return {map { ($_ => $self->{$_}) } qw(counts requests)};
}

# Sends bytes of the body, as the client's connection frames it.
sub _send_body {
    my ($self, $client, $bytes) = @_;
    return if $bytes eq '';
    return $self->_write($client, $client->{is_chunked} ? sprintf "%x\r\n%s\r\n", length $bytes, $bytes : $bytes);
}

# Sends the head. A body whose length is not known is chunked if it has one and the client knows that.
sub _send_head {
    my ($self, $exchange, $client, $length) = @_;
    my $head = $exchange->{head};
    $client->{record}{status} = $1 if $client->{record} && $head =~ m{\AHTTP/\S+ ([0-9]+)};
    if (defined $length && !$exchange->{has_no_body}) {
        $head =~ s/^Content-Length:.*\r\n//mi;
        $head .= "Content-Length: $length\r\n";
    }
    my $has_length = $head =~ /^Content-Length:/mi || $exchange->{has_no_body};
    $client->{is_chunked} = !$has_length && $client->{is_kept};
    $head =~ s/^(?:Connection|Keep-Alive|Transfer-Encoding):.*\r\n//gmi;
    $head .= "Transfer-Encoding: chunked\r\n" if $client->{is_chunked};
    $head .= "Connection: close\r\n"          if !$client->{is_kept};
    return $self->_write($client, "$head\r\n");
}

# Sends what of a response has come, the head first.
sub _send_held {
    my ($self, $exchange) = @_;
    my @clients = @{$exchange->{clients}};
    my $bytes   = delete $exchange->{body};
    $exchange->{body} = '';
    delete $exchange->{holds};
    if (!$exchange->{has_begun}++) {
        my $length = $exchange->{server} ? undef : length $bytes;    # it is whole
        $self->_send_head($exchange, $_, $length) for @clients;
    }
    $self->_send_body($_, $bytes) for @clients;
    return;
}

sub _time_left { return $TURN }

# The modes with a time look at it here. What another mode has held passes, once that has become this one.
sub _watch_time {
    my $self = shift;
    if (!$self->can("_data_$self->{mode}")) {
        $self->_send_held($_) for grep { $_->{head} && ($_->{holds} || $_->{body} ne '') } values %{$self->{exchanges}};
    }
    my $seconds = $self->can("_timeout_$self->{mode}") ? $self->{option}{seconds} : return;
    for my $exchange (values %{$self->{exchanges}}) {
        $self->_hinder('timeout', $exchange) if $exchange->{since} + $seconds <= time;
    }
    return;
}

# Sends bytes, and later what the socket does not take now.
sub _write {
    my ($self, $connection, $bytes) = @_;
    my $socket = $connection->{socket};
    return if !$self->{connections}{$socket};
    $connection->{out} .= $bytes;
    my $count = $connection->{out} eq '' ? 0 : syswrite $socket, $connection->{out};
    if (!defined $count && !$!{EAGAIN}) {
        return $connection->{is_server} ? undef : $self->_lose_client($connection);
    }
    substr $connection->{out}, 0, $count // 0, '';
    if    ($connection->{out} ne '') { $self->{writers}->add($socket) }
    elsif ($connection->{closes})    { $self->_drop($connection) }
    else                             { $self->{writers}->remove($socket) }
    return;
}

# Takes the bytes of the body that have come, without their framing.
sub _decoded {
    my $server = shift;
    if ($server->{framing} eq 'close') { return substr $server->{in}, 0, length $server->{in}, '' }
    if ($server->{framing} eq 'length') {
        my $bytes = substr $server->{in}, 0, $server->{left}, '';
        $server->{left} -= length $bytes;
        $server->{has_ended} = !$server->{left};
        return $bytes;
    }
    my $bytes = '';
    while ($server->{in} =~ /\A([0-9A-Fa-f]+)[^\r\n]*\r\n/) {
        my ($at, $length) = ($+[0], hex $1);
        if (!$length) { $server->{has_ended} = 1; last }
        last if length $server->{in} < $at + $length + 2;
        $bytes .= substr $server->{in}, $at, $length;
        substr $server->{in}, 0, $at + $length + 2, '';
    }
    return $bytes;
}

sub _note_framing {
    my ($server, $exchange) = @_;
    my $head = $exchange->{head};
    $exchange->{has_no_body} = $exchange->{method} eq 'HEAD' || $head =~ m{\AHTTP/\S+ (?:204|304)\b};
    if    ($exchange->{has_no_body})                      { @$server{qw(framing left)} = ('length', 0) }
    elsif ($head =~ /^Transfer-Encoding:.*\bchunked\b/mi) { $server->{framing}         = 'chunked' }
    elsif ($head =~ /^Content-Length:[ \t]*([0-9]+)/mi)   { @$server{qw(framing left)} = ('length', $1) }
    else                                                  { $server->{framing}         = 'close' }
    return;
}

1;

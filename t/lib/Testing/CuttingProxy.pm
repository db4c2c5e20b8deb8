package Testing::CuttingProxy;
use strict;
use warnings;

# TCP proxies between clients and a server that cut the responses of streams at given bytes, each cleanly or by RST. One
# process serves all of them; it ends with the object. Each has a name, a port and a plan of cuts. Only requests whose path
# begins with /stream/ count: pages and scripts pass.
#
#   my $proxies = Testing::CuttingProxy->start($server->port, 'one', 'two');
#   $proxies->plan(one => [-20, 'close'], [700, 'reset'], ['id', 'close']);
#   is $proxies->state('one')->{cuts}, 3;
#
# The plan is that of the next connections: the first stream that begins, or continues, is cut after that many bytes of its
# body, then the next. A cut at a negative number is made after that many bytes of the head, at -1 before all. A cut at 'id'
# is made behind the line of an event's id, before the blank line that ends its block; a cut at a number never falls there,
# but one byte earlier: clients exist that take the id of an incomplete block. After a cut at 'id' the connection is closed
# a moment later, so that the client has read everything before.

use parent 'Testing::ControlledProcess';
use Carp       qw(croak);
use IO::Select ();
use IO::Socket::INET;
use JSON::PP    ();
use Socket      qw(SOL_SOCKET SO_LINGER);
use Time::HiRes qw(time);

my $BYTES  = 65_536;
my $MOMENT = 1;                                # seconds
my $TURN   = 0.1;                              # seconds that the main loop waits at most
my $JSON   = JSON::PP->new->canonical->utf8;

# A request for a stream, the data and the id of an event up to the end of its last line, and a client's last event ID.
my $STREAM = qr{^[A-Z]+ (/stream/\S*) HTTP/1[.][01]\r\n}m;
my $ID     = qr/\ndata: ?[^ \r\n][^\r\n]*\r?\nid: ?[^\r\n]+\r?\n/;
my $HEADER = qr/^last-event-id:[ \t]*([^\r\n]*)/mi;

# Public methods

# Cuts a proxy's streams, and refuses connections until release.
sub hold { return $_[0]->_ask([hold => $_[1]]) }

# Sets the cuts of the next streams of a proxy; each is a reference to an array of a place and a way.
sub plan { my ($self, $name, @cuts) = @_; return $self->_ask([plan => $name, @cuts]) }

sub port { return $_[0]{ports}{$_[1]} || croak "CuttingProxy: there is no proxy '$_[1]'" }

sub release { return $_[0]->_ask([release => $_[1]]) }

# Starts a proxy for each name to the same port.
sub start {
    my ($class, $port, @names) = @_;
    my %listener = map { ($_ => $class->listener) } @names;
    my %ports    = map { ($_ => $listener{$_}->sockport) } @names;
    return $class->launch(sub { _proxy(shift, $port, \%listener) }, ports => \%ports);
}

# Returns what a proxy has seen: ids, the last event ID of each request for a stream, null for none; cuts, how many were
# made; left, how many are planned; coding, the content coding of its streams; reads, how often the server has sent something.
sub state { return $_[0]->_ask([state => $_[1]]) }

sub url { return 'http://127.0.0.1:' . $_[0]->port($_[1]) . $_[2] }

# Private methods and functions

sub _ask {
    my ($self, $command) = @_;
    return $JSON->decode($self->ask($JSON->encode($command)));
}

# The commands of the main process.
sub _command {
    my ($self, $what, $name, @rest) = @_;
    my $proxy = $self->{proxy}{$name};
    if    ($what eq 'plan')    { $proxy->{plan}  = [@rest] }
    elsif ($what eq 'release') { $proxy->{holds} = 0 }
    elsif ($what eq 'hold') {
        $proxy->{holds} = 1;
        $self->_end($_, 'close') for grep { $_->{proxy} == $proxy } _unique(values %{$self->{pair}});
    }
    return {map { ($_ => $proxy->{$_}) } qw(coding cuts ids reads)} if $what ne 'state';
    return {(map { ($_ => $proxy->{$_}) } qw(coding cuts ids reads)), left => scalar @{$proxy->{plan}}};
}

sub _connect {
    my ($self, $proxy) = @_;
    my $client = $proxy->{listener}->accept or return;
    return if $proxy->{holds};    # the client's connection is closed
    $self->{select}->add($client);
    $self->{pair}{$client} = {proxy => $proxy, client => $client, request => '', tail => '', count => 0};
    return;
}

# Connects to the server when the client has sent something: browsers open connections that they may not need, and a
# server with one process would wait for a request.
sub _connect_server {
    my ($self, $pair) = @_;
    my $server = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $self->{port}) or return !!0;
    $pair->{server} = $server;
    $self->{select}->add($server);
    $self->{pair}{$server} = $pair;
    return !!1;
}

# Copies what one side has sent.
sub _copy {
    my ($self, $from) = @_;
    my $pair  = $self->{pair}{$from} or return;    # ended earlier in this turn of the loop
    my $bytes = '';
    my $count = sysread $from, $bytes, $BYTES;
    return $self->_end($pair, 'close')        if !$count;
    return $self->_server_sent($pair, $bytes) if $from != $pair->{client};
    return $self->_end($pair, 'close')        if !$pair->{server} && !$self->_connect_server($pair);
    $pair->{request} .= $bytes;

    while ($pair->{request} =~ s/\A(.*?\r\n\r\n)//s) {
        my $head = $1;
        $pair->{is_stream} = $head =~ $STREAM or next;
        @$pair{qw(count head tail)} = (0, undef, '');
        push @{$pair->{proxy}{ids}}, $head =~ $HEADER ? $1 : undef;
    }
    return syswrite($pair->{server}, $bytes) || $self->_end($pair, 'close');
}

# The number of these bytes before the planned cut, undef if it does not fall into them.
sub _cut_at {
    my ($pair, $bytes) = @_;
    my $place = $pair->{proxy}{plan}[0][0];
    if ($place eq 'id') {
        my $all = "$pair->{tail}$bytes";
        while ($all =~ /$ID/g) {
            my $at = pos($all) - length $pair->{tail};
            return $at if $at > 0;
        }
        return undef;
    }
    my $head = $pair->{head};
    my $at = $place < 0 ? -$place - 1 - $pair->{count} : defined $head ? $head + $place - $pair->{count} : return undef;
    return undef if $at > length $bytes;
    $at = 0      if $at < 0;
    $at--        if $at && substr("$pair->{tail}$bytes", 0, $at + length $pair->{tail}) =~ /\nid: ?[^\r\n]+\r?\n\r?\z/;
    return $at;
}

# Ends both connections of a pair.
sub _end {
    my ($self, $pair, $how) = @_;
    for my $socket (grep { defined } @$pair{qw(client server)}) {
        next if !delete $self->{pair}{$socket};
        $self->{select}->remove($socket);
        setsockopt $socket, SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0 if $how eq 'reset';
        close $socket;
    }
    return;
}

# The main loop: copies bytes and obeys commands until the control socket is closed.
sub _proxy {
    my ($control, $port, $listeners) = @_;
    my %proxy =
        map { ($_ => {listener => $listeners->{$_}, plan => [], cuts => 0, reads => 0, ids => [], coding => undef}) }
        keys %$listeners;
    my $self = bless {
        owner  => 0,
        port   => $port,
        proxy  => \%proxy,
        pair   => {},
        select => IO::Select->new($control, values %$listeners),
        },
        __PACKAGE__;
    my %of_listener = map { ($_->{listener} => $_) } values %proxy;
    while (1) {
        for my $pair (grep { defined $_->{ends} && $_->{ends} < time } _unique(values %{$self->{pair}})) {
            $self->_end($pair, 'close');
        }
        for my $ready ($self->{select}->can_read($TURN)) {
            if    ($of_listener{$ready}) { $self->_connect($of_listener{$ready}) }
            elsif ($ready != $control)   { $self->_copy($ready) }
            else {
                my $command = readline $control;
                return if !defined $command;
                syswrite $control, $JSON->encode($self->_command(@{$JSON->decode($command)})) . "\n";
            }
        }
    }
    return;
}

# Sends the server's bytes to the client, up to the cut.
sub _server_sent {
    my ($self, $pair, $bytes) = @_;
    my $proxy = $pair->{proxy};
    $proxy->{reads}++ if $pair->{is_stream};
    if (!defined $pair->{head} && "$pair->{tail}$bytes" =~ /\r\n\r\n/) {
        $pair->{head}    = $pair->{count} - length($pair->{tail}) + $+[0];
        $proxy->{coding} = $1 if $pair->{is_stream} && "$pair->{tail}$bytes" =~ /^Content-Encoding: (\S+)/mi;
    }
    return if defined $pair->{ends};
    my $cut = $pair->{is_stream} && @{$proxy->{plan}} ? _cut_at($pair, $bytes) : undef;
    if (defined $cut) {
        my ($place, $how) = @{shift @{$proxy->{plan}}};
        $proxy->{cuts}++;
        syswrite $pair->{client}, substr $bytes, 0, $cut if $cut;
        return $pair->{ends} = time + $MOMENT if $place eq 'id';
        return $self->_end($pair, $how);
    }
    $pair->{count} += length $bytes;
    $pair->{tail} = substr "$pair->{tail}$bytes", -4_096;
    return syswrite($pair->{client}, $bytes) || $self->_end($pair, 'close');
}

sub _unique {
    my %seen;
    return grep { !$seen{$_}++ } @_;
}

1;

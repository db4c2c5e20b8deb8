package Testing::CuttableProxy;
use strict;
use warnings;

# A TCP proxy between clients and their server whose connections a test can cut, delay and silence. It listens on a port of
# 127.0.0.1 and runs in a process of its own, which ends with the object. Testing::Middlebox is one that knows HTTP.
#
#   my $proxy = Testing::CuttableProxy->start($server->port);
#   $browser->open($proxy->url('/'));
#   $proxy->cut_after(1_000);    # after 1,000 more bytes of the server, even in the middle of an event
#   $proxy->hold;                # cuts all connections and refuses new ones
#   $proxy->release;
#   $proxy->swallow('answers');  # the client waits for ever; connections stay open
#   $proxy->delay(0.5);          # seconds that all bytes take
#   $proxy->plan([-20, 'close'], [700, 'reset'], ['id', 'close']);
#   is $proxy->state->{left}, 0;
#
# A plan cuts the next responses to requests whose path begins with /stream/: the first one that begins, or continues, after
# that many bytes of its body, then the next. A cut at a negative number is made after that many bytes of the head, at -1 before
# all. A cut at 'id' is made behind the line of an event's id, before the blank line that ends its block; a cut at a number
# never falls there, but one byte earlier: clients exist that take the id of an incomplete block. After a cut at 'id' the
# connection is closed a moment later, so that the client has read everything before.

use parent 'Testing::ControlledProcess';
use IO::Select ();
use IO::Socket::INET;
use JSON::PP    ();
use List::Util  qw(max);
use Socket      qw(SOL_SOCKET SO_LINGER);
use Time::HiRes qw(time);

my $BYTES  = 65_536;
my $MOMENT = 1;                                # seconds
my $TURN   = 0.1;                              # seconds that the main loop waits at most for a cut
my $JSON   = JSON::PP->new->canonical->utf8;

# A request for a stream, the data and the id of an event up to the end of its last line, and a client's last event ID.
my $STREAM = qr{^[A-Z]+ (/stream/\S*) HTTP/1[.][01]\r\n}m;
my $ID     = qr/\ndata: ?[^ \r\n][^\r\n]*\r?\nid: ?[^\r\n]+\r?\n/;
my $HEADER = qr/^last-event-id:[ \t]*([^\r\n]*)/mi;

# Cuts all connections now; with the argument 'reset' by RST.
sub cut { my ($self, $how) = @_; return $self->order(cut => 0, $how) }

# Cuts all connections after that many more bytes of the server; a second argument 'reset' as above.
sub cut_after { my $self = shift; return $self->order(cut => @_) }

# Returns how often open connections were cut.
sub cuts { return $_[0]->state->{cuts} }

# Delays all bytes, in both directions, by that many seconds from now on; 0 for none.
sub delay { my $self = shift; return $self->order(delay => @_) }

# Cuts all connections and refuses new ones, until release.
sub hold { return $_[0]->order('hold') }

# Has the process do something. Returns what it reports.
sub order { my ($self, @order) = @_; return $JSON->decode($self->ask($JSON->encode(\@order))) }

# Sets the cuts of the next streams; each is a reference to an array of a place and a way.
sub plan { my $self = shift; return $self->order(plan => @_) }

sub port { return $_[0]{port} }

# Ends hold and swallow.
sub release { return $_[0]->order('release') }

# Starts a proxy to a server's port.
sub start {
    my ($class, @given) = @_;
    my $self = $class->_new(@given);
    $self->{listener} = $class->listener;
    return $class->launch(sub { $self->_serve(shift) }, port => $self->{listener}->sockport);
}

# Returns what it has seen: cuts, how many were made; left, how many are planned; and of the streams: ids, the last event ID of
# each request, undef for none; coding, their content coding; reads, how often the server has sent something.
sub state { return $_[0]->order('nothing') }

# Reads what comes and drops it, until release: 'requests' of clients, 'answers' of the server, or both without an argument.
sub swallow { my $self = shift; return $self->order(swallow => @_ ? @_ : qw(requests answers)) }

sub url { return "http://127.0.0.1:$_[0]{port}" . ($_[1] // '/') }

# The orders

sub _order_cut {
    my ($self, $bytes, $how) = @_;
    @$self{qw(rest how)} = ($bytes, $how // 'close');
    return $bytes ? undef : $self->_cut;
}

sub _order_delay { return $_[0]{delay} = $_[1] }

sub _order_hold    { my $self = shift; $self->{holds} = 1; return $self->_cut }
sub _order_nothing { return }
sub _order_plan    { my ($self, @cuts) = @_; return $self->{plan} = \@cuts }
sub _order_release { my $self = shift; return @$self{qw(holds drops)} = (0, {}) }

sub _order_swallow {
    my ($self, @what) = @_;
    return $self->{drops} = {map { ($_ => 1) } @what};
}

# The proxy

sub _accept {
    my $self   = shift;
    my $socket = $self->{listener}->accept or return;
    return if $self->{holds};    # the client's connection is closed
    return $self->_connection($socket, request => '', tail => '', count => 0);
}

# Connects a client to the server when it has sent something: browsers open connections that they may not need, and a server
# with one process would wait for a request.
sub _connect {
    my ($self, $client) = @_;
    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $self->{to}) or return undef;
    return $client->{peer} = $self->_connection($socket, is_server => 1, peer => $client);
}

sub _connection {
    my ($self, $socket, %known) = @_;
    $self->{readers}->add($socket);
    return $self->{connections}{$socket} = {socket => $socket, %known};
}

sub _cut {
    my $self = shift;
    my $how  = $self->{how};
    my @open = values %{$self->{connections}};
    $self->{cuts}++ if grep { $_->{is_server} } @open;
    @$self{qw(rest how)} = (0, 'close');
    $self->_drop($_, $how) for @open;
    return;
}

# The number of these bytes before the planned cut, undef if it does not fall into them.
sub _cut_at {
    my ($self, $client, $bytes) = @_;
    my $place = $self->{plan}[0][0];
    if ($place eq 'id') {
        my $all = "$client->{tail}$bytes";
        while ($all =~ /$ID/g) {
            my $at = pos($all) - length $client->{tail};
            return $at if $at > 0;
        }
        return undef;
    }
    my ($head, $count) = @$client{qw(head count)};
    my $at = $place < 0 ? -$place - 1 - $count : defined $head ? $head + $place - $count : return undef;
    return undef if $at > length $bytes;
    $at = max($at, 0);
    $at-- if $at && substr("$client->{tail}$bytes", 0, $at + length $client->{tail}) =~ /\nid: ?[^\r\n]+\r?\n\r?\z/;
    return $at;
}

# Closes a connection.
sub _drop {
    my ($self, $connection, $how) = @_;
    my $socket = $connection->{socket};
    delete $self->{connections}{$socket} or return;
    $_->remove($socket) for @$self{qw(readers writers)};
    setsockopt $socket, SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0 if ($how // '') eq 'reset';
    return close $socket;
}

# Closes a connection and that to the other side.
sub _end_both {
    my ($self, $connection, $how) = @_;
    $self->_drop($_, $how) for grep { defined } $connection, delete $connection->{peer};
    return;
}

sub _new {
    my ($class, $to, %members) = @_;
    my %select = map { ($_ => IO::Select->new) } qw(readers writers);
    my %state  = (cuts => 0, reads => 0, ids => [], coding => undef, plan => [], late => [], how => 'close');
    return bless {owner => 0, to => $to, connections => {}, %select, %state, %members}, $class;
}

# Notes the requests for streams, of what speaks HTTP.
sub _note_requests {
    my ($self, $client, $bytes) = @_;
    return if !($client->{is_http} //= $bytes =~ m{\A[A-Z]+ /});
    $client->{request} .= $bytes;
    while ($client->{request} =~ s/\A(.*?\r\n\r\n)//s) {
        my $head = $1;
        $client->{is_stream} = $head =~ $STREAM or next;
        @$client{qw(count head tail)} = (0, undef, '');
        push @{$self->{ids}}, $head =~ $HEADER ? $1 : undef;
    }
    return;
}

# Passes on what has come from one side; undef is the end.
sub _pass {
    my ($self, $from, $bytes) = @_;
    return if !$self->{connections}{$from->{socket}};    # cut before
    my $to = $from->{peer}                 || $self->_connect($from);
    return $self->_end_both($from) if !$to || !defined $bytes;
    if (!$self->{drops}{$from->{is_server} ? 'answers' : 'requests'}) {
        if ($from->{is_server}) { $self->_pass_answer($to, $bytes) }
        else {
            $self->_note_requests($from, $bytes);
            $self->_send($to, $bytes);
        }
    }
    return if !$self->{rest} || !$from->{is_server};
    $self->{rest} -= length $bytes;
    return $self->{rest} > 0 ? undef : $self->_cut;
}

# Sends the server's bytes to the client, up to the cut of the plan.
sub _pass_answer {
    my ($self, $client, $bytes) = @_;
    return $self->_send($client, $bytes) if !$client->{is_stream};
    $self->{reads}++;
    my $all = "$client->{tail}$bytes";
    if (!defined $client->{head} && $all =~ /\r\n\r\n/) {
        $client->{head} = $client->{count} - length($client->{tail}) + $+[0];
        $self->{coding} = $1 if $all =~ /^Content-Encoding: (\S+)/mi;
    }
    return if $client->{ends};
    my $cut = @{$self->{plan}} ? $self->_cut_at($client, $bytes) : undef;
    if (defined $cut) {
        my ($place, $how) = @{shift @{$self->{plan}}};
        $self->{cuts}++;
        syswrite $client->{socket}, substr $bytes, 0, $cut if $cut;
        return $client->{ends} = time + $MOMENT if $place eq 'id';
        return $self->_end_both($client, $how);
    }
    $client->{count} += length $bytes;
    $client->{tail} = substr $all, -4_096;
    return $self->_send($client, $bytes);
}

# Reads what has come on a connection.
sub _read {
    my ($self, $from) = @_;
    my $most  = $from->{is_server} && $self->{rest} || $BYTES;
    my $count = sysread $from->{socket}, my $bytes, $most < $BYTES ? $most : $BYTES;
    return $self->_pass($from, $count ? $bytes : undef) if !$self->{delay} && !@{$self->{late}};
    push @{$self->{late}}, [time + $self->{delay}, $from, $count ? $bytes : undef];
    $self->{readers}->remove($from->{socket}) if !$count;    # an end would be read again and again
    return;
}

sub _report {
    my $self = shift;
    return {(map { ($_ => $self->{$_}) } qw(coding cuts ids reads)), left => scalar @{$self->{plan}}};
}

sub _send {
    my ($self, $to, $bytes) = @_;
    return defined syswrite($to->{socket}, $bytes) || $self->_end_both($to);
}

# The main loop, until the control socket is closed.
sub _serve {
    my ($self, $control) = @_;
    my ($readers, $writers, $listener) = @$self{qw(readers writers listener)};
    $readers->add($listener, $control);
    while (1) {
        my ($readable, $writable) = IO::Select->select($readers, $writers, undef, $self->_time_left);
        for my $socket (@{$readable || []}) {
            if    ($socket == $listener) { $self->_accept }
            elsif ($socket == $control) {
                my ($order, @words) = @{$JSON->decode(readline($control) // return)};
                my $method = "_order_$order";
                $self->$method(@words);
                syswrite $control, $JSON->encode($self->_report) . "\n";
            }
            elsif (my $connection = $self->{connections}{$socket}) { $self->_read($connection) }
        }
        for my $connection (grep { defined } map { $self->{connections}{$_} } @{$writable || []}) {
            $self->_write($connection, '');
        }
        $self->_watch_time;
    }
    return;
}

# The seconds until _watch_time has something to do.
sub _time_left {
    my $self = shift;
    return $TURN if grep { $_->{ends} } values %{$self->{connections}};
    return @{$self->{late}} ? max($self->{late}[0][0] - time, 0) : undef;
}

sub _watch_time {
    my $self = shift;
    while (@{$self->{late}} && $self->{late}[0][0] <= time) {
        my (undef, $from, $bytes) = @{shift @{$self->{late}}};
        $self->_pass($from, $bytes);
    }
    $self->_end_both($_) for grep { $_->{ends} && $_->{ends} < time } values %{$self->{connections}};
    return;
}

1;

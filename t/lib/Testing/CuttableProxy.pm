package Testing::CuttableProxy;
use strict;
use warnings;

# A TCP proxy between a client and its server whose connections a test can cut, delay, silence and close in one direction. It
# listens on a port of 127.0.0.1 and runs in a process of its own, which ends with the object.
#
#   my $proxy = Testing::CuttableProxy->start($server->port);
#   $browser->open($proxy->url('/'));
#   $proxy->cut_after(1_000);    # after 1,000 more bytes of the server, even in the middle of an event
#   $proxy->hold;                # cuts all connections and refuses new ones
#   $proxy->release;
#   $proxy->swallow('answers');  # the client waits for ever; connections stay open
#   $proxy->delay(0.5);          # seconds that all bytes take

use parent 'Testing::ControlledProcess';
use IO::Select ();
use IO::Socket::INET;
use Socket      qw(SHUT_WR SOL_SOCKET SO_LINGER);
use Time::HiRes qw(time);

my $BYTES = 65_536;

# Public methods

# Cuts all connections now; with the argument 'reset' by RST.
sub cut { my $self = shift; return $self->ask(join ' ', 'cut', 0, @_) }

# Cuts all connections after that many more bytes of the server; a second argument 'reset' as above.
sub cut_after { my $self = shift; return $self->ask(join ' ', 'cut', @_) }

# Returns how often open connections were cut.
sub cuts { return $_[0]->ask('cuts') }

# Delays all bytes, in both directions, by that many seconds from now on; 0 for none.
sub delay { my ($self, $seconds) = @_; return $self->ask("delay $seconds") }

# Closes all connections towards one side, 'client' or 'server': it reads an end, and may still send.
sub half_close { my ($self, $side) = @_; return $self->ask("half_close $side") }

# Cuts all connections and refuses new ones, until release.
sub hold { return $_[0]->ask('hold') }

sub port { return $_[0]{port} }

# Ends hold and swallow.
sub release { return $_[0]->ask('release') }

# Starts a proxy to a server's port.
sub start {
    my ($class, $port) = @_;
    my $listener = $class->listener;
    return $class->launch(sub { _proxy($listener, shift, $port) }, port => $listener->sockport);
}

# Reads what comes and drops it, until release: 'requests' of clients, 'answers' of the server, or both without an argument.
sub swallow { my $self = shift; return $self->ask(join ' ', 'swallow', @_ ? @_ : qw(requests answers)) }

sub url { return "http://127.0.0.1:$_[0]{port}" . ($_[1] // '/') }

# Private functions

# The proxy's main loop: copies bytes and obeys commands until the control socket is closed.
sub _proxy {
    my ($listener, $control, $port) = @_;
    my %state = (
        port   => $port,
        select => IO::Select->new($listener, $control),
        peer   => {},
        server => {},
        cuts   => 0,
        how    => '',
        delay  => 0,
        late   => [],
        drops  => {},
    );
    while (1) {
        my $wait  = @{$state{late}} ? $state{late}[0][0] - time : undef;
        my @ready = $state{select}->can_read(defined $wait && $wait < 0 ? 0 : $wait);
        _send_late(\%state);
        for my $ready (@ready) {
            if    ($ready == $listener)                       { _connect(\%state, scalar $listener->accept) }
            elsif ($ready != $control)                        { _copy(\%state, $ready) }
            elsif (!defined(my $command = readline $control)) { return }
            else { syswrite $control, _obey(\%state, split ' ', $command) . "\n" }
        }
    }
    return;
}

sub _connect {
    my ($state, $client) = @_;
    my $server =
        !$state->{holds} && $client && IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $state->{port});
    return if !$server;    # no server: the client's connection is closed
    $_->blocking(1) for $client, $server;
    $state->{select}->add($client, $server);
    $state->{peer}{$client}   = $server;
    $state->{peer}{$server}   = $client;
    $state->{server}{$server} = 1;
    return;
}

sub _copy {
    my ($state, $from) = @_;
    my $to        = $state->{peer}{$from} or return;    # cut earlier in this turn of the loop
    my $is_server = $state->{server}{$from};
    my $left      = $is_server ? $state->{left} : undef;
    my $count     = sysread $from, my $bytes, defined $left && $left < $BYTES ? $left : $BYTES;
    return _later($state, $from, $count ? $bytes : undef) if $state->{delay} || @{$state->{late}};
    if (!$count || !_send($state, $from, $to, $bytes)) { return _drop($state, $from) }
    return if !defined $left;
    $state->{left} -= $count;
    _cut($state) if !$state->{left};
    return;
}

sub _cut {
    my $state = shift;
    delete $state->{left};
    $state->{cuts}++ if %{$state->{server}};
    my @open = grep { $state->{peer}{$_} } $state->{select}->handles;
    if ($state->{how} eq 'reset') {
        setsockopt $_, SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0 for @open;
    }
    for my $socket (@open) { _drop($state, $socket) if $state->{peer}{$socket} }
    return;
}

# Closes both ends of a connection.
sub _drop {
    my ($state, $socket) = @_;
    my $other = $state->{peer}{$socket};
    for my $one ($socket, $other) {
        delete $state->{peer}{$one};
        delete $state->{server}{$one};
        $state->{select}->remove($one);
        close $one;
    }
    return;
}

# Holds bytes of a connection, or its end, until their time.
sub _later {
    my ($state, $from, $bytes) = @_;
    push @{$state->{late}}, [time + $state->{delay}, $from, $bytes];
    $state->{select}->remove($from) if !defined $bytes;    # an end would be read again and again
    return;
}

sub _send_late {
    my $state = shift;
    while (@{$state->{late}} && $state->{late}[0][0] <= time) {
        my (undef, $from, $bytes) = @{shift @{$state->{late}}};
        my $to = $state->{peer}{$from} or next;
        _drop($state, $from) if !defined $bytes || !_send($state, $from, $to, $bytes);
    }
    return;
}

# Passes bytes on, or drops them.
sub _send {
    my ($state, $from, $to, $bytes) = @_;
    return !!1 if $state->{drops}{$state->{server}{$from} ? 'answers' : 'requests'};
    return defined syswrite $to, $bytes;
}

sub _obey {
    my ($state, $command, @words) = @_;
    my ($bytes, $how) = @words;
    if ($command eq 'cut') {
        @$state{qw(left how)} = ($bytes, $how // '');
        _cut($state) if !$bytes;
    }
    elsif ($command eq 'hold')    { $state->{holds} = 1; _cut($state) }
    elsif ($command eq 'release') { $state->{holds} = 0; $state->{drops} = {} }
    elsif ($command eq 'swallow') {
        $state->{drops} = {map { ($_ => 1) } @words};
    }
    elsif ($command eq 'delay') { $state->{delay} = $words[0] }
    elsif ($command eq 'half_close') {
        my $is_server = $words[0] eq 'server';
        shutdown $_, SHUT_WR
            for grep { !!$state->{server}{$_} eq $is_server && $state->{peer}{$_} } $state->{select}->handles;
    }
    return $state->{cuts};
}

1;

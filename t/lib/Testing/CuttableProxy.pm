package Testing::CuttableProxy;
use strict;
use warnings;

# A TCP proxy between a client and its server whose connections a test can cut. It listens on a port of 127.0.0.1 and runs
# in a process of its own, which ends with the object.
#
#   my $proxy = Testing::CuttableProxy->start($server->port);
#   $browser->open($proxy->url('/'));
#   $proxy->cut_after(1_000);    # after 1,000 more bytes of the server, even in the middle of an event
#   $proxy->hold;                # cuts all connections and refuses new ones
#   $proxy->release;

use parent 'Testing::ControlledProcess';
use IO::Select ();
use IO::Socket::INET;
use Socket qw(SOL_SOCKET SO_LINGER);

my $BYTES = 65_536;

# Public methods

# Cuts all connections now; with the argument 'reset' by RST.
sub cut { my $self = shift; return $self->ask(join ' ', 'cut', 0, @_) }

# Cuts all connections after that many more bytes of the server; a second argument 'reset' as above.
sub cut_after { my $self = shift; return $self->ask(join ' ', 'cut', @_) }

# Returns how often open connections were cut.
sub cuts { return $_[0]->ask('cuts') }

sub hold { return $_[0]->ask('hold') }

sub port { return $_[0]{port} }

sub release { return $_[0]->ask('release') }

# Starts a proxy to a server's port.
sub start {
    my ($class, $port) = @_;
    my $listener = $class->listener;
    return $class->launch(sub { _proxy($listener, shift, $port) }, port => $listener->sockport);
}

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
    );
    while (1) {
        for my $ready ($state{select}->can_read) {
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
    if (!$count || !defined syswrite $to, $bytes) { return _drop($state, $from) }
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

sub _obey {
    my ($state, $command, $bytes, $how) = @_;
    if ($command eq 'cut') {
        @$state{qw(left how)} = ($bytes, $how // '');
        _cut($state) if !$bytes;
    }
    elsif ($command eq 'hold')    { $state->{holds} = 1; _cut($state) }
    elsif ($command eq 'release') { $state->{holds} = 0 }
    return $state->{cuts};
}

1;

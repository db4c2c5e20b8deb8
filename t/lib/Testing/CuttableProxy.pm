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

use Carp       qw(croak);
use IO::Select ();
use IO::Socket::INET;
use POSIX        ();
use Scalar::Util qw(weaken);
use Socket       qw(AF_UNIX PF_UNSPEC SOCK_STREAM SOL_SOCKET SO_LINGER);

my $BYTES  = 65_536;
my $WITHIN = 10;       # seconds, for an answer

# The running proxies of this process, by pid.
my %RUNNING;

END {
    $_->stop for grep { defined } values %RUNNING;
}

# Public methods

# Cuts all connections now; with the argument 'reset' by RST.
sub cut { my $self = shift; return $self->_ask(join ' ', 'cut', 0, @_) }

# Cuts all connections after that many more bytes of the server; a second argument 'reset' as above.
sub cut_after { my $self = shift; return $self->_ask(join ' ', 'cut', @_) }

# Returns how often open connections were cut.
sub cuts { return $_[0]->_ask('cuts') }

sub hold { return $_[0]->_ask('hold') }

sub port { return $_[0]{port} }

sub release { return $_[0]->_ask('release') }

# Starts a proxy to a server's port.
sub start {
    my ($class, $port) = @_;
    my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 0, Listen => 128, ReuseAddr => 1)
        or croak "CuttableProxy: no free port: $!";
    socketpair my $ours, my $theirs, AF_UNIX, SOCK_STREAM, PF_UNSPEC or croak "CuttableProxy: $!";
    defined(my $pid = fork) or croak "CuttableProxy: fork: $!";
    if (!$pid) {
        close $ours;
        eval { _proxy($listener, $theirs, $port); 1 } or print STDERR "CuttableProxy: $@";
        POSIX::_exit(0);
    }
    $ours->autoflush(1);
    my $self = bless {owner => $$, pid => $pid, control => $ours, port => $listener->sockport}, $class;
    weaken($RUNNING{$pid} = $self);
    return $self;
}

sub stop {
    my $self = shift;
    return if $self->{owner} != $$ || !delete $RUNNING{$self->{pid}};
    local ($?, $!);
    close $self->{control};    # the proxy's process ends when this is closed
    waitpid $self->{pid}, 0;
    return;
}

sub url { return "http://127.0.0.1:$_[0]{port}" . ($_[1] // '/') }

sub DESTROY { $_[0]->stop; return }

# Private methods and functions

sub _ask {
    my ($self, $command) = @_;
    print {$self->{control}} "$command\n"                or croak "CuttableProxy: $!";
    IO::Select->new($self->{control})->can_read($WITHIN) or croak "CuttableProxy: no answer to $command";
    my $answer = readline $self->{control};
    croak 'CuttableProxy: the proxy has ended' if !defined $answer;
    chomp $answer;
    return $answer;
}

# The proxy's main loop: copies bytes and obeys commands until the control socket is closed.
sub _proxy {
    my ($listener, $control, $port) = @_;
    $SIG{PIPE} = 'IGNORE';
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

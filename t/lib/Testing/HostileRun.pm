package Testing::HostileRun;
use strict;
use warnings;

# Two identical rounds of hostile clients (HostileClients) at one server (AttackedServer), and what has to hold after each: as
# many ordinary requests as there are workers are answered at once, no stream is open, no descriptor is leaked, and no worker
# has ended or needs more memory than after the first round. A well-behaved client in each worker follows the hub throughout, and
# receives every event once and in order.
#
#   my $run = Testing::HostileRun->new('Starman', seconds => 60, seed => 1);
#   print "$_\n" for $run->wrong, $run->figures;

use Testing::AttackedServer;
use Testing::Deadline qw(wait_until);
use Testing::HostileClients;
use IO::Select;
use List::Util        qw(max sum0);
use Testing::Numbered qw(numbered);
use Time::HiRes       qw(sleep time);

my $DEADLINE = 15;         # seconds until the server is idle
my $HISTORY  = 200;        # events that a client may be behind, in each worker
my $TURN     = 0.000_5;    # seconds to read what has come

# A client matches its whole body with this. Without the anchor that takes as long as the body has bytes.
my $NEVER = qr/\A(?!)/;

# Megabytes of a worker. The second round may need a little more than the first at one moment, for it comes at another pace:
# 36 clients that do not read may have 128 KiB waiting each, and the allocator keeps what was needed at once. Mostly it is under
# one megabyte. In 60 seconds a round has 4,000 clients or more, so a leak of one KB a client shows.
my $MAY_GROW = 4;

# A worker is not replaced after some requests. Streams on the writer of HTTP::Server::PSGI would hold its only process. A short
# POST ends a worker of Starman, whatever the application is (t/attack/short_post.t).
my @NATIVE = qw(/native /hub /oldest /follow);
my @WRITER = qw(/writer /hub-on-writer /follow-on-writer);
my %SERVER = (
    'HTTP::Server::PSGI' => {writer => []},
    'Starman'            => {workers => 2, args => ['--max-requests', 1_000_000_000], except => ['short POST']},
    'Starlet'            => {workers => 2, args => ['--max-reqs-per-child', 1_000_000_000]},
    'Twiggy'             => {},
    'Feersum'            => {},
    'uWSGI'              => {workers => 2},
);

# What in a server's log speaks of an exception of the library, or of a crash.
my $TROUBLE =
    qr/EventSource|panicked|uninitialized|Can't |Can not|died|Segmentation|signal 11|core dumped|free\(\)|malloc/i;

# Public methods

# What was done, and what there was before and after, a line each.
sub figures {
    my $self  = shift;
    my %count = %{$self->{count}};
    my $sent  = join ', ', map { "$count{$_} $_" } sort keys %count;
    my @lines = ("clients: $sent; resets at $self->{offsets} bytes of the response");
    push @lines, sprintf 'events: %s published, %s received by the well-behaved clients',
        map { join '+', @$_ } [map { $_->{published} } @{$self->{states}}],
        [map { $_->{last} // 0 } @{$self->{witnesses}}];
    push @lines, sprintf 'descriptors: %d before, %d at last', $self->{server}{descriptors}, $self->{descriptors} // 0;
    my @memory = map {
        join '+',
            map { sprintf '%.1f', $_ }
            @$_
    } @{$self->{memory}};
    push @lines, 'memory of the workers, in MB, before and after each round: ' . join ', ', @memory;
    return @lines;
}

# Runs it: two rounds, of half the seconds each.
sub new {
    my ($class, $name, %option) = @_;
    my %start = %{$SERVER{$name}};
    my $self  = bless {%option, name => $name, wrong => [], count => {}, memory => [], witnesses => [], states => []},
        $class;
    $self->{how} = {native => \@NATIVE, writer => \@WRITER, %start};
    my %given = map { exists $start{$_} ? ($_ => $start{$_}) : () } qw(workers args);
    $self->{server} = Testing::AttackedServer->start($name, %given, env => {ATTACK_PUBLISHES => $HISTORY});
    $self->{server}->prepare(@NATIVE, @{$self->{how}{writer}});
    $self->_begin;
    $self->_round($_) for 1, 2;
    $self->_end;
    $self->{server}->stop;
    return $self;
}

# All the servers.
sub servers {
    my @names = sort keys %SERVER;
    return @names;
}

# What is wrong, a line each; nothing if all is well.
sub wrong { return @{$_[0]{wrong}} }

# Private methods

# A well-behaved client in each worker.
sub _begin {
    my $self   = shift;
    my $server = $self->{server};
    my @states = $server->states;
    $self->{pids}      = join ' ', sort map { $_->{pid} } @states;
    $self->{witnesses} = [map { {client => $_} } $server->everywhere('/hub')];
    $self->_remember(@states);
    return;
}

# They leave, and everything is as it was before them.
sub _end {
    my $self = shift;
    $_->{client}->leave for @{$self->{witnesses}};
    my ($open, $descriptors);
    my $sound = wait_until(
        $DEADLINE,
        sub {
            my @states = $self->{server}->states or return;
            $open = sum0(map { $_->{open} } @states);
            $self->{descriptors} = sum0(map { $_->{descriptors} } @states);
            return !$open && $self->{descriptors} <= $self->{server}{descriptors};
        }
    );
    $self->_is_wrong(
        defined $open ? "$open streams are left, and $self->{descriptors} descriptors" : 'not all workers are free')
        if !$sound;
    my @reported = grep { /$TROUBLE/ } split /\n/, $self->{server}->log;
    $self->_is_wrong("the server reports: $_") for splice @reported, 0, 20;
    return;
}

sub _is_wrong {
    my ($self, $what) = @_;
    push @{$self->{wrong}}, "$self->{name}: $what";
    return;
}

# The memory of each worker, in megabytes.
sub _remember {
    my ($self, @states) = @_;
    my @memory;
    for my $pid (sort { $a <=> $b } map { $_->{pid} } @states) {
        open my $status, '<', "/proc/$pid/status" or next;
        push @memory, map { /\AVmRSS:\s+([0-9]+) kB/ ? $1 / 1_024 : () } readline $status;
    }
    push @{$self->{memory}}, \@memory;
    return \@memory;
}

# The same clients in each round, as far as they come at the same pace.
sub _round {
    my ($self, $number) = @_;
    my $server  = $self->{server};
    my $clients = Testing::HostileClients->start(
        $server->port, %{$self->{how}},
        seed    => $self->{seed},
        seconds => $self->{seconds} / 2,
    );
    $self->_watches(0.1) while !$clients->has_ended;
    my %count   = $clients->counts;
    my $offsets = delete $count{offsets} || 0;
    $self->{offsets} = max($self->{offsets} || 0, $offsets);
    $self->{count}{$_} += $count{$_} for keys %count;
    $self->_is_wrong("round $number: $count{killed} processes of clients did not end") if $count{killed};
    $self->_is_wrong("no client was of the kind '$_'") for $number == 1 ? () : $clients->left_out(%{$self->{count}});
    return $self->_settles($number);
}

# What has to hold when all hostile clients have left.
sub _settles {
    my ($self, $number) = @_;
    my @states;
    my $idle = wait_until(
        $DEADLINE,
        sub {
            $self->_watches(0);
            @states = $self->{server}->states or return;
            return $self->{server}{count} == sum0(map { $_->{open} } @states)
                && sum0(map { $_->{descriptors} } @states) <= $self->{server}{descriptors} + $self->{server}{count};
        }
    );
    return $self->_is_wrong("round $number: not all workers are free") if !@states;
    my $state = join '; ', map { "$_->{open} open, $_->{descriptors} descriptors" } @states;
    $self->_is_wrong("round $number: streams or descriptors are left: $state, $self->{server}{descriptors} before")
        if !$idle;
    my $pids = join ' ', sort map { $_->{pid} } @states;
    $self->_is_wrong("round $number: workers have ended: $self->{pids} before, $pids now") if $pids ne $self->{pids};
    $self->{states} = \@states;
    $self->_has_all($number, $_) for @{$self->{witnesses}};
    my $memory = $self->_remember(@states);
    return if $number == 1;
    my @grown = map { $memory->[$_] - $self->{memory}[1][$_] } 0 .. $#{$memory};
    return if max(@grown) <= $MAY_GROW;
    return $self->_is_wrong(sprintf 'the second round needed %.1f MB more than the first', max(@grown));
}

# Whether a well-behaved client has received all that its worker has published, and why not.
sub _has_all {
    my ($self, $number, $witness) = @_;
    my ($state) = grep { $_->{epoch} eq ($witness->{epoch} // '') } @{$self->{states}};
    return $self->_is_wrong("round $number: a well-behaved client has received nothing") if !$state;
    my $has_all = wait_until($DEADLINE, sub { $self->_watches(0); ($witness->{last} // 0) >= $state->{published} });
    return if $has_all;
    return $self->_is_wrong(
        "round $number: a well-behaved client has received $witness->{last} of $state->{published} events");
}

# Reads what has come for the well-behaved clients.
sub _watches {
    my ($self, $seconds) = @_;
    my %witness = map { (fileno $_->{client}{socket} => $_) } grep { !$_->{client}->ended } @{$self->{witnesses}};
    if (!%witness) { sleep $seconds; return }
    for my $socket (IO::Select->new(map { $_->{client}{socket} } values %witness)->can_read($seconds)) {
        my $witness = $witness{fileno $socket};
        $witness->{client}->read_until($NEVER, $TURN);
        $self->_takes($witness);
        $self->_is_wrong('a well-behaved client was ended by the server') if $witness->{client}->ended;
    }
    return;
}

# Its events are all numbered, one after another. A block of nothing but an id is a position.
sub _takes {
    my ($self, $witness) = @_;
    while ($witness->{client}{body} =~ s/\A(.*?)\r?\n\r?\n//s) {
        my $block = $1;
        next if $block =~ /\A(?::.*|retry: [0-9]+)?\z/;
        my ($epoch, $data) = $block =~ /\Aid: ([^-\r\n]+)-[0-9]+(?:\r?\ndata: ([^\r\n]*))?\z/;
        $self->_is_wrong("a well-behaved client received: $block") if !defined $epoch;
        $witness->{epoch} = $epoch                                 if defined $epoch;
        next                                                       if !defined $data;
        my ($number) = $data =~ /\A([0-9]+)\./;
        my $whole = numbered($number // 0, length $data)->{data} eq $data;
        $self->_is_wrong("a well-behaved client received a broken event: $data") if !$whole;
        my $follows = !defined $witness->{last} || $number == $witness->{last} + 1;
        $self->_is_wrong("a well-behaved client received event $number after $witness->{last}") if !$follows;
        $witness->{last} = $number;
    }
    return;
}

1;

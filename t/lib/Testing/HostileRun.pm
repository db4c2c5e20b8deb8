package Testing::HostileRun;
use strict;
use warnings;

# Two identical rounds of hostile clients (HostileClients) against one server (AttackedServer). After each round every
# worker must be free, no stream open, no descriptor leaked, and no worker may have ended; after the second none may need
# more memory than after the first. A well-behaved client in each worker, a witness, is subscribed to the hub throughout and
# must receive every event once and in order.
#
#   my $run = Testing::HostileRun->new('Starman', seconds => 60, seed => 1);
#   print "$_\n" for $run->wrong, $run->figures;

use Testing::AttackedServer;
use Testing::Deadline qw(wait_until);
use Testing::HostileClients;
use IO::Select;
use List::Util              qw(max sum0);
use Testing::NumberedEvents qw(numbered);
use Testing::Process        qw(memory_of);
use Time::HiRes             qw(sleep);

my $DEADLINE = 15;         # seconds until the server is idle
my $HISTORY  = 200;        # events that a client may be behind, in each worker
my $TURN     = 0.000_5;    # seconds to read what has been received

# Matches nothing. Without the anchor the match would take time in proportion to the body.
my $NEVER = qr/\A(?!)/;

# Megabytes by which a worker may grow in the second round. The rounds differ in timing: 36 clients that do not read may
# have 128 KiB buffered each, and the allocator keeps the peak. Mostly a worker grows by less than one megabyte. In 60
# seconds a round has 4,000 clients or more, so a leak of one KB a client shows.
my $MAY_GROW = 4;

# Streams on the writer of HTTP::Server::PSGI would occupy its only process. A short POST ends a worker of Starman, whatever
# the application is (t/attack/short_post.t).
my @NATIVE = qw(/native /hub /oldest /follow);
my @WRITER = qw(/writer /hub-on-writer /follow-on-writer);
my %SERVER = (
    'HTTP::Server::PSGI' => {writer  => []},
    'Starman'            => {workers => 2, except => ['short POST']},
    'Starlet'            => {workers => 2},
    'Twiggy'             => {},
    'Feersum'            => {},
    'uWSGI'              => {workers => 2},
);

# Matches an exception of the library, or a crash, in a server's log.
my $TROUBLE =
    qr/EventSource|panicked|uninitialized|Can't |Can not|died|Segmentation|signal 11|core dumped|free\(\)|malloc/i;

# Returns the figures of the run, a line each.
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

# Runs two rounds, of half the seconds each.
sub new {
    my ($class, $name, %option) = @_;
    my %start = %{$SERVER{$name}};
    my $self  = bless {%option, name => $name, wrong => [], count => {}, memory => [], witnesses => [], states => []},
        $class;
    $self->{how} = {native => \@NATIVE, writer => \@WRITER, %start};
    my %given = map { exists $start{$_} ? ($_ => $start{$_}) : () } qw(workers args);
    $self->{server} = Testing::AttackedServer->start($name, %given, env => {ATTACK_PUBLISHES => $HISTORY});
    $self->{server}->prepare(@NATIVE, @{$self->{how}{writer}});
    $self->_open_witnesses;
    $self->_round($_) for 1, 2;
    $self->_close_witnesses;
    $self->{server}->stop;
    return $self;
}

# Returns the names of all servers.
sub servers {
    my @names = sort keys %SERVER;
    return @names;
}

# Returns the failures, a line each; empty if there are none.
sub wrong { return @{$_[0]{wrong}} }

# Opens a well-behaved client in each worker.
sub _open_witnesses {
    my $self   = shift;
    my $server = $self->{server};
    my @states = $server->states;
    $self->{pids}      = join ' ', sort map { $_->{pid} } @states;
    $self->{witnesses} = [map { {client => $_} } $server->everywhere('/hub')];
    $self->_record_memory(@states);
    return;
}

# Closes the witnesses, and checks that the server is as before.
sub _close_witnesses {
    my $self = shift;
    $_->{client}->leave for @{$self->{witnesses}};
    my ($sound, @states) = $self->{server}->wait_until_sound(seconds => $DEADLINE);
    my $open = sum0(map { $_->{open} } @states);
    $self->{descriptors} = sum0(map { $_->{descriptors} } @states) if @states;
    $self->_fails(@states ? "$open streams are left, and $self->{descriptors} descriptors" : 'not all workers are free')
        if !$sound;
    my @reported = grep { /$TROUBLE/ } split /\n/, $self->{server}->log;
    $self->_fails("the server reports: $_") for splice @reported, 0, 20;
    return;
}

sub _fails {
    my ($self, $what) = @_;
    push @{$self->{wrong}}, "$self->{name}: $what";
    return;
}

# Records the memory of each worker, in megabytes.
sub _record_memory {
    my ($self, @states) = @_;
    my @memory;
    for my $pid (sort { $a <=> $b } map { $_->{pid} } @states) {
        my ($now) = memory_of($pid);
        push @memory, $now // ();
    }
    push @{$self->{memory}}, \@memory;
    return \@memory;
}

# Runs one round. Both rounds have the same clients, apart from timing.
sub _round {
    my ($self, $number) = @_;
    my $server  = $self->{server};
    my $clients = Testing::HostileClients->start(
        $server->port, %{$self->{how}},
        seed    => $self->{seed},
        seconds => $self->{seconds} / 2,
    );
    $self->_read_witnesses(0.1) while !$clients->has_ended;
    my %count   = $clients->counts;
    my $offsets = delete $count{offsets} || 0;
    $self->{offsets} = max($self->{offsets} || 0, $offsets);
    $self->{count}{$_} += $count{$_} for keys %count;
    $self->_fails("round $number: $count{killed} processes of clients did not end") if $count{killed};
    $self->_fails("no client was of the kind '$_'") for $number == 1 ? () : $clients->left_out(%{$self->{count}});
    return $self->_check_round($number);
}

# Checks the server when all hostile clients have left.
sub _check_round {
    my ($self,  $number) = @_;
    my ($sound, @states) = $self->{server}->wait_until_sound(
        streams   => $self->{server}{count},
        seconds   => $DEADLINE,
        meanwhile => sub { $self->_read_witnesses(0) },
    );
    return $self->_fails("round $number: not all workers are free") if !@states;
    my $state = join '; ', map { "$_->{open} open, $_->{descriptors} descriptors" } @states;
    $self->_fails("round $number: streams or descriptors are left: $state, $self->{server}{descriptors} before")
        if !$sound;
    my $pids = join ' ', sort map { $_->{pid} } @states;
    $self->_fails("round $number: workers have ended: $self->{pids} before, $pids now") if $pids ne $self->{pids};
    $self->{states} = \@states;
    $self->_check_witness($number, $_) for @{$self->{witnesses}};
    my $memory = $self->_record_memory(@states);
    return if $number == 1;
    my @grown = map { $memory->[$_] - $self->{memory}[1][$_] } 0 .. $#{$memory};
    return if max(@grown) <= $MAY_GROW;
    return $self->_fails(sprintf 'the second round needed %.1f MB more than the first', max(@grown));
}

# Checks that a well-behaved client has received all that its worker has published.
sub _check_witness {
    my ($self, $number, $witness) = @_;
    my ($state) = grep { $_->{epoch} eq ($witness->{epoch} // '') } @{$self->{states}};
    return $self->_fails("round $number: a well-behaved client has received nothing") if !$state;
    my $has_all =
        wait_until($DEADLINE, sub { $self->_read_witnesses(0); ($witness->{last} // 0) >= $state->{published} });
    return if $has_all;
    return $self->_fails(
        "round $number: a well-behaved client has received $witness->{last} of $state->{published} events");
}

# Reads what the well-behaved clients have received.
sub _read_witnesses {
    my ($self, $seconds) = @_;
    my %witness = map { (fileno $_->{client}{socket} => $_) } grep { !$_->{client}->ended } @{$self->{witnesses}};
    if (!%witness) { sleep $seconds; return }
    for my $socket (IO::Select->new(map { $_->{client}{socket} } values %witness)->can_read($seconds)) {
        my $witness = $witness{fileno $socket};
        $witness->{client}->read_until($NEVER, $TURN);
        $self->_check_events($witness);
        $self->_fails('a well-behaved client was ended by the server') if $witness->{client}->ended;
    }
    return;
}

# Checks the received events: they are numbered without a gap. Comments and positions may come between them.
sub _check_events {
    my ($self, $witness) = @_;
    while ($witness->{client}{body} =~ s/\A(.*?)\r?\n\r?\n//s) {
        my $block = $1 =~ tr/\r//dr;
        $block =~ s/^:.*\n?//mg;
        $block =~ s/\Aretry: [0-9]+\n//;
        next if $block =~ /\A(?:retry: [0-9]+)?\z/ || $block =~ /\Aevent: position\nretry: [0-9]+\ndata: \z/;
        my ($position, $data, $epoch) =
            $block =~ /\A(?:(event: position\n)(?:retry: [0-9]+\n)?)?data: (.*)\nid: ([^-\n]+)-[0-9]+\z/;
        $self->_fails("a well-behaved client received: $block") if !defined $epoch;
        $witness->{epoch} = $epoch                              if defined $epoch;
        next                                                    if !defined $epoch || $position;
        my ($number) = $data =~ /\A([0-9]+)\./;
        my $whole = numbered($number // 0, length $data)->{data} eq $data;
        $self->_fails("a well-behaved client received a broken event: $data") if !$whole;
        my $follows = !defined $witness->{last} || $number == $witness->{last} + 1;
        $self->_fails("a well-behaved client received event $number after $witness->{last}") if !$follows;
        $witness->{last} = $number;
    }
    return;
}

1;

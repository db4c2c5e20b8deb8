package Testing::HubChaos;
use strict;
use warnings;

# A hub in a process of its own while everything around it dies: four workers of Starman that are replaced after 20 requests,
# kill -9 of workers and of the hub's process, HUP. Workers, forked jobs and commands publish numbers, and clients disconnect
# and reconnect with their last id. Books are kept of each number and each client.
#
#   my $run = Testing::HubChaos->new(seconds => 5, clients => 50, seed => 1);
#   print "$_\n" for $run->figures, $run->wrong;
#
# A number whose publish has returned an id is received once by each client, or the client was told of a gap or has come to a
# new epoch. A number whose publish has failed with `unknown` may be received once; any other failed one never.

use Errno             qw(EAGAIN EINPROGRESS EINTR);
use File::Temp        ();
use IO::Select        ();
use IO::Socket::INET  ();
use POSIX             ();
use Testing::Deadline qw(wait_until);
use Testing::Server;
use Time::HiRes qw(sleep time);

my $DEADLINE = 30;                                                # seconds
my $WORKERS  = 4;
my $TURN     = 0.01;                                              # seconds between two actions
my $PROGRAM  = 'blib/arch/auto/EventSource/XS/eventsource-hub';

# How often an action is chosen, of 10,000. Otherwise a client disconnects or a number is published.
my %OFTEN = (kill_worker => 150, kill_hub => 20, reload => 20, upgrade => 50);
my @WAYS  = qw(publish publish publish job job command);

# Public methods

# Returns the figures of the run, a line each.
sub figures {
    my $self  = shift;
    my %done  = %{$self->{done}};
    my %count = map {
        my $state = $_;
        ($state => scalar grep { $_->{state} eq $state } values %{$self->{numbers}})
    } qw(published unknown failed);
    my $received = 0;
    $received += @{$_->{got}} for @{$self->{clients}};
    return (
        (join ', ', map { "$done{$_} $_" } sort keys %done),
        (join ', ', map { "$count{$_} $_" } sort keys %count),
        "$received received by " . @{$self->{clients}} . ' clients, in ' . (keys %{$self->{epochs}}) . ' epochs',
    );
}

# Why this cannot run here; undef if it can.
sub missing { return -x $PROGRAM ? undef : "the program of a hub's process is not built here" }

# Runs for some seconds. Options: seconds, clients, seed.
sub new {
    my ($class, %option) = @_;
    my %books = (numbers => {}, epochs => {}, clients => [], requests => {}, done => {}, wrong => [], last => 0);
    my $self  = bless {%option, %books, folder => File::Temp->newdir}, $class;
    srand $self->{seed};
    $self->{socket}      = "$self->{folder}/hub.sock";
    $self->{can_upgrade} = `$PROGRAM 2>&1` =~ /eventsource-hub upgrade/;
    $self->{server}      = Testing::Server->start(
        'Starman', 't/data/hub_chaos.psgi',
        workers => $WORKERS,
        args    => [qw(--max-requests 20)],
        env     => {HUB_SOCKET => $self->{socket}},
    );
    $self->{select} = IO::Select->new;
    push @{$self->{clients}}, {name => $_, got => [], blocks => 0, retry => 0} for 1 .. $option{clients};
    $self->_churn;
    $self->_finish;
    $self->_check_client($_) for @{$self->{clients}};
    $self->_check_rest;
    return $self;
}

# Returns the failures, a line each; empty if there are none.
sub wrong { return @{$_[0]{wrong}} }

# Private methods

sub _fails {
    my ($self, $what) = @_;
    push @{$self->{wrong}}, $what;
    return;
}

# Does everything at random until the time is up. The schedule depends on the seed alone.
sub _churn {
    my $self = shift;
    $self->_turn(0.05) while grep { !defined $_->{id} } @{$self->{clients}};
    my $turns = int $self->{seconds} / $TURN;
    my $since = time;
    for my $turn (1 .. $turns) {
        $self->_act($turn, $turns);
        my $left = $since + $turn * $TURN - time;
        $self->_turn($left > 0 ? $left : 0);
        last if time > $since + 2 * $self->{seconds};    # a slow machine
    }
    return;
}

sub _act {
    my ($self, $turn, $turns) = @_;
    my $dice = int rand 10_000;
    my ($client, $way, $victim) = map { int rand $_ } scalar @{$self->{clients}}, scalar @WAYS, $WORKERS;

    # Each action happens at least once, however short the run.
    my %due = (int $turns / 3 => 'kill_worker', int $turns / 2 => 'kill_hub', int 2 * $turns / 3 => 'reload');
    $due{int 5 * $turns / 6} = 'upgrade';
    my $action = $due{$turn};
    for my $name (sort keys %OFTEN) {
        $action = $name if !defined $action && $dice >= 0 && $dice < $OFTEN{$name};
        $dice -= $OFTEN{$name};
    }
    if    (!defined $action) { $dice % 2 ? $self->_leave($self->{clients}[$client]) : $self->_publish($WAYS[$way]) }
    elsif ($action eq 'kill_hub') { $self->_kill($action, $self->_hubs) }
    elsif ($action eq 'reload')   { $self->_kill($action, $self->{server}->pid, 'HUP') }
    elsif ($action eq 'upgrade')  { $self->_command('upgrade') if $self->{can_upgrade} }
    else {
        my @workers = sort { $a <=> $b } grep { $_ != $self->{server}->pid } $self->{server}->pids;
        $self->_kill($action, $workers[$victim % @workers]) if @workers;
    }
    return;
}

sub _kill {
    my ($self, $action, $pid, $signal) = @_;
    return if !defined $pid || !kill $signal // 'KILL', $pid;
    $self->{done}{$action}++;
    return;
}

# The processes that serve the hub, as the kernel lists them.
sub _hubs {
    my $self = shift;
    my @pids;
    for my $file (glob '/proc/[0-9]*/cmdline') {
        open my $in, '<', $file or next;
        my $command = do { local $/; readline $in };
        push @pids, $file =~ m{/([0-9]+)/} if ($command // '') =~ /eventsource-hub\0run\0.*\Q$self->{socket}\E/s;
    }
    return @pids;
}

# Starts a command of the hub.
sub _command {
    my ($self, $command, @words) = @_;
    my $pid = open my $out, '-|', $PROGRAM, $command, '--name', 'chaos', '--socket', $self->{socket}, @words
        or return;
    $out->blocking(0);
    $self->{done}{"command $command"}++;
    return $self->_watch({socket => $out, pid => $pid, text => '', sent => 1});
}

# Publishes the next number in some way.
sub _publish {
    my ($self, $way) = @_;
    my $number = ++$self->{last};
    $self->{numbers}{$number} = {state => 'asked'};
    my $request =
          $way eq 'command'
        ? $self->_command(publish => '--no-start', 'numbers', $number)
        : $self->_connect("GET /$way?$number HTTP/1.0\r\n\r\n");
    if   ($request) { $request->{number}               = $number }
    else            { $self->{numbers}{$number}{state} = 'failed' }
    $self->{done}{$way}++ if $request && $way ne 'command';
    return $number;
}

# Connects without waiting; sends a request as soon as it is connected.
sub _connect {
    my ($self, $request) = @_;
    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $self->{server}->port, Blocking => 0)
        or return;
    return $self->_watch({socket => $socket, text => '', request => $request});
}

sub _watch {
    my ($self, $watched) = @_;
    $self->{requests}{fileno $watched->{socket}} = $watched;
    $self->{select}->add($watched->{socket});
    return $watched;
}

# Connects clients, and reads what has arrived.
sub _turn {
    my ($self, $seconds) = @_;
    for my $client (@{$self->{clients}}) {
        next if $client->{link} || $client->{retry} > time;
        my $id   = defined $client->{id} ? "Last-Event-ID: $client->{id}\r\n" : '';
        my $link = $self->_connect("GET /hub HTTP/1.0\r\n$id\r\n");
        if ($link) { ($client->{link}, $link->{client}) = ($link, $client) }
        else       { $client->{retry} = time + 0.1 }
    }
    my $until = time + $seconds;
    do {
        my @unsent = map { $_->{socket} } grep { !$_->{sent} } values %{$self->{requests}};
        my $left   = $until - time;
        my ($ready, $writable) = IO::Select->select($self->{select}, @unsent ? IO::Select->new(@unsent) : undef,
            undef, $left > 0 ? $left : 0);
        for my $socket (@{$writable || []}) {
            my $watched = $self->{requests}{fileno $socket} or next;
            local $SIG{PIPE} = 'IGNORE';
            my $count = syswrite $socket, $watched->{request};    # short: taken as a whole
            $watched->{sent} = 1;
            $self->_ended($watched) if !defined $count;
        }
        for my $socket (@{$ready || []}) {
            my $watched = defined fileno $socket && $self->{requests}{fileno $socket} or next;
            $self->_read($watched);
        }
    } while (time < $until);
    return;
}

sub _read {
    my ($self, $watched) = @_;
    my $count = sysread $watched->{socket}, $watched->{text}, 65_536, length $watched->{text};
    return                  if !defined $count && ($! == EAGAIN || $! == EINTR);
    $self->_parse($watched) if $watched->{client};
    $self->_ended($watched) if !$count;
    return;
}

sub _forget {
    my ($self, $watched) = @_;
    delete $self->{requests}{fileno $watched->{socket}};
    $self->{select}->remove($watched->{socket});
    return;
}

# Called when a connection or a command has ended.
sub _ended {
    my ($self, $watched) = @_;
    $self->_forget($watched);
    if (my $client = $watched->{client}) {
        delete $client->{link};
        $client->{retry} = time + 0.02;
        $self->{done}{'ended streams'}++;
        return close $watched->{socket};
    }
    local $?;
    close $watched->{socket};
    my $number = $watched->{number} or return;
    my $entry  = $self->{numbers}{$number};
    my ($id)   = $watched->{text} =~ /(?:\A|\r\n\r\n)([0-9a-v]+-[0-9]+)\s*\z/;
    my ($code) = $watched->{text} =~ /\r\n\r\nerror (.*)\z/s;
    if    (defined $id) { @$entry{qw(state id)} = ('published', $id) }
    elsif (defined $code && $code =~ /\A(?:unavailable|refused|full|unsent)\z/) { $entry->{state} = 'failed' }
    elsif (defined $code && $code ne 'unknown') { $self->_fails("the publish of $number has failed with $code") }
    else                                        { $entry->{state} = 'unknown' }
    return;
}

# A client disconnects, and comes back.
sub _leave {
    my ($self, $client) = @_;
    my $link = delete $client->{link} or return;
    $self->_forget($link);
    close $link->{socket};
    $self->{done}{left}++;
    return;
}

# Notes the blocks that a client has received completely.
sub _parse {
    my ($self, $link) = @_;
    my $client = $link->{client};
    if (!$link->{has_head}) {
        $link->{text} =~ s{\AHTTP/1[.][01] ([0-9]+).*?\r\n\r\n}{}s or return;
        $self->_fails("a stream has the status $1") if $1 != 200;
        $link->{has_head} = 1;
    }
    while ($link->{text} =~ s/\A(.*?)\r?\n\r?\n//s) {
        my %field = map { /\A([a-z]+): ?(.*?)\r?\z/ ? ($1, $2) : () } split /\n/, $1;
        $self->_note($client, %field) if defined $field{id};
    }
    return;
}

# Notes a block with an id: a position, a gap or a number.
sub _note {
    my ($self, $client, %field) = @_;
    my ($epoch, $seq) = $field{id} =~ /\A([0-9a-v]+)-([0-9]+)/
        or return $self->_fails("client $client->{name} has received the id $field{id}");
    my $event  = $field{event} // '';
    my $before = $client->{id};
    $self->{epochs}{$epoch} = 1;
    my $is_new = ($client->{epoch} // '') ne $epoch;

    # A position may come before the gap that is owed. A client that disconnects between them is told later.
    $client->{owed} = $before if $is_new && defined $before;
    $self->_fails("client $client->{name} is told of a gap in an epoch: $before, $field{id} $field{data}")
        if $event eq 'gap' && !defined $client->{owed};
    delete $client->{owed} if $event eq 'gap';
    $self->_fails("client $client->{name} is not told of a gap: $client->{owed}, $field{id}")
        if defined $client->{owed} && !$event;
    if ($is_new) {

        # Everything of the epoch up to here is covered by the gap, or was before the client.
        $client->{through}{$epoch} = $client->{from}{$epoch} = $seq;
        $client->{epoch} = $epoch;
    }
    $self->_fails("client $client->{name} has received $field{id} after $before")
        if !$is_new && ($event ? $seq < $client->{through}{$epoch} : $seq <= $client->{through}{$epoch});
    $client->{through}{$epoch} = $seq;
    $client->{id} = $field{id};
    push @{$client->{got}}, [$field{data}, $field{id}] if !$event;
    return;
}

# Ends the disturbance: everything that was asked for is answered, and each client receives a last number.
sub _finish {
    my $self     = shift;
    my $deadline = time + $DEADLINE;
    my $last;
    until (defined $last || time > $deadline) {
        my $number = $self->_publish('publish');
        $self->_turn(0.05) while $self->{numbers}{$number}{state} eq 'asked' && time < $deadline;
        $last = $number if $self->{numbers}{$number}{state} eq 'published';
    }
    return $self->_fails('nothing can be published at the end') if !defined $last;
    my $id = $self->{numbers}{$last}{id};
    my ($epoch, $seq) = split /-/, $id;
    my @behind = @{$self->{clients}};
    my $asked  = sub {
        return grep { $_->{state} eq 'asked' } values %{$self->{numbers}};
    };
    while (time < $deadline && (@behind || $asked->())) {
        $self->_turn(0.05);
        @behind = grep { ($_->{epoch} // '') ne $epoch || $_->{through}{$epoch} < $seq } @{$self->{clients}};
    }
    $self->_fails(
        scalar @behind . ' clients have not come to the end, ' . ($behind[0]{id} // 'nothing') . " instead of $id")
        if @behind;
    $self->_fails('publishers are not answered') if $asked->();
    return;
}

# Compares what a client has received with what was published.
sub _check_client {
    my ($self, $client) = @_;
    my %times;
    my $numbers = $self->{numbers};
    for my $got (@{$client->{got}}) {
        my ($number, $id) = @$got;
        my $entry = $numbers->{$number};
        $self->_fails("client $client->{name} has received $number twice") if $times{$number}++;
        my $state = $entry ? $entry->{state} : 'never asked for';
        $self->_fails("client $client->{name} has received $number, whose publish is $state")
            if $state !~ /\A(?:published|unknown)\z/;
        $self->_fails("client $client->{name} has received $number as $id instead of $entry->{id}")
            if $state eq 'published' && $entry->{id} ne $id;
    }
    for my $number (sort { $a <=> $b } keys %$numbers) {
        my $entry = $numbers->{$number};
        next if $entry->{state} ne 'published' || $times{$number};
        my ($epoch, $seq) = split /-/, $entry->{id};
        my ($from, $through) = map { $client->{$_}{$epoch} } qw(from through);
        $self->_fails("client $client->{name} has not received $number as $entry->{id}")
            if defined $from && $seq > $from && $seq <= $through;
    }
    return;
}

# Checks that nothing is left.
sub _check_rest {
    my $self = shift;
    $self->_leave($_) for @{$self->{clients}};
    my $stats = sub { return scalar `$PROGRAM stats --name chaos --socket $self->{socket} 2>&1` };
    my $text;
    wait_until($DEADLINE, sub { ($text = $stats->()) =~ /^open:? 0$/m }) or $self->_fails("streams are left: $text");
    my @hubs        = $self->_hubs;
    my $descriptors = @hubs == 1 ? () = glob "/proc/$hubs[0]/fd/*" : 0;
    $self->{done}{'descriptors of the hub'} = $descriptors;
    $self->_fails("the hub's process has $descriptors descriptors") if $descriptors > 20 + $WORKERS;
    $self->_fails(scalar @hubs . ' processes serve the hub')        if @hubs != 1;
    $self->{server}->stop;
    $self->_fails("the hub's process does not end") if !wait_until($DEADLINE, sub { !$self->_hubs });
    my @files = map { s{.*/}{}r } grep { !/[.]lock\z/ } glob "$self->{folder}/*";
    $self->_fails("files are left: @files") if @files;
    $self->_fails(
        'the server printed: ' . join ' ',
        grep { /panicked|uninitialized|Can't/ } split /\n/,
        $self->{server}->log
    ) if $self->{server}->log =~ /panicked|uninitialized|Can't/;
    return;
}

1;

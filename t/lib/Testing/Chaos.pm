package Testing::Chaos;
use Testing;

# The base class of runs in which everything around a hub dies at random: workers of Starman, hub processes, stores.
# Workers, forked jobs and commands publish numbers, and clients disconnect and reconnect with their last id, to any of the
# servers. Books are kept of each number and each client.
#
#   my $run = Testing::HubChaos->new(seconds => 5, clients => 50, seed => 1);
#   print "$_\n" for $run->figures, $run->wrong;
#
# A number whose publish has returned an id is received once by each client, or the client received a gap or has come to a
# new epoch. A number whose publish has failed with `unknown` may be received once; any other failed one never. A number with a
# key `once` is published again until there is an id. Each id stands for one number, and in an epoch each number has one id.
#
# If Redis and all hubs that have read an event die together, nobody knows of it, and its number may be published once more in
# the same epoch. Then each client that has the lost event receives a gap after it.
#
# Subclasses have these methods: _begin starts the servers; _act does something at each turn; _actions, how often each action is
# chosen; _end checks what is left beside hubs and servers. Where history can be lost behind a hub that has delivered it,
# _may_repeat is true: then a number may come once more after the gap. Where that history may hold published numbers, _may_lose
# is true: then the last seconds of an epoch that was given up do not count.

use Errno                     qw(EAGAIN EINTR);
use EventSource::Hub::Process ();
use IO::Select                ();
use IO::Socket::INET          ();
use JSON::PP                  ();
use Testing::Process          qw(descriptors_of hubs_at);
use Testing::Server;
use Time::HiRes qw(time);

my $TURN        = 0.01;                                              # seconds between two actions
my $PAUSE       = 1;                                                 # seconds that a hub process is stopped at most
my $AGAIN       = 0.1;                                               # seconds until a number is published again
my $MAX_ASKED   = 40;                                                # publishers at once
my $COVERED     = 6_000 << 24;                                       # sequence numbers of 6 seconds
my $LAST_WITHIN = 10;                                                # seconds until another last number
my $DESCRIPTORS = 40;                                                # of a hub process, beside workers and streams
my $PROGRAM     = 'blib/arch/auto/EventSource/XS/eventsource-hub';
my @PUBLISH     = ($^X, qw(-Iblib/lib -Iblib/arch bin/eventsource publish --no-autostart));
my $PSGI        = 't/data/hub_chaos.psgi';

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
        "$self->{repeated} received again after a gap, $self->{gaps} gaps",
    );
}

# Why this cannot run here; undef if it can.
sub missing { return -x $PROGRAM ? undef : "eventsource-hub is not built here" }

# Runs for some seconds. Options: seconds, clients, seed; others are those of the subclass.
sub new {
    my ($class, %option) = @_;
    my %books = (
        again    => [],
        clients  => [],
        done     => {},
        epochs   => {},
        gaps     => 0,
        id_of    => {},
        last     => 0,
        machines => [],
        named    => {},
        numbers  => {},
        owner    => $$,
        repeated => 0,
        requests => {},
        wrong    => []
    );
    my $self = bless {%option, %books, folder => new_folder(), select => IO::Select->new}, $class;
    srand $self->{seed};
    $self->_begin;
    my @servers = map { @{$_->{servers}} } @{$self->{machines}};
    $self->{servers} = \@servers;
    push @{$self->{clients}}, {name => $_, got => [], retry => 0, server => $servers[$_ % @servers]}
        for 1 .. $option{clients};
    $self->_churn;
    $self->_finish;
    $self->_check_client($_) for @{$self->{clients}};
    $self->_check_names;
    $self->_check_rest;
    return $self;
}

# Returns the failures, a line each; empty if there are none.
sub wrong { return @{$_[0]{wrong}} }

# If the run dies, no hub process is left: whoever would begin another one ends before.
sub DESTROY {
    my $self = shift;
    return if $self->{owner} != $$;
    my @sockets = map { $_->{socket} } @{$self->{machines}};
    delete @$self{qw(followers machines servers)};
    kill KILL => map { hubs_at($_) } @sockets;
    return;
}

sub _fails {
    my ($self, $what) = @_;
    push @{$self->{wrong}}, $what;
    return;
}

# Waits until each client has an id.
sub _begin_clients {
    my $self     = shift;
    my $are_open = sub {
        $self->_turn(0.05);
        return !grep { !defined $_->{id} } @{$self->{clients}};
    };
    return wait_until(4 * $DEADLINE, $are_open) || die "clients receive no id\n";
}

# Does everything at random until the time is up. The schedule depends on the seed alone.
sub _churn {
    my $self = shift;
    $self->_begin_clients;
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

# Adds a machine: a hub process of its own, and servers. Options are those of a server; store, that of the hub.
sub _add_machine {
    my ($self, %option) = @_;
    my ($store, $count) = delete @option{qw(store servers)};
    my $number  = @{$self->{machines}};
    my %machine = (socket     => "$self->{folder}/hub$number.sock");
    my %env     = (HUB_SOCKET => $machine{socket}, HUB_STORE => JSON::PP->new->allow_nonref->encode($store));
    $machine{servers} =
        [map { Testing::Server->start('Starman', $self->_psgi, %option, env => \%env) } 1 .. $count || 1];
    push @{$self->{machines}}, \%machine;
    return;
}

# Returns the action of this turn, if there is one. Each one of `first`, in this order, happens at least once, however short the
# run.
sub _action {
    my ($self, $turn, $turns, $often, @first) = @_;
    my $dice = int rand 10_000;
    my %due  = map { (int(($_ + 1) * $turns / (@first + 1)) => $first[$_]) } 0 .. $#first;
    return $due{$turn} if $due{$turn};
    for my $name (sort keys %$often) {
        return $name if $dice < $often->{$name};
        $dice -= $often->{$name};
    }
    return;
}

sub _kill_hub {
    my ($self, $machine) = @_;
    return $self->_kill('kill_hub', hubs_at($machine->{socket}));
}

sub _kill_worker {
    my ($self, $server, $victim) = @_;
    my @workers = sort { $a <=> $b } grep { $_ != $server->pid } $server->pids;
    $self->_kill('kill_worker', $workers[$victim % @workers]) if @workers;
    return;
}

# Stops the hub process for a moment: it is away, or behind that of another machine.
sub _pause_hub {
    my ($self, $machine, $part) = @_;
    my ($pid) = $self->{paused} ? () : hubs_at($machine->{socket});
    $self->_kill('pause_hub', $pid, 'STOP');
    $self->{paused} = {pid => $pid, until => time + $part * $PAUSE} if $pid;
    return;
}

sub _continue_hub {
    my $self   = shift;
    my $paused = delete $self->{paused} or return;
    kill CONT => $paused->{pid};
    return;
}

sub _reload { my ($self, $server) = @_; return $self->_kill('reload', $server->pid, 'HUP') }

sub _upgrade { my ($self, $machine) = @_; return $self->_command($machine, $PROGRAM, qw(upgrade --name chaos)) }

sub _kill {
    my ($self, $action, $pid, $signal) = @_;
    return if !defined $pid || !kill $signal // 'KILL', $pid;
    $self->{done}{$action}++;
    return;
}

# Starts a command for a machine's hub.
sub _command {
    my ($self, $machine, @command) = @_;
    my $pid = open my $out, '-|', @command, '--socket', $machine->{socket} or return;
    $out->blocking(0);
    $self->{done}{'commands'}++;
    return $self->_watch({socket => $out, pid => $pid, text => '', sent => 1});
}

# Publishes the next number in some way: publish, job or command; with a key `once` if the way ends with a plus sign.
sub _publish {
    my ($self, $way, $at) = @_;
    my $asked = grep { $_->{number} } values %{$self->{requests}};
    return $self->{done}{'publishes left out'}++ if $asked > $MAX_ASKED && !$self->{is_ending};
    my $number = ++$self->{last};
    $self->{numbers}{$number} = {state => 'asked', at => $at, way => $way, is_once => $way =~ s/[+]\z//};
    $self->{done}{$way}++;
    $self->_ask_to_publish($number, $way);
    return $number;
}

sub _ask_to_publish {
    my ($self, $number, $way) = @_;
    my $entry   = $self->{numbers}{$number};
    my $server  = $self->{servers}[$entry->{at} % @{$self->{servers}}];
    my $machine = $self->{machines}[$entry->{at} % @{$self->{machines}}];
    my $request =
          $way eq 'command'
        ? $self->_command($machine, @PUBLISH, qw(--hub chaos numbers), $number)
        : $self->_connect($server, "GET /$way?$number" . ($entry->{is_once} ? '+once' : '') . " HTTP/1.0\r\n\r\n");
    if ($request) { $request->{number} = $number }
    else          { $self->_answered($number, 'failed') }
    return;
}

# Notes how the publish of a number has ended. One with a key `once` is asked for again, of another server.
sub _answered {
    my ($self, $number, $state, $id) = @_;
    my $entry = $self->{numbers}{$number};
    if ($state ne 'published' && $entry->{is_once}) {
        $entry->{at}++;
        $self->{done}{'published again'}++;
        return push @{$self->{again}}, [time + $AGAIN, $number];
    }
    @$entry{qw(state id)} = ($state, $id);
    $self->_name($number, $id) if defined $id;
    return;
}

# An id stands for one number; a number has one id in an epoch. Where history can be lost the last one counts, and
# _check_client looks at clients that have another one.
sub _name {
    my ($self, $number, $id) = @_;
    my ($epoch, $seq) = split /-/, $id;
    my $named = $self->{named}{$id}              //= $number;
    my $other = $self->{id_of}{"$number $epoch"} //= $id;
    push @{$self->{misnamed}{$epoch}}, "$id stands for $named and for $number" if $named ne $number;
    push @{$self->{misnamed}{$epoch}}, "$number has the ids $other and $id"    if $other ne $id && !$self->_may_repeat;
    $self->{id_of}{"$number $epoch"} = $id if $seq > (split /-/, $other)[1];
    return;
}

# Returns the id that counts for a number in an epoch.
sub _id_of {
    my ($self, $number, $epoch) = @_;
    my $id       = $self->{numbers}{$number}{id};
    my $is_known = defined $id && (!$self->_may_repeat || $id =~ /\A\Q$epoch\E-/);
    return $is_known ? $id : $self->{id_of}{"$number $epoch"};
}

# Where two masters may take events for a moment, that is wrong only in the last epoch: another one must have followed.
sub _check_names {
    my $self = shift;
    my $last = $self->{clients}[0]{epoch} // '';
    $self->_fails($_)
        for map { @{$self->{misnamed}{$_}} } grep { !$self->_may_repeat || $_ eq $last } sort keys %{$self->{misnamed}};
    return;
}

# Connects without waiting; sends a request as soon as it is connected.
sub _connect {
    my ($self, $server, $request) = @_;
    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $server->port, Blocking => 0)
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
    my ($now,  @again)   = (time, @{$self->{again}});
    $self->_continue_hub if $self->{paused} && $self->{paused}{until} <= $now;
    $self->{again} = [grep { $_->[0] > $now } @again];
    $self->_ask_to_publish($_->[1], 'publish') for grep { $_->[0] <= $now } @again;
    for my $client (@{$self->{clients}}) {
        next if $client->{link} || $client->{retry} > time;
        my $id   = defined $client->{id} ? "Last-Event-ID: $client->{id}\r\n" : '';
        my $link = $self->_connect($client->{server}, "GET /hub HTTP/1.0\r\n$id\r\n");
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
    my ($id)   = $watched->{text} =~ /(?:\A|\r\n\r\n)([0-9a-z]+-[0-9]+)\s*\z/;
    my ($code) = $watched->{text} =~ /\r\n\r\nerror (.*)\z/s;
    return $self->_answered($number, 'published', $id) if defined $id;
    return $self->_answered($number, 'unknown') if !defined $code || $code eq 'unknown';
    $self->_fails("the publish of $number has failed with $code")
        if $code !~ /\A(?:unavailable|refused|full|unsent)\z/;
    return $self->_answered($number, 'failed');
}

# A client disconnects, and comes back; perhaps to another server.
sub _leave {
    my ($self, $client, $server) = @_;
    $client->{server} = $server if $server;
    my $link = delete $client->{link} or return;
    $self->_forget($link);
    close $link->{socket};
    $self->{done}{left}++;
    return;
}

# Takes the head off what a client has received. Returns false as long as it is not complete.
sub _take_head {
    my ($self, $link) = @_;
    return !!1 if $link->{has_head};
    $link->{text} =~ s{\AHTTP/1[.][01] ([0-9]+).*?\r\n\r\n}{}s or return !!0;
    $self->_fails("a stream has the status $1") if $1 != 200;
    return $link->{has_head} = 1;
}

# Notes the blocks that a client has received completely.
sub _parse {
    my ($self, $link) = @_;
    my $client = $link->{client};
    $self->_take_head($link) or return;
    while ($link->{text} =~ s/\A(.*?)\r?\n\r?\n//s) {
        my %field = map { /\A([a-z]+): ?(.*?)\r?\z/ ? ($1, $2) : () } split /\n/, $1;
        $self->_note($client, %field) if defined $field{id};
    }
    return;
}

# Notes a block with an id: a position, a gap or a number.
sub _note {
    my ($self, $client, %field) = @_;
    my ($epoch, $seq) = $field{id} =~ /\A([0-9a-z]+)-([0-9]+)/
        or return $self->_fails("client $client->{name} has received the id $field{id}");
    my $event  = $field{event} // '';
    my $before = $client->{id};
    $self->{epochs}{$epoch} = 1;
    my $is_new = ($client->{epoch} // '') ne $epoch;

    # A position may come before the gap that is owed. A client that disconnects between them is told later.
    $client->{owed} = $before if $is_new && defined $before;
    if ($event eq 'gap' && !defined $client->{owed}) {
        $self->_fails("client $client->{name} receives a gap in an epoch: $before, $field{id} $field{data}")
            if !$self->_may_repeat;
        $client->{from}{$epoch} = $seq if !defined $client->{sent_back};
        delete $client->{sent_back};
        $self->{done}{'gaps in an epoch'}++;
    }
    if ($event eq 'gap') {
        delete $client->{owed};
        $client->{told}++;
        $self->{gaps}++;
    }
    $self->_fails("client $client->{name} did not receive its gap: $client->{owed}, $field{id}")
        if defined $client->{owed} && !$event;
    if ($is_new) {

        # Everything of the epoch up to here is covered by the gap, or was before the client.
        $client->{through}{$epoch} = $client->{from}{$epoch} = $seq;
        $client->{epoch} = $epoch;
    }
    my $goes_back = !$is_new && ($event ? $seq < $client->{through}{$epoch} : $seq <= $client->{through}{$epoch});
    if ($goes_back && $event && $self->_may_repeat) {

        # A hub that is behind begins where it is, and tells of a gap: what follows may come again.
        $client->{sent_back} = $before;
        $self->{done}{'sent back by a hub that is behind'}++;
    }
    elsif ($goes_back) { $self->_fails("client $client->{name} has received $field{id} after $before") }
    $self->_fails("client $client->{name} is sent back without a gap: $client->{sent_back}, $field{id}")
        if defined $client->{sent_back} && !$event;
    delete $client->{sent_back} if $is_new;
    $client->{through}{$epoch} = $seq;
    $client->{id} = $field{id};
    return if $event;
    push @{$client->{got}}, [$field{data}, $field{id}, $client->{told} // 0];
    $self->_name($field{data}, $field{id});
    return;
}

# Ends the disturbance: everything that was asked for is answered, and each client receives a last number. There is another one
# if an epoch ends meanwhile, because a loss is found.
sub _finish {
    my $self     = shift;
    my $deadline = time + 2 * $DEADLINE;
    my ($id, @behind);
    $self->{is_ending} = 1;
    $self->_continue_hub;
    until (time > $deadline) {
        my $published = $self->_publish_last($deadline) // last;
        $id     = $published;
        @behind = $self->_wait_for_clients($id);
        return if !@behind;
    }
    return $self->_fails('nothing can be published at the end') if !defined $id;
    $self->_fails(
        scalar @behind . " clients have not come to the end, $behind[0]{id} instead of $id, or have no answer");
    return;
}

# Publishes numbers until one has an id, and returns it.
sub _publish_last {
    my ($self, $deadline) = @_;
    until (time > $deadline) {
        my $number = $self->_publish('publish', 0);
        $self->_turn(0.05) while $self->{numbers}{$number}{state} eq 'asked' && time < $deadline;
        return $self->{numbers}{$number}{id} if $self->{numbers}{$number}{state} eq 'published';
    }
    return;
}

# Waits for a while. Returns the clients that have not received that id; all, if publishers have no answer.
sub _wait_for_clients {
    my ($self, $id) = @_;
    my ($epoch, $seq) = split /-/, $id;
    my $until = time + $LAST_WITHIN;
    my @behind;
    do {
        $self->_turn(0.05);
        @behind = grep { ($_->{epoch} // '') ne $epoch || $_->{through}{$epoch} < $seq } @{$self->{clients}};
        @behind = @{$self->{clients}} if grep { $_->{state} eq 'asked' } values %{$self->{numbers}};
    } while (@behind && time < $until);
    return @behind;
}

# Compares what a client has received with what was published.
sub _check_client {
    my ($self, $client) = @_;
    my %times;
    my $numbers = $self->{numbers};
    for my $got (@{$client->{got}}) {
        my ($number, $id, $told) = @$got;
        my ($epoch)        = $id =~ /\A([0-9a-z]+)-/;
        my $entry          = $numbers->{$number};
        my $is_after_a_gap = $self->_may_repeat && $times{$number} && !$times{$number}{$told};
        $self->{repeated}++                                                if $is_after_a_gap;
        $self->_fails("client $client->{name} has received $number twice") if $times{$number} && !$is_after_a_gap;
        $times{$number}{$told}++;
        my $state = $entry ? $entry->{state} : 'never asked for';
        $self->_fails("client $client->{name} has received $number, whose publish is $state")
            if $state !~ /\A(?:published|unknown)\z/;
        my $right         = $entry ? $self->_id_of($number, $epoch) : $id;
        my $is_told_later = $self->_may_repeat && ($client->{told} // 0) > $told;
        $self->_fails("client $client->{name} has received $number as $id instead of $right, and no gap after it")
            if $id ne $right && !$is_told_later;
    }
    for my $number (sort { $a <=> $b } keys %$numbers) {
        my $entry = $numbers->{$number};
        next if $entry->{state} ne 'published' || $times{$number};
        my ($epoch, $seq) = split /-/, $entry->{id};
        my ($from, $through) = map { $client->{$_}{$epoch} } qw(from through);

        # What was lost at the end of an epoch the gap of the next one covers.
        $through -= $COVERED if defined $through && $self->_may_lose && ($client->{epoch} // '') ne $epoch;
        $self->_fails("client $client->{name} has not received $number as $entry->{id}")
            if defined $from && $seq > $from && $seq <= $through;
    }
    return;
}

# Checks that nothing is left.
sub _check_rest {
    my $self = shift;
    $self->_leave($_)            for @{$self->{clients}};
    $self->_check_hub($_)        for @{$self->{machines}};
    $_->stop                     for @{$self->{servers}};
    $self->_check_end_of_hub($_) for @{$self->{machines}};
    my @files = map { s{.*/}{}r } grep { !/[.](?:lock|log|seen|settings)\z/ } glob "$self->{folder}/*";
    $self->_fails("files are left: @files") if @files;
    $self->_check_log($_->log) for @{$self->{servers}};
    $self->_end;
    return;
}

sub _check_hub {
    my ($self, $machine) = @_;
    my @place = (name => 'chaos', socket => $machine->{socket}, autostart => 0);
    my $open;
    wait_until $DEADLINE, sub {
        ($open = eval { EventSource::Hub::Process->connect(@place)->stats->{open} } // $@) eq '0';
    } or $self->_fails("streams are left: $open");
    my @hubs        = hubs_at($machine->{socket});
    my $descriptors = @hubs == 1 ? descriptors_of($hubs[0]) : 0;
    my $workers     = () = map { $_->pids } @{$machine->{servers}};
    push @{$self->{descriptors}}, $descriptors;
    $self->_fails("the hub process has $descriptors descriptors") if $descriptors > $DESCRIPTORS + $workers;
    $self->_fails(scalar @hubs . ' processes serve the hub')      if @hubs != 1;
    return;
}

sub _check_end_of_hub {
    my ($self, $machine) = @_;
    return if wait_until($DEADLINE, sub { !hubs_at($machine->{socket}) });
    return $self->_fails("the hub process does not end");
}

sub _check_log {
    my ($self, $log) = @_;
    my @wrong = grep { /panicked|uninitialized|Can't/ } split /\n/, $log;
    $self->_fails("the server printed: @wrong") if @wrong;
    return;
}

# Subclasses may have these, too.
sub _end        { return }
sub _may_lose   { return !!0 }
sub _may_repeat { return !!0 }
sub _psgi       { return $PSGI }

1;

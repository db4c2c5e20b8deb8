package Testing::OutboxChaos;
use Testing;

# An outbox while everything around it dies: producers (Testing::OutboxProducers), two followers with a lease of a second,
# four workers of Starman, the hub process and the database are killed by SIGKILL; followers and the hub process are stopped,
# followers for longer than their lease. The hub keeps its events in a file, so no client may receive a gap.
#
#   my $run = Testing::OutboxChaos->new(database => $database, transactions => 3_000, clients => 60, seed => 1);
#   print "$_\n" for $run->figures, $run->wrong;
#
# Each transaction that has committed is in a ledger, a table that it changed, too. Each event has the number of its change
# of a key: so each client must receive, for each key, the events 1, 2, 3 ... up to the last one of the ledger, and each with
# the transaction that the ledger names.

use parent 'Testing::Chaos';
use EventSource::Hub;
use EventSource::Outbox;
use List::Util qw(shuffle);
use Testing::Outbox;
use Testing::OutboxProducers;
use Testing::Process qw(hubs_at suspend);
use Testing::Program;
use Time::HiRes qw(time);

my $FOLLOWERS = 2;
my $LEASE     = 1;                  # seconds
my $LONGER    = 1.3;                # seconds that a follower is stopped, at least
my $TURN      = 0.01;               # seconds between two actions
my $WITHIN    = 600;                # seconds for all transactions
my $WORKERS   = 4;
my $MAX_WRONG = 30;
my $END       = 'chat end 1 end';

# The actions for each so many transactions, in any order. In between clients disconnect.
my $ROUND = 3_300;
my %OFTEN = (
    kill_database => 1,
    kill_follower => 3,
    kill_hub      => 3,
    kill_hubs     => 2,
    kill_producer => 6,
    kill_worker   => 3,
    pause_hub     => 1,
    stop_follower => 2,
);

sub figures {
    my $self     = shift;
    my %done     = %{$self->{done}};
    my %outcome  = %{$self->{outcomes}};
    my $received = 0;
    $received += $_->{received} for @{$self->{clients}};
    return (
        (join ', ', map { "$done{$_} $_" } sort keys %done),
        (join ', ', map { "$outcome{$_} $_" } sort keys %outcome),
        "$received received by " . @{$self->{clients}} . ' clients, ' . @{$self->{ledger}} . ' committed',
    );
}

# What the followers have printed.
sub log { return $_[0]{log} }

sub _psgi { return 't/data/outbox_chaos.psgi' }

sub _begin {
    my $self = shift;
    $self->{files} = new_folder;
    my $store = {file => "$self->{files}/events.db", sync => 'never'};
    $self->_add_machine(store => $store, workers => $WORKERS);
    $self->{hub} = EventSource::Hub->new(name => 'chaos', socket => $self->{machines}[0]{socket}, autostart => 0);
    my $outbox   = $self->{outbox} = EventSource::Outbox->new(hub => $self->{hub});
    my $database = $self->{database};
    Testing::Outbox->create_tables($database->connect, $outbox);
    $self->{producers} = Testing::OutboxProducers->new(
        database     => $database,
        folder       => "$self->{files}",
        outbox       => $outbox,
        transactions => $self->{transactions},
        seed         => $self->{seed},
    );
    $self->{followers} = [map { $self->_start_follower } 1 .. $FOLLOWERS];
    return;
}

sub _start_follower {
    my $self     = shift;
    my $database = $self->{database};
    my @user     = defined $database->user ? ('--user', $database->user) : ();
    my @place    = ('--hub', 'chaos', '--socket', $self->{machines}[0]{socket}, '--dsn', $database->dsn, @user);
    my %password = defined $database->password ? (EVENTSOURCE_OUTBOX_PASSWORD => $database->password) : ();
    return Testing::Program->start(['bin/eventsource', 'outbox', @place, '--lease', $LEASE], %password);
}

# Lets producers work, and everything die, until all transactions are over.
sub _churn {
    my $self = shift;
    $self->_begin_clients;
    my @plan  = $self->_plan;
    my $until = time + $WITHIN;
    $self->{producers}->start($self->_sockets);
    while (@plan || $self->{producers}->are_working) {
        my $done = $self->{producers}->count;
        if (@plan && $plan[0]{at} <= $done) {
            my $action = '_' . (shift @plan)->{action};
            $self->$action;
        }
        $self->_continue_followers;
        $self->_leave($self->{clients}[rand @{$self->{clients}}]) if rand > 0.7;
        $self->_turn($TURN);
        return $self->_fails("only $done transactions are done") if time > $until;
    }
    return;
}

# The actions, each with the number of transactions after which it comes.
sub _plan {
    my $self   = shift;
    my $rounds = int($self->{transactions} / $ROUND) || 1;
    my %often  = %OFTEN;
    delete $often{kill_database} if !$self->{database}->can('kill');
    my @actions = shuffle(map { ($_) x ($often{$_} * $rounds) } sort keys %often);
    my @at      = sort { $a <=> $b } map { int rand 0.95 * $self->{transactions} } @actions;
    return map { {action => $actions[$_], at => $at[$_]} } 0 .. $#actions;
}

sub _sockets {
    my $self = shift;
    return map { $_->{socket} } values %{$self->{requests}};
}

# Actions

sub _kill_database {
    my $self = shift;
    $self->{database}->kill;
    $self->{database}->restart;
    $self->{done}{kill_database}++;
    return;
}

# Mostly the one that has the lease: its name has its process id.
sub _a_follower {
    my $self = shift;
    my $dbh  = $self->{database}->connect;
    my (undef, $pid) = split / /, $dbh->selectrow_array('SELECT holder FROM eventsource_outbox_follower') . ' -';
    my ($at) = grep { $self->{followers}[$_]->pid eq $pid } 0 .. $FOLLOWERS - 1;
    return defined $at && rand > 0.2 ? $at : int rand $FOLLOWERS;
}

# One that is stopped is killed, too.
sub _kill_follower {
    my $self = shift;
    my $at   = $self->_a_follower;
    $self->_kill('kill_follower', $self->{followers}[$at]->pid);
    delete $self->{stopped}{$at};
    $self->{log} .= $self->{followers}[$at]->log;
    $self->{followers}[$at]->stop;
    $self->{followers}[$at] = $self->_start_follower;
    return;
}

sub _kill_hub { return $_[0]->SUPER::_kill_hub($_[0]{machines}[0]) }

# One process, and the next one while it reads the file.
sub _kill_hubs {
    my $self   = shift;
    my $socket = $self->{machines}[0]{socket};
    my $pid    = (hubs_at($socket))[0] // 0;
    my @next;
    $self->_continue_hub;
    $self->_kill_hub;
    $self->_until(
        sub {
            @next = grep { $_ != $pid } hubs_at($socket);
        },
        5,
        0.005
    );
    $self->_turn(rand 0.03);
    return $self->_kill('kill_hub_again', $next[0]);
}

sub _kill_producer {
    my $self = shift;
    $self->{done}{kill_producer}++ if $self->{producers}->kill_one($self->_sockets);
    return;
}

sub _kill_worker { return $_[0]->SUPER::_kill_worker($_[0]{servers}[0], int rand $WORKERS) }

sub _pause_hub { return $_[0]->SUPER::_pause_hub($_[0]{machines}[0], rand) }

sub _stop_follower {
    my $self = shift;
    my $at   = $self->_a_follower;
    return if $self->{stopped}{$at};
    suspend($_) for $self->{followers}[$at]->pids;
    $self->{stopped}{$at} = time + $LONGER + rand;
    $self->{done}{stop_follower}++;
    return;
}

sub _continue_followers {
    my ($self, $are_all) = @_;
    for my $at (grep { $are_all || $self->{stopped}{$_} <= time } keys %{$self->{stopped}}) {
        delete $self->{stopped}{$at};
        kill CONT => -$self->{followers}[$at]->pid;
    }
    return;
}

# The books

# Notes the events that a client has received as a whole.
sub _parse {
    my ($self, $link) = @_;
    my $client = $link->{client};
    $self->_take_head($link) or return;
    my $whole = 2 + rindex $link->{text}, "\n\n";
    return if $whole < 2;
    my $text = substr $link->{text}, 0, $whole, '';
    $self->_fails("client $client->{name} receives a gap: $1")
        if $text =~ /^event: gap\n((?:.+\n)+)/m && !$client->{is_new};
    my ($last, $said) = @$client{qw(last said)} = ($client->{last} ||= {}, $self->{said} ||= {});

    while ($text =~ /^data: (\S+ \S+) ([0-9]+) (.+)$/mg) {
        my ($key, $number, $of) = ($1, $2, $3);
        $client->{received}++;
        $client->{state}{$key} = "$number $of" if $client->{is_new};
        my $before = $last->{$key} || 0;
        $self->_fails("client $client->{name} receives $key $number after $before")
            if $number != $before + 1 && !$client->{is_new};
        $last->{$key} = $number;
        my $told = $said->{"$key $number"} //= $of;
        $self->_fails("client $client->{name} receives $key $number of $of, others of $told") if $told ne $of;
    }
    $client->{id} = $1 if substr($text, 1 + rindex $text, "\nid: ") =~ /\Aid: (\S+)$/m;
    return;
}

sub _fails {
    my ($self, $what) = @_;
    return if @{$self->{wrong}} >= $MAX_WRONG;
    return $self->SUPER::_fails($what);
}

# Ends the disturbance. The outbox becomes empty, followers end, and each client receives a last event.
sub _finish {
    my $self = shift;
    $self->_continue_followers(1);
    $self->_continue_hub;
    my $dbh = $self->{database}->connect;
    my $stats;
    $self->_until(sub { ($stats = $self->{outbox}->stats($dbh))->{waiting} == 0 })
        or $self->_fails("$stats->{waiting} rows still wait");
    $self->_fails("$stats->{dead_letters} rows are dead letters") if $stats->{dead_letters};
    $self->{ledger} = $dbh->selectall_arrayref('SELECT item, number, told, kind FROM ledger ORDER BY item, number');

    for my $follower (@{$self->{followers}}) {
        $self->_fails('a follower has ended') if $follower->has_ended;
        $follower->stop;
        $self->{log} .= $follower->log;
    }
    $self->_until(
        sub {
            eval { $self->{hub}->publish(chat => $END, {once => 'the end'}) }
        }
    ) or $self->_fails('nothing can be published at the end');
    $self->_until(
        sub {
            !grep { !$_->{last}{'chat end'} } @{$self->{clients}};
        }
    ) or $self->_fails('clients have not come to the end');
    $self->_check_ledger;
    $self->_check_state;
    delete @$self{qw(hub outbox producers)};    # which are connected to the hub
    return;
}

# The ledger against what producers know, and against what clients have received, whatever it is.
sub _check_ledger {
    my $self = shift;
    my (%last, %told);
    for my $line (@{$self->{ledger}}) {
        my ($item, $number, $of) = @$line;
        $self->_fails("the ledger has $item $number after " . ($last{$item} || 0))
            if $number != ($last{$item} || 0) + 1;
        $last{$item} = $number;
        $told{"$item $number"} = $of;
    }
    @$self{qw(last_of told)} = (\%last, \%told);
    $self->_fails($_) for $self->{producers}->wrong(map { $_->[2] } @{$self->{ledger}});
    $self->_fails('nothing was committed') if !%told;
    $self->{outcomes} = {$self->{producers}->outcomes};
    my $said = $self->{said};
    delete $said->{'chat end 1'};
    $self->_fails("$_ of $said->{$_} was received and never committed")
        for grep { ($told{$_} // '') ne $said->{$_} } sort keys %$said;
    return;
}

sub _check_client {
    my ($self, $client) = @_;
    my $last_of = $self->{last_of} or return;
    for my $item (sort keys %$last_of) {
        my $last = $client->{last}{$item} || 0;
        $self->_fails("client $client->{name} has received $item up to $last instead of $last_of->{$item}")
            if $last != $last_of->{$item};
    }
    return;
}

sub _check_names { return }

# A new client receives what is retained.
sub _check_state {
    my $self   = shift;
    my $client = {name => 'new', is_new => 1, retry => 0, server => $self->{servers}[0]};
    push @{$self->{clients}}, $client;
    my %state;
    for my $line (@{$self->{ledger}}) {
        my ($item, $number, $of, $kind) = @$line;
        $state{$item} = "$number $of" if $kind eq 'retain';
        delete $state{$item} if $kind eq 'forget';
    }
    my $shown = sub {
        my $state = shift;
        return join ', ', map { "$_ $state->{$_}" } sort keys %$state;
    };
    my $is_right = $self->_until(sub { $shown->($client->{state} || {}) eq $shown->(\%state) }, 10);
    $self->_leave(pop @{$self->{clients}});
    $self->_fails('a new client receives the state ' . $shown->($client->{state}) . ' instead of ' . $shown->(\%state))
        if !$is_right;
    return;
}

# Followers say what happens, and perl says nothing.
sub _end {
    my $self = shift;
    $self->_fails("a follower printed: $_") for grep { / at \S+ line [0-9]|panicked/ } split /\n/, $self->{log} // '';
    return;
}

sub _until {
    my ($self, $condition, $seconds, $pause) = @_;
    return wait_until($seconds // 2 * $DEADLINE, sub { $self->_turn($pause // 0.05); $condition->() });
}

1;

package Testing::OutboxProducers;
use strict;
use warnings;

# Eight processes that change rows of a database and publish the changes into an outbox, in transactions: some with savepoints,
# some that stay open for a while and commit late, some that are rolled back. A process can be killed; another one continues.
#
#   my $producers = Testing::OutboxProducers->new(database => $database, outbox => $outbox, folder => $folder,
#       transactions => 1_000, seed => 1);
#   $producers->start(@sockets);       # which these processes do not keep open
#   $producers->kill_one(@sockets);
#   my @wrong = $producers->wrong(@of_the_ledger);
#
# A transaction changes the row of a key first, `UPDATE counter SET number = number + 1`, then publishes with that number, and
# notes it in the table `ledger`. A process notes the outcome of each of its transactions as a character in its file: so the
# books are right although any of them may be killed at any time.

use List::Util  qw(sum0);
use POSIX       ();
use Time::HiRes qw(sleep);

my $PRODUCERS = 8;
my $CHANNELS  = 4;
my $KEYS      = 10;
my $PAUSE     = 0.05;    # seconds between two attempts to connect

my $LOST_HINT = qr/\AEventSource::Hub: [0-9]+ events or subscriptions for a named hub are lost/;

# The outcomes.
my %NAME = (c => 'commits', r => 'rollbacks', d => 'deadlocks', '?' => 'unknown');

sub are_working {
    my $self = shift;
    return scalar grep { !$self->_has_ended($_) } @{$self->{processes}};
}

sub count {
    return sum0(map { -s $_->{file} } @{$_[0]{processes}});
}

# Kills a process, and starts another one in its place. Returns false if all have ended.
sub kill_one {
    my ($self, @sockets) = @_;
    my @working = grep { !$self->_has_ended($_) } @{$self->{processes}} or return !!0;
    my $process = $working[rand @working];
    kill KILL => $process->{pid};
    waitpid $process->{pid}, 0;
    _note($process, '?');
    $self->_start($process, @sockets);
    return !!1;
}

sub new {
    my ($class, %option) = @_;
    my $self = bless {%option, owner => $$}, $class;
    my $dbh  = $self->{database}->connect;
    $dbh->do('CREATE TABLE counter (item varchar(20) PRIMARY KEY, number integer NOT NULL)');
    $dbh->do('CREATE TABLE ledger (item varchar(20), number integer, told varchar(20), kind varchar(10))');
    my @items = (
        'chat -',
        map {
            my $channel = $_;
            map { "stock/$channel $_" } 1 .. $KEYS
        } 0 .. $CHANNELS - 1
    );
    $dbh->do('INSERT INTO counter VALUES (?, 0)', undef, $_) for @items;
    $self->{processes} =
        [map { {name => $_, file => "$self->{folder}/producer$_", quota => $self->_quota($_)} } 1 .. $PRODUCERS];
    _note($_, '') for @{$self->{processes}};
    return $self;
}

# The numbers of transactions by their outcomes.
sub outcomes {
    my $self = shift;
    my %count;
    $count{$NAME{$_} // $_}++ for map { split //, _noted($_) } @{$self->{processes}};
    return %count;
}

sub start {
    my ($self, @sockets) = @_;
    $self->_start($_, @sockets) for @{$self->{processes}};
    return;
}

# The mistakes in the transactions of a ledger, and the complaints of processes: lines of text.
sub wrong {
    my ($self, @committed) = @_;
    my %is_committed = map { $_ => 1 } @committed;
    my @wrong;
    for my $process (@{$self->{processes}}) {
        my @outcomes = split //, _noted($process);
        push @wrong, "producer $process->{name} has done " . @outcomes . ' transactions'
            if @outcomes < $process->{quota};
        for my $at (0 .. $#outcomes) {
            my $name = "$process->{name}.$at";
            my $is   = delete $is_committed{$name};
            push @wrong, "transaction $name has committed, and its rows are lost"    if $outcomes[$at] eq 'c' && !$is;
            push @wrong, "transaction $name was rolled back, and its rows are there" if $outcomes[$at] =~ /[rd]/ && $is;
        }
        push @wrong, _text_of("$process->{file}.complaints");
    }
    push @wrong, map { "nobody knows transaction $_" } sort keys %is_committed;
    return @wrong;
}

sub DESTROY {
    my $self = shift;
    return if $self->{owner} != $$;
    local ($?, $!, $@);
    for my $process (grep { !$self->_has_ended($_) } @{$self->{processes}}) {
        kill KILL => $process->{pid};
        waitpid $process->{pid}, 0;
    }
    return;
}

# Adds something to the file of a process.
sub _note {
    my ($process, $text) = @_;
    open my $file, '>>', $process->{file} or die "$process->{file}: $!\n";
    syswrite $file, $text;
    close $file;
    return;
}

sub _noted { return _text_of($_[0]{file}) }

sub _text_of {
    my $path = shift;
    open my $file, '<', $path or return ();
    local $/;
    return readline($file) // '';
}

sub _has_ended {
    my ($self, $process) = @_;
    return !!1 if !$process->{pid};
    return !!0 if waitpid($process->{pid}, POSIX::WNOHANG()) == 0;
    delete $process->{pid};
    return !!1;
}

sub _quota {
    my ($self, $number) = @_;
    return int($self->{transactions} * $number / $PRODUCERS) - int($self->{transactions} * ($number - 1) / $PRODUCERS);
}

# The process ends without the ends of objects that are its parent's.
sub _start {
    my ($self, $process, @sockets) = @_;
    defined(my $pid = fork) or die "fork: $!\n";
    if ($pid) {
        $process->{pid} = $pid;
        return;
    }
    $SIG{$_} = 'DEFAULT' for qw(HUP INT TERM);
    close $_ for @sockets;
    local $SIG{__WARN__} = sub { _complain($process, $_[0]) if $_[0] !~ $LOST_HINT };
    eval { $self->_work($process); 1 } or _complain($process, $@);
    return POSIX::_exit(0);
}

sub _complain {
    my ($process, $text) = @_;
    return _note({file => "$process->{file}.complaints"}, "producer $process->{name}: $text");
}

sub _work {
    my ($self, $process) = @_;
    my $at = -s $process->{file};
    srand $self->{seed} * 1_000_003 + $process->{name} * 10_007 + $at;
    my $dbh = $self->_connect;
    while ($at < $process->{quota}) {
        my $state   = 'open';
        my $outcome = eval { $self->_transaction($dbh, "$process->{name}.$at", \$state) };
        my $error   = $@;
        if (!defined $outcome) {
            $outcome = $state eq 'commit' ? '?' : $error =~ /deadlock/i ? 'd' : 'r';
            if ($dbh->ping) {
                _complain($process, "$state: $error") if $outcome ne 'd';
                eval { $dbh->rollback };
            }
            $dbh->{RaiseError} = 0;
            $dbh->disconnect;
            $dbh = $self->_connect;
        }
        _note($process, $outcome);
        $at++;
    }
    return;
}

# A database that was killed is there again some time later.
sub _connect {
    my $self = shift;
    for (1 .. 60 / $PAUSE) {
        my $dbh = eval { $self->{database}->connect(PrintWarn => 0) };
        return $dbh if $dbh;
        sleep $PAUSE;
    }
    die "cannot connect: $@";
}

# Returns how it has ended. Dies if it has not: `state` says where.
sub _transaction {
    my ($self, $dbh, $name, $state) = @_;
    my $is_single = $dbh->{Driver}{Name} eq 'SQLite';                          # one writer
    my @items     = sort { $a cmp $b } map { $self->_item } 0 .. int rand 2;
    my @ledger;
    $dbh->begin_work;
    push @ledger, $self->_change($dbh, $name, $_) for @items;
    if (rand > 0.9) {
        $dbh->do('SAVEPOINT here');
        my @more = $self->_change($dbh, $name, $items[-1]);
        if   (rand > 0.5) { $dbh->do('ROLLBACK TO SAVEPOINT here') }
        else              { push @ledger, @more }
    }
    sleep($is_single ? rand 0.02 : rand 0.3) if rand > ($is_single ? 0.99 : 0.97);
    push @ledger, $self->_change($dbh, $name, 'chat -') if rand > 0.85;
    $dbh->do('INSERT INTO ledger VALUES ' . join(', ', ('(?, ?, ?, ?)') x @ledger), undef, map { @$_ } @ledger);
    if (rand > 0.9) {
        $dbh->rollback;
        return 'r';
    }
    $$state = 'commit';
    $dbh->commit;
    $self->{outbox}->committed if rand > 0.9;
    return 'c';
}

sub _item {
    my $self = shift;
    return 'stock/' . int(rand $CHANNELS) . ' ' . int 1 + rand $KEYS;
}

# Changes the row of a key, then publishes. Returns the line of the ledger.
sub _change {
    my ($self, $dbh, $name, $item) = @_;
    my ($channel, $key) = split / /, $item;
    $dbh->do('UPDATE counter SET number = number + 1 WHERE item = ?', undef, $item);
    my ($number) = $dbh->selectrow_array('SELECT number FROM counter WHERE item = ?', undef, $item);
    my %event    = (data => "$item $number $name");
    my $kind     = $key eq '-' ? 'chat' : $key % 2 ? 'plain' : rand > 0.9 ? 'forget' : 'retain';
    if ($kind eq 'forget') { $self->{outbox}->forget($dbh, $channel, $key, \%event) }
    else {
        $event{key}    = $key if $kind ne 'chat';
        $event{retain} = 1    if $kind eq 'retain';
        $self->{outbox}->publish($dbh, $channel, \%event);
    }
    return [$item, $number, $name, $kind];
}

1;

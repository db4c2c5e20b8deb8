package Testing::OutboxModel::Hub;
use Testing;

# A hub in memory, for Testing::OutboxModel: it takes the events of a connection in their order, each once as long as it
# remembers, refuses some for now and others for good, and may be killed. Followers reach it through connections, with the
# methods of EventSource::Hub::Process.

# Options: seconds and keys, the bounds of what it remembers.
sub new {
    my ($class, $world, %option) = @_;
    return bless {
        away_until => 0,
        generation => 0,
        late       => [],       # events of closed connections that it has still to read, each with the time
        remembered => [],       # keys in their order, each with its time
        id_of      => {},
        last_id    => 0,
        world      => $world,
        %option,
    }, $class;
}

sub connect {
    my $self = shift;
    die "the hub process cannot be reached\n" if $self->{world}{now} < $self->{away_until};
    return bless {generation => $self->{generation}, hub => $self, queue => [], world => $self->{world}},
        'Testing::OutboxModel::HubConnection';
}

# Its process is killed. Without a store it remembers nothing then.
sub kill {
    my ($self, $has_store, $seconds) = @_;
    $self->{generation}++;
    $self->{away_until}          = $self->{world}{now} + $seconds;
    @$self{qw(late hints)}       = ([], []);
    @$self{qw(id_of remembered)} = ({}, []) if !$has_store;
    return;
}

# The events that a closed connection had sent: the hub reads them at once, later, or never.
sub read_later {
    my ($self, @events) = @_;
    my $world = $self->{world};
    push @{$self->{late}}, [$world->{now} + ($world->happens('late') ? rand 9 : 0), @events] if rand() < 0.7;
    return;
}

sub run_late {
    my ($self, $all) = @_;
    my $now = $self->{world}{now};
    my @due = grep { $all || $_->[0] <= $now } @{$self->{late}} or return;
    $self->{late} = [grep { !$all && $_->[0] > $now } @{$self->{late}}];
    for my $late (@due) {
        my (undef, @events) = @$late;
        $self->take($_) for @events;
    }
    return;
}

# Returns the answer to an event, as answers does.
sub take {
    my ($self, $event) = @_;
    my $world = $self->{world};
    my $once  = $event->{once};
    $self->_forget;
    return {id => $self->{id_of}{$once}} if defined $once && $self->{id_of}{$once};
    my $row = $world->row_of($event);
    return {error => 'too many keys', code => 'full',    field => 'retain'} if $row->{poison} eq 'full';
    return {error => 'a wrong field', code => 'invalid', field => 'event'}  if $row->{poison} eq 'invalid';
    return {
        error => 'not this row',
        code  => (qw(unavailable unknown refused full))[$row->{refused}++ % 4],
        field => undef
        }
        if $row->{poison} eq 'lasting';
    return {error => 'the disk is full',  code => 'unavailable', field => undef} if $world->happens('refuse');
    return {error => 'the queue is full', code => 'full',        field => undef} if $world->happens('refuse');

    if ($world->happens('full')) {
        $row->{was_full} = 1;
        return {error => 'too many keys', code => 'full', field => 'retain'};
    }
    my $is_unknown = $world->happens('unknown');
    return {error => 'perhaps taken', code => 'unknown', field => undef} if $is_unknown && rand() < 0.5;
    my $id = 'epoch-' . ++$self->{last_id};

    if (defined $once) {
        $self->{id_of}{$once} = $id;
        push @{$self->{remembered}}, [$world->{now}, $once];
    }
    $world->note_published($row);
    return $is_unknown ? {error => 'perhaps taken', code => 'unknown', field => undef} : {id => $id};
}

# Hints that something was committed.
sub hint {
    my $self = shift;
    local $SIG{PIPE} = 'IGNORE';    # a follower may have closed its end
    syswrite $_, 'h' for @{$self->{hints}};
    return;
}

sub _forget {
    my $self = shift;
    my ($keys, $since) = ($self->{remembered}, $self->{world}{now} - $self->{seconds});
    while (@$keys && (@$keys > $self->{keys} || $keys->[0][0] < $since)) { delete $self->{id_of}{(shift @$keys)->[1]} }
    return;
}

package Testing::OutboxModel::HubConnection;

use EventSource::Error;
use EventSource::XS::Hub::FollowedStream;
use EventSource::XS::SocketPair;

sub follow {
    my $self = shift;
    my ($socket, $of_hub) = EventSource::XS::SocketPair->open or die "cannot make a socket: $!\n";
    push @{$self->{hub}{hints}}, $of_hub;
    return EventSource::XS::Hub::FollowedStream->new(socket => $socket);
}

# The rows of the model are published as they are.
sub show_channel { return undef }

sub begin_publish {
    my ($self, $channel, $event) = @_;
    my $world = $self->{world};
    $world->interrupt;
    $self->_fail if !$self->_is_open;
    my $poison = $world->row_of($event)->{poison};
    EventSource::Error->throw(code => 'invalid', field => 'data', message => 'a wrong text') if $poison eq 'croak';
    push @{$self->{queue}}, $event;
    $self->_fail if $world->happens('break');
    return;
}

# After an error, the answers that came before it are returned first, and the error by the next call.
sub answers {
    my $self  = shift;
    my $world = $self->{world};
    my @queue = splice @{$self->{queue}};
    my $hub   = $self->{hub};
    $world->interrupt;
    my $last = $world->happens('break') ? int rand 1 + @queue : @queue;
    my @answers;
    while (@queue && @answers < $last && $self->_is_open) {
        push @answers, $hub->take(shift @queue);
        $world->elapse(rand 2) if $world->happens('slow');
        $world->interrupt;
    }
    return @answers if !@queue && $self->_is_open && !$world->happens('answer_lost');
    splice @answers, int rand 1 + @answers if $world->happens('answer_lost');
    $hub->read_later(@queue) if $self->_is_open;
    $self->{is_broken} = 1;
    return @answers if @answers;
    return $self->_fail;
}

sub _is_open {
    my $self = shift;
    my $hub  = $self->{hub};
    return !$self->{is_broken} && $self->{generation} == $hub->{generation};
}

# The events that were sent before may be read later.
sub _fail {
    my $self = shift;
    my ($hub, $world) = @$self{qw(hub world)};
    my @queue = splice @{$self->{queue}};
    if (@queue && $self->_is_open) {
        splice @queue, int rand 1 + @queue;
        $hub->read_later(@queue);
    }
    $self->{is_broken} = 1;
    die "the connection to the hub process broke\n";
}

1;

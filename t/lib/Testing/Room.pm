package Testing::Room;
use Testing;

# Members on machines with one store. Their clients come back as EventSource does, and so do two pages: one reads of the
# members, the other one of another channel.
#
#   my $room = Testing::Room->new(store => 'redis', machines => 2, leave_after => 3);
#   $room->enter('ann', at => [0, 1]);
#   $room->rests;
#   $room->ends(ann => 'join leave');

use Carp qw(croak);
use EventSource::Hub;
use JSON::PP ();
use Testing::FakeClock;
use Testing::Machine;
use Testing::Redis;
use Testing::RoamingClient;

my $DEADLINE = 30;          # seconds
my $ANSWER   = 0.5;         # seconds; the clients that connect again do not wait for longer
my $FILLING  = 'filling';
my $FAILURES = 5;           # the store finds room in its file while it fails

sub clock          { return $_[0]{clock} }
sub clock_of_redis { return $_[0]{clock_of_redis} }

# A machine is lost, with its hub process and its connections. Its clients go to another one.
sub dies {
    my ($self, $number, $other) = @_;
    my $machine = $self->{machines}[$number];
    kill KILL => -$machine->server->pid, $machine->hubs;
    $machine->server->stop;
    delete $self->{hubs}{$number};
    return $self->moves($number, $other);
}

sub empty_disk {
    my $self = shift;
    unlink "$self->{folder}/$FILLING" or die "$FILLING: $!\n";
    return;
}

# All clients leave. Each member has had these events, with the gaps of the page: a text, or a pattern.
sub ends {
    my ($self, %expected) = @_;
    $self->leave(keys %{$self->{clients}});
    $self->rests;
    my %told = $self->told;
    for my $id (sort keys %expected) {
        my ($told, $name) = ($told{$id}, "what the page was told of $id");
        if   (ref $expected{$id}) { like $told, $expected{$id}, $name }
        else                      { is $told,   $expected{$id}, $name }
    }
    is_deeply [sort keys %told],           [sort keys %expected], 'and of nobody else';
    is_deeply [$self->{stranger}->events], [],                    'a page that does not read of them was told nothing';
    $_->leave  for @$self{qw(page stranger)};
    $_->end_ok for map { $self->{machines}[$_] } sort keys %{$self->{hubs}};
    return;
}

# Opens streams of a member. Options: at, the numbers of the machines; others are those of the application.
sub enter {
    my ($self, $id, %option) = @_;
    my $at = delete $option{at} || [0];
    $self->{is_counted}{$id} = defined $option{count};
    my %query = (id => $id, channels => 'news', leave_after => $self->{leave_after}, %option);
    my $path  = '/member?' . join '&', map { "$_=$query{$_}" } sort keys %query;
    for my $number (@$at) {
        my $client = Testing::RoamingClient->open($self->{machines}[$number], path => $path);
        push @{$self->{clients}{$id}}, {client => $client, at => $number};
    }
    return;
}

# Fills the disk that has the file of the store, and its file.
sub fill_disk {
    my $self = shift;
    open my $file, '>', "$self->{folder}/$FILLING" or die "$FILLING: $!\n";
    my $bytes = 'x' x 4_096;
    while (syswrite $file, $bytes) { }
    my $failures = 0;
    my $fails    = sub { $self->{machines}[0]->publish(filler => 'x' x 10_000) =~ /unavailable/ };
    my $is_full  = wait_until($DEADLINE, sub { $failures = $fails->() ? $failures + 1 : 0; $failures == $FAILURES });
    return ok $is_full, 'the disk is full';
}

sub hub { return $_[0]{hubs}{$_[1]} }

# All clients of these members leave.
sub leave {
    my ($self, @ids) = @_;
    $_->{client}->leave for map { @{delete $self->{clients}{$_}} } @ids;
    return;
}

sub machine  { return $_[0]{machines}[$_[1]] }
sub machines { return @{$_[0]{machines}} }

# The clients of a machine go to another one.
sub moves {
    my ($self, $from, $to) = @_;
    for my $place (grep { $_->{at} == $from } map { @$_ } values %{$self->{clients}}) {
        $place->{client}->head_for($self->{machines}[$to]);
        $place->{at} = $to;
    }
    return;
}

# Options: store, `file` or `redis`; machines, their number; leave_after, the seconds of members; clocks, if the first machine
# and Redis have clocks of their own; folder, where the file is.
sub new {
    my ($class, %option) = @_;
    my $self = bless {%option, clients => {}}, $class;
    $self->{folder} //= new_folder;
    ($self->{clock}, $self->{clock_of_redis}) = map { Testing::FakeClock->new(0) } 1, 2 if $option{clocks};
    my $store = $self->_store;
    my %first = $option{clocks} ? (env => {$self->clock->env}) : ();
    my @start = ({%first}, map { {} } 2 .. $option{machines} // 1);
    $self->{machines} = [map { Testing::Machine->start($store, %$_) } @start];
    $self->_connects($_) for 0 .. $#start;
    ($self->{page}, $self->{stranger}) =
        map { Testing::RoamingClient->open($self->{machines}[-1], path => $_) } '/state?channels=people,lobby',
        '/state?channels=offers';
    return $self;
}

# The clients read until a condition is true.
sub reads_until {
    my ($self, $condition, $seconds) = @_;
    return wait_until $seconds // $DEADLINE, sub {
        $_->has_gaps_now for @$self{qw(page stranger)}, map { $_->{client} } map { @$_ } values %{$self->{clients}};
        return $condition->();
    };
}

sub redis { return $_[0]{redis} }

# Replaces a machine's processes.
sub restarts {
    my ($self, $number) = @_;
    $self->{machines}[$number]->restart;
    return $self->_connects($number);
}

# Waits until the hubs of all machines, and the page, have the members of the open streams, for at most so many seconds if that
# is given; then, until they have the number of those who are only counted.
sub rests {
    my ($self, $seconds) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my @ids    = sort keys %{$self->{clients}};
    my $here   = join ' ', grep { !$self->{is_counted}{$_} } @ids;
    my $number = grep { $self->{is_counted}{$_} } @ids;
    $self->_shows("here are: $here", $here, \&_page, \&_listed, $seconds);
    $self->_shows("counted are $number", $number, \&_page_number, \&_number);
    return;
}

# Returns what the page was told of each member, in order, with its gaps.
sub told {
    my $self = shift;
    my %told;
    for my $block ($self->{page}->blocks) {
        my $event = $block->{event} // '';
        if ($event eq 'gap') { $_ .= ' gap' for values %told }
        next if $event !~ /\A(?:join|update|leave)\z/;
        my $id = _id($block);
        $told{$id} = defined $told{$id} ? "$told{$id} $event" : $event;
    }
    return %told;
}

# Connects to the hub of a machine, whose process a worker has started then.
sub _connects {
    my ($self, $number) = @_;
    my $machine = $self->{machines}[$number];
    my @store   = defined $self->{store} ? (store => $self->_store) : ();
    $machine->stats;
    $self->{hubs}{$number} = EventSource::Hub->new($machine->place, @store, publish_timeout => $ANSWER);
    return;
}

sub _id { return JSON::PP::decode_json($_[0]{data})->{id} }

# The members that a hub lists, and the number of those who are only counted.
sub _listed {
    my $hub = shift;
    return join ' ', map { $_->{id} } $hub->members('people');
}
sub _number { my $hub = shift; return $hub->members_count('lobby') }

# The same as a page has read of.
sub _page {
    my $self = shift;
    my %told = $self->told;
    return join ' ', sort grep { $told{$_} =~ /\b(?:join|update)\z/ } keys %told;
}

sub _page_number {
    my $self   = shift;
    my $number = 0;
    for my $block ($self->{page}->blocks) {
        my $event = $block->{event} // '';
        $number = $block->{data} if $event eq 'count';
        $number = 0              if $event eq 'gap';
    }
    return $number;
}

# The page and all hubs show the same.
sub _shows {
    my ($self, $name, $expected, $page, $hub, $seconds) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my @now;
    my $is_so = sub {
        @now = (
            $page->($self),
            map {
                my $of = $_;
                eval { $hub->($of) } // "$@"
            } values %{$self->{hubs}}
        );
        return !grep { $_ ne $expected } @now;
    };
    ok $self->reads_until($is_so, $seconds), $name or croak join "\n", 'instead of that:', @now, '';
    return;
}

# The setting of the store.
sub _store {
    my $self = shift;
    my $kind = $self->{store};
    return undef                                 if !defined $kind;
    return {file => "$self->{folder}/events.db"} if $kind eq 'file';
    $self->{redis} ||= Testing::Redis->start(
        appendonly => 'always',
        env        => {$self->{clock_of_redis} ? $self->{clock_of_redis}->env_of_redis : ()}
    );
    return {redis => $self->{redis}->url};
}

1;

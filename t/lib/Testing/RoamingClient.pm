package Testing::RoamingClient;
use Testing;

# A client that behaves as EventSource does: it keeps its last event ID, and connects again with it when its connection ends,
# to the same machine or to another one. It keeps all events that it has received as a whole.
#
#   my $client = Testing::RoamingClient->open($machines[0], channels => 'news');
#   ok $client->has('hello');
#   $client->move($machines[1]);
#   is_deeply [$client->data], [qw(hello again)];

use Carp                qw(croak);
use Testing::Client     ();
use Testing::Subscriber ();
use Time::HiRes         qw(sleep);

my $PAUSE = 0.05;    # seconds between two connections

# Returns all blocks with data: events and gaps, as hashes of their fields.
sub blocks {
    return grep { defined $_->{data} } $_[0]->_blocks;
}

# Returns the data of all events in their order, without gaps.
sub data {
    return map { $_->{data} } $_[0]->events;
}

# Returns all events: hashes of their fields, without gaps and positions.
sub events {
    return grep { defined $_->{data} && !_is_gap($_) } $_[0]->_blocks;
}

# Returns how often the client received a gap.
sub gaps {
    return scalar grep { _is_gap($_) } $_[0]->_blocks;
}

# Waits until an event with this data, or data that matches, has been received. Connects again as often as need be.
sub has {
    my ($self, $data) = @_;
    return $self->_waits(
        sub {
            grep { ref $data ? /$data/ : $_ eq $data } $self->data;
        }
    );
}

# Reads what is there, and returns how often the client received a gap.
sub has_gaps_now {
    my $self = shift;
    $self->_read;
    return $self->gaps;
}

# Waits until the client has received so many gaps.
sub has_gaps {
    my ($self, $count) = @_;
    return $self->_waits(sub { $self->gaps >= $count });
}

# As `move`, but waits for nothing.
sub head_for {
    my ($self, $to) = @_;
    $self->leave;
    $self->{to}          = $to;
    $self->{connections} = 0;
    $self->_read;
    return $self;
}

# Returns the ids of all events in their order, without gaps.
sub ids {
    return map { $_->{id} } $_[0]->events;
}

# Returns the client's last event ID.
sub last_id {
    my @ids = grep { defined } map { $_->{id} } $_[0]->_blocks;
    return $ids[-1];
}

# Disconnects.
sub leave {
    my $self   = shift;
    my $client = delete $self->{client} or return;
    push @{$self->{received}}, Testing::Subscriber::blocks($client->text) if defined $client->status;
    $client->leave;
    return;
}

# Disconnects, connects to another machine, or a port, and waits for the position of the stream.
sub move {
    my ($self, $to) = @_;
    $self->head_for($to);
    $self->_waits(sub { $self->{client} && Testing::Subscriber::blocks($self->{client}->text) })
        or croak 'RoamingClient: no position';
    return $self;
}

# Returns what a page has that keeps the state: data is KEY=VALUE.
sub page {
    my $self = shift;
    my %page;
    for my $block (grep { defined $_->{data} } $self->_blocks) {
        %page = ()                   if _is_gap($block);
        delete $page{$block->{data}} if ($block->{event} // '') eq 'forget';
        $page{$1} = $2               if $block->{data} =~ /\A(\w+)=(.*)\z/s;
    }
    return \%page;
}

# Connects to a machine, and waits for the position of the stream. The topics are `channels` and `patterns`, as lists with
# commas; id, the last event ID that the client begins with; path, another path.
sub open {
    my ($class, $machine, %option) = @_;
    my ($id, $path) = delete @option{qw(id path)};
    my @received = defined $id ? {id => $id} : ();
    my $self     = bless {path => $path // Testing::Machine->path_of(%option), received => \@received}, $class;
    return $self->move($machine);
}

sub _blocks {
    my $self   = shift;
    my $client = $self->{client};
    return (@{$self->{received}}, $client && defined $client->status ? Testing::Subscriber::blocks($client->text) : ());
}

sub _connect {
    my $self = shift;
    sleep $PAUSE if $self->{connections}++;
    my $id   = $self->last_id;
    my $port = ref $self->{to} ? $self->{to}->port : $self->{to};
    $self->{client} =
        eval { Testing::Client->get($port, $self->{path}, headers => [defined $id ? ('Last-Event-ID' => $id) : ()]); };
    return;
}

sub _is_gap { return ($_[0]{event} // '') eq 'gap' }

# Reads, and connects again if the connection has ended.
sub _read {
    my $self = shift;
    $self->leave                                         if $self->{client} && $self->{client}->ended;
    $self->_connect                                      if !$self->{client};
    eval { $self->{client}->read_until(qr/\z.^/, 0.01) } if $self->{client};
    return;
}

sub _waits {
    my ($self, $condition) = @_;
    return wait_until($DEADLINE, sub { $self->_read; $condition->() });
}

1;

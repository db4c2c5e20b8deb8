package Live::Crowd;
use strict;
use warnings;

# Many clients of one server in one loop, and what they have seen together.

use IO::Poll;
use List::Util qw(max min sum0);
use Live::Crowd::Client;
use Time::HiRes qw(time);

my $TELL_EVERY  = 0.5;     # seconds
my $ARRIVE_OVER = 3;       # seconds in which the first of them come, one by one
my $DRAWN       = 1000;    # clients of which it is told whether they are connected

sub new {
    my ($class, %param) = @_;
    my ($host,  $port)  = $param{url} =~ m{\Ahttp://([^:/]+):([0-9]+)/?\z}
        or die "$param{url} is no address of a server, as http://127.0.0.1:5000 is\n";
    my $self    = bless {%param, poll => IO::Poll->new, is_stopped => !!0}, $class;
    my $now     = time;
    my $between = $self->{size} ? $ARRIVE_OVER / $self->{size} : 0;
    my %client  = (host => $host, port => $port, path => '/events', leave_every => $self->{leave_every});
    $self->{clients} = [map { Live::Crowd::Client->new(%client, at => $now + $_ * $between) } 0 .. $self->{size} - 1];
    return $self;
}

# Public methods

# Goes on until it is stopped, or the sub that is asked now and then says no.
sub run {
    my ($self, $may_go_on) = @_;
    my $next_tell = time;
    my $next_note = time + ($self->{size} && $self->{say_every} || 'inf');
    while (!$self->{is_stopped}) {
        $self->_turn($next_tell);
        my $now = time;
        if ($now >= $next_tell) {
            last if !$may_go_on->();
            $next_tell = $now + $TELL_EVERY;
            $self->{tell}->($self->seen);
        }
        if ($now >= $next_note) {
            $next_note = $now + $self->{say_every};
            $self->{say}->();
        }
    }
    return;
}

# What there is to tell, as a hash. `seats` has a 1 for each client that is connected.
sub seen {
    my $self    = shift;
    my @clients = @{$self->{clients}};
    my %seen    = map {
        my $name = $_;
        ($name => sum0(map { $_->{$name} } @clients))
    } qw(missed opened told twice);
    my $note = max(0, map { $_->number_of('notes') } @clients);
    return {
        %seen,
        size      => scalar @clients,
        connected => scalar(grep { $_->is_open } @clients),
        returns   => $seen{opened} - grep({ $_->{opened} } @clients),
        reached   => scalar(grep { $note && $_->number_of('notes') == $note } @clients),
        seats     => join('', map { $_->is_open ? 1 : 0 } @clients[0 .. min($DRAWN, scalar @clients) - 1]),
    };
}

sub stop {
    my $self = shift;
    $self->{is_stopped} = 1;
    return;
}

# Private methods

# Waits for something to do, and does it.
sub _turn {
    my ($self, $until) = @_;
    my ($poll, $now, $clients) = ($self->{poll}, time, $self->{clients});
    for my $client (grep { $_->is_due($now) } @$clients) {
        my $socket = $client->socket;
        if ($socket) { $self->_let_go($client, $socket) }    # it has had enough
        else {
            $socket = $client->connect($now) or next;
            $self->{by_number}{fileno $socket} = $client;
        }
    }
    for my $client (grep { $_->socket } @$clients) {
        $poll->mask($client->socket, $client->waits_for);
    }
    my $next = min($until, grep { defined } map { $_->{at} } @$clients);
    $poll->poll(max(0, $next - $now));
    for my $socket ($poll->handles) {
        next if !$poll->events($socket);
        my $client = $self->{by_number}{fileno $socket};
        $client->go_on(time);
        $self->_let_go($client, $socket) if !$client->socket;
    }
    return;
}

sub _let_go {
    my ($self, $client, $socket) = @_;
    $client->hang_up(time) if $client->socket;
    $self->{poll}->remove($socket);
    delete $self->{by_number}{fileno $socket};
    close $socket;
    return;
}

1;

package Live::Crowd;
use strict;
use warnings;

# Many clients of one server in one loop, and their statistics.

use IO::Poll;
use List::Util qw(max min sum0);
use Live::Crowd::Client;
use Time::HiRes qw(time);

my $REPORT_EVERY   = 0.5;     # seconds
my $CONNECT_WITHIN = 3;       # seconds over which the first connections are spread
my $SEATS          = 1000;    # clients whose state is part of the statistics

sub new {
    my ($class, %param) = @_;
    my ($host,  $port)  = $param{url} =~ m{\Ahttp://([^:/]+):([0-9]+)/?\z}
        or die "The server's URL must look like http://127.0.0.1:5000, not $param{url}\n";
    my $self    = bless {%param, poll => IO::Poll->new, is_stopped => !!0}, $class;
    my $now     = time;
    my $between = $self->{size} ? $CONNECT_WITHIN / $self->{size} : 0;
    my %client  = (host => $host, port => $port, path => '/events', leave_every => $self->{leave_every});
    $self->{clients} = [map { Live::Crowd::Client->new(%client, at => $now + $_ * $between) } 0 .. $self->{size} - 1];
    return $self;
}

# Public methods

# Runs until it is stopped or the given code, which is called twice a second, returns false.
sub run {
    my ($self, $may_go_on) = @_;
    my $next_report = time;
    my $next_note   = time + ($self->{size} && $self->{say_every} || 'inf');
    while (!$self->{is_stopped}) {
        $self->_turn($next_report);
        my $now = time;
        if ($now >= $next_report) {
            last if !$may_go_on->();
            $next_report = $now + $REPORT_EVERY;
            $self->{report}->($self->statistics);
        }
        if ($now >= $next_note) {
            $next_note = $now + $self->{say_every};
            $self->{say}->();
        }
    }
    return;
}

# Returns the statistics as a hash. `reached` counts the clients that have the newest note; `seats` has a 1 for each
# client that is connected and a 0 for each other.
sub statistics {
    my $self    = shift;
    my @clients = @{$self->{clients}};
    my %sum     = map {
        my $name = $_;
        ($name => sum0(map { $_->{$name} } @clients))
    } qw(gaps missed opened twice);
    my $note = max(0, map { $_->number_of('notes') } @clients);
    return {
        %sum,
        size      => scalar @clients,
        connected => scalar(grep { $_->is_open } @clients),
        returns   => $sum{opened} - grep({ $_->{opened} } @clients),
        reached   => scalar(grep { $note && $_->number_of('notes') == $note } @clients),
        seats     => join('', map { $_->is_open ? 1 : 0 } @clients[0 .. min($SEATS, scalar @clients) - 1]),
    };
}

sub stop {
    my $self = shift;
    $self->{is_stopped} = 1;
    return;
}

# Private methods

# Waits until a client or the given time is due, and runs what is due.
sub _turn {
    my ($self, $until) = @_;
    my ($poll, $now, $clients) = ($self->{poll}, time, $self->{clients});
    for my $client (grep { $_->is_due($now) } @$clients) {
        my $socket = $client->socket;
        if ($socket) { $self->_disconnect($client, $socket) }
        else {
            $socket = $client->connect($now) or next;
            $self->{by_number}{fileno $socket} = $client;
        }
    }
    for my $client (grep { $_->socket } @$clients) {
        $poll->mask($client->socket, $client->poll_events);
    }
    my $next = min($until, grep { defined } map { $_->{at} } @$clients);
    $poll->poll(max(0, $next - $now));
    for my $socket ($poll->handles) {
        next if !$poll->events($socket);
        my $client = $self->{by_number}{fileno $socket};
        $client->handle_ready(time);
        $self->_disconnect($client, $socket) if !$client->socket;
    }
    return;
}

sub _disconnect {
    my ($self, $client, $socket) = @_;
    $client->hang_up(time) if $client->socket;
    $self->{poll}->remove($socket);
    delete $self->{by_number}{fileno $socket};
    close $socket;
    return;
}

1;

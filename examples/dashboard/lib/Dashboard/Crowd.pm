package Dashboard::Crowd;
use strict;
use warnings;

# Many clients of one server in one loop, and what they have seen together.

use Dashboard::Crowd::Client;
use HTTP::Tiny;
use IO::Poll;
use List::Util  qw(max min sum0);
use Time::HiRes qw(time);

my $TELL_EVERY  = 0.5;     # seconds
my $RATE_OVER   = 10;      # seconds over which a rate is taken
my $ARRIVE_OVER = 3;       # seconds in which the first of them come, one by one
my $DRAWN       = 1000;    # clients of which it is told who serves them

sub new {
    my ($class, %param) = @_;
    my ($host,  $port)  = $param{url} =~ m{\Ahttp://([^:/]+):([0-9]+)/?\z}
        or die "$param{url} is no address of a server, as http://127.0.0.1:5000 is\n";
    my $self    = bless {%param, poll => IO::Poll->new, rates => [], is_stopped => !!0}, $class;
    my $now     = time;
    my $between = $self->{size} ? $ARRIVE_OVER / $self->{size} : 0;
    $self->{clients} = [
        map {
            Dashboard::Crowd::Client->new(host => $host, port => $port, path => '/events', at => $now + $_ * $between)
        } 0 .. $self->{size} - 1
    ];
    return $self;
}

# Public methods

# Goes on until it is stopped, or the sub that is asked now and then says no.
sub run {
    my ($self, $may_go_on) = @_;
    my $next_tell = time;
    my $next_line = time + ($self->{say_every} || 'inf');
    while (!$self->{is_stopped}) {
        $self->_turn($next_tell);
        my $now = time;
        if ($now >= $next_tell) {
            last if !$may_go_on->();
            $next_tell = $now + $TELL_EVERY;
            $self->{tell}->($self->seen($now));
        }
        if ($now >= $next_line) {
            $next_line = $now + $self->{say_every};
            $self->_say;
        }
    }
    return;
}

# What there is to tell, as a hash.
sub seen {
    my ($self, $now) = @_;
    my @clients = @{$self->{clients}};
    my %seen    = map {
        my $name = $_;
        ($name => sum0(map { $_->{$name} } @clients))
    } qw(events gaps duplicates opened);
    my $line    = max(0, map { $_->{line} // 0 } @clients);
    my %workers = map  { ($_->worker => 1) } grep { $_->worker } @clients;
    my @workers = sort { $a <=> $b } keys %workers;
    @workers{@workers} = 0 .. $#workers;
    my @drawn = @clients[0 .. min($DRAWN, scalar @clients) - 1];
    return {
        %seen,
        size      => scalar @clients,
        connected => scalar(grep { $_->is_open } @clients),
        rate      => $self->_rate($now, $seen{events}),
        returns   => $seen{opened} - grep({ $_->{opened} } @clients),
        line      => $line,
        reached   => scalar(grep { $line && ($_->{line} // 0) == $line } @clients),
        workers   => \@workers,
        served_by => [map { $_->worker ? $workers{$_->worker} : -1 } @drawn],
    };
}

sub stop {
    my $self = shift;
    $self->{is_stopped} = !!1;
    return;
}

# Private methods

# Events a second, over the last few.
sub _rate {
    my ($self, $now, $events) = @_;
    my $rates = $self->{rates};
    push @$rates, [$now, $events];
    shift @$rates while $rates->[0][0] < $now - $RATE_OVER;
    my $seconds = $now - $rates->[0][0];
    return $seconds > 0 ? ($events - $rates->[0][1]) / $seconds : 0;
}

# One of them writes what all will read.
sub _say {
    my $self   = shift;
    my $number = 1 + int rand $self->{size};
    my $client = HTTP::Tiny->new(agent => 'crowd', keep_alive => 0, timeout => 1);
    $client->post("$self->{url}/log", {content => "Hello from client $number of the crowd"});
    return;
}

# Waits for something to do, and does it.
sub _turn {
    my ($self, $until) = @_;
    my ($poll, $now, $clients) = ($self->{poll}, time, $self->{clients});
    for my $client (grep { $_->is_due($now) } @$clients) {
        my $socket = $client->connect($now) or next;
        $self->{by_number}{fileno $socket} = $client;
    }
    for my $client (grep { $_->socket } @$clients) {
        $poll->mask($client->socket, $client->waits_for);
    }
    my $next = min($until, grep { defined } map { $_->{at} } @$clients);
    $poll->poll(max(0, $next - $now));
    for my $socket ($poll->handles) {
        next if !$poll->events($socket);
        my $number = fileno $socket;
        my $client = $self->{by_number}{$number};
        $client->go_on(time);
        next if $client->socket;
        $poll->remove($socket);
        delete $self->{by_number}{$number};
        close $socket;
    }
    return;
}

1;

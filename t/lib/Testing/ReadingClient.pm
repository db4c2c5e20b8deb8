package Testing::ReadingClient;
use strict;
use warnings;

# Runs an EventSource::Client as an application does: in calls of next, or in the event loop of a library.
#
#   for my $way (Testing::ReadingClient->ways) {
#       my $seen = Testing::ReadingClient->read($way, {url => $url, retry => 1}, 3);    # until 3 events have come, or the end
#   }
#
# Returns a hash: events, errors (codes), opened (a count), closed (true if it has closed itself), client.

use EventSource::Client;
use Testing::Deadline  qw($DEADLINE);
use Testing::Developer qw(needs_module);
use Time::HiRes        qw(time);

my @IN_LOOPS = qw(AnyEvent::HTTP Mojo::UserAgent Net::Async::HTTP);

# How the loop of each library runs until it is stopped, and how it is stopped.
my %LOOP = (
    'AnyEvent::HTTP' => {
        run => sub {
            my $cv    = $_[0]{cv} = AnyEvent->condvar;
            my $timer = AnyEvent->timer(after => $DEADLINE, cb => $cv);
            $cv->recv;
        },
        stop => sub { $_[0]{cv}->send },
    },
    'Mojo::UserAgent' => {
        run => sub {
            my $timer = Mojo::IOLoop->timer($DEADLINE => sub { Mojo::IOLoop->stop });
            Mojo::IOLoop->start;
            Mojo::IOLoop->remove($timer);
        },
        stop => sub { Mojo::IOLoop->stop },
    },
    'Net::Async::HTTP' => {
        run => sub {
            my $loop  = IO::Async::Loop->new;
            my $timer = $loop->watch_time(after => $DEADLINE, code => sub { $loop->stop });
            $loop->run;
            $loop->unwatch_time($timer);
        },
        stop => sub { IO::Async::Loop->new->stop },
    },
);

# Public methods

# The ways that a test goes: next, and the name of each library.
sub ways {
    needs_module($_) for @IN_LOOPS;
    return ('next', @IN_LOOPS);
}

sub read {
    my ($class, $way, $option, $wanted) = @_;
    my %seen = (events => [], errors => [], opened => 0);
    my %on   = (
        on_open  => sub { $seen{opened}++ },
        on_error => sub { push @{$seen{errors}}, $_[1]->code },
    );
    my $is_done = sub { $seen{closed} || defined $wanted && @{$seen{events}} >= $wanted };
    return $class->_read_blocking({%on, %$option}, \%seen, $is_done) if $way eq 'next';
    my $loop = $LOOP{$way};
    my %turn;
    my $look = sub { $loop->{stop}->(\%turn) if $is_done->() };
    $on{on_event} = sub { push @{$seen{events}}, $_[1]; $look->() };
    $on{on_close} = sub { $seen{closed} = 1;            $look->() };
    $seen{client} = EventSource::Client->new(%on, via => $way, %$option);
    EV::now_update() if $INC{'EV.pm'};    # its timers count from the last turn of the loop, which may be long ago
    $loop->{run}->(\%turn);
    return \%seen;
}

# Private methods

sub _read_blocking {
    my ($class, $option, $seen, $is_done) = @_;
    my $client   = $seen->{client} = EventSource::Client->new($option);
    my $deadline = time + $DEADLINE;
    while (!$is_done->() && time < $deadline) {
        my $event = eval { $client->next($deadline - time) };
        push @{$seen->{events}}, $event if $event;
        $seen->{closed} = 1 if $client->state eq 'closed';
    }
    return $seen;
}

1;

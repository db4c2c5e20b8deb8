package Testing::ReadingClient;
use Testing;

# Runs an EventSource::Client as an application does: in calls of next, or in the event loop of a library.
#
#   for my $way (Testing::ReadingClient->ways) {
#       my $seen = Testing::ReadingClient->read($way, {url => $url, retry => 1}, 3);    # until 3 events have come, or the end
#   }
#
# A fourth argument is a function that an event loop calls every moment.
#
# Returns a hash: events, errors (codes), opened (a count), closed (true if it has closed itself), client.

use EventSource::Client;
use Testing::Developer  qw(needs_module);
use Testing::SideBySide qw(run_each);
use Time::HiRes         qw(time);

my $MOMENT   = 0.01;                                                  # seconds
my @IN_LOOPS = qw(AnyEvent::HTTP Mojo::UserAgent Net::Async::HTTP);

# How the loop of each library runs until a function returns true, asked every moment, but not beyond the deadline.
my %RUN = (
    'AnyEvent::HTTP' => sub {
        my $is_done = shift;
        my $cv      = AnyEvent->condvar;
        my $timer   = AnyEvent->timer(interval => $MOMENT, cb => sub { $cv->send if $is_done->() });
        $cv->recv;
    },
    'Mojo::UserAgent' => sub {
        my $is_done = shift;
        my $timer   = Mojo::IOLoop->recurring($MOMENT => sub { Mojo::IOLoop->stop if $is_done->() });
        Mojo::IOLoop->start;
        Mojo::IOLoop->remove($timer);
    },
    'Net::Async::HTTP' => sub {
        my $is_done = shift;
        my $loop    = IO::Async::Loop->new;
        my $look;
        $look = sub { $is_done->() ? $loop->stop : $loop->watch_time(after => $MOMENT, code => $look) };
        $look->();
        $loop->run;
        undef $look;
    },
);

# The ways that a test goes: next, and the name of each library.
sub ways {
    needs_module($_) for @IN_LOOPS;
    return ('next', @IN_LOOPS);
}

# Makes a subtest of each case, with each of the ways at the same time. A case is a name and a function, which is given one that
# reads: its arguments are those of read after the way.
sub run_cases {
    my ($class, @cases) = @_;
    my $run = sub {
        my $way = shift;
        for my $case (@cases) {
            my ($name, $code) = @$case;
            subtest $name => sub {
                $code->(sub { $class->read($way, @_) });
            };
        }
    };
    return run_each([$class->ways] => $run);
}

# Runs the event loop of a library until a function returns true.
sub run { return $RUN{$_[1]}->($_[2]) }

sub read {
    my ($class, $way, $option, $wanted, $meanwhile) = @_;
    my %seen = (events => [], errors => [], opened => 0);
    my %on   = (
        on_open  => sub { $seen{opened}++ },
        on_error => sub { push @{$seen{errors}}, $_[1]->code },
    );
    my $deadline = time + $DEADLINE;
    my $is_done  = sub {
        $meanwhile->() if $meanwhile;
        return $seen{closed} || time > $deadline || defined $wanted && @{$seen{events}} >= $wanted;
    };
    return $class->_read_blocking({%on, %$option}, \%seen, $is_done) if $way eq 'next';
    $on{on_event} = sub {
        push @{$seen{events}}, $_[1];
        $_[0]->pause if defined $wanted && @{$seen{events}} == $wanted;
    };
    $on{on_close} = sub { $seen{closed} = 1 };
    $seen{client} = EventSource::Client->new(%on, via => $way, %$option);
    $RUN{$way}->($is_done);
    return \%seen;
}

sub _read_blocking {
    my ($class, $option, $seen, $is_done) = @_;
    my $client = $seen->{client} = EventSource::Client->new($option);
    while (!$is_done->()) {
        my $event = eval { $client->next($DEADLINE) };
        push @{$seen->{events}}, $event if $event;
        $seen->{closed} = 1 if $client->state eq 'closed';
    }
    return $seen;
}

1;

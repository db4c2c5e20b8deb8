# A lease that is asked for while the hub process does not answer is asked for again: in an event loop whose time is older than
# the clock, since the program was busy.

use lib 't/lib';
use Testing            qw(named_hubs);
use Testing::Developer qw(needs_module);
use EventSource::Hub;
use EventSource::Hub::Lease;
use Testing::Process qw(suspend);
use Testing::StoredHub;

needs_module('EV');
needs_module('AnyEvent');
AnyEvent::detect();

my $started = Testing::StoredHub->start(undef, publish_timeout => 0.2);
my $hub     = $started->hub;
$hub->publish(news => 'the process runs');
my $pid = $hub->stats->{process}{pid};

# Another object has no connection yet. The loop has not run since EV was loaded, so its time is older than the clock.
my $other = $started->again;
suspend($pid);
my $done = AnyEvent->condvar;
my @said;
local $SIG{__WARN__} = sub { push @said, @_ };
my $lease = EventSource::Hub::Lease->new(hub => $other, name => 'one', on_change => sub { $done->send(1) });
is $lease->is_held, !!0, 'nobody has the lease while the process does not answer';
my $continue = AnyEvent->timer(after => 1.5,       cb => sub { kill CONT => $pid });    # after the next attempt
my $deadline = AnyEvent->timer(after => $DEADLINE, cb => sub { $done->send(0) });
ok $done->recv, 'it is asked for again' or diag @said;

done_testing;

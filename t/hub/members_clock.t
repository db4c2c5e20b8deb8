# A clock that steps makes no member of a hub leave, and none stay: the monotonic clock says how long a member lingers.

use lib 't/lib';
use Testing qw(native named_hubs FakeClock);
use EventSource::Hub;
use Test::EventSource qw(members_are);
use Testing::Subscriber;

my $DAY = 86_400;    # seconds

my $folder = new_folder;
my $clock  = Testing::FakeClock->new(0);
my $hub    = EventSource::Hub->new(name => 'clock', socket => "$folder/hub.sock", idle_exit => 1);
my $begun  = do {
    local %ENV = (%ENV, $clock->env);
    eval { $hub->epoch };
};
plan skip_all => 'eventsource-hub is not built here' if !$begun;

sub stream_of {
    my ($id, $leave_after) = @_;
    return Testing::Subscriber->open($hub, 'news',
        {member => {id => $id, channel => 'people', leave_after => $leave_after}});
}

my $ann = stream_of('ann', 0);
my $bob = stream_of('bob', $DAY / 2);
members_are($hub, 'people', ['ann', 'bob'], 'two are here');
$bob->conn->close;
ok wait_until(10, sub { !($hub->members('people'))[1]{streams} }), 'one of them has no stream any more';
for my $step ($DAY, -$DAY) {
    $clock->step($step);
    my $new = stream_of('new', 0.5);
    members_are($hub, 'people', ['ann', 'bob', 'new'], "$step seconds: another one comes");
    my ($since) = map { $_->{since} } grep { $_->{id} eq 'new' } $hub->members('people');
    cmp_ok abs($since - time - $step), '<', $DAY / 4, 'by the clock of then';
    $clock->step(-$step);
    $new->conn->close;
    members_are($hub, 'people', ['ann', 'bob'], 'and leaves; one stays whose time is not over');
}
$ann->conn->close;
members_are($hub, 'people', ['bob'], 'a stream that ends is noticed');
stream_of('bob', 0)->conn->close;
members_are($hub, 'people', [], 'nobody is left');
done_testing;

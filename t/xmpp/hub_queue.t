# The events that wait for the hub: while its process takes none, they are kept, in their order, up to a bound; then each is
# published once. Without a service.

use lib 't/lib';
use Testing            qw(named_hubs);
use Testing::Developer qw(needs_module);
use Testing::Process   qw(suspend);
use Testing::StoredHub;

needs_module($_) for qw(AnyEvent AnyEvent::XMPP::Node);
require AnyEvent;
require AnyEvent::XMPP::Node;
require AnyEvent::XMPP::Parser;
require EventSource::XS::XMPP::Event;
require EventSource::XS::XMPP::HubQueue;
require EventSource::XS::XMPP::Options;
require EventSource::XS::XMPP::Positions;
AnyEvent::detect();

my $started = Testing::StoredHub->start(undef, publish_timeout => 0.2);
my $hub     = $started->hub;
wait_until $DEADLINE, sub {
    eval { $hub->publish(other => 'the process runs') }
} or die "the hub process does not run: $@";
my $pid = $hub->stats->{process}{pid};

my @reported;
my $options = EventSource::XS::XMPP::Options->new(
    hub      => $hub,
    service  => 'pubsub.example.test',
    nodes    => ['news'],
    jid      => 'bridge.example.test',
    password => 'secret',
    report   => sub { push @reported, $_[0] },
    format   => sub { return $_[0]{id} eq 'bad' ? die "on purpose\n" : $_[0]{id} },
);
my $positions = EventSource::XS::XMPP::Positions->load($options);
my $queue     = EventSource::XS::XMPP::HubQueue->new($options, $positions);
my $parser    = AnyEvent::XMPP::Parser->new;

# An item with a payload of so many bytes or more.
sub item {
    my ($id, $bytes) = @_;
    my $payload = AnyEvent::XMPP::Node->new('urn:x', 'x', {}, $parser);
    return EventSource::XS::XMPP::Event->new(
        kind    => 'item',
        node    => 'news',
        id      => $id,
        payload => $payload,
        digest  => "digest of $id",
        xml     => 'x' x ($bytes || 1),
    );
}

# How many events of the node the hub has.
sub published {
    my $count = 0;
    $hub->process->channels('news', sub { $count = $_[0]{events} });
    return $count;
}

# Runs the event loop until the condition is true.
sub runs_until {
    my $condition = shift;
    my $done      = AnyEvent->condvar;
    my $deadline  = AnyEvent->timer(after => $DEADLINE, cb => sub { $done->send(0) });
    my $check     = AnyEvent->timer(after => 0, interval => 0.02, cb => sub { $done->send(1) if $condition->() });
    return $done->recv;
}

$queue->append(item(1), item('bad'), item(2));
ok $queue->is_empty, 'what the hub takes does not wait';
is published(), 2, 'an item whose format dies is left out';
is_deeply \@reported, ['the item bad of the node news is not published: on purpose'], 'and reported';
@reported = ();

suspend($pid);
$queue->append(item(3));
ok !$queue->is_empty, 'what the hub does not take waits';
like "@reported", qr/\Athe hub takes no events: /, 'which is reported';
$queue->append(map { item($_) } 4 .. 300);
ok !$queue->is_full,                 'little may wait';
ok !$queue->has_deletion_of('news'), 'no deletion waits';
$queue->append(EventSource::XS::XMPP::Event->new(kind => 'delete', node => 'news'));
ok $queue->has_deletion_of('news'),   'a deletion that waits is known';
ok !$queue->has_deletion_of('other'), 'of its node';
$queue->append(item('large', 8 << 20));
ok $queue->is_full, 'more than 8 MiB may not wait';
is scalar @reported, 1, 'and the hub was asked once meanwhile';

kill CONT => $pid;
ok runs_until(sub { $queue->is_empty }), 'when the hub takes them, all are published';
is published(), 302, 'each once';
ok !$queue->is_full, 'and there is room again';

suspend($pid);
$queue->append(map { item("before the end $_") } 1 .. 10);
$queue->close;
kill CONT => $pid;
ok $queue->is_empty, 'a queue that is closed is empty';
$queue->append(item('last'));
ok runs_until(sub { $queue->is_empty }), 'what comes then is published';
cmp_ok published(), '<=', 302 + 2, 'and of before at most the event that was on its way';

done_testing;

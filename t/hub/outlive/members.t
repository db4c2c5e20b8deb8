# Members of a named hub on six servers: they stay while workers are recycled, replaced and killed and the hub process is
# upgraded, native ones and those on the server's writer, and twenty tabs are one. Nobody is left when the hub process was
# killed or drained.

use lib 't/lib';
use Testing qw(Outlive=HTTP::Server::PSGI);
use EventSource::Hub::Process;
use Testing::Client;
use Testing::Developer qw(needs);
use Testing::Process   qw(is_running);
use Testing::Server;
use Testing::SideBySide qw(run_each);
use Testing::Fork       qw(in_child);
use Testing::Subscriber;
use Time::HiRes qw(sleep);

my $DEADLINE = 20;    # seconds
my $TABS     = 20;
my $CROWD    = 60;

# The members, each with the number of its streams.
sub here {
    my $hub = shift;
    return join ' ', map { "$_->{id}:$_->{streams}" } $hub->members('people');
}

sub has {
    my ($hub, $here, $name) = @_;
    wait_until($DEADLINE, sub { here($hub) eq $here });
    return is here($hub), $here, $name;
}

sub told {
    my ($page, $count) = @_;
    return join ' ', map { $_->{event} // $_->{data} } grep { defined $_->{data} } $page->blocks_at($count);
}

sub test {
    my $name = shift;
    needs(Testing::Server->missing($name));
    my %how  = Testing::Outlive->how($name);
    my $self = Testing::Outlive->start($name, %how, by_hand => 1, endless => $how{recycle});
    my $hub  = $self->hub;
    my $page = Testing::Subscriber->open($hub, 'people');
    ok $page->position, 'a page follows, before the first member comes';
    my @tabs = map { $self->open('/hub?member=ann') } 2 .. $TABS;
    my $bob  = $self->open('/filtered?member=bob');
    my $will = $self->open('/will');
    ok wait_until($DEADLINE, sub { $self->relays == 1 }), 'a process has taken the stream on the writer over';
    workers_go_ok($self, 'workers are recycled', @tabs, $bob, $will) if $how{recycle};
    push @tabs, $self->open('/hub?member=ann');
    has $hub, "ann:$TABS bob:1", 'streams of both kinds have members';

    if ($how{reload}) {
        kill $how{reload} => $self->{server}->pid;
        workers_go_ok($self, 'the master replaces its workers', $tabs[-1]);
        has $hub, "ann:$TABS bob:1", 'the streams of workers that were replaced are open';
    }
    $self->{server}->restart('KILL');
    workers_go_ok($self, 'the workers are killed', @tabs, $bob, $will);
    $_->{client}->leave for @tabs[1 .. $TABS - 1];
    has $hub, 'ann:1 bob:1', 'tabs are closed';
    EventSource::Hub::Process->upgrade(name => 'test', socket => $self->{socket});
    has $hub, 'ann:1 bob:1', 'the hub process continues as another program';
    is told($page, 2), 'join join', 'nobody was told of all that';
    $_->{client}->leave for $bob, $will;
    like told($page, 4), qr/\Ajoin join (?:leave the will|the will leave)\z/,
        'a client leaves, and a will is published';
    has $hub, 'ann:1', 'the others stay';
    leave_during_upgrade_ok($self, $hub);
    kill KILL => $hub->stats->{process}{pid};
    ok $tabs[0]{client}->read_all($DEADLINE), 'the streams end with the hub process';
    $self->start_hub(60);
    has $hub, '', 'the next one begins with nobody';
    my $again = $self->open('/hub?member=ann');
    has $hub, 'ann:1', 'who comes back is here';
    $page->conn->close;
    $hub->drain(0);
    ok $again->{client}->read_all($DEADLINE), 'the streams of a hub that is drained end';
    my $late = Testing::Client->get($self->{server}->port, '/hub?member=bob');
    ok $late->read_all($DEADLINE), 'and so does one that begins then';
    has $hub, '', 'nobody is here';
    $self->end;
    return;
}

# Waits until the workers that have opened these streams have gone. Requests have workers recycled.
sub workers_go_ok {
    my ($self, $what, @streams) = @_;
    my $goes = sub {
        $self->ask('/plain');
        return !grep { is_running($_->{worker}) } @streams;
    };
    return ok wait_until($DEADLINE, $goes), $what;
}

# Clients leave one after the other while the hub process is replaced: before, meanwhile and after.
sub leave_during_upgrade_ok {
    my ($self, $hub) = @_;
    my @crowd = map { $self->open("/hub?member=c$_") } 1 .. $CROWD;
    ok wait_until($DEADLINE, sub { $hub->members_count('people') == 1 + $CROWD }), 'a crowd comes';
    my %place = (name => 'test', socket => $self->{socket});
    my $ended = in_child(sub { EventSource::Hub::Process->upgrade(%place); 'upgraded' });
    for my $stream (@crowd) {
        $stream->{client}->leave;
        sleep 0.002;
    }
    is $ended->(), 'upgraded', 'and leaves while the hub process is upgraded';
    has $hub, 'ann:1', 'nobody of it is here';
    return;
}

run_each([Testing::Server->names] => \&test);
done_testing;

# A hub in a process of its own, for a server with several processes.
#
#   /hub       a stream of the channel news
#   /state     a stream that begins with the state of the channel stock
#   /handler   a stream whose handler pushes, subscribes and pushes; a line of JOURNAL says when it has ended
#   /later     pushes one event to the stream of /handler in this worker
#   /publish   publishes an event with the data of the query, and returns its id
#   /try       publishes as /publish does, and returns the code of the exception if there is one
#   /stats     the number of subscribers to news
#   /drop      ends the stream of /handler in this worker
#
# Each response has the id of its process as X-Worker.

use Testing::Application qw(answer with_worker);
use EventSource::Hub;
use Plack::App::EventSource;
use Plack::Builder;

my $hub = EventSource::Hub->new(
    name      => 'test',
    socket    => $ENV{HUB_SOCKET},
    idle_exit => 1,
    grace     => 60,
    defined $ENV{HUB_NATIVE} ? (native => $ENV{HUB_NATIVE}) : (),
);
my $held;

sub note_end {
    my $reason = shift;
    open my $journal, '>>', $ENV{JOURNAL} or die "$ENV{JOURNAL}: $!\n";
    syswrite $journal, "$$ $reason\n";
    return;
}

sub handle {
    my $conn = shift;
    $conn->on_close(sub { my (undef, $reason) = @_; note_end($reason) });
    $conn->push('first');
    $hub->subscribe($conn, 'news');
    $conn->push({event => 'own', data => 'second'});
    $held = $conn;
    return;
}

builder {
    enable \&with_worker;
    mount '/hub'     => $hub->to_app(channels => sub { return 'news' });
    mount '/state'   => $hub->to_app(channels => sub { return 'stock' }, start => 'state');
    mount '/handler' => Plack::App::EventSource->new(handler_cb => \&handle)->to_app;
    mount '/later'   => sub { return answer($held ? $held->push({event => 'own', data => 'third'}) : 'none') };
    mount '/publish' => sub { my $env = shift; return answer($hub->publish(news => $env->{QUERY_STRING})) };
    mount '/try'     => sub {
        my $env = shift;
        my $id  = eval { $hub->publish(news => $env->{QUERY_STRING}) };
        return answer(defined $id ? $id : ref $@ ? $@->code : $@);
    };
    mount '/stats' => sub { return answer($hub->subscribers('news')) };
    mount '/drop'  => sub { $held->close if $held; undef $held; return answer('closed') };
};

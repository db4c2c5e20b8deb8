# An EventSource::Server whose hub has a hub process, for a server with several processes.
#
#   /events    its streams; each run of the supply is a line of JOURNAL, and in an event loop it emits numbered events
#   /emit      emits an event with the data of the query
#   /supplies  emits an event through the emitter of the supply, if this worker runs it
#   /handle    a server whose supply is a filehandle
#   /stop      stops the server if this is the worker of the query
#
# With NOTIFY an idle worker runs callbacks at a signal. Each response has the id of its process as X-Worker.

use Testing::Application qw(answer with_worker);
use EventSource::Server;
use EventSource::XS::Loop;
use Plack::Builder;

my @PROCESS = (name => 'test', socket => $ENV{HUB_SOCKET}, idle_exit => 1, grace => 60);

my $emitter;

sub supply {
    $emitter = shift;
    open my $journal, '>>', $ENV{JOURNAL} or die "$ENV{JOURNAL}: $!\n";
    syswrite $journal, "$$\n";
    $emitter->emit(begun => $$);
    my $loop   = EventSource::XS::Loop->current(may_choose => 1) or return;
    my $number = 0;
    my $tick   = sub { $number++; $emitter->emit(tick => "$$-$number") };
    return $loop->every(0.02, $tick);
}

my $es = EventSource::Server->new(@PROCESS, supply => \&supply, retry => 50);
open my $lines, '<', $0 or die "$0: $!\n";
my $handle = EventSource::Server->new(@PROCESS, channel => 'lines', supply => $lines);

builder {
    enable \&with_worker;
    enable 'EventSource', $ENV{NOTIFY} ? (notify_signal => 'URG') : ();
    mount '/events' => $es;
    mount '/handle' => $handle;
    mount '/emit'   => sub { my $env = shift; return answer($es->emit($env->{QUERY_STRING}) // 'none') };
    mount '/supplies' =>
        sub { my $env = shift; return answer($emitter && $emitter->emit($env->{QUERY_STRING}) // 'none') };
    mount '/stop' => sub { my $env = shift; $es->stop if $env->{QUERY_STRING} == $$; return answer('done') };
};

# The application that t/examples/monitoring.t has a monitor read: the metrics of a named hub, with METRICS_TOKEN. HUB_SOCKET is
# where the hub process listens, OUTBOX_DSN a database with an outbox.
#
#   /metrics           what metrics_app says
#   /metrics/outbox    what that of the outbox says
#   /events            a stream of news
#   /publish           publishes an event, and answers with the process id of the worker

use Testing::Application qw(answer);
use DBI;
use EventSource::Hub;
use EventSource::Outbox;
use Plack::Builder;

my @hub     = (name => 'shop', socket => $ENV{HUB_SOCKET}, autostart => 0, keep_history => {bytes => 20_000_000});
my $hub     = EventSource::Hub->new(@hub);
my $outbox  = EventSource::Outbox->new(hub => $hub);
my $connect = sub { DBI->connect($ENV{OUTBOX_DSN}, undef, undef, {RaiseError => 1, PrintError => 0}) };

my @monitor = (allow => ['127.0.0.1'], token => $ENV{METRICS_TOKEN});

builder {
    mount '/metrics/outbox' => $outbox->metrics_app(@monitor, connect => $connect);
    mount '/metrics'        => $hub->metrics_app(@monitor, channels => ['news']);
    mount '/events'         => $hub->to_app(channels => sub { 'news' });
    mount '/publish'        => sub {
        $hub->publish(news => 'hello');
        return answer($$);
    };
};

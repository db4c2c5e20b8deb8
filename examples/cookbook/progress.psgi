# A job that one client has asked for: it runs in a child process, reports its progress, and ends when the client leaves.
use strict;
use warnings;

use EventSource::Hub;
use Plack::App::EventSource;
use Plack::Builder;
use Time::HiRes qw(sleep);

my $jobs = Plack::App::EventSource->new(
    handler_cb => sub {
        my ($conn) = @_;
        return $conn->finish(data => 'interrupted') if defined $conn->last_event_id;
        $conn->spawn(sub { work($conn); $conn->finish(data => 'done') }, max_children => 4)
            or $conn->finish(data => 'busy');
    },
)->to_app;

sub work {
    my $conn  = shift;
    my $steps = 20;
    for my $step (1 .. $steps) {
        sleep 0.1;    # the work
        $conn->push({event => 'progress', id => $step, data => $step / $steps});
    }
    return;
}

builder {
    mount '/job'    => $jobs;
    mount '/hub.js' => EventSource::Hub->script_app;
    mount '/'       => sub { [200, ['Content-Type' => 'text/html; charset=utf-8'], [<<'HTML']] };
<!doctype html>
<button id="start">Start</button> <progress id="bar" value="0"></progress> <span id="state"></span>
<script type="module">
import { connect } from '/hub.js'
start.onclick = () => {
  const job = connect('/job', {share: false})
  job.addEventListener('progress', event => bar.value = event.data)
  job.addEventListener('finish', event => state.textContent = event.data)
}
</script>
HTML
};

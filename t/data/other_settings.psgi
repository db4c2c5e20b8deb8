# An application whose hub has other settings than its hub process, which another program has started.

use Testing::Application;
use EventSource::Hub;

my $hub = EventSource::Hub->new(name => 'shop', gap_event => 'lost');
$hub->to_app(channels => sub { 'news' });    # the line that the log names

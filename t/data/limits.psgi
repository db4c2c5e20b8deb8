# Streams of a named hub with a limit of their key, the query, over several workers. Each response has its worker as X-Worker.

use Testing::Application;
use EventSource::Hub;

my $hub = EventSource::Hub->new(name => 'test', socket => $ENV{HUB_SOCKET}, idle_exit => 5, publish_timeout => 20);

$hub->to_app(
    channels        => sub { return 'news' },
    headers         => ['X-Worker' => $$],
    max_streams_per => [sub { return $_[0]{QUERY_STRING} || undef }, $ENV{HUB_LIMIT}],
);

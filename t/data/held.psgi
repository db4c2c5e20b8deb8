# A handler that subscribes to a named hub and runs until there is a file. It makes another one when it has subscribed. With
# /writer the stream is on the server's writer.

use Testing::Application;
use EventSource::Hub;
use Plack::App::EventSource;
use Plack::Builder;
use Testing::SourceTree qw(write_file);
use Time::HiRes         ();

my $folder = $ENV{HELD_FOLDER};
my $hub    = EventSource::Hub->new(name => 'test', socket => "$folder/hub.sock", idle_exit => 5, publish_timeout => 20);

sub app {
    my @option = @_;
    return Plack::App::EventSource->new(
        @option,
        handler_cb => sub {
            my $conn = shift;
            $hub->subscribe($conn, 'news');
            write_file("$folder/runs", '');
            Time::HiRes::sleep(0.01) until -e "$folder/ends";
        }
    )->to_app;
}

builder {
    mount '/writer' => app(native => 0);
    mount '/'       => app();
};

# Two hubs, one that shows the channel and the key of its events: /HUB/ps is where visitors publish, /HUB/events the stream,
# whose handler pushes what a visitor has written (push=..., by an event of the type event=...), and /asked says how many
# streams were asked for.

use Testing::Application qw(answer);
use EventSource::Hub;
use Plack::App::EventSource;
use Plack::App::EventSource::PubSub;
use Plack::Builder;
use Plack::Request;

my $asked = 0;

sub mounts {
    my ($name, @setting) = @_;
    my $hub = EventSource::Hub->new(per_process => 1, @setting);
    $hub->publish(room => {key => 'bolt', json => {item => 'bolt', left => 3}, retain => 1});
    mount "/$name/ps" => Plack::App::EventSource::PubSub->new(hub => $hub, authorize => sub { 1 })->to_app;
    mount "/$name/events" => $hub->to_app(
        start    => 'state',
        channels => sub { $asked++; 'room' },
        member   => sub { {id => 'ann', channel => 'room', json => {name => 'Ann'}} },
    );
    mount "/$name/pushed" => Plack::App::EventSource->new(
        handler_cb => sub {
            my ($conn, $env) = @_;
            my $query = Plack::Request->new($env)->query_parameters;
            $conn->push({event => $query->{event}, data => $query->{push}});
            $hub->subscribe($conn, 'room', {start => 'state'});
        }
    )->to_app;
    return;
}

builder {
    mounts('plain');
    mounts(shown => show_channel => 'data');
    mount '/asked' => sub { answer($asked) };
    mount '/'      => sub { [404, [], []] };
};

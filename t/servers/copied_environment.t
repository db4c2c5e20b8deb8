# Whoever copies the environment under Feersum takes its socket (EventSource::XS::Adapter::Feersum): the request has no
# answer, or another client receives it. What answers requests here does not copy it.

use lib 't/lib';
use Testing;
use Testing::Server;
use Testing::SourceTree qw(write_file);
use File::Temp          ();

my $folder = File::Temp->newdir;
write_file("$folder/app.psgi", <<'PERL');
use Testing::Application qw(answer);
use EventSource::Datastar;
use EventSource::Hub;
use Plack::Builder;
builder {
    mount '/admin'   => EventSource::Hub->new->admin_app(allow => sub { 1 });
    mount '/hub.js'  => EventSource::Hub->script_app;
    mount '/signals' => sub {
        my ($first, $again) = map { EventSource::Datastar->read_signals($_[0]) } 1, 2;
        return answer("$first->{count} $again->{count}");
    };
};
PERL

Testing::Server->require_or_skip_all('Feersum');
my $server = Testing::Server->start('Feersum', "$folder/app.psgi");
my $body   = '{"count":7}';

sub post {
    my $type   = shift;
    my $client = $server->get(
        '/signals',
        method  => 'POST',
        then    => $body,
        headers => ['Content-Length' => length $body, 'Content-Type' => $type, Connection => 'close']
    );
    $client->read_all;
    return $client->body;
}

my $script = $server->ask('/hub.js');
for my $turn (1, 2) {
    ok eq_array([$server->ask('/admin/eventsource-hub.js')], [$script]), "turn $turn: the admin page has its script";
    is post($_), '7 7', "turn $turn: signals are read from a body of the type $_"
        for 'application/json', 'multipart/form-data';
}
$server->stop;
unlike $server->log, qr/Bad file descriptor|DIED/, 'the server has its sockets';

done_testing;

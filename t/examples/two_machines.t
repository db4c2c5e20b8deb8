# Two machines behind nginx, with the files of examples/deployment/two_machines and one Redis: all clients receive what is
# published on either machine; when one machine ends, its clients come back through nginx to the other one and miss nothing.

use lib 't/lib';
use Testing                   qw(Machine Nginx Redis);
use EventSource::Hub::Process ();
use Testing::Client;
use Testing::Daemon;
use Testing::Process qw(stop_hub_process);
use Testing::RoamingClient;
use Testing::Server;
use Testing::SourceTree qw(slurp write_file);

my $FOLDER  = 'examples/deployment/two_machines';
my $CLIENTS = 8;

my $redis = Testing::Redis->start(password => 'secret');
my @homes = map { new_folder } 1, 2;
my @servers =
    map {
    Testing::Server->start(
        'Starman', "$FOLDER/app.psgi",
        workers => 2,
        env     => {REDIS_URL => $redis->url, EVENTSOURCE_RUNTIME_DIR => "$_"}
    )
    } @homes;
my $nginx = start_nginx();

# Starts nginx with the example's file: with the ports of this test, as one process, because the workers of root are another
# user's, and with everything that it writes in its folder.
sub start_nginx {
    my $daemon = Testing::Daemon->new('nginx');
    my $folder = $daemon->folder;
    my $text   = slurp("$FOLDER/nginx.conf");
    for my $edit (
        [qr/10[.]0[.]0[.]1:5000/, '127.0.0.1:' . $servers[0]->port],
        [qr/10[.]0[.]0[.]2:5000/, '127.0.0.1:' . $servers[1]->port],
        [qr/listen 80;/,          'listen 127.0.0.1:' . $daemon->port . ';'],
    ) {
        my ($pattern, $new) = @$edit;
        $text =~ s/$pattern/$new/ or die "nginx.conf has no $pattern\n";
    }
    my $places = join ' ', map { "${_}_temp_path $folder/$_;" } qw(client_body fastcgi proxy scgi uwsgi);
    write_file("$folder/nginx.conf",
        "daemon off; master_process off; pid $folder/pid; events {} http { access_log off; $places\n$text}\n");
    return $daemon->run({}, 'nginx', '-e', 'stderr', '-p', $folder, '-c', "$folder/nginx.conf");
}

# Publishes through a port. Returns the id, or the status.
sub publish {
    my ($port, $text, @headers) = @_;
    my $client = Testing::Client->post($port, '/publish', $text, 'Content-Type' => 'text/plain', @headers);
    return $client->status == 200 ? $client->body : $client->status;
}

# How many streams the hub of a machine has.
sub streams {
    my $home = shift;
    return EventSource::Hub::Process->connect(place_in($home), autostart => 0)->stats->{open};
}

sub place_in { return (name => 'shop', socket => "$_[0]/shop.sock") }

my @clients = map { Testing::RoamingClient->open($nginx->port, path => '/events') } 1 .. $CLIENTS;
my @streams = map { streams($_) } @homes;
is $streams[0] + $streams[1], $CLIENTS, 'all clients have a stream';
ok !(grep { !$_ } @streams), "both machines have some of them: @streams";

my @ids = map { publish($servers[$_ % 2]->port, "one $_") } 1 .. 6;
push @ids, map { publish($nginx->port, "through nginx $_") } 1 .. 4;
for my $client (@clients) {
    ok $client->has('through nginx 4'), 'a client receives the last event';
    is_deeply [$client->ids], \@ids, 'and all before, from both machines, once and in order';
}
is publish($nginx->port, 'through nginx 4', 'Idempotency-Key' => 'four'),
    publish($nginx->port, 'through nginx 4', 'Idempotency-Key' => 'four'), 'a repeated request publishes once';
push @ids, publish($nginx->port, 'through nginx 4', 'Idempotency-Key' => 'four');

for my $server (@servers) {
    my $client = Testing::Client->ask($server->port, '/health');
    is $client->status, 200, 'a machine reports that its store is up';
    unlike $client->body, qr/secret/, 'without the password';
}

# The first machine ends for good: its server, and its hub process.
$servers[0]->stop;
is stop_hub_process(place_in($homes[0])), undef, 'a machine ends';
push @ids, publish($servers[1]->port, 'meanwhile');
push @ids, publish($nginx->port,      'after');
for my $client (@clients) {
    ok $client->has('after'), 'a client is connected to the other machine';
    is_deeply [$client->ids], \@ids, 'it has received all events, once and in order';
    is $client->gaps, 0, 'and received no gap';
}
is streams($homes[1]), $CLIENTS, 'all streams are on the other machine';

$_->leave for @clients;
$_->stop for $nginx, @servers;
is stop_hub_process(place_in($homes[1])), undef, 'the other hub ends';
ok wait_until($DEADLINE, sub { !glob "{$homes[0],$homes[1]}/*.sock" }), 'no socket is left';

done_testing;

# The doctor comes back with the ticket of a stream, as a browser does, and says why the application is asked.

use lib 't/lib';
use Testing qw(named_hubs Nginx);
use EventSource::Hub::Process;
use Testing::Doctor qw(is_fine is_wrong);
use Testing::Program;
use Testing::Server;

my $folder = new_folder;
my ($socket, $http) = map { "$folder/$_" } qw(hub.sock http.sock);
my @option  = (qw(--name shop --socket), $socket, '--http', "unix:$http", qw(--grace 60 --idle-exit 60));
my $process = Testing::Program->new('eventsource-hub')->run({}, EventSource::Hub::Process->program, 'run', @option);
ok wait_until($DEADLINE, sub { -S $http }), 'the hub process listens';

my $server =
    Testing::Server->start('Starman', 't/data/doctor_tickets.psgi', workers => 3, env => {HUB_SOCKET => $socket});
my @nginx = (
    Testing::Nginx->start($server, [tickets => $http]),
    Testing::Nginx->start($server, [tickets => "$folder/none"]),
    Testing::Nginx->start($server, 'bare', 'location /shop/ { proxy_pass http://127.0.0.1:' . $server->port . '/; }'),
);

sub examine {
    my ($at, $path, @more) = @_;
    return Testing::Doctor->start('--seconds', 0.5, '--tickets', @more, "http://127.0.0.1:$at$path");
}

sub tickets_ok {
    my ($doctor, $sentence, $name) = @_;
    is_fine($doctor, $name, qw(retry http2 cache_control incremental));
    return like $doctor->finding('tickets')->{sentence}, $sentence, "$name, it says";
}

tickets_ok examine($nginx[0]->port, '/events'),
    qr/The hub process serves it/,
    'behind a proxy that asks the hub process';
tickets_ok(examine($nginx[1]->port, '/events'), qr/A worker opens.*does not reach its socket/,
    'behind one that cannot');
tickets_ok(examine($server->port, '/events'),  qr/A worker opens/, 'without a proxy');
tickets_ok(examine($server->port, '/deleted'), qr/A worker opens/, 'with cookies that the application deletes');
for my $login (
    ['--cookie', 'user=ann'],
    ['--header', 'cookie: user=ann'],
    ['--cookie', 'a=b', '--header', 'Cookie: user=ann']
) {
    tickets_ok(examine($server->port, '/login', @$login), qr/A worker opens/, "behind a login, with @$login");
}

my @hub   = ('--hub', 'shop', '--socket', $socket);
my @WRONG = (
    [$server, '/none',    qr/gives its client no ticket[.]/, 'no ticket'],
    [$server, '/large',   qr/would be too large/,                   'a ticket that is too large', @hub],
    [$server, '/page',    qr{the status 200 and text/html instead}, 'a page for who comes back'],
    [$server, '/session', qr/sets the cookie session anew/,         'a cookie that is set anew'],
    [
        $nginx[2],                                                            '/shop/events',
        qr{its cookie is for the path /events, and the URL has /shop/events}, 'a path that a proxy strips'
    ],
);
for my $case (@WRONG) {
    my ($where, $path, $sentence, $name, @more) = @$case;
    is_wrong(examine($where->port, $path, @more), 'tickets', 'wrong', $sentence, $name);
}

done_testing;

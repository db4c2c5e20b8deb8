# A body that is shorter than its Content-Length ends a worker of Starman, and with it all streams of that worker. Behind
# nginx, as the documentation advises it, no such request reaches Starman.

use lib 't/lib';
use Testing;
use Testing::AttackedServer;
use Testing::Client;
use IO::Select;
use IO::Socket::INET;
use Testing::Nginx;
use Socket qw(SHUT_WR);

my $SHORT   = "POST /plain HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nshort";
my %REQUEST = (
    'a short body'           => $SHORT,
    'no body'                => $SHORT =~ s/short\z//r,
    'a short body in chunks' => $SHORT =~ s/Content-Length: 100/Transfer-Encoding: chunked/r =~ s/short\z/64\r\nshort/r,
    'a short body for a stream'         => $SHORT =~ s/POST/GET/r                            =~ s{/plain}{/native}r,
    'a short body for a stream by POST' => $SHORT =~ s{/plain}{/post}r,
    'a short body behind requests'      => "GET /plain HTTP/1.1\r\nHost: a\r\n\r\n" x 3 . $SHORT,
);

# Sends, and waits until nginx has ended the connection. With is_patient the client ends nothing, and nginx has to.
sub send_to {
    my ($nginx, $bytes, $is_patient) = @_;
    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $nginx->port, Proto => 'tcp')
        or die "no connection: $!\n";
    local $SIG{PIPE} = 'IGNORE';
    syswrite $socket, $bytes;
    shutdown $socket, SHUT_WR if !$is_patient;
    while (IO::Select->new($socket)->can_read(10)) {
        return !!1 if !sysread $socket, my $answer, 65_536;
    }
    return !!0;
}

# Discards what has been received, so that the next comment is a new one.
sub streams_stay_open_ok {
    my ($what, @clients) = @_;
    my $going = 0;
    for my $client (@clients) {
        $client->read_until(qr/(?!)/, 0.01);
        $client->{body} = '';
        $going++ if $client->read_until(qr/^:\r\n/m);
    }
    return is $going, scalar @clients, "$what: every stream receives keepalives";
}

# One worker, so that it is the one with the streams.
Testing::Nginx->require_or_skip_all;
my $server = Testing::AttackedServer->start('Starman', workers => 1);
my $nginx  = Testing::Nginx->start($server, 'documented', 'client_body_timeout 1s;');
$server->prepare('/native');
my ($worker) = map { $_->{pid} } $server->states;
my @clients = map { Testing::Client->get($_->at, '/native') } ($server, $nginx) x 5;
is scalar(grep { $_->read_until(qr/^data: held\r\n\r\n/m) } @clients), scalar @clients, 'all streams begin';

for my $what (sort keys %REQUEST) {
    ok send_to($nginx, $REQUEST{$what}), "$what, and the client leaves: nginx ends the connection";
    streams_stay_open_ok($what, @clients);
}
ok send_to($nginx, $SHORT, 1), 'a body that never ends: nginx ends the connection';
streams_stay_open_ok('a body that never ends', @clients);
is_deeply [map { $_->{pid} } $server->states], [$worker], 'the worker has not been replaced';
$_->leave for @clients;
$server->is_sound_ok('short bodies');

done_testing;

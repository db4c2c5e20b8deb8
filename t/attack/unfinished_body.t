# Attack: a POST to a stream whose body never becomes complete. The request must end without a stream, and hold a worker no
# longer than the server's own timeout. Starman is not here: such a body ends its worker (t/attack/short_post.t).

use lib 't/lib';
use Testing;
use Testing::AttackedServer qw(on_each_server);

# The servers that give up while a client keeps them waiting. The others wait for minutes, whatever the application is.
my %GIVES_UP = ('uWSGI' => 1, 'uWSGI, with keep-alive' => 1);

# Twiggy runs the application with what it has received.
my %RUNS_ANYWAY = (Twiggy => 1);

my %BODY  = ('no byte of a body' => '', 'half a body' => 'half', 'a body with a byte missing' => 'x' x 199_999);
my $count = 0;

sub request {
    my ($path, $body) = @_;
    my $tag    = 'attack' . ++$count;
    my $length = length($body) == 199_999 ? 200_000 : 8;
    return ($tag, "POST $path?tag=$tag HTTP/1.1\r\nHost: a\r\nContent-Length: $length\r\n\r\n$body");
}

sub leaves {
    my ($server, $path) = @_;
    for my $what (sort keys %BODY) {
        for my $reset (0, 1) {
            my ($tag, $bytes) = request($path, $BODY{$what});
            Testing::Client->connected($server->port)->say($bytes)->leave(reset => $reset) for 0 .. $server->{count};
            my $case = "$path, $what, " . ($reset ? 'and a reset' : 'and the client leaves');
            $server->is_sound_ok($case) or return;
            unlike $server->reported($tag), qr/handled/, "$case: no handler runs" if !$RUNS_ANYWAY{$server->{name}};
        }
    }
    return;
}

sub stays {
    my ($server, $path) = @_;
    my @clients;
    for my $what ('half a body', 'a body with a byte missing') {
        my ($tag, $bytes) = request($path, $BODY{$what});
        push @clients, map { Testing::Client->connected($server->port)->say($bytes) } 1 .. $server->{count};
        $server->is_sound_ok("$path, $what, and the client stays") or return;
        is $server->reported($tag), '', "$path, $what, and the client stays: no handler runs";
    }
    ok $_->read_head && $_->status == 400, "$path: the client that stays receives a 400" for @clients;
    return;
}

# The same request with its last byte is a stream.
sub is_stream_ok {
    my ($server, $path)  = @_;
    my ($tag,    $bytes) = request($path, 'half');
    my $client = Testing::Client->connected($server->port)->say("${bytes}done");
    ok $client->read_until(qr/^(?:data|id): /m), "$path: a POST with its whole body is a stream";
    $client->leave;
    return $server->is_sound_ok("$path, a whole body");
}

on_each_server [
    'HTTP::Server::PSGI', 'Starlet', 'Starlet, with keep-alive', 'Twiggy',
    'Feersum',            'uWSGI',   'uWSGI, with keep-alive',
] => sub {
    my $server = shift;
    $server->prepare('/native', '/hub');
    for my $path ('/post', '/hub-post') {
        is_stream_ok($server, $path);
        $server->case("$path: clients leave", sub { leaves($server, $path) });
    }
    $server->case('clients stay', sub { stays($server, '/post') }) if $GIVES_UP{$server->{name}};
    unlike $server->log, qr/cannot be native|uninitialized|Can't|during read/, 'the server reports no error';
};

done_testing;

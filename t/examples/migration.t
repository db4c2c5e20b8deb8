# The examples of EventSource::Migration: the application before and the application after send a client the same events.

use lib 't/lib';
use Testing;
use Test::EventSource;
use Testing::Daemon;
use Testing::Developer qw(has_command has_module needs);
use Testing::Server;
use Testing::SourceTree qw(slurp);

my $MODULES = '/usr/lib/nginx/modules';

$ENV{PATH} .= ':/usr/sbin';    # Debian's folder of nginx

sub client_of { return Test::EventSource->new(url => 'http://127.0.0.1:' . shift->port, timeout => 10) }

# The types and the data of the next events. A position is not for the page.
sub next_events {
    my ($stream, $count) = @_;
    my @events;
    while (@events < $count) {
        my $event = $stream->next_event or last;
        push @events, "$event->{event}: $event->{data}" if $event->{event} ne 'position';
    }
    return \@events;
}

for my $server (qw(Starman Twiggy)) {
    subtest "the application of the original runs on $server, and so does the one with a hub" => sub {
        for my $name (qw(original with_hub)) {
            my $running = Testing::Server->start($server, "examples/migration/$name.psgi", workers => 1);
            my $es      = client_of($running);
            my @streams = map { $es->get('/events') } 1, 2;
            is $es->post('/say', form => [text => "\x{263a} f\x{fc}r\nalle"])->code, 204, "$name: a text is accepted";
            is_deeply next_events($streams[$_], 2), ["hello: $_", "message: \x{263a} f\x{fc}r\nalle"],
                "$name: client $_ is greeted and receives the text"
                for 0, 1;
            my ($origin) = map { $_->header('Access-Control-Allow-Origin') }
                $es->get('/events', headers => [Origin => 'http://a.example']);
            is $origin, '*', "$name: pages of all origins may read";
            next if $name eq 'original';
            $streams[0]->close;
            $es->post('/say', form => [text => 'missed']);
            $streams[0]->reconnect;
            next_events($streams[0], 1);
            is_deeply next_events($streams[0], 1), ['message: missed'], "$name: a client receives what it has missed";
        }
    };
}

sub mojolicious {
    my $name   = shift;
    my $server = Testing::Daemon->new($name);
    my %env    = (MOJO_LISTEN => 'http://127.0.0.1:' . $server->port);
    return $server->run(\%env, $^X, "examples/migration/$name.pl", 'daemon');
}

subtest 'the application of Mojolicious with write_sse' => sub {
    needs(has_module('Mojolicious') ? undef : 'there is no Mojolicious here');
    require Mojolicious::Controller;

    # The Mojolicious of Debian 12 is older, so its absence is not a failure.
    plan skip_all => 'this Mojolicious has no write_sse' if !Mojolicious::Controller->can('write_sse');
    my $server = mojolicious('write_sse');
    is_deeply next_events(client_of($server)->get('/events'), 2), ['tick: 1', 'tick: 2'], 'the client receives ticks';
};

subtest 'the application of Mojolicious with the helpers' => sub {
    needs(has_module('Mojolicious') ? undef : 'there is no Mojolicious here');
    my $server = mojolicious('events');
    my $es     = client_of($server);
    is_deeply next_events($es->get('/events'), 2), ['tick: 1', 'tick: 2'], 'the client receives ticks of its own';
    my $stream = $es->get('/ticks');
    my ($first) = next_events($stream, 1)->[0] =~ /\Atick: ([0-9]+)\z/;
    ok $first, 'the client receives a tick of all clients';
    $stream->close;
    $stream->reconnect;
    is_deeply next_events($stream, 1), ['tick: ' . ($first + 1)], 'a client that reconnects misses none';
};

# nginx with a part of a server block, in one process of this user.
sub nginx {
    my ($name, @edits) = @_;
    my $nginx = Testing::Daemon->new('nginx');
    my ($folder, $port) = ($nginx->folder, $nginx->port);
    my $block = slurp("examples/migration/$name.conf");
    while (my ($pattern, $new) = splice @edits, 0, 2) {
        $block =~ s/$pattern/$new/g or die "$name.conf has no $pattern";
    }
    my $module = $name eq 'nchan' ? "load_module $MODULES/ngx_nchan_module.so;" : '';
    my $places = join ' ', map { "${_}_temp_path $folder/$_;" } qw(client_body fastcgi proxy scgi uwsgi);
    open my $file, '>', "$folder/nginx.conf" or die "$folder: $!";
    print {$file} "$module daemon off; master_process off; pid $folder/pid; events {}\n",
        "http { access_log off; $places server { listen 127.0.0.1:$port;\n$block}}\n";
    close $file or die "$folder: $!";
    return $nginx->run({}, 'nginx', '-e', 'stderr', '-p', $folder, '-c', "$folder/nginx.conf");
}

# Publishes by the interface of nchan and returns what clients receive: one that was there, one that was away, one that is new.
sub received_of {
    my $nginx = shift;
    my $es    = client_of($nginx);
    my $publish =
        sub { $es->post('/pub/news', content => $_[0], headers => ['Content-Type' => 'text/plain', @_[1 .. $#_]]) };
    my $stream = $es->get('/sub/news');
    my $away   = $es->get('/sub/news');
    like $publish->('one')->code, qr/\A20[0-9]\z/, 'a publication is accepted';
    my @received = (next_events($stream, 1), next_events($away, 1));
    $away->close;
    $publish->("two\nlines", 'X-EventSource-Event' => 'typed');
    $away->reconnect;
    push @received, next_events($stream, 1), next_events($away, 1), next_events($es->get('/sub/news'), 2);
    return \@received;
}

my @RECEIVED = (
    ['message: one'], ['message: one'], ["typed: two\nlines"], ["typed: two\nlines"],
    ['message: one', "typed: two\nlines"]
);

subtest 'nchan' => sub {
    my $is_there = has_command('nginx') && -e "$MODULES/ngx_nchan_module.so";
    needs($is_there ? undef : 'there is no nginx with nchan here');
    is_deeply received_of(nginx('nchan')), \@RECEIVED, 'clients receive the events';
};

for my $server (qw(Starman Twiggy)) {
    subtest "the application in the place of nchan, on $server behind nginx" => sub {
        needs(has_command('nginx') ? undef : 'there is no nginx here');
        my $running = Testing::Server->start($server, 'examples/migration/nchan.psgi', workers => 1);
        my $nginx   = nginx('nchan_after', qr/127[.]0[.]0[.]1:5000/ => '127.0.0.1:' . $running->port);
        is_deeply received_of($nginx), \@RECEIVED, 'clients receive the same events';
    };
}

done_testing;

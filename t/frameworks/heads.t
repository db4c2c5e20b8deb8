# The head of each answer for a stream that tabs share, in each framework and without one: no field stands in it twice. nginx
# answers with 502 for one with two Content-Length, and tabs ask with HEAD whose stream they would have.

use lib 't/lib';
use Testing;
use Testing::Developer  qw(needs needs_module);
use Testing::Frameworks qw(get);
use Testing::MojoServer;
use Testing::Server;
use Testing::SourceTree qw(write_file);

my $folder = new_folder;
write_file("$folder/plain.psgi", <<'EOF');
use EventSource::Hub;
use Plack::Builder;
my $hub = EventSource::Hub->new;
builder {
    mount '/labelled' => $hub->to_app(
        channels => sub { 'news' },
        label    => sub { 'user/7' },
        methods  => ['GET', 'POST'],
        origins  => 'https://other.example'
    );
};
EOF

# Fields of which each line counts by itself (RFC 9110, section 5.3; RFC 6265, section 3).
my %MAY_REPEAT = map { ($_ => 1) } qw(set-cookie vary);

# How the server of each framework is started.
my %START = (
    '' => sub { Testing::Server->start(shift, "$folder/plain.psgi", workers => 1) },
    map {
        my $file = 't/data/' . lc() . '.psgi';
        ($_ => sub { Testing::Server->start(shift, $file, workers => 1) })
    } qw(Catalyst Dancer2 Mojolicious)
);

sub heads_ok {
    my $server = shift;
    my %owner;
    for my $method (qw(GET HEAD POST OPTIONS)) {
        my @headers = (Origin => 'https://other.example', $method eq 'POST' ? ('Content-Length' => 0) : ());
        my $client  = get($server, '/labelled', method => $method, headers => \@headers);
        ok $client->read_head, "$method is answered";
        my %count;
        my @headers_of = @{$client->headers};
        while (my ($name) = splice @headers_of, 0, 2) { $count{lc $name}++ }
        is_deeply [grep { $count{$_} > 1 && !$MAY_REPEAT{$_} } sort keys %count], [], "$method: no field stands twice"
            or diag explain $client->headers;
        $owner{$method} = [$client->status, scalar $client->header('EventSource-Owner')];
    }
    is $owner{GET}[0], 200, 'GET is answered with a stream';
    is_deeply $owner{HEAD}, $owner{GET}, 'HEAD with the status and the owner of that';
    return;
}

for my $framework (sort keys %START) {
    for my $name (Testing::Server->tested(qw(Starman Twiggy uWSGI))) {
        subtest join(', ', $framework || 'without a framework', $name) => sub {
            needs_module($framework) if $framework;
            needs(Testing::Server->missing($name));
            my $server = $START{$framework}->($name);
            heads_ok($server);
        };
    }
}

subtest "Mojolicious' own server" => sub {
    needs_module('Mojolicious');
    my $server = Testing::MojoServer->start('daemon', 't/data/mojolicious.psgi');
    heads_ok($server);
};

done_testing;

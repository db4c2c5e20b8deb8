# Where the library has no native streams, as on other Unix systems than Linux, it has the formatter, the parser, and streams
# through the server's own writer, on a server that blocks and on one with an event loop.

use lib 't/lib';
use Testing;
use Testing::Client;
use Testing::Server;
use Testing::SourceTree qw(write_file);

my %ELSEWHERE = (PERL5OPT => '-It/lib -MTesting::OtherSystem');

for my $file (qw(format/format_event parser/parser server_event/vectors plack/vectors stream/writer)) {
    local @ENV{keys %ELSEWHERE} = values %ELSEWHERE;
    my $said = qx{$^X t/$file.t 2>&1};
    is $?, 0, "t/$file.t" or diag $said;
}

my $folder = new_folder;
my $psgi   = write_file("$folder/app.psgi", <<'APPLICATION');
use Plack::App::EventSource;
Plack::App::EventSource->new(handler_cb => sub { my $conn = shift; $conn->push('here'); $conn->close })->to_app;
APPLICATION

for my $name ('HTTP::Server::PSGI', 'Twiggy') {
    subtest $name => sub {
        my $server = Testing::Server->start_or_skip_all($name, $psgi, env => \%ELSEWHERE);
        for my $turn (1, 2) {
            my $client = Testing::Client->get($server->port, '/');
            $client->read_all;
            like $client->text, qr/^data: here\r?\n\r?\n\z/m, 'the stream has the event';
        }
        like $server->log, qr/no native streams on this system; run it on Linux/,
            'the log says why it occupies a worker'
            if $name ne 'Twiggy';
    };
}

done_testing;

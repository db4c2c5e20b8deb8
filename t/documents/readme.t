# The README: its example runs on a real server, its commands and its links are there.

use strict;
use warnings;

use lib 't/lib';
use Client;
use File::Temp ();
use Server;
use Test::More;

open my $lines, '<:encoding(UTF-8)', 'README.md' or die "README.md: $!";
my $readme = do { local $/ = undef; <$lines> };

subtest 'what it names is there' => sub {
    my @files = ($readme =~ m{\]\(([\w./-]+)\)}g, $readme =~ m{\b(script/\w+|bench/\w+)\b}g);
    cmp_ok scalar @files, '>=', 5, 'it names files';
    ok -e, $_ for @files;
};

subtest 'the example streams' => sub {
    my ($example) = $readme =~ /^```perl\n(.*?)^```$/ms;
    cmp_ok scalar(split /\n/, $example), '<=', 25, 'it is short';
    Server->require_or_skip_all('HTTP::Server::PSGI');
    my $psgi = File::Temp->new(SUFFIX => '.psgi');
    print {$psgi} $example;
    close $psgi or die "$psgi: $!";

    my $server = Server->start('HTTP::Server::PSGI', $psgi->filename);
    my $page   = Client->get($server->port, '/');
    ok $page->read_all, 'the page comes';
    like $page->text, qr/new EventSource\('\/clock'\)/, 'and listens to the clock';

    my $clock = Client->get($server->port, '/clock', headers => ['Last-Event-ID' => 41]);
    ok $clock->read_until(qr/\n\r\n/), 'the clock ticks';
    like $clock->text, qr/\Aevent: tick\r\nid: 42\r\ndata: \w+ \w+ +\d+ [\d:]+ \d+\r\n\r\n/, 'from where it was left';
    $clock->leave;
    my $after = Client->get($server->port, '/');
    ok $after->read_all, 'and when its reader has left it lets the server go on';
    $server->stop;
};

done_testing;

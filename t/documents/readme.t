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
    like $page->text, qr/new EventSource\('\/events'\)/, 'and listens to the events';

    my @readers = map { Client->get($server->port, '/events') } 1, 2;
    ok $_->read_head, 'a reader comes' for @readers;
    my $said = 'Hello';
    my $say  = sub {
        my $client =
            Client->get($server->port, '/say', method => 'POST', headers => ['Content-Length' => 5], then => $said);
        ok $client->read_all, 'something is said';
        is $client->status, 204, 'and taken';
    };
    $say->();
    ok $_->read_until(qr/Hello\n\n/), 'a reader hears of it' for @readers;
    like $_->text, qr/\Aid: (\w+)-0\n\nid: \1-1\ndata: Hello\n\n\z/, 'word for word' for @readers;
    my ($id) = $readers[0]->text =~ /^id: (\w+-1)$/m;
    shift(@readers)->leave;
    $said = 'Again';
    $say->();
    ok $readers[0]->read_until(qr/Again\n\n/), 'when one has left, the other still reads';
    my $back = Client->get($server->port, '/events', headers => ['Last-Event-ID' => $id]);
    ok $back->read_until(qr/Again\n\n/), 'and the one that has left reads it when it is back';
    $server->stop;
};

done_testing;

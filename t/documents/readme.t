# The README: its example runs on a real server, its commands and its links are there.

use strict;
use warnings;

use lib 't/lib';
use Testing::Developer qw(only_developers);
use File::Temp         ();
use Test::EventSource;
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
    only_developers();
    my $psgi = File::Temp->new(SUFFIX => '.psgi');
    print {$psgi} $example;
    close $psgi or die "$psgi: $!";

    my $es = Test::EventSource->new(app => $psgi->filename, server => 'HTTP::Server::PSGI', timeout => 10);
    like $es->request(GET => '/')->content, qr/new EventSource\('\/events'\)/, 'the page listens to the events';
    my @readers = map { $es->get('/events') } 1, 2;
    is $es->post('/say', content => 'Hello')->code, 204, 'something is said, and taken';
    $_->like_event('Hello', 'a reader hears of it') for @readers;
    like $_->raw, qr/\Aid: (\w+)-0\n\nid: \1-1\ndata: Hello\n\n\z/, 'word for word' for @readers;
    $readers[0]->close;
    $es->post('/say', content => 'Again');
    $readers[1]->like_event('Again', 'when one has left, the other still reads');
    $readers[0]->reconnect;
    $readers[0]->like_event('Again', 'and the one that has left reads it when it is back');
};

done_testing;

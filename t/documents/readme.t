# The README: its example runs on a real server, and the files that it names exist.

use strict;
use warnings;

use lib 't/lib';
use Testing::Developer qw(only_developers);
use File::Temp         ();
use Test::EventSource;
use Test::More;

open my $lines, '<:encoding(UTF-8)', 'README.md' or die "README.md: $!";
my $readme = do { local $/ = undef; <$lines> };

subtest 'the files that the README names exist' => sub {
    my @files = ($readme =~ m{\]\(([\w./-]+)\)}g, $readme =~ m{\b(script/\w+|bench/\w+)\b}g);
    cmp_ok scalar @files, '>=', 5, 'the README names at least five files';
    ok -e, "$_ exists" for @files;
};

subtest 'the example of the README streams events' => sub {
    my ($example) = $readme =~ /^```perl\n(.*?)^```$/ms;
    cmp_ok scalar(split /\n/, $example), '<=', 25, 'the example has at most 25 lines';
    only_developers();
    my $psgi = File::Temp->new(SUFFIX => '.psgi');
    print {$psgi} $example;
    close $psgi or die "$psgi: $!";

    my $es = Test::EventSource->new(app => $psgi->filename, server => 'HTTP::Server::PSGI', timeout => 10);
    like $es->request(GET => '/')->content, qr/new EventSource\('\/events'\)/, 'the page creates an EventSource';
    my @readers = map { $es->get('/events') } 1, 2;
    is $es->post('/say', content => 'Hello')->code, 204, 'a POST to /say is answered with 204';
    $_->like_event('Hello', 'each reader receives the event') for @readers;
    like $_->raw, qr/\Aid: (\w+)-0\n\nid: \1-1\ndata: Hello\n\n\z/,
        'each reader receives a position and the event with its id'
        for @readers;
    $readers[0]->close;
    $es->post('/say', content => 'Again');
    $readers[1]->like_event('Again', 'a reader receives events after another has left');
    $readers[0]->reconnect;
    $readers[0]->like_event('Again', 'a reader that reconnects receives what it has missed');
};

done_testing;

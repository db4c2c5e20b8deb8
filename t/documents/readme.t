# The README: its first example runs on a real server, its other examples run, the files that it names exist, and its figures
# of opened streams are those of their record.

use lib 't/lib';
use Testing;
use Testing::Developer qw(needs_module);
use File::Temp         ();
use Test::EventSource;

open my $lines, '<:encoding(UTF-8)', 'README.md' or die "README.md: $!";
my $readme = do { local $/ = undef; <$lines> };

subtest 'each file, script and benchmark that the README names exists' => sub {
    my @files = ($readme =~ m{\]\(([\w./-]+)\)}g, $readme =~ m{\b(script/\w+|bench/\w+)\b}g);
    cmp_ok scalar @files, '>=', 5, 'the README names files';
    ok -e, "$_ exists" for @files;
};

subtest 'the first example is a chat that resumes' => sub {
    my ($example) = $readme =~ /^```perl\n(.*?)^```$/ms;
    cmp_ok scalar(split /\n/, $example), '<=', 25, 'the example has at most 25 lines';
    my $psgi = File::Temp->new(SUFFIX => '.psgi');
    print {$psgi} $example;
    close $psgi or die "$psgi: $!";

    my $es = Test::EventSource->new(app => $psgi->filename, server => 'HTTP::Server::PSGI', timeout => 10);
    like $es->request(GET => '/')->content, qr/connect\('\/events'\)/,
        'GET / answers with a page that opens the stream';
    my @readers = map { $es->get('/events') } 1, 2;
    is $es->post('/say', content => 'Hello')->code, 204, 'POST /say answers 204';
    $_->like_event('Hello', 'each of two readers receives the event') for @readers;
    like $_->raw, qr/\Aevent: position\ndata: \nid: (\w+)-0\n\ndata: Hello\nid: \1-1\n\n\z/,
        'the stream is the position and the event'
        for @readers;
    $readers[0]->close;
    $es->post('/say', content => 'Again');
    $readers[1]->like_event('Again', 'the other reader receives an event after one has left');
    $readers[0]->reconnect;
    $readers[0]->like_event('Again', 'the reader that has left receives it when it reconnects');
};

subtest 'what a stream costs to open is what bench/record says' => sub {
    open my $record, '<', 'bench/record/connect.txt' or die "bench/record/connect.txt: $!";
    my %ratio = map { /^(\w+ \w+) +\S+ +\S+ +\S+ +([0-9.]+) / ? ($1 => sprintf '%.1f', $2) : () } <$record>;
    my $text  = $readme =~ s/\s+/ /gr;
    my ($native, $original) =
        $text =~
        /native stream with one event takes ([^;]+); a stream in plain Perl without this module takes ([^.]+[.][^;]+?)[.] /;
    for my $case ([native => $native, 3], [original => $original, 2]) {
        my ($kind, $figures, $count) = @$case;
        my %shown = reverse(($figures // '') =~ /([0-9.]+) on (\w+)/g);
        is scalar keys %shown, $count,             "$kind: the README has $count figures";
        is $shown{$_},         $ratio{"$_ $kind"}, "$_ $kind" for sort keys %shown;
    }
};

my $number = 0;
my (undef, @examples) = $readme =~ /^```perl\n(.*?)^```$/msg;
cmp_ok scalar @examples, '>=', 6, 'each concept has an example';
for my $example (@examples) {
    my $package = 'Example' . ++$number;
    subtest "example $number after the first one runs" => sub {
        needs_module('Mojolicious') if $example =~ /^use Mojolicious/m;
        eval "package $package; use strict; use warnings; $example; 1" or fail $@;    ## no critic (ProhibitStringyEval)
        pass 'the example is evaluated';
    };
}

subtest 'the example of POST answers a form with its words' => sub {
    my ($example) = grep { /methods +=>/ } @examples;
    my $app       = eval "package ExampleOfPost; use strict; use warnings; $example"; ## no critic (ProhibitStringyEval)
    my $es        = Test::EventSource->new(app => $app, timeout => 10);
    my $stream    = $es->stream('POST', '/', form => [prompt => 'two words']);
    $stream->like_event({event => 'token', data => 'two'},   'the first word is an event');
    $stream->like_event({event => 'token', data => 'words'}, 'the second word is an event');
    $stream->like_event('[DONE]', 'the last event says that it is the last');
};

done_testing;

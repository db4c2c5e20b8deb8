# The README: it is short, its example runs on a real server, and the files and figures that it names exist. The figures of
# opened streams in bench/README.md are those of their record.

use lib 't/lib';
use Testing;
use Testing::SourceTree qw(slurp);
use File::Temp          ();
use Test::EventSource;

sub text_of { return slurp(shift, ':encoding(UTF-8)') }

my $readme = text_of('README.md');

cmp_ok scalar(split /\n/, $readme), '<=', 135, 'the README has at most 135 lines';

subtest 'each file, script and benchmark that the README names exists' => sub {
    my @files = ($readme =~ m{\]\(([\w./-]+)(?:#[\w-]+)?\)}g, $readme =~ m{\b(script/\w+|bench/[a-z]\w*)\b}g);
    cmp_ok scalar @files, '>=', 5, 'the README names files';
    ok -e, "$_ exists" for @files;
    for my $link ($readme =~ m{\]\(([\w./-]+[.]pod#[\w-]+)\)}g) {
        my ($file, $heading) = $link =~ /(.*)#(.*)/;
        my %has = map { s/[^\w -]//gr =~ tr/ /-/r => 1 } text_of($file) =~ /^=head[12] (.*)$/mg;
        ok $has{$heading}, "$link leads to a section";
    }
};

subtest 'the first example is a chat that resumes' => sub {
    my ($example) = $readme =~ /^```perl\n(.*?)^```$/ms;
    cmp_ok scalar(split /\n/, $example), '<=', 10, 'the example has at most ten lines';
    my $psgi = File::Temp->new(SUFFIX => '.psgi');
    print {$psgi} $example;
    close $psgi or die "$psgi: $!";

    my $es = Test::EventSource->new(app => $psgi->filename, server => 'HTTP::Server::PSGI', timeout => 10);
    like $es->request(GET => '/')->content, qr/new EventSource\('\/events'\)/,
        'GET / answers with a page that opens the stream';
    my @readers = map { $es->get('/events') } 1, 2;
    is $es->post('/say', content => 'Hello')->code, 204, 'POST /say answers 204';
    $_->like_event('Hello', 'each of two readers receives the event') for @readers;
    like $_->raw, qr/\A:\nkeepalive: 15\nevent: position\ndata: \nid: (\w+)-0\n\ndata: Hello\nid: \1-1\n\n\z/,
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
    my $text  = text_of('bench/README.md') =~ s/\s+/ /gr;
    my ($native, $original) =
        $text =~
        /native stream with one event takes ([^;]+); a stream in plain Perl without this module takes ([^.]+[.][^;]+?)[.] /;
    for my $case ([native => $native, 3], [original => $original, 2]) {
        my ($kind, $figures, $count) = @$case;
        my %shown = reverse(($figures // '') =~ /([0-9.]+) on (\w+)/g);
        is scalar keys %shown, $count,             "$kind: there are $count figures";
        is $shown{$_},         $ratio{"$_ $kind"}, "$_ $kind" for sort keys %shown;
    }
};

done_testing;

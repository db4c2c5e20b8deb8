# Requests with content, as language models want them, and streams with gzip. With every library.

use lib 't/lib';
use Testing;
use Compress::Raw::Zlib    ();
use JSON::PP               qw(decode_json);
use Testing::HostileServer qw(hostile_server);
use Testing::ReadingClient;
use Testing::SideBySide qw(run_each);
use Testing::SourceTree qw(write_file);

my $STREAM = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n";
my $folder = new_folder;

sub chunk { return sprintf "%x\r\n%s\r\n", length $_[0], $_[0] }

sub slurp {
    open my $file, '<:raw', "$folder/$_[0]" or return undef;
    local $/ = undef;
    return scalar <$file>;
}

# A server that keeps the content of each request in a file with the number of the request, and answers as the test says.
sub serving {
    my ($name, $answer) = @_;
    return hostile_server sub {
        my ($client, $head, $number) = @_;
        my ($left) = $head =~ /^Content-Length: ([0-9]+)/mi;
        my $content = '';
        while ($left && length $content < $left) { sysread $client, $content, $left, length $content or return }
        write_file("$folder/$name.$number", $content);
        $answer->($client, $number, $head);
    };
}

run_each [Testing::ReadingClient->ways] => sub {
    my $way  = shift;
    my $read = sub { Testing::ReadingClient->read($way, @_) };
    my $name = $way =~ s/\W//gr;

    subtest 'an answer of a language model' => sub {
        my $server = serving "whole$name" => sub {
            my $client = shift;
            print {$client} "${STREAM}Transfer-Encoding: chunked\r\n\r\n",
                map { chunk("data: $_\n\n") } qw({"a":1} [DONE]);
            print {$client} chunk('');
        };
        my %option =
            (url => $server->url('/v1'), json => {question => 'grün?'}, headers => [Authorization => 'Bearer key']);
        my $seen = $read->(\%option);
        is_deeply [map { $_->{data} } @{$seen->{events}}], ['{"a":1}', '[DONE]'], 'all events come';
        is_deeply [@$seen{qw(errors closed)}], [[], 1], 'then it ends, without an error';
        my @requests = $server->requests;
        is scalar @requests, 1, 'after one request';
        like $requests[0], qr{\APOST /v1 },                           'by POST';
        like $requests[0], qr/^Authorization: Bearer key\r$/mi,       'with a header';
        like $requests[0], qr/^Content-Type: application\/json\r$/mi, 'of JSON';
        is_deeply decode_json(slurp("whole$name.1")), {question => 'grün?'}, 'with the content';
    };

    subtest 'an answer that is cut' => sub {
        my $server = serving("cut$name" =>
                sub { print {$_[0]} "${STREAM}Transfer-Encoding: chunked\r\n\r\n", chunk("data: 1\n\n"), "5\r\nda" });
        my $seen = $read->({url => $server->url('/'), content => 'a=b'});
        is_deeply [map { $_->{data} } @{$seen->{events}}], [1],                  'what has come is delivered';
        is_deeply [@$seen{qw(errors closed)}],             [['unavailable'], 1], 'the cut is an error';
        is scalar(my @requests = $server->requests), 1, 'it is not repeated';
    };

    subtest 'with reconnect it is repeated' => sub {
        my $server = serving(
            "again$name" =>
                sub { print {$_[0]} $_[1] > 2 ? "HTTP/1.1 204 No\r\n\r\n" : "$STREAM\r\nretry: 1\nid: $_[1]\ndata\n\n" }
        );
        my $seen = $read->({url => $server->url('/'), method => 'PUT', content => 'the content', reconnect => 1});
        is_deeply [map { slurp("again$name.$_") } 1 .. 3], [('the content') x 3], 'with its content';
        is_deeply [map { /^Last-Event-ID: (.*)\r$/mi ? $1 : '' } $server->requests], ['', 1, 2],
            'and the last event ID';
        is scalar(grep { /\APUT / } $server->requests), 3, 'by its method';
    };

    subtest 'redirects' => sub {
        for my $case ([301, 'GET', ''], [303, 'GET', ''], [307, 'POST', 'body'], [308, 'POST', 'body']) {
            my ($status, $method, $content) = @$case;
            my $server = serving "to$status$name" => sub {
                print {$_[0]} $_[1] == 1
                    ? "HTTP/1.1 $status There\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n"
                    : "$STREAM\r\n";
            };
            $read->(
                {
                    url     => $server->url('/'),
                    content => 'body',
                    headers => ['Content-Type' => 'text/plain', 'X-A' => 'b']
                }
            );
            my $second = ($server->requests)[1];
            like $second, qr{\A$method /there }, "$status: $method";
            is slurp("to$status$name.2"),         $content, length $content ? 'with the content' : 'without content';
            is !!($second =~ /^Content-Type:/mi), !!length $content, 'and its type as well';
            like $second, qr/^X-A: b\r$/mi, 'with other headers';
        }
    };

    subtest 'a large request' => sub {
        my $large  = join('', map { chr } 0 .. 255) x 12_000;
        my $server = serving("large$name" => sub { print {$_[0]} "$STREAM\r\ndata: read\n\n" });
        my $seen   = $read->({url => $server->url('/'), content => $large});
        is $seen->{events}[0]{data}, 'read', 'it is sent';
        ok slurp("large$name.1") eq $large, 'byte by byte';
    };

    subtest 'gzip' => sub {
        my $server = serving "gzip$name" => sub {
            my ($client, $number) = @_;
            print {$client} "${STREAM}Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n";
            my $deflate =
                Compress::Raw::Zlib::Deflate->new({WindowBits => Compress::Raw::Zlib::WANT_GZIP(), AppendOutput => 1})
                or die;
            my $packed = '';
            for my $event (1 .. 3) {
                $deflate->deflate("data: $event\n\n", $packed);
                $deflate->flush($packed, Compress::Raw::Zlib::Z_SYNC_FLUSH());
                print {$client} chunk($packed);
                $packed = '';
                wait_until(sub { -e "$folder/seen$name.$event" });
            }
            $deflate->flush($packed);
            print {$client} chunk($packed), chunk('');
        };
        my @seen;
        my %option = (
            url       => $server->url('/'),
            reconnect => 0,
            on_bytes  => sub {
                my $bytes = $_[1];
                while ($bytes =~ /data: ([0-9])/g) {
                    push @seen, $1;
                    open my $file, '>', "$folder/seen$name.$1" or die $!;
                }
            }
        );
        my $seen = $read->(\%option);
        is_deeply [map { $_->{data} } @{$seen->{events}}], [1, 2, 3], 'each event comes when it is sent';
        is_deeply [@$seen{qw(errors closed)}], [[], 1], 'to the end';
    };
};

done_testing;

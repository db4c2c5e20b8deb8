package Testing::Contract::Events;
use Testing;

# The behaviours of events: fields, encoding, what a stream begins with.
#
#   my @behaviours = Testing::Contract::Events->behaviours;    # Testing::Contract says what a behaviour is

use Testing::Contract::Check   qw(response_ends_ok sends text_is);
use Testing::Contract::Handler qw(pushing report source);

my @BEHAVIOURS = (
    sends(
        'a hash sets the fields of an event' => '/hash',
        [[{event => 'e', id => 'i', retry => 5, data => 'd'}]], "event: e\r\nid: i\r\ndata: d\r\nretry: 5\r\n\r\n"
    ),
    sends(
        'a push of several messages is one event' => '/list',
        [['foo', {id => 7, data => 'bar'}, 'baz']], "data: foo\r\nid: 7\r\ndata: bar\r\ndata: baz\r\n\r\n"
    ),
    sends(
        'several pushes are several events' => '/several',
        [['a'], [{data => 'b', event => 'e'}], ['c']], "data: a\r\n\r\nevent: e\r\ndata: b\r\n\r\ndata: c\r\n\r\n"
    ),
    {
        name    => 'push blocks while the client does not read',
        request => ['/flood'],
        needs   => ['client', 'blocking'],
        check   => sub {
            my ($client, $run) = @_;
            ok $client->read_until(qr/^id: 2\r\n/m), 'the first events arrive';
            unlike $run->journal($client), qr/^pushed/m, 'the handler has not pushed more than the sockets hold';
            response_ends_ok($client);
            $run->journal_ok($client, qr/^pushed 384$/m, 'the handler has pushed all events when they are read');
        },
    },
    sends('the string 0 is data' => '/zero', [[0], [{data => 0}]],                   "data: 0\r\n\r\ndata: 0\r\n\r\n"),
    sends('a byte string that is not UTF-8 is encoded' => '/latin1', [["caf\xe9"]],  "data: caf\xc3\xa9\r\n\r\n"),
    sends('characters above U+00FF are encoded'        => '/wide',   [["\x{263a}"]], "data: \xe2\x98\xba\r\n\r\n"),
    sends(
        'with characters => 1 a string that looks like UTF-8 is encoded too' => '/characters',
        [["caf\xc3\xa9"]],
        "data: caf\xc3\x83\xc2\xa9\r\n\r\n",
        characters => 1
    ),
    sends(
        'each line of data is a field of its own' => '/lines',
        [["a\nb\r\nc\rd"]],
        "data: a\r\ndata: b\r\ndata: c\r\ndata: d\r\n\r\n"
    ),
    {
        name    => 'a push with a line break in an id croaks and sends nothing',
        request => ['/bad-id'],
        handler => sub {
            my ($conn, $env) = @_;
            my $returned = eval { $conn->push('before', {id => "1\ndata: smuggled", data => 'x'}); 1 };
            report($env, $returned ? 'push returned' : "push croaked: $@");
            $conn->push('after');
            $conn->close;
        },
        check => sub {
            my ($client, $run) = @_;
            response_ends_ok($client);
            is $client->text, "data: after\r\n\r\n", 'only the event of the next push arrives';
            $run->journal_ok(
                $client,
                qr/^push croaked: .*\bid must not contain a line break.* at [^\n]*Events\.pm line [0-9]+\b/m,
                'the push croaks at the line of the handler'
            );
        },
    },
    sends(
        'retry with two equal numbers is sent exactly, before all events' => '/retry-exact',
        [['foo']],
        "retry: 2500\r\ndata: foo\r\n\r\n",
        retry => [2_500, 2_500]
    ),
    {
        name    => 'retry with one number is sent with up to a fifth added',
        request => ['/retry'],
        app     => sub { return source(pushing(['foo']), retry => 2_500)->to_app },
        check   => sub {
            my $client = shift;
            response_ends_ok($client);
            my ($retry) = $client->text =~ /\Aretry: ([0-9]+)\r\ndata: foo\r\n\r\n\z/;
            ok defined $retry && $retry >= 2_500 && $retry <= 3_000, 'retry is from 2500 to 3000'
                or diag $client->text;
        },
    },
    {
        name    => 'preamble sends a comment of that length before all events',
        request => ['/preamble'],
        app     => sub { return source(pushing(['foo']), preamble => 2_048)->to_app },
        check   => sub {
            my $client = shift;
            response_ends_ok($client);
            my ($preamble, $rest) = $client->body =~ /\A(:.*?\r\n)(.*)\z/s;
            is length $preamble, 2_048, 'the preamble has 2048 bytes';
            like $preamble, qr/\A: +\r\n\z/, 'the preamble is a comment of spaces';
            is $rest, "data: foo\r\n\r\n", 'the event follows the preamble';
        },
    },
    {
        name    => 'last_event_id returns undef if the client sends none',
        request => ['/last-id'],
        check   => text_is("data: none\r\n\r\n"),
    },
);

sub behaviours { return @BEHAVIOURS }

1;

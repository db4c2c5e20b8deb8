# Attack: a query string or a Last-Event-ID header as long as the server accepts. A client without the header may send its
# last id in the query. The search for it must have bounded cost, and a value too long for an id is an unknown one: the
# client receives a gap and loses nothing silently. src/request/tests.rs has the bounds, byte by byte.

use lib 't/lib';
use Testing qw(native);
use EventSource::Hub;
use EventSource::XS::Request;
use Plack::Request;
use Test::EventSource;
use Testing::Client;
use Testing::HubServer;
use Testing::Server;
use Testing::Subscriber qw(events);

my $LONGEST = 1_024;                                             # bytes of an id
my @NAMES   = qw(last_event_id lastEventId evs_last_event_id);

# Returns what a general query parser finds. The last value of each parameter counts.
sub found_by_plack {
    my $query = Plack::Request->new({QUERY_STRING => shift})->query_parameters;
    my ($id) = grep { defined && length } map { $query->get($_) } @NAMES;
    utf8::decode($id) if defined $id;
    return $id;
}

sub found { return EventSource::XS::Request->last_event_id({QUERY_STRING => $_[0]}) }

subtest 'a query is read as Plack::Request reads it' => sub {
    for my $query (
        '',                            'lastEventId',
        'lastEventId=',                '=',
        '&;&',                         'lastEventId=7',
        'a=1&lastEventId=7&b=2',       'a=1;lastEventId=7;b=2',
        'a=1& lastEventId=7',          'a=1; lastEventId=7',
        ' lastEventId=7',              'lastEventId=a+b%2B%20c',
        'lastEventId=%C3%A9',          'lastEventId=%FF',
        'lastEventId=%4',              'lastEventId=%zz%',
        'lastEventId=%00',             'lastEventId=a=b=c',
        'lastEventId=7&lastEventId=8', 'lastEventId=7&lastEventId',
        'lastEventId=7&lastEventId=',  'lasteventid=7',
        '%6CastEventId=7',             'last%45vent%49d=7',
        'lastEventId=7#8',             'evs_last_event_id=1&last_event_id=&lastEventId=3',
        'xlastEventId=7',              'lastEventIdx=7',
    ) {
        is found($query), found_by_plack($query), "?$query";
    }
    srand 7;
    my @parts     = (@NAMES, qw(= = = & & ; + % %41 %3D %26 %C3%A9 a 7 -), ' ', "\xFF");
    my @different = grep { (found($_) // "\0") ne (found_by_plack($_) // "\0") }
        map {
        join '',
            map { $parts[rand @parts] }
            0 .. rand 12
        } 1 .. 5_000;
    is_deeply \@different, [], '5,000 queries of random parts are read as Plack::Request reads them';
};

subtest 'no general parser reads the query' => sub {
    my $parsed = 0;
    my $hub    = EventSource::Hub->new;
    my $es     = Test::EventSource->new(app => $hub->to_app(channels => sub { 'a' }));
    my @ids    = map { $hub->publish(a => $_) } 1 .. 3;
    no warnings 'redefine';
    local *Plack::Request::query_parameters  = sub { $parsed++; return Hash::MultiValue->new };
    local *Plack::Request::_query_parameters = sub { $parsed++; return [] };
    my $stream = $es->get("/?lastEventId=$ids[1]&" . join '&', map { "p$_=$_" } 1 .. 10_000);
    $stream->like_event('3', 'a stream with a long query resumes');
    is $parsed, 0, 'no parser has read the query';
    $stream->close;
};

# Returns the first two events of a client that resumes.
sub events_after_resume {
    my ($server, $query, @headers) = @_;
    my $client = Testing::Client->stream($server->port, "/hub?$query", headers => \@headers);
    $server->ask('/event', channel => 'a', data => 'end');
    $client->read_until(qr/^data: end\n(?:.+\n)*\n/m);
    my @events = map { defined $_->{event} ? "$_->{event} $_->{data}" : $_->{data} } events($client->text);
    $client->leave;
    return [@events[grep { defined $events[$_] } 0, 1]];
}

for my $name (Testing::Server->names) {
    subtest $name => sub {

    # uWSGI answers nothing to a request of more than 4 KB, and Feersum 1.507 refuses one of 8 KB, unless it is told to.
        my %args    = (uWSGI => ['--buffer-size', 65_535], Feersum => ['--max-uri-len', 200_000]);
        my $server  = Testing::HubServer->start($name, args => $args{$name});
        my $longest = 'x' x $LONGEST;
        my $id      = $server->ask('/event', channel => 'a', data => 1);
        my $fill    = $name eq 'uWSGI' ? 20_000 : 120_000;    # it keeps a query twice
        my $value   = "lastEventId=$id";
        my $unknown = 'gap {"reason":"unknown"}';
        $server->ask('/event', channel => 'a', data => 2);

        is_deeply events_after_resume($server, "channels=a&$value"), [2, 'end'], 'the id of a short query resumes';
        is_deeply events_after_resume($server, "channels=a&$value&" . '&' x $fill), [2, 'end'],
            'an id before many separators resumes';
        is_deeply events_after_resume($server, 'channels=a&lastEventId=' . 'x' x 6_000), [$unknown, 'end'],
            'a value longer than any id is unknown';
        is_deeply events_after_resume($server, 'channels=a', 'Last-Event-ID' => 'x' x ($fill / 4)), [$unknown, 'end'],
            'a header longer than any id is unknown';

        is_deeply events_after_resume($server, "channels=a&lastEventId=$_"), [$unknown, 'end'],
            length($_) . ' bytes are unknown'
            for $longest, "${longest}x";
    };
}

done_testing;

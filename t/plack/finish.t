# $conn->finish: an event of the application's choice, and 204 for the client that reconnects afterwards.

use lib 't/lib';
use Testing;
use HTTP::Request::Common qw(GET);
use Plack::App::EventSource;
use Plack::Test;

sub response {
    my ($handler, %option) = @_;
    my @headers = @{delete $option{request} || []};
    my $app     = Plack::App::EventSource->new(handler_cb => $handler, %option)->to_app;
    return test_psgi($app, sub { shift->(GET '/', @headers) });
}

my $ID = Plack::App::EventSource::Connection->finished_id;

my @CASES = (
    [[],                                   "event: finish\r\nid: $ID\r\ndata: finish\r\n\r\n"],
    [[event => 'end', data => ['a', 'b']], "event: end\r\nid: $ID\r\ndata: a\r\ndata: b\r\n\r\n"],
    [[{data => 'x', retry => 9}],          "event: finish\r\nid: $ID\r\ndata: x\r\nretry: 9\r\n\r\n"],
);
for my $case (@CASES) {
    my ($given, $expected) = @$case;
    my $taken;
    my $response = response(sub { my $conn = shift; $taken = $conn->finish(@$given); $conn->push('late') });
    is $response->content, $expected, 'finish sends its event and ends the stream';
    ok $taken, 'finish returns true';
}

subtest 'the client that reconnects' => sub {
    my $ran      = 0;
    my @headers  = ('Access-Control-Allow-Origin' => '*', 'Content-Language' => 'en');
    my $response = response(sub { $ran++ }, headers => \@headers, request => ['Last-Event-ID' => $ID]);
    is $response->code,                                  204,   'is sent the status 204';
    is $response->content,                               '',    'and no body';
    is $ran,                                             0,     'its handler does not run';
    is $response->header('Access-Control-Allow-Origin'), '*',   'the headers for scripts of other origins are sent';
    is $response->header('Content-Type'),                undef, 'the headers of a body are not';
    like $response->header('Cache-Control'), qr/no-store/, 'no cache keeps the response';
    is response(sub { $_[0]->push('x') }, request => ['Last-Event-ID' => "x$ID"])->content, "data: x\r\n\r\n",
        'another id is none of a finished stream';
};

subtest 'a connection on two callbacks' => sub {
    my @seen;
    my $conn = Plack::App::EventSource::Connection->new(
        push_cb  => sub { push @seen, $_[0]; 1 },
        close_cb => sub { push @seen, 'closed' },
    );
    ok $conn->finish(data => 'x'), 'finish returns the result of push_cb';
    is_deeply \@seen, [{event => 'finish', data => 'x', id => $ID}, 'closed'], 'both callbacks are called';
};

done_testing;

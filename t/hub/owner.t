# The header that says whose stream it is (EventSource::Browser, "Who reads"): of a stream, and of the answer to HEAD.

use lib 't/lib';
use Testing qw(native);
use EventSource::Hub;
use Testing::RecordingWriter;

my $hub = EventSource::Hub->new;

sub app {
    return $hub->to_app(channels => sub { 'c' }, native => 'quiet', @_);
}

sub labelled {
    return app(label => sub { split /,/, $_[0]{HTTP_X_LABELS} // '' }, @_);
}

# The status and the headers.
sub ask {
    my ($app, $method, $labels, %env) = @_;
    my $response = $app->(
        {
            REQUEST_METHOD      => $method,
            PATH_INFO           => '/',
            HTTP_X_LABELS       => $labels,
            HTTP_HOST           => 'this.example',
            'psgi.url_scheme'   => 'https',
            'psgi.streaming'    => 1,
            'psgi.multiprocess' => 0,
            'psgi.errors'       => \*STDERR,
            %env
        }
    );
    $response->(sub { $response = shift; return Testing::RecordingWriter->new(takes => 0) }) if ref $response eq 'CODE';
    return ($response->[0], {@{$response->[1]}});
}

sub owner_of { return (ask(labelled(), @_))[1]{'EventSource-Owner'} }

my $ann = owner_of(GET => 'user/ann');
like $ann, qr/\A[0-9a-f]{32}\z/, 'a stream has its owner, as a hash';
is owner_of(HEAD => 'user/ann'), $ann, 'HEAD is answered with the same';
isnt owner_of(HEAD => $_), $ann, "those of the labels '$_' are another"
    for '', 'user/bob', 'user/ann,admin', "user/ann\xE4";
is owner_of(HEAD => 'a,b'), owner_of(GET => 'b,a'), 'in any order';

is((ask(labelled(), 'HEAD'))[0], 200, 'HEAD of an application with labels');
is((ask(app(),      'HEAD'))[0], 405, 'of one without');
my ($status, $headers) = ask(app(), 'GET');
ok !exists $headers->{'EventSource-Owner'}, 'which has no owner';
is((ask(labelled(channels => sub { [403, [], []] }), 'HEAD'))[0], 403, 'of a stream that is refused');

for my $method (qw(GET HEAD)) {
    ($status, $headers) =
        ask(labelled(origins => 'https://other.example'), $method, '', HTTP_ORIGIN => 'https://other.example');
    is $headers->{'Access-Control-Expose-Headers'}, 'EventSource-Owner',
        "$method: a page of another origin may read it";
}
is $hub->stats->{streams}, 0, 'HEAD begins no stream';

done_testing;

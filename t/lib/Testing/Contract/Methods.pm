package Testing::Contract::Methods;
use Testing;

# The behaviours of every application of the distribution with every method: each response is as long as its head says, and that
# to HEAD has no body, so that the connection can serve the next request.
#
#   my @behaviours = Testing::Contract::Methods->behaviours;    # Testing::Contract says what a behaviour is

use EventSource::XS ();
use Plack::App::EventSource;
use Testing::Contract::Check qw(response_complete_ok response_ends_ok);

my @METHODS = qw(HEAD POST PUT PATCH DELETE QUERY OPTIONS TRACE GET);
my %SENDS   = map { ($_ => ['Content-Length' => 0]) } qw(POST PUT PATCH DELETE QUERY);

# The status of each method. GET is a stream where it is 200; so is HEAD, without it.
my %REFUSES = map { ($_ => 405) } @METHODS;
my %STREAMS = (%REFUSES, GET     => 200);
my %CORS    = (%STREAMS, OPTIONS => 204);
my %ANSWERS = (%REFUSES, GET     => 200, HEAD => 200);

# Makes an application of a hub. Without native streams on this system there is none.
sub of_hub {
    my $make = shift;
    return sub {
        return sub { [501, ['Content-Length' => 0], []] }
            if !EventSource::XS->can('_next_end');
        require EventSource::Hub;
        require EventSource::Server;
        require Plack::App::EventSource::PubSub;
        return $make->(EventSource::Hub->new(per_process => 1));
    };
}

sub plack_app {
    my %option = @_;
    return sub {
        Plack::App::EventSource->new(handler_cb => sub { $_[0]->close }, %option)->to_app;
    };
}

# What a client sees of the response to one request, which is the last of its connection.
sub answer_ok {
    my ($client, $method, $status) = @_;
    response_ends_ok($client);
    response_complete_ok($client);
    is $client->status, $status, "$method: the status is $status";
    my @length = grep { defined $client->header($_) } qw(Content-Length Transfer-Encoding);
    cmp_ok scalar @length, '<=', 1, "$method: the head says once how long the body is";
    is $length[0],      'Content-Length', 'HEAD: it says it in bytes'       if $method eq 'HEAD';
    isnt $client->body, '', "$method: the body has a reason or the content" if $method ne 'HEAD' && $status != 204;
    is $client->rest,   '', "$method: nothing follows the response";
    return;
}

# A client that keeps its connection. It may have been idle for longer than the server keeps one open.
sub keeps_connection_ok {
    my ($run, @request) = @_;
    my $is_answered = wait_until sub {
        my $client = $run->get(@request, method => 'HEAD');
        $client->read_all;
        return eval { $client->request('/plain'); 1 } && $client->read_all && $client->body eq 'plain';
    };
    return ok $is_answered, 'the next request on the connection of a HEAD is answered';
}

# The behaviour of an application at a path. Options: below, the rest of the path; headers, which a client sends.
sub application_at {
    my ($mount, $app, $status, %option) = @_;
    my @request     = ($mount . ($option{below} // ''));
    my $is_answered = sub { $status->{$_[0]} != 200 || $_[0] eq 'HEAD' || $status == \%ANSWERS };
    return {
        name    => 'each method is answered in full, HEAD without a body',
        request => [@request, method => 'HEAD', headers => [Connection => 'close', @{$option{headers} || []}]],
        mount   => $mount,
        app     => $app,
        needs   => ['client'],
        check   => sub {
            my ($client, $run) = @_;
            answer_ok($client, HEAD => $status->{HEAD});
            for my $method (grep { $_ ne 'HEAD' && $is_answered->($_) && $run->has($_) } @METHODS) {
                my @headers = (Connection => 'close', @{$SENDS{$method} || []}, @{$option{headers} || []});
                answer_ok($run->get(@request, method => $method, headers => \@headers), $method => $status->{$method});
            }
            keeps_connection_ok($run, @request, headers => $option{headers})
                if $run->has('keep-alive') && $run->{http} eq '1.1';
            return if $is_answered->('GET');
            my $stream = $run->get(@request);
            ok $stream->read_head, 'GET: the stream begins';
            like $stream->header('Content-Type'), qr{\Atext/event-stream\b}, 'GET: it is of that type';
            $stream->leave;
        },
    };
}

my @BEHAVIOURS = (
    application_at('/methods/plack-app', plack_app(),               \%STREAMS),
    application_at('/methods/origins',   plack_app(origins => '*'), \%CORS),
    application_at(
        '/methods/origins-die',
        plack_app(origins => sub { die "on purpose\n" }),
        {map { ($_ => 500) } @METHODS},
        headers => [Origin => 'https://shop.example']
    ),
    application_at(
        '/methods/hub',
        of_hub(
            sub {
                $_[0]->to_app(channels => sub { 'news' });
            }
        ),
        \%STREAMS
    ),
    application_at(
        '/methods/server',
        of_hub(sub { EventSource::Server->new(hub => $_[0], channel => 'news')->to_app }),
        \%STREAMS
    ),
    application_at(
        '/methods/nodes',
        of_hub(sub { Plack::App::EventSource::PubSub->new(hub => $_[0])->to_app }),
        {%CORS, HEAD => 200, POST => 403},
        below => '/news'
    ),
    application_at(
        '/methods/metrics',
        of_hub(
            sub {
                $_[0]->metrics_app(allow => sub { 1 });
            }
        ),
        \%ANSWERS
    ),
    application_at(
        '/methods/metrics-of-others',
        of_hub(
            sub {
                $_[0]->metrics_app(allow => sub { 0 });
            }
        ),
        {map { ($_ => 403) } @METHODS}
    ),
    application_at(
        '/methods/script',
        sub { require EventSource::Hub; EventSource::Hub->script_app },
        \%ANSWERS
    ),
);

sub behaviours { return @BEHAVIOURS }

1;

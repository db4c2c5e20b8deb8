# The attribute methods, and the body of a request, in process. t/lib/Testing/Contract/Requests.pm has the same on servers.

use lib 't/lib';
use Testing;
use Plack::App::EventSource;
use Plack::Request;
use Testing::RecordingHub qw(answer);

# An application that pushes the method and the body of its request.
sub echo {
    return Plack::App::EventSource->new(
        handler_cb => sub {
            my ($conn, $env) = @_;
            $conn->push("$env->{REQUEST_METHOD}: " . Plack::Request->new($env)->content);
        },
        @_
    )->to_app;
}

# A handle that has no more bytes than these, read from the client when it is asked. Dies if it is read behind its end.
package My::Input {
    sub new { my ($class, @pieces) = @_; return bless [@pieces], $class }

    sub read {
        my ($self, undef, $length) = @_;
        die "read behind the end\n" if !@$self;
        die $self->[0]              if ref $self->[0] || $self->[0] =~ /\n\z/;
        $_[1] = substr $self->[0], 0, $length, '';
        shift @$self if !length $self->[0];
        return length $_[1];
    }
}

sub input {
    return ('psgi.input' => My::Input->new(@_), 'psgix.input.buffered' => 0);
}

subtest 'the methods that are allowed' => sub {
    for my $case (
        [undef,                                 ['GET']],
        [['GET'],                               ['GET']],
        [['POST'],                              ['POST']],
        [['POST', 'GET', 'POST'],               ['GET', 'POST', 'POST']],
        [[qw(QUERY PUT PATCH POST GET DELETE)], [qw(DELETE GET PATCH POST PUT QUERY)]]
    ) {
        my ($given, $allowed) = @$case;
        my $app  = echo(methods => $given);
        my $list = join ', ', @$allowed;
        my %is   = map { ($_ => 1) } @$allowed;
        for my $method (qw(GET POST PUT PATCH DELETE QUERY HEAD OPTIONS TRACE post)) {
            my $response = answer($app, $method => '/', content => $is{$method} ? 'abc' : undef);
            if ($is{$method}) {
                is $response->content, "data: $method: abc\r\n\r\n", "$list: $method is a stream";
                is $response->header('Access-Control-Allow-Methods'), $list,
                    "$list: the stream of $method has the list";
            }
            else {
                is $response->code,            405,   "$list: $method is a 405";
                is $response->header('Allow'), $list, "$list: the 405 to $method has the list";
            }
        }
    }
};

subtest 'a hub passes methods and origins on' => sub {
    Testing->need('native');
    require EventSource::Hub;
    my $hub = EventSource::Hub->new;
    my @asked;
    my $app = $hub->to_app(
        methods  => ['POST'],
        origins  => 'https://shop.example',
        channels => sub { push @asked, Plack::Request->new(shift)->content; return [402, [], []] },
    );
    is answer($app, GET => '/')->code, 405, 'GET is a 405 if methods does not have it';
    is answer($app, POST => '/', content => 'x', headers => [Origin => 'https://evil.example'])->code, 403,
        'a POST of another origin is a 403';
    is_deeply \@asked, [], 'the callback channels is not called for a request that is refused';
    my $response = answer($app, POST => '/', content => '{"a":1}', headers => [Origin => 'https://shop.example']);
    is $response->code,                                  402,                    'the response of the callback is sent';
    is $response->header('Access-Control-Allow-Origin'), 'https://shop.example', 'and has the headers for its origin';
    is_deeply \@asked, ['{"a":1}'], 'the callback channels reads the body';
};

subtest 'the body of a request that the server has not read' => sub {
    my $app  = echo(methods => ['GET', 'POST']);
    my @post = (POST => '/', headers => ['Content-Length' => 6]);
    is answer($app, @post, env => {input('abc', 'de', 'f')})->content, "data: POST: abcdef\r\n\r\n",
        'the pieces of a body are put together';
    is answer($app, @post, env => {input('abcdefGET / HTTP')})->content, "data: POST: abcdef\r\n\r\n",
        'no more than the body is read';
    is answer($app, POST => '/', env => {input(), CONTENT_LENGTH => ''})->content, "data: POST: \r\n\r\n",
        'nothing is read without a Content-Length';
    is answer($app, GET => '/', env => {input()})->content, "data: GET: \r\n\r\n", 'nothing is read for a GET';

    my $large = 'x' x 3_000_000;
    my $input = answer($app, POST => '/', headers => ['Content-Length' => length $large], env => {input($large)});
    is length $input->content, length("data: POST: \r\n\r\n") + length $large, 'a body of 3 MB is read';
};

subtest 'a body that cannot be read' => sub {
    my $called = 0;
    my $app    = Plack::App::EventSource->new(handler_cb => sub { $called++ }, methods => ['POST'])->to_app;
    my @post   = (POST => '/', headers => ['Content-Length' => 6]);

    package My::Short {
        sub new  { return bless [], shift }
        sub read { return 0 }
    }
    my %env = (
        'a body that ends early'            => [400, 'psgi.input' => My::Short->new, 'psgix.input.buffered' => 0],
        'a client that leaves uWSGI'        => [400, input("error during read(65536) on /\n")],
        'a client that keeps uWSGI waiting' => [400, input('abc', "timeout during read(65536) on /\n")],
        'a length that is not a number'     => [400, CONTENT_LENGTH => '6, 6'],
        'a negative length'                 => [400, CONTENT_LENGTH => '-1'],
        'chunks that are not decoded'       => [411, CONTENT_LENGTH => undef, HTTP_TRANSFER_ENCODING => 'chunked'],
    );
    for my $what (sort keys %env) {
        my ($status, %more) = @{$env{$what}};
        my $response = answer($app, @post, env => \%more);
        is $response->code,         $status,      "$what: the status is $status";
        is $response->content_type, 'text/plain', "$what: the response has a reason";
    }
    is $called, 0, 'no handler was called';
    ok !eval { answer($app, @post, env => {input("by a handler of signals\n")}); 1 },
        'any other exception is thrown again';
    is $@, "by a handler of signals\n", 'it is unchanged';
};

done_testing;

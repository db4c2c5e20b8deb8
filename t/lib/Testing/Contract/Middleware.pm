package Testing::Contract::Middleware;
use Testing;

# The behaviours of streams behind middleware: native behind what leaves the body alone, on the server's writer behind what
# filters it.
#
#   my @behaviours = Testing::Contract::Middleware->behaviours;    # Testing::Contract says what a behaviour is

use Testing::Client;
use Testing::Contract::Basics ();
use Testing::Contract::Check
    qw(end_reported_ok next_request_ok response_complete_ok response_ends_ok stream_kind_is text_is);
use Testing::Contract::Handler qw(behind pushing report source);
use Plack::Builder;

my @LEAVES_BODY = qw(
    AccessLog ConditionalGET ContentLength ErrorDocument HTTPExceptions Head JSONP Lint ReverseProxy Runtime StackTrace
);
my @FILTERS_BODY = qw(AccessLog::Timed SimpleContentFilter);

my @BEHAVIOURS = (
    {
        name    => 'a middleware may filter the body',
        request => ['/filtered'],
        app     => sub {
            return builder {
                enable 'SimpleContentFilter', filter => sub { $_ = uc };
                source(pushing(['foo'], ['bar']))->to_app;
            };
        },
        check => text_is("DATA: FOO\r\n\r\nDATA: BAR\r\n\r\n"),
    },
    {
        name    => 'the stream is native behind a middleware that copies the environment',
        request => ['/kind/copied'],
        needs   => ['copied environment'],
        app     => sub {
            my $app = _source();
            return sub { return $app->({%{$_[0]}}) };
        },
        check => stream_kind_is(),
    },
    (
        map {
            my $name = $_;
            {
                name    => "the stream is native behind $name",
                request => ["/kind/$name"],
                needs   => ["Plack::Middleware::$name"],
                app     => sub { return behind($name, _source()) },
                check   => stream_kind_is(),
            }
        } @LEAVES_BODY
    ),
    (
        map {
            my $name = $_;
            {
                name    => "the stream is on the server's writer behind $name",
                request => ["/kind/$name"],
                needs   => ["Plack::Middleware::$name"],
                app     => sub { return behind($name, _source()) },
                check   => stream_kind_is('writer'),
            }
        } @FILTERS_BODY
    ),
    {
        # The middleware frames the body for a client of HTTP/1.1, and some servers do it once more.
        name    => "the stream is on the server's writer behind Chunked, if Chunked frames the body",
        request => ['/kind/Chunked'],
        app     => sub { return behind('Chunked', _source()) },
        check   => sub {
            my ($client, $run) = @_;
            return stream_kind_is()->($client, $run) if $client->{http} eq '1.0';
            response_ends_ok($client);
            response_complete_ok($client);
            like $client->text, qr/data: writer\r\n\r\n.*data: and goes on\r\n\r\n/s,
                "the stream is on the server's writer";
        },
    },
    {
        name    => 'the stream is native behind Deflater, which leaves it alone, for a client that accepts gzip',
        request => ['/kind/Deflater', headers => ['Accept-Encoding' => 'gzip']],
        needs   => ['Plack::Middleware::Deflater'],
        app     => sub { return behind('Deflater', _source()) },
        check   => stream_kind_is(),
    },
    {
        name    => 'the stream is native behind Deflater, for a client that does not accept gzip',
        request => ['/kind/Deflater'],
        needs   => ['Plack::Middleware::Deflater'],
        check   => stream_kind_is(),
    },
    {
        name    => 'a handler may copy its environment while the stream is open and after its end',
        request => ['/copying'],
        handler => sub {
            my ($conn, $env) = @_;
            my $copy = sub {
                my %copy = %$env;
                report($env, "$_[0], of " . ($copy{REQUEST_METHOD} || 'nothing'));
                return;
            };
            $conn->on_close(sub { $copy->('copied when closed') });
            $conn->push('foo');
            $copy->('copied when open');
            $conn->push('bar');
            $conn->close;
        },
        check => sub {
            my ($client, $run) = @_;
            response_ends_ok($client);
            response_complete_ok($client);
            is $client->text, "data: foo\r\n\r\ndata: bar\r\n\r\n", 'all events arrive';
            $run->journal_ok($client, qr/^copied when open, of GET$/m, 'the environment is copied during the stream');
            end_reported_ok($client, $run, qr/^copied when closed, of GET$/m,
                'the environment is copied after its end');
            next_request_ok($run);
        },
    },
);

sub behaviours { return @BEHAVIOURS }

sub _source { return source(\&Testing::Contract::Basics::push_kind)->to_app }

1;

package Testing::Contract::Head;
use Testing;

# The behaviours of a response's head: headers, subclasses and mounting.
#
#   my @behaviours = Testing::Contract::Head->behaviours;    # Testing::Contract says what a behaviour is

use Testing::Contract::Check   qw(head_is response_ends_ok status_is text_is);
use Testing::Contract::Handler qw(add_headers pushing source);
use Plack::Builder;

# The headers that every stream begins with.
my @HEAD = (
    'Content-Type'                 => 'text/event-stream; charset=UTF-8',
    'Cache-Control'                => 'no-store, no-cache, must-revalidate, max-age=0, no-transform',
    'Access-Control-Allow-Methods' => 'GET',
);
my @FOR_PROXIES = ('X-Accel-Buffering' => 'no', Incremental => '?1');

my @BEHAVIOURS = (
    {
        name    => 'the head has the standard headers, and those that ask proxies not to hold the stream back',
        request => ['/one'],
        check   => head_is(@HEAD, @FOR_PROXIES),
    },
    {
        name    => 'headers of the application follow the standard ones',
        request => ['/own-headers'],
        app     => sub {
            return source(pushing(['foo']), headers => ['X-App' => 'yes', 'Set-Cookie' => 'a=b'])->to_app;
        },
        check => head_is(@HEAD, @FOR_PROXIES, 'X-App' => 'yes', 'Set-Cookie' => 'a=b'),
    },
    {
        name    => 'X-Accel-Buffering of the application replaces the default, in any case of letters',
        request => ['/buffering'],
        app     => sub { return source(pushing(['foo']), headers => ['x-ACCEL-buffering' => 'yes'])->to_app },
        check   => head_is(@HEAD, @FOR_PROXIES[2, 3], 'x-ACCEL-buffering' => 'yes'),
    },
    {
        name    => 'Incremental of the application replaces the default',
        request => ['/incremental'],
        app     => sub { return source(pushing(['foo']), headers => [incremental => '?0'])->to_app },
        check   => head_is(@HEAD, @FOR_PROXIES[0, 1], incremental => '?0'),
    },
    {
        name    => 'headers that change after to_app are sent as changed',
        request => ['/changing'],
        app     => sub {
            my $source = source(pushing(['foo']), headers => ['X-State' => 'as built']);
            my $app    = $source->to_app;
            $source->headers(['X-State' => 'changed later']);
            return $app;
        },
        check => head_is(@HEAD, @FOR_PROXIES, 'X-State' => 'changed later'),
    },
    {
        name    => 'a subclass may override headers and handler_cb',
        request => ['/subclass'],
        app     => sub { return Testing::Contract::Subclass->new(greeting => 'hello')->to_app },
        check   => sub {
            my $client = shift;
            response_ends_ok($client);
            is $client->header('X-Class'), 'Testing::Contract::Subclass', 'the headers are those of the subclass';
            is $client->text,              "data: hello\r\n\r\n",         'the handler is that of the subclass';
        },
    },
    {
        name    => 'a subclass may override call and refuse a request',
        request => ['/subclass', headers => ['X-Stranger' => 1]],
        check   => status_is(403),
    },
    {
        # URLMap restores the outer path when the head is out, before the handler runs. The original behaved the same.
        name    => 'a mounted application sees the inner path, its handler the outer one',
        request => ['/mounted/deeper/here'],
        mount   => '/mounted',
        app     => sub {
            my $inner = source(
                sub {
                    my ($conn, $env) = @_;
                    $conn->push("called at $env->{'contract.path'}",
                        "handled at $env->{SCRIPT_NAME} $env->{PATH_INFO}");
                    $conn->close;
                    return;
                }
            )->to_app;
            my $remember_path = sub {
                my $env = shift;
                $env->{'contract.path'} = "$env->{SCRIPT_NAME} $env->{PATH_INFO}";
                return $inner->($env);
            };
            return builder { mount '/deeper' => $remember_path };
        },
        check => text_is("data: called at /mounted/deeper /here\r\ndata: handled at  /mounted/deeper/here\r\n\r\n"),
    },
    {
        name    => 'middleware may set and append headers',
        request => ['/wrapped'],
        app     => sub {
            return builder {
                enable 'ConditionalGET';
                enable 'ContentLength';
                enable 'Runtime';
                enable 'AccessLog', logger => sub { };
                enable \&add_headers;
                source(pushing(['foo']), headers => ['X-App' => 'yes'])->to_app;
            };
        },
        check => sub {
            my $client = shift;
            response_ends_ok($client);
            is $client->header('X-Set'), 'on the way out', 'the header that a middleware sets is sent';
            is_deeply [$client->header('X-App')], ['yes', 'also'], 'the header that a middleware appends is sent';
            is $client->text, "data: foo\r\n\r\n", 'the events are sent';
        },
    },
);

sub behaviours { return @BEHAVIOURS }

# A subclass that overrides call, handler_cb and headers.
package Testing::Contract::Subclass;

use parent 'Plack::App::EventSource';

sub call {
    my ($self, $env) = @_;
    return [403, [], ['Not for you']] if $env->{HTTP_X_STRANGER};
    return $self->SUPER::call($env);
}

sub handler_cb {
    my $self = shift;
    return sub {
        my $conn = shift;
        $conn->push($self->{greeting});
        $conn->close;
        return;
    };
}

sub headers { return ['X-Class' => ref $_[0]] }

1;

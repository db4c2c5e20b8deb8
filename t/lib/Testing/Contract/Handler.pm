package Testing::Contract::Handler;
use strict;
use warnings;

# Building blocks for the handlers of the contract's behaviours. They run in the server's processes. A handler reports to a
# journal, which is a file, under the tag of its request, so the test can read the reports of every process.
#
#   handler => sub {
#       my ($conn, $env) = @_;
#       report_close($conn, $env);
#       repeat($env, sub { $conn->push('tick') });
#   },

use Exporter qw(import);
use Plack::App::EventSource;
use Plack::Util ();
use Testing::Journal;
use Time::HiRes qw(sleep time);

our @EXPORT_OK = qw($PAUSE add_headers behind buffering journal_matches pushing repeat report report_close source tag);

our $PAUSE = 0.01;    # seconds between two pushes of a handler that repeats them

my $PATIENCE = 20;    # seconds after which a handler stops repeating

# The arguments of each middleware that a source is placed behind.
my %MIDDLEWARE = (
    'AccessLog'           => [logger => sub { }],
    'AccessLog::Timed'    => [logger => sub { }],
    'Chunked'             => [],
    'ConditionalGET'      => [],
    'ContentLength'       => [],
    'Deflater'            => [content_type => 'text/event-stream'],
    'ErrorDocument'       => [404          => '/nowhere'],
    'HTTPExceptions'      => [],
    'Head'                => [],
    'JSONP'               => [],
    'Lint'                => [],
    'ReverseProxy'        => [],
    'Runtime'             => [],
    'SimpleContentFilter' => [filter          => sub { }],
    'StackTrace'          => [no_print_errors => 1],
);

# Wraps an application in middleware that sets one header and appends another.
sub add_headers {
    my $app = shift;
    return sub {
        return Plack::Util::response_cb $app->($_[0]), sub {
            my $response = shift;
            Plack::Util::header_set($response->[1], 'X-Set', 'on the way out');
            Plack::Util::header_push($response->[1], 'X-App', 'also');
            return;
        };
    };
}

# Returns an application behind a middleware; undef if the middleware is not installed.
sub behind {
    my ($name, $app) = @_;
    my $class = eval { Plack::Util::load_class($name, 'Plack::Middleware') } or return;
    return $class->wrap($app, @{$MIDDLEWARE{$name}});
}

# Returns an application around a handler that pushes several megabytes. In an event loop push cannot wait for the client, so
# the stream's buffer must hold all of it.
sub buffering {
    my $handler  = shift;
    my $blocking = source($handler)->to_app;
    my $buffered = source($handler, max_buffered => 64 * 1_048_576)->to_app;
    return sub { $_[0]{'psgi.nonblocking'} ? $buffered->(@_) : $blocking->(@_) };
}

# True if a line of the journal matches.
sub journal_matches {
    my $pattern = shift;
    open my $journal, '<', $ENV{CONTRACT_JOURNAL} or return;
    return scalar grep { $_ =~ $pattern } readline $journal;
}

# Returns a handler that pushes each of the given lists in one push, and closes.
sub pushing {
    my @pushes = @_;
    return sub {
        my $conn = shift;
        $conn->push(@$_) for @pushes;
        $conn->close;
    };
}

# Calls a sub until it returns false: in a loop that sleeps, or by a timer of the server's event loop.
sub repeat {
    my ($env, $code) = @_;
    my $deadline = time + $PATIENCE;
    my $again    = sub {
        return $code->() if time < $deadline;
        report($env, 'gave up');
    };
    if (!$env->{'psgi.nonblocking'}) {
        sleep $PAUSE while $again->();
        return;
    }
    my $timer;
    my $tick = sub { $again->() || undef $timer };
    $timer = exists $env->{'psgix.output.guard'} ? EV::timer($PAUSE, $PAUSE, $tick) : AE::timer($PAUSE, $PAUSE, $tick);
    return;
}

# Appends a line to the journal. Does not create the file: a server may outlive its test by a moment.
sub report {
    my ($env, $text) = @_;
    return Testing::Journal->open($ENV{CONTRACT_JOURNAL})->write(tag($env), $text);
}

# Lets the connection report its end.
sub report_close {
    my ($conn, $env) = @_;
    $conn->on_close(sub { report($env, "closed by $_[1], open: " . ($_[0]->is_open ? 1 : 0)) });
    return;
}

# Returns a Plack::App::EventSource around a handler, native if the run is. Some behaviours filter the body, so native => 1
# would fail there.
sub source {
    my ($handler, %option) = @_;
    $option{native} = $ENV{CONTRACT_NATIVE} ? 'auto' : 0 if Plack::App::EventSource->can('native');
    return Plack::App::EventSource->new(handler_cb => $handler, %option);
}

# Returns the tag of a request.
sub tag { return $_[0]{QUERY_STRING} =~ /\btag=([^&]+)/ ? $1 : 'none' }

1;

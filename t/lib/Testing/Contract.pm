package Testing::Contract;
use strict;
use warnings;

# What Plack::App::EventSource promises on every PSGI server: the servers in one table, the behaviours in another, and
# one loop over both. The application is t/data/contract.psgi.
#
#   Testing::Contract->run('Starman');
#   Testing::Contract->run('Starman', native => 1);
#   Testing::Contract->run_basics('Starman', unix => 1, nginx => 'bare');

use Carp qw(croak);
use Testing::Client;
use Testing::ContractChecks qw(:all);
use Testing::Deadline       qw(wait_until);
use Testing::Developer      qw(has_module needs);
use File::Temp              ();
use Testing::MockClient;
use Testing::Nginx;
use Plack::App::EventSource;
use Testing::Server;
use Test::More;

my $DEADLINE = 10;    # seconds; for what should happen at once

# What a server cannot do, and why. What a row needs beyond a request and its response it names in its last elements; unix and
# tls are what a run asks for.
my $NO_LOOP   = 'a handler has the process to itself until it returns';
my $NO_BLOCK  = 'a handler that waited would stop the event loop';
my $NO_SOCKET = 'it shows no socket';
my %CANNOT    = (
    'HTTP::Server::PSGI' => {
        loop         => $NO_LOOP,
        several      => 'one process, and each stream keeps it',
        'keep-alive' => 'it answers in HTTP/1.0 and closes',
        unix         => 'it listens on TCP only',
    },
    'HTTP::Server::Simple::PSGI' => {
        'loop'       => $NO_LOOP,
        'several'    => 'one process, and each stream keeps it',
        'keep-alive' => 'it answers in HTTP/1.0 and closes',
        'pipelining' => 'it closes its socket without reading more, which resets the connection',
        'tls'        => 'it has none',
        'unix'       => 'it listens on TCP only',
    },
    'Starman' => {
        'loop'        => $NO_LOOP,
        'tls process' => 'a worker keeps the socket of a client that has left until it has the next',
    },
    'Starlet' => {loop => $NO_LOOP, tls => 'it has none'},
    'Twiggy'  => {
        tls          => 'it has none',
        blocking     => $NO_BLOCK,
        'keep-alive' => 'it answers in HTTP/1.0 and closes',
    },
    'Feersum' => {
        'tls'              => 'it has none',
        'blocking'         => $NO_BLOCK,
        'filtered leaving' => 'it gives no socket but by its own writer',
        'keep-alive'       => 'it is off unless asked for',
        'empty writes'     => 'it makes them the last chunk of the response',
    },
    'uWSGI' => {
        loop         => $NO_LOOP,
        'keep-alive' => 'its --http-socket closes after each response',
    },
    'uWSGI, behind a proxy' => {loop => $NO_LOOP},
    'FCGI'                  => {
        loop    => $NO_LOOP,
        tls     => 'it speaks no HTTP',
        client  => $NO_SOCKET,
        process => $NO_SOCKET,
    },
    'MockHTTP' => {
        loop         => $NO_LOOP,
        several      => 'a request is a call in the process of the test',
        'keep-alive' => 'there is no connection',
        client       => 'there is no client that could leave',
        process      => 'there is no process of a server',
    },
);

# Middleware that leaves the body alone, so that a stream can be taken over from under it; and middleware that filters the
# body, whatever it is.
my @LEAVES_BODY = qw(
    AccessLog ConditionalGET ContentLength ErrorDocument HTTPExceptions Head JSONP Lint ReverseProxy Runtime StackTrace
);
my @FILTERS_BODY = qw(AccessLog::Timed SimpleContentFilter);

# What a server can do when it is told to.
my %ARGS = (Starlet => ['--max-keepalive-reqs', 100]);

# The headers that every stream begins with.
my @HEAD = (
    'Content-Type'                 => 'text/event-stream; charset=UTF-8',
    'Cache-Control'                => 'no-store, no-cache, must-revalidate, max-age=0',
    'Access-Control-Allow-Methods' => 'GET',
);

# What has to hold whatever the way to the server is.
my @BASICS = (
    ['the head comes before there is an event' => '/silent',     \&head_comes_first, 'client'],
    ['an event comes before there is another'  => '/one-by-one', \&comes_one_by_one, 'client'],
    ['one push is one event'          => '/one',      text_is("data: foo\r\n\r\n")],
    ['many pushes are many'           => '/many',     text_is(join '', map { "data: event $_\r\n\r\n" } 1 .. 100)],
    ['a megabyte comes whole'         => '/megabyte', \&is_a_megabyte],
    ['a reader in no hurry gets all'  => '/flood',    \&gets_all, 'client'],
    ['UTF-8 is sent as it is'         => '/bytes',    text_is("data: caf\xc3\xa9\r\n\r\n")],
    ['close ends the response'        => '/close',    \&ends_by_close],
    ['a dropped connection is closed' => '/dropped',  \&ends_by_drop, 'blocking'],
    [
        'Last-Event-ID is known' => ['/last-id', headers => ['Last-Event-ID' => "caf\xc3\xa9 7"]],
        text_is("data: caf\xc3\xa9 7\r\ndata: 6 characters\r\n\r\n")
    ],
    ['a stream is taken over from the server' => '/foundation/plain', taken_over()],
    ['a client may leave'                     => '/tick',  leaves(),         'client'],
    ['leaving is seen without a push'         => '/watch', \&leaves_watched, 'client'],
    ['an exception ends one response'         => '/dies',  \&survives,       'client'],
    ['several streams live at once'           => '/plain', \&live_together,  'several'],
    ['a connection serves more than a stream' => '/one',   \&serves_again,   'keep-alive'],
    [
        'a request right behind another harms no one' => ['/many', then => "GET /plain HTTP/1.0\r\n\r\n"],
        \&is_unharmed, 'client', 'pipelining'
    ],
    ['what a client says during a stream is not heard' => '/one-by-one', \&is_not_disturbed, 'client'],
    ['streams leave no descriptor behind'              => '/one',        \&leaks_nothing,    'process'],
);

# What is checked of a server that is reached directly.
my @DETAILS = (
    ['POST is not allowed' => ['/one', method => 'POST', headers => ['Content-Length' => 0]], \&not_allowed],
    ['PUT is not allowed'  => ['/one', method => 'PUT',  headers => ['Content-Length' => 0]], \&not_allowed],
    ['HEAD is not allowed' => ['/one', method => 'HEAD'], \&not_allowed],

    ['the head is the known one and one line for nginx' => '/one', head_is(@HEAD, 'X-Accel-Buffering' => 'no')],
    [
        'headers of the application come last' => '/own-headers',
        head_is(@HEAD, 'X-Accel-Buffering' => 'no', 'X-App' => 'yes', 'Set-Cookie' => 'a=b')
    ],
    [
        'what the application says of buffering stands, however it is spelt' => '/buffering',
        head_is(@HEAD, 'x-ACCEL-buffering' => 'yes')
    ],
    [
        'headers may change after to_app' => '/changing',
        head_is(@HEAD, 'X-Accel-Buffering' => 'no', 'X-State' => 'changed later')
    ],

    ['a hash has fields'      => '/hash',    text_is("event: e\r\nid: i\r\ndata: d\r\nretry: 5\r\n\r\n")],
    ['a list is one event'    => '/list',    text_is("data: foo\r\nid: 7\r\ndata: bar\r\ndata: baz\r\n\r\n")],
    ['pushes are events each' => '/several', text_is("data: a\r\n\r\nevent: e\r\ndata: b\r\n\r\ndata: c\r\n\r\n")],
    ['a handler waits for its reader' => '/flood', \&waits_for_reader, 'client', 'blocking'],
    ['0 is data'                      => '/zero',  text_is("data: 0\r\n\r\ndata: 0\r\n\r\n")],

    ['characters that are no UTF-8 are encoded'  => '/latin1',     text_is("data: caf\xc3\xa9\r\n\r\n")],
    ['characters above 255 are encoded'          => '/wide',       text_is("data: \xe2\x98\xba\r\n\r\n")],
    ['with characters => 1 it is encoded anyway' => '/characters', text_is("data: caf\xc3\x83\xc2\xa9\r\n\r\n")],
    [
        'each line of data has its field' => '/lines',
        text_is("data: a\r\ndata: b\r\ndata: c\r\ndata: d\r\n\r\n")
    ],

    ['a bad id croaks in the handler, nothing is sent'     => '/bad-id',  \&croaks_and_goes_on],
    ['one that was dropped after a program had run too'    => '/program', \&ends_by_drop,       'blocking'],
    ['a dropped connection stays, until its client leaves' => '/dropped', \&stays_when_dropped, 'loop'],

    ['retry comes first'                   => '/retry-exact', text_is("retry: 2500\r\n\r\ndata: foo\r\n\r\n")],
    ['one retry is up to a fifth more'     => '/retry',       \&begins_with_a_retry],
    ['a preamble comes before all'         => '/preamble',    \&begins_with_a_preamble],
    ['without Last-Event-ID there is none' => '/last-id',     text_is("data: none\r\n\r\n")],

    ['a subclass has its way' => '/subclass',                                   \&has_the_subclass_way],
    ['a subclass may refuse'  => ['/subclass', headers => ['X-Stranger' => 1]], status_is(403)],

    # URLMap puts the outer path back when the head is out, before the handler runs; so it was with the original.
    [
        'it can be mounted' => '/mounted/deeper/here',
        text_is("data: called at /mounted/deeper /here\r\ndata: handled at  /mounted/deeper/here\r\n\r\n")
    ],
    ['header middleware has its say'    => '/wrapped',  \&is_wrapped],
    ['a filter of the body has its say' => '/filtered', text_is("DATA: FOO\r\n\r\nDATA: BAR\r\n\r\n")],

    ['a copied environment is no hindrance' => '/foundation/copied', taken_over()],
    (map { ["nor is $_ in front" => "/foundation/$_", taken_over(), "Plack::Middleware::$_"] } @LEAVES_BODY),
    (
        map { ["it is left alone behind $_" => "/foundation/$_", stands_on_the_writer(), "Plack::Middleware::$_"] }
            @FILTERS_BODY
    ),
    ['and behind Chunked, where it chunks' => '/foundation/Chunked', \&is_chunked_by_a_filter],
    [
        'and behind Deflater, where it deflates' => ['/foundation/Deflater', headers => ['Accept-Encoding' => 'gzip']],
        \&is_deflated, 'Plack::Middleware::Deflater', 'empty writes'
    ],
    ['which is no hindrance where it does not' => '/foundation/Deflater', taken_over(), 'Plack::Middleware::Deflater'],
    ['a handler may copy its environment' => '/copying', \&copies_its_environment],

    ['a client may reset'                          => '/tick', leaves(reset  => 1),      'client'],
    ['even one that had more to say'               => '/tick', leaves(saying => 'junk'), 'client'],
    ['leaving is seen through a filter, in a loop' => '/held', \&leaves_watched, 'client', 'loop', 'filtered leaving'],
    ['a push may unwind its handler'               => '/unwound', \&is_unwound,     'client', 'blocking'],
    ['it never does in an event loop'              => '/unwound', \&is_not_unwound, 'client', 'loop'],
    ['a child goes on with the stream'             => '/fork',    \&child_goes_on,  'client', 'blocking'],
);

# Public methods

# Runs the contract on a server: a name of Server's, or MockHTTP. With native => 1 streams are taken over from the server
# wherever that can be, otherwise nowhere.
sub run {
    my ($class, $name, %option) = @_;
    my $self = $class->_start($name, %option);
    $self->_rows(@BASICS, @DETAILS);
    return;
}

# Runs the basics in each mode that there is, as a subtest. Options: unix => 1, for a server on a Unix socket; tls => 1; nginx,
# how a nginx in front of it passes requests on (Nginx.pm).
sub run_basics {
    my ($class, $name, %option) = @_;
    my $way = join ', ', $name, map { $option{$_} eq 1 ? $_ : "$option{$_} $_" } sort keys %option;
    for my $native (0, 1) {
        subtest(
            $way . ($native ? ', native' : '') => sub {
                my $self = $class->_start($name, %option, native => $native);
                $self->_rows(@BASICS);
            }
        );
    }
    return;
}

# What the checks are made of

# One more request, of the same kind of client.
sub get {
    my ($self, $path, %option) = @_;
    my $tag = delete $option{tag} || ++$self->{tags};
    $path .= "?tag=$tag";
    my $client =
          $self->{mock}
        ? $self->{mock}->get($path, %option)
        : Testing::Client->get($self->{at}, $path, http => $self->{http}, certificate => $self->{certificate}, %option);
    $client->{tag} = $tag;
    return $client;
}

# Whether a stream is the last response on its client's connection, whatever the server would do.
sub ends_connection { return $_[0]->is_native && !$_[0]{nginx} }

# Whether a stream with nothing in its way is taken over from the server.
sub is_native { return $_[0]{native} && !$_[0]{never_native} }

sub tell_all {
    my ($self, $tag, $text) = @_;
    open my $journal, '>>', $self->{journal}->filename or croak "$self->{journal}: $!";
    print {$journal} "$tag $text\n";
    close $journal or croak "$self->{journal}: $!";
    return;
}

# What the handler of this client has told so far.
sub told {
    my ($self, $client) = @_;
    open my $journal, '<', $self->{journal}->filename or croak "$self->{journal}: $!";
    return join '', map { /\A\Q$client->{tag}\E (.*)/s ? $1 : () } readline $journal;
}

# Waits until the handler of this client has told it, and makes a test of that.
sub told_ok {
    my ($self, $client, $pattern, $what) = @_;
    my $told;
    wait_until($DEADLINE, sub { ($told = $self->told($client)) =~ $pattern });
    return like $told, $pattern, $what;
}

# The server ends first: its last streams still tell of their end.
sub DESTROY {
    my $self = shift;
    delete @$self{qw(proxy server)};
    return;
}

# Private methods

# Why something that a row needs is not there.
sub _cannot {
    my ($self, $need) = @_;
    return if $need eq 'keep-alive' && $self->{nginx};     # that is nginx's, and it can
    return if $need eq 'pipelining' && $self->{native};    # the reactor reads what the client sends
    my $cannot = $CANNOT{$self->{name}};
    return $cannot->{$need} if !$self->{tls} || !exists $cannot->{"tls $need"};
    return $cannot->{"tls $need"};
}

sub _row {
    my ($self, $sentence, $request, $check, @needs) = @_;
    my ($path, %option) = ref $request ? @$request : $request;
    my ($missing) = grep { /::/ && !has_module($_) } @needs;
    return fail "$sentence: there is no $missing" if $missing && $ENV{EVENTSOURCE_XS_FULL};
    my ($why) = $missing ? "there is no $missing here" : grep { defined } map { $self->_cannot($_) } @needs;
    if (defined $why) {
    SKIP: { skip "$sentence: $why", 1 }
        return;
    }
    subtest "$sentence (HTTP/$self->{http})" => sub { $check->($self->get($path, %option), $self) };
    return;
}

sub _rows {
    my ($self, @rows) = @_;
    for my $http ('1.0', '1.1') {
        $self->{http} = $http;
        $self->_row(@$_) for @rows;
    }
    done_testing;
    return;
}

# A run against what has been started for it; or the end of the test file, or the subtest.
sub _start {
    my ($class, $name, %option) = @_;
    my $native = $option{native} ? 1 : 0;
    plan(skip_all => 'there is no native writer') if $native && !Plack::App::EventSource->can('native');
    my $journal = File::Temp->new(TEMPLATE => 'contract-XXXXXX', TMPDIR => 1);
    my $self    = bless {%option, name => $name, native => $native, journal => $journal, tags => 0}, $class;
    my $env     = {CONTRACT_JOURNAL => $journal->filename, CONTRACT_NATIVE => $native};
    $self->{never_native} = $option{tls} || $name =~ /\A(?:FCGI|MockHTTP)\z/;
    if ($name eq 'MockHTTP') { $self->{mock} = Testing::MockClient->new('t/data/contract.psgi', $env) }
    else                     { $self->_start_server($env) }
    return $self;
}

sub _start_server {
    my ($self, $env) = @_;
    Testing::Server->require_or_skip_all($self->{name});
    for my $need (grep { $self->{$_} } qw(tls unix)) {
        my $why = $self->_cannot($need);
        plan(skip_all => "$self->{name}: $why") if defined $why;
    }
    needs(Testing::Server->missing_tls) if $self->{tls};
    Testing::Nginx->require_or_skip_all if $self->{nginx};
    my %option = (args => $ARGS{$self->{name}}, env => $env, unix => $self->{unix}, tls => $self->{tls});
    $self->{server}      = Testing::Server->start($self->{name}, 't/data/contract.psgi', %option);
    $self->{certificate} = $self->{server}->certificate;
    $self->{proxy}       = Testing::Nginx->start($self->{server}, $self->{nginx}) if $self->{nginx};
    $self->{at}          = ($self->{proxy} || $self->{server})->at;
    return;
}

1;

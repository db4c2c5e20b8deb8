package Testing::Contract;
use Testing;

# The contract of Plack::App::EventSource on every PSGI server: one table of servers below, one table of behaviours in
# Contract/*.pm, and one loop over both.
#
#   Testing::Contract->run('Starman');
#   Testing::Contract->run('Starman', native => 1);
#   Testing::Contract->run_basics('Starman', unix => 1, nginx => 'bare');
#
# A behaviour is a hash:
#
#   {
#       name    => 'one push is one event',        # the test is called "GET /one: one push is one event (HTTP/1.1)"
#       request => ['/one', method => 'GET'],      # path, and options of Testing::Client->get
#       needs   => ['blocking'],                   # abilities of the server (%CANNOT below), and modules
#       handler => pushing(['foo']),               # the handler of the stream at that path; Contract/Handler.pm
#       check   => text_is("data: foo\r\n\r\n"),   # is called with the client and the run; Contract/Check.pm
#   }
#
# Instead of `handler` there may be `app`, a sub that returns a PSGI application, and `mount`, where to mount it if that is
# not the path. A behaviour with neither uses the application of another behaviour with the same path. t/data/contract.psgi
# makes the routes.

use Testing::Client;
use Testing::Contract::Basics;
use Testing::Contract::Ends;
use Testing::Contract::Events;
use Testing::Contract::Head;
use Testing::Contract::Methods;
use Testing::Contract::Middleware;
use Testing::Contract::Requests;
use Testing::Developer qw(has_module needs);
use Testing::Journal;
use Testing::MockClient;
use Testing::Nginx;
use Plack::App::EventSource;
use Testing::Server;

# The features that a server lacks, with the reasons. A behaviour names the features that it needs. A run may also need unix
# or tls.
my $NO_LOOP   = 'a handler occupies its process until it returns';
my $NO_BLOCK  = 'a handler that blocks would stop the event loop';
my $NO_SOCKET = 'it gives no access to the socket';
my $NO_CHUNKS = 'it does not decode chunked bodies';
my $DECODES   = 'it decodes chunked bodies';
my $NEVER_100 = 'it never asks for a body';
my %CANNOT    = (
    'HTTP::Server::PSGI' => {
        loop         => $NO_LOOP,
        several      => 'it has one process, which each stream occupies',
        'keep-alive' => 'it responds with HTTP/1.0 and closes',
        unix         => 'it listens on TCP only',

        'chunked requests' => $NO_CHUNKS,
        '100 Continue'     => $NEVER_100,
    },
    'HTTP::Server::Simple::PSGI' => {
        'loop'       => $NO_LOOP,
        'several'    => 'it has one process, which each stream occupies',
        'keep-alive' => 'it responds with HTTP/1.0 and closes',
        'pipelining' => 'it closes its socket without reading more, which resets the connection',
        'tls'        => 'it has no TLS',
        'unix'       => 'it listens on TCP only',

        'chunked requests' => $NO_CHUNKS,
        '100 Continue'     => $NEVER_100,
        'QUERY'            => 'it responds with 400',
        'TRACE'            => 'it responds with 400',
    },
    'Starman' => {
        'loop'             => $NO_LOOP,
        'tls process'      => 'a worker keeps the socket of a client that has left until it has the next',
        'undecoded chunks' => $DECODES,
    },
    'Starlet' => {'loop' => $NO_LOOP, 'tls' => 'it has no TLS', 'undecoded chunks' => $DECODES},
    'Twiggy'  => {
        tls          => 'it has no TLS',
        blocking     => $NO_BLOCK,
        'keep-alive' => 'it responds with HTTP/1.0 and closes',

        'chunked requests' => $NO_CHUNKS,
        '100 Continue'     => $NEVER_100,
    },
    'Feersum' => {
        'tls'              => 'it has no TLS',
        'blocking'         => $NO_BLOCK,
        'keep-alive'       => 'keep-alive is off by default',
        'empty writes'     => 'an empty write ends the response',
        'chunked requests' => $NO_CHUNKS,
        'undecoded chunks' => 'it refuses chunked bodies itself',
        'no length'        => 'it refuses a POST without a length itself',
        '100 Continue'     => $NEVER_100,
        'PATCH'            => 'it responds with 405',
        'QUERY'            => 'it responds with 405',
        'TRACE'            => 'it responds with 405',
        'DELETE'           => 'it gives no body of a DELETE',
        (
            Testing::Server->has_new_feersum
            ? ('copied environment' => 'it refuses to respond when the environment was copied')
            : ()
        ),
    },
    'Monoceros' => {
        'loop'             => $NO_LOOP,
        'tls'              => 'it has no TLS',
        'undecoded chunks' => $DECODES,
        '100 Continue'     => 'it reads the body before it asks for it',
    },
    'uWSGI' => {
        loop         => $NO_LOOP,
        'keep-alive' => 'its --http-socket closes after each response',

        'chunked requests' => $NO_CHUNKS,
        '100 Continue'     => $NEVER_100,
    },
    'uWSGI, behind a proxy' => {loop => $NO_LOOP},
    'FCGI'                  => {
        loop           => $NO_LOOP,
        tls            => 'it does not speak HTTP',
        process        => $NO_SOCKET,
        'head at once' => 'nginx may keep the head until bytes follow, also if it is sent alone',
    },
    (
        map {
            (
                $_ => {
                    tls            => 'it does not speak HTTP',
                    blocking       => $NO_BLOCK,
                    'keep-alive'   => $NO_SOCKET,
                    process        => $NO_SOCKET,
                    'head at once' => 'nginx may keep the head until bytes follow, also if it is sent alone',
                }
            )
        } 'FCGI::EV',
        'AnyEvent::FCGI'
    ),
    'MockHTTP' => {
        loop         => $NO_LOOP,
        several      => 'a request is a call in the test process',
        'keep-alive' => 'there is no connection',
        client       => 'there is no client connection',
        process      => 'there is no server process',

        'chunked requests' => 'a request is not encoded',
        'undecoded chunks' => 'a request is not encoded',
        '100 Continue'     => 'a request is one call',
    },
);

# Arguments that switch on what a server can do.
my %ARGS = (Starlet => ['--max-keepalive-reqs', 100]);

my @BASICS  = (Testing::Contract::Basics->behaviours, Testing::Contract::Requests->basics);
my @DETAILS = (
    (map { "Testing::Contract::$_"->behaviours } qw(Head Events Middleware Ends Methods)),
    Testing::Contract::Requests->details
);

# Runs the contract on a server: a name that Testing::Server knows, or MockHTTP. With native => 1 streams are native wherever
# the server allows it, otherwise nowhere.
sub run {
    my ($class, $name, %option) = @_;
    my $self = $class->_start($name, %option);
    $self->_run_behaviours(@BASICS, @DETAILS);
    return;
}

# Runs the basics as two subtests: streams on the server's writer, and native streams. Options: unix => 1, for a server on a
# Unix socket; tls => 1; nginx, the name of a proxy configuration in Nginx.pm.
sub run_basics {
    my ($class, $name, %option) = @_;
    my $way = join ', ', $name, map { $option{$_} eq 1 ? $_ : "$option{$_} $_" } sort keys %option;
    for my $native (0, 1) {
        subtest $way . ($native ? ', native' : '') => sub {
            my $self = $class->_start($name, %option, native => $native);
            $self->_run_behaviours(@BASICS);
        };
    }
    return;
}

# Methods that checks use

# Sends another request, with the run's kind of client.
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

# True if a stream is the last response on its client's connection.
sub ends_connection { return $_[0]->is_native && !$_[0]{nginx} }

# True if the server has an ability.
sub has {
    my ($self, $need) = @_;
    return !defined $self->_cannot($need);
}

# True if a stream is native when no middleware filters its body.
sub is_native { return $_[0]{native} && !$_[0]{never_native} }

# Returns the reports of this client's handler so far.
sub journal { return $_[0]{journal}->reports($_[1]{tag}) }

# Waits until a report of this client's handler matches, and makes a test of it.
sub journal_ok { my ($self, $client, @rest) = @_; return $self->{journal}->report_ok($client->{tag}, @rest) }

# Writes a line for a handler to the journal.
sub write_journal { my ($self, @line) = @_; return $self->{journal}->write(@line) }

# The server ends before the journal: its last streams still report their ends.
sub DESTROY {
    my $self = shift;
    delete @$self{qw(proxy server)};
    return;
}

# Returns why the server lacks something; undef if it does not.
sub _cannot {
    my ($self, $need) = @_;
    return if $need eq 'keep-alive' && $self->{nginx};     # nginx keeps the connection alive
    return if $need eq 'pipelining' && $self->{native};    # the reactor reads what the client sends
    my $cannot = $CANNOT{$self->{name}};
    return $cannot->{$need} if !$self->{tls} || !exists $cannot->{"tls $need"};
    return $cannot->{"tls $need"};
}

sub _run_behaviour {
    my ($self, $behaviour) = @_;
    my ($path, %option)    = @{$behaviour->{request}};
    my @needs     = @{$behaviour->{needs} || []};
    my $name      = ($option{method}      || 'GET') . " $path: $behaviour->{name} (HTTP/$self->{http})";
    my ($missing) = grep { /::/ && !has_module($_) } @needs;
    return fail "$name: there is no $missing" if $missing && $ENV{EVENTSOURCE_XS_FULL};
    my ($why) = $missing ? "there is no $missing here" : grep { defined } map { $self->_cannot($_) } @needs;
    if (defined $why) {
    SKIP: { skip "$name: $why", 1 }
        return;
    }
    subtest $name => sub { $behaviour->{check}->($self->get($path, %option), $self) };
    return;
}

sub _run_behaviours {
    my ($self, @behaviours) = @_;
    for my $http ('1.0', '1.1') {
        $self->{http} = $http;
        $self->_run_behaviour($_) for @behaviours;
    }
    done_testing;
    return;
}

# Starts the server and returns the run. Ends the test file, or the subtest, if the server is missing.
sub _start {
    my ($class, $name, %option) = @_;
    my $native = $option{native} ? 1 : 0;
    plan(skip_all => 'there are no native streams on this system')
        if $native && !Plack::App::EventSource->can('native');
    my $journal = Testing::Journal->new;
    my $self    = bless {%option, name => $name, native => $native, journal => $journal, tags => 0}, $class;
    my $env     = {CONTRACT_JOURNAL => $journal->path, CONTRACT_NATIVE => $native};
    $self->{never_native} = $option{tls} || $name =~ /FCGI|MockHTTP|mod_perl|Monoceros/;
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

package Test::EventSource;
use strict;
use warnings;

# Runs an application for a test, in process or on a server, and makes requests to it.

our $VERSION = '0.100';

use EventSource::Error;
use EventSource::XS::Reason;
use EventSource::XS::Settings;
use EventSource::XS::Test::InProcess;
use EventSource::XS::Test::Loop;
use EventSource::XS::Test::Members;
use EventSource::XS::Test::PrivateHubs;
use EventSource::XS::Test::Remote;
use EventSource::XS::Test::Server;
use EventSource::XS::Test::State;
use Exporter qw(import);
use HTTP::Request;
use HTTP::Request::Common ();
use JSON::MaybeXS         ();
use Plack::Util           ();
use Scalar::Util          qw(blessed);
use Test::Builder;
use Test::EventSource::Stream;

our @EXPORT_OK = qw(ends_ok like_event members_are no_event state_is);

# An error of a private hub's settings reports the line of the test.
our @CARP_NOT = qw(EventSource::Hub);

my $SETTINGS = EventSource::XS::Settings->new('Test::EventSource');

my $TIMEOUT   = 5;    # seconds
my $IDLE_EXIT = 5;    # seconds, of private hubs

my @OPTIONS         = qw(app env headers server server_args timeout url workers);
my @REQUEST_OPTIONS = qw(content cut_after form headers http json last_event_id members position_event state timeout);

sub new {
    my ($class, @options) = @_;
    my %option = $SETTINGS->parse('new takes options', @options);
    $SETTINGS->known(\%option, \@OPTIONS, 'option %s');
    $SETTINGS->headers(headers => $option{headers});
    $SETTINGS->refuse(env => 'env must be a hash') if defined $option{env} && ref $option{env} ne 'HASH';
    my $self = bless {headers => $option{headers} || [], timeout => $TIMEOUT}, $class;
    $self->{timeout} = $SETTINGS->seconds(timeout => $option{timeout}, is_above_zero => 1)
        if defined $option{timeout};
    $self->{server} = _server(%option);
    return $self;
}

# Public functions: the tests of Test::EventSource::Stream

sub ends_ok    { goto &Test::EventSource::Stream::ends_ok }
sub like_event { goto &Test::EventSource::Stream::like_event }
sub no_event   { goto &Test::EventSource::Stream::no_event }
sub state_is   { goto &Test::EventSource::Stream::state_is }

# Of a stream, or of a channel of a hub.
sub members_are {
    goto &Test::EventSource::Stream::members_are if !blessed $_[0] || !$_[0]->isa('EventSource::Hub');
    my ($hub, $channel, $expected, $name) = @_;
    my $wrong = sub { EventSource::XS::Test::Members->of_list($hub->members($channel))->differences($expected) };
    my @wrong = $wrong->();    # before the wait, so that a mistake is reported at the caller's line
    EventSource::XS::Test::Loop::wait_for(sub { return !@wrong || !(@wrong = $wrong->()) }, $TIMEOUT);
    my $test = Test::Builder->new;
    $test->ok(!@wrong, defined $name ? $name : "the members of $channel");
    $test->diag($_) for @wrong;
    return !@wrong;
}

# Public methods

sub get {
    my ($self, $path, @options) = @_;
    return $self->stream('GET', $path, @options);
}

sub has_server {
    my ($class, $name) = @_;
    return EventSource::XS::Test::Server->is_installed($name);
}

sub log { return $_[0]{server}->log }

sub pid { return $_[0]{server}->pid }

sub post {
    my ($self, $path, @options) = @_;
    return $self->request('POST', $path, @options);
}

sub private_hub {
    my ($class, @settings) = @_;
    my %setting = (name => 'test', idle_exit => $IDLE_EXIT, $SETTINGS->parse('private_hub takes settings', @settings));
    $SETTINGS->refuse(socket => 'socket of a private hub is chosen here') if defined $setting{socket};
    EventSource::XS::Test::PrivateHubs->begin;
    EventSource::XS::Test::PrivateHubs->with_stores if defined $setting{store};
    require EventSource::Hub;
    return EventSource::Hub->new(%setting);
}

sub request {
    my ($self, $method, $path, @options) = @_;
    my %option   = $SETTINGS->parse("$method takes a path and options", @options);
    my $stream   = $self->stream($method, $path, %option, is_whole => 1);
    my $content  = $stream->content;
    my $response = $stream->response;
    $response->content($content);
    return $response;
}

sub start {
    my $self = shift;
    $self->_must_be_real('start');
    $self->{server}->start;
    return $self;
}

sub stop {
    my $self = shift;
    $self->_must_be_real('stop');
    $self->{server}->stop;
    return $self;
}

sub stream {
    my ($self, $method, $path, @options) = @_;
    my %option   = $SETTINGS->parse("$method takes a path and options", @options);
    my $is_whole = delete $option{is_whole};
    $SETTINGS->known(\%option, \@REQUEST_OPTIONS, 'option %s');
    $SETTINGS->headers(headers => $option{headers});
    $SETTINGS->refuse(path => 'a path must begin with /') if !defined $path || $path !~ m{\A/};
    $SETTINGS->seconds($_ => $option{$_}, is_above_zero => 1) for qw(cut_after timeout);
    $SETTINGS->one_line(last_event_id => $option{last_event_id})
        if defined $option{last_event_id} && $option{last_event_id} ne '';
    my $request = $self->_request($method, $path, $is_whole, %option);
    return Test::EventSource::Stream->new(
        server          => $self->{server},
        method          => $method,
        path            => $path,
        request         => sub { _bytes($request, $_[0]) },
        timeout         => defined $option{timeout} ? $option{timeout} : $self->{timeout},
        last_event_id   => $option{last_event_id},
        position_event  => exists $option{position_event} ? $option{position_event}                       : 'position',
        state           => defined $option{state} ? EventSource::XS::Test::State->new($option{state})     : undef,
        members         => $option{members}       ? EventSource::XS::Test::Members->new($option{members}) : undef,
        cut_after       => $option{cut_after},
        is_cut_expected => defined $option{cut_after},
    );
}

sub url {
    my ($self, $path) = @_;
    return $self->{server}->url . (defined $path ? $path : '');
}

sub wait_for {
    my ($self, $condition, $seconds) = @_;
    $SETTINGS->refuse(condition => 'wait_for takes a code reference')
        if !defined $SETTINGS->code(condition => $condition);
    $SETTINGS->seconds(seconds => $seconds);
    return EventSource::XS::Test::Loop::wait_for($condition, defined $seconds ? $seconds : $self->{timeout});
}

# Private functions and methods

# Returns the bytes of a request. The last event ID is in UTF-8; an empty one is not sent.
sub _bytes {
    my ($request, $id) = @_;
    my $copy = $request->clone;
    $copy->header('Last-Event-ID' => $id) if length $id;
    return $copy->as_string("\r\n");
}

sub _bytes_of {
    my ($name, $value) = @_;
    my $text = $SETTINGS->string($name, $value, hint => '; did you mean json => ...?');
    $SETTINGS->refuse($name, "$name must be bytes: encode it first") if defined $text && $text =~ /[^\0-\xFF]/;
    return $text;
}

sub _content {
    my %option = @_;
    my @given  = grep { defined $option{$_} } qw(content form json);
    $SETTINGS->refuse($given[1] => "only one of content, form and json can be sent, not @given") if @given > 1;
    return (_json($option{json}), 'application/json') if defined $option{json};
    return _bytes_of(content => $option{content})     if !defined $option{form};
    $SETTINGS->refuse(form => 'form must be a hash or an array of names and values')
        if ref($option{form}) !~ /\A(?:ARRAY|HASH)\z/;
    my $form = HTTP::Request::Common::POST('/', $option{form});
    return ($form->content, $form->header('Content-Type'));
}

sub _json {
    my $structure = shift;
    my $text      = eval { JSON::MaybeXS->new(utf8 => 1)->encode($structure) };
    $SETTINGS->refuse(json => 'json: ' . EventSource::XS::Reason->of($@)) if !defined $text;
    return $text;
}

sub _must_be_real {
    my ($self, $method) = @_;
    return if $self->{server}->isa('EventSource::XS::Test::Server');
    return EventSource::Error->throw(
        code    => 'state',
        message => "Test::EventSource: $method is for a server that was started here",
    );
}

# The headers are those of a browser's EventSource. A given header replaces a default one of the same name, and a header
# of the request one of the object.
sub _request {
    my ($self, $method, $path, $is_whole, %option) = @_;
    my ($content, $type) = _content(%option);
    my $http = defined $option{http} ? $option{http} : '1.1';
    $SETTINGS->refuse(http => 'http must be 1.0 or 1.1') if $http !~ /\A1[.][01]\z/;
    my $request = HTTP::Request->new($method, $self->{server}->prefix . $path);
    $request->protocol("HTTP/$http");
    my $headers = $request->headers;
    $headers->header('Host' => $self->{server}->host);
    if   ($is_whole) { $headers->header('Connection' => 'close') }
    else             { $headers->header('Accept'     => 'text/event-stream', 'Cache-Control' => 'no-cache') }
    $headers->header('Content-Type' => $type) if defined $type;

    for my $given ($self->{headers}, $option{headers} || []) {
        my %values;
        for (my $at = 0; $at < @$given; $at += 2) { push @{$values{$given->[$at]}}, $given->[$at + 1] }
        $headers->header(%values) if %values;
    }
    if (defined $content) {
        $request->content($content);
        $headers->header('Content-Length' => length $content);
    }
    elsif ($method ne 'GET' && $method ne 'HEAD') { $headers->header('Content-Length' => 0) }
    return $request;
}

sub _server {
    my %option = @_;
    my ($app, $url) = @option{qw(app url)};
    $SETTINGS->refuse(app => 'either app or url has to be given') if defined $app == defined $url;
    my @foreign = grep { defined $option{$_} } defined $url ? qw(server workers server_args env) : ();
    push @foreign, grep { defined $option{$_} } !defined $option{server} ? qw(workers server_args) : ();
    $SETTINGS->whole_number(workers => $option{workers}, from => 1);
    $SETTINGS->refuse(server_args => 'server_args must be an array of arguments')
        if defined $option{server_args} && ref $option{server_args} ne 'ARRAY';
    $SETTINGS->refuse($foreign[0] => "$foreign[0] is for a server that is started here") if @foreign;
    return EventSource::XS::Test::Remote->new(url => $url)                               if defined $url;
    if    (blessed $app && $app->can('to_app')) { $app = $app->to_app }
    elsif (ref $app ne 'CODE' && !(blessed $app && overload::Method($app, '&{}'))) {
        $SETTINGS->refuse(app => 'app must be an application or the path of one') if ref $app;
        $SETTINGS->refuse(app => "$app: $!")                                      if !-r $app;
    }
    return EventSource::XS::Test::Server->new(%option, app => $app) if defined $option{server};
    return EventSource::XS::Test::InProcess->new(
        app => ref $app ? $app : Plack::Util::load_psgi($app),
        env => $option{env}
    );
}

1;
__END__

=encoding utf8

=head1 NAME

Test::EventSource - Test an application that streams server-sent events

=head1 SYNOPSIS

    use Plack::App::EventSource;
    use Test::EventSource;
    use Test::More;

    my @readers;
    my $app = Plack::App::EventSource->new(
        handler_cb => sub {
            my ($conn) = @_;
            push @readers, $conn;
            $conn->push({id => 41, event => 'welcome', data => 'hello'});
        },
    )->to_app;

    my $es     = Test::EventSource->new(app => $app);
    my $stream = $es->get('/events');
    is $stream->status, 200;
    $stream->like_event({event => 'welcome', data => qr/^hell/}, 'a reader is welcomed');

    $_->push({id => 42, data => '{"price":[1,2]}'}) for @readers;
    $stream->like_event({id => 42, json => {price => [1, 2]}}, 'a reader receives the price');
    $stream->no_event(0.1, 'the price is sent once');

    $stream->reconnect;
    $stream->like_event({event => 'welcome'}, 'a reader that reconnects is welcomed again');

    $_->close for @readers;
    $stream->ends_ok;
    done_testing;

=head1 DESCRIPTION

Run a PSGI application, make requests to it, and wait for the events that it streams, with a timeout. The application can
be any that answers with C<text/event-stream>, whatever module it uses.

The application runs in one of three places:

=over

=item in the test's process

    my $es = Test::EventSource->new(app => $app);

The test and the application share their variables: the test can publish and check what a client receives. See
L</IN PROCESS>.

=item on a real server

    my $es = Test::EventSource->new(app => 'app.psgi', server => 'Starman', workers => 2);

The server listens on a free port of 127.0.0.1. It ends with the test, with everything that it has forked, even if the test
is killed. Its output is shown when a test fails. See L</REAL SERVERS>.

=item elsewhere

    my $es = Test::EventSource->new(url => 'http://127.0.0.1:5000/app');

=back

=head1 METHODS

A method that makes a request croaks at the caller's line if there is no answer in time or the answer is not HTTP. The
message includes what the server has printed since the last report.

=head2 new

    my $es = Test::EventSource->new(app => $app, %options);
    my $es = Test::EventSource->new(url => $url, %options);

Create an object. Starts the server if there is one. One of these is required:

=over

=item app

The application: a code reference, an object with C<to_app>, or the path of a F<.psgi> file.

=item url

The address of a running application: C<http://HOST:PORT>, and optionally a path that is put before each request's path.

=back

The options are:

=over

=item server

A server that L<Plack::Loader> can load, such as C<HTTP::Server::PSGI>, C<Starman>, C<Starlet>, C<Twiggy> or C<Feersum>.
By default the application runs in the test's process.

=item workers

The number of worker processes of Starman, Starlet or Feersum. The default is the server's.

=item server_args

More arguments of C<plackup>, an array: C<< server_args => ['--max-requests', 10] >>.

=item env

A hash. With C<server>: variables of the server's environment. In process: more keys of the PSGI environment, such as
C<< {REMOTE_USER => 'me', 'psgi.nonblocking' => 0} >>.

=item headers

Headers of each request, an array of names and values. None by default.

=item timeout

The default limit of every wait, in seconds: a number above 0, fractions allowed, 5 by default.

=back

Croaks if an option is unknown, invalid or does not apply to the place, or if the server is not installed or does not
start.

=head2 get

    my $stream = $es->get('/events', last_event_id => 7);

Make a GET request and return the response, of whatever kind, as a L<Test::EventSource::Stream> when its head has been
received. The request has the headers of a browser's EventSource: C<Accept: text/event-stream> and
C<Cache-Control: no-cache>. The options are:

=over

=item headers

Headers of this request, an array of names and values. They replace other headers of the same names.

=item last_event_id

The value of C<Last-Event-ID>, a string of characters. The header is not sent by default.

=item members

True if the client of this stream keeps who is here (L<EventSource::Hub/Members>), for L<Test::EventSource::Stream/members_are>.
The C<id> in the JSON of each event says whose it is. A hash names other types of events: C<join_event>, C<update_event>,
C<leave_event>, and C<gap_event> for the L<EventSource::Hub/gap_event>.

=item position_event

The type of the events that carry the position of a hub (L<EventSource::Hub/position_event>), C<position> by default.
Such an event without data is not returned as an event: it only sets the last event ID. With C<undef> it is returned.

=item state

How the client of this stream keeps the state (L<EventSource::Hub/State>), for L<Test::EventSource::Stream/state_is>: a hash. No
event says its key, so C<key> says where a client finds it: the name of a member of the JSON in each event, or a code reference
that is given the event (L<EventSource::Parser/feed>) and returns its key, or C<undef> for an event without. C<forget_event>,
C<forget> by default, is the type of events that forget a key: the one that C<key> finds, or else the data. C<gap_event>, C<gap>
by default, is the L<EventSource::Hub/gap_event>. With C<< position_event => undef >> the state counts as complete at any time.

=item timeout

The limit for the answer and for each later wait of this stream, in seconds. The default is that of L</new>.

=item cut_after

In process only: interrupt the handler after this many seconds, see L</IN PROCESS>. The default is C<timeout>.

=item http

The version, C<1.1> (the default) or C<1.0>.

=item content, json, form

The request's content: bytes, a structure to send as JSON, or names and values to send as a browser sends a form. At most
one of them. They are meant for L</post>, L</request> and L</stream>.

=back

=head2 has_server

    plan skip_all => 'needs Starman' if !Test::EventSource->has_server('Starman');

Return true if a server is installed. Does not load it.

=head2 log

    my $text = $es->log;

Return what the server has printed so far. In process, return what was printed to C<psgi.errors>. Empty for a C<url>.

=head2 pid

    my $pid = $es->pid;

Return the server's process id: in process, that of the test; C<undef> for a C<url> and while the server is stopped.

=head2 post

    my $response = $es->post('/publish', json => {text => 'hello'});

Call L</request> with the method C<POST>.

=head2 private_hub

    my $hub = Test::EventSource->private_hub(%settings);

Return an L<EventSource::Hub> with a hub process that only this test uses. The settings are those of
L<EventSource::Hub/new>, without C<socket>. The defaults are C<< name => 'test' >> and C<< idle_exit => 5 >>. See
L</PRIVATE HUBS>.

Throws what L<EventSource::Hub/new> throws, and C<unavailable> if there is no folder or process for the hub.

=head2 request

    my $response = $es->request('DELETE', '/channel', headers => ['X-Token' => 'x']);

Make a request whose response ends, and return an L<HTTP::Response> with the content in bytes. Takes the options of
L</get>. Also croaks if the response has not ended in time.

=head2 start, stop

    $es->stop;
    $es->start;

Stop the server, or start it again on the same port. C<stop> sends C<TERM>, and after two seconds kills the server and
everything that it has forked. Both return the object. Croak if the object has not started a server, and C<start> if the
server is running.

=head2 stream

    my $stream = $es->stream('POST', '/chat', json => {ask => 'why?'});

Like L</get>, with another method.

=head2 url

    my $url = $es->url('/events');

Return the address of a path, for other clients. In process there is none; then it begins with C<http://localhost>.

=head2 wait_for

    ok $es->wait_for(sub { $closed == 2 }, 10), 'both streams are closed';

Wait until the condition is true, at most so many seconds (C<timeout> by default). Returns false if it does not become
true. Event loops and callbacks run meanwhile, as in every wait for a stream.

=head1 FUNCTIONS

    use Test::EventSource qw(ends_ok like_event members_are no_event state_is);

=head2 ends_ok, like_event, no_event, state_is

    like_event($stream, {data => 'x'}, $name);

The methods of L<Test::EventSource::Stream> with these names, as functions. Exported on request.

=head2 members_are

    members_are($hub, 'room/7/people', ['ann', 'bob'], $name);
    members_are($stream, {ann => {name => 'Ann'}}, $name);

Test that a channel of a hub has exactly these members, or, as L<Test::EventSource::Stream/members_are>, that a stream knows
them. Waits for at most five seconds, or for the stream's C<timeout>, because members enter and leave a moment after the call
that causes it, and stay for C<linger>. Exported on request.

=head1 IN PROCESS

Each request calls the application at once, through the code of L<HTTP::Server::PSGI> over a pair of sockets. A stream
sends the same bytes as on a server. Native streams, threads and middleware work as on a server.

C<psgi.nonblocking> is true, as on Twiggy and Feersum: a handler that keeps its connection and returns has an open stream.
Whenever the test waits, the loaded event loop runs (AnyEvent, EV, Mojo::IOLoop or IO::Async), and
L<EventSource::XS/dispatch> is called.

=over

=item *

A handler that does not return, such as a loop that pushes and sleeps, blocks the test. An alarm interrupts it after
C<timeout> seconds: the handler dies, in its push or sleep, of an L<EventSource::Gone>, as if the client had
disconnected. The test can read what was sent before; then the stream has ended, and a diagnostic says where the handler
was. If this is intended, C<cut_after> sets the time and suppresses the diagnostic:

    my $ticks = $es->get('/ticks', cut_after => 0.5);
    $ticks->like_event($_) for 1 .. 3;

A handler that has to run while the test does needs a real server.

=item *

Perl has one alarm. An alarm of the test's rings in the handler when it is due, and is set again afterwards. An alarm that
the handler sets replaces the interruption. Code that blocks in C, such as a database client or an event loop without
events, is interrupted only when it returns.

=item *

If an application dies in its responder, the connection ends without an answer. On a real server this might end the
server.

=item *

While a handler runs, nothing is read. What it writes is kept in memory. For a native stream, about 4 MiB are buffered
(L<Plack::App::EventSource/max_buffered>); after that the stream ends as that of a slow client.

=item *

A native stream notices at once that the test has disconnected. A stream on the server's writer (C<< native => 0 >>, or
middleware that filters the body) notices it at its next push, and sends no keepalives.

=back

=head1 STATE

A page that shows the state (L<EventSource::Cookbook/A PAGE THAT SHOWS STATE>) keeps a map. So does a stream of a test:

    my $hub = EventSource::Hub->new(start => 'state');
    my $es  = Test::EventSource->new(app => $hub->to_app(channels => sub { 'stock' }));
    $hub->publish(stock => {key => 'bolt', json => {item => 'bolt', left => 3}, retain => 1});

    my $page = $es->get('/', state => {key => 'item'});
    $page->state_is({bolt => {json => {item => 'bolt', left => 3}}}, 'a page begins with the stock');
    $hub->forget(stock => 'bolt');
    $page->state_is({}, 'and is told what is sold no longer');

Who is here is such a state, too:

    my $room = EventSource::Hub->new(start => 'state');
    my $door = Test::EventSource->new(app => $room->to_app(
        channels => sub { 'people' },
        member   => sub { return {id => $_[0]{QUERY_STRING}, channel => 'people', linger => 0} },
    ));
    my ($ann, $bob) = map { $door->get("/?$_", members => 1) } qw(ann bob);
    $ann->members_are(['ann', 'bob'], 'Ann sees Bob');
    $bob->close;
    $ann->members_are(['ann'], 'Bob has left');

=head1 PRIVATE HUBS

An application with C<< EventSource::Hub->new(name => 'shop') >> shares its hub with all processes of the user: two tests
that run at the same time would receive each other's events. Call L</private_hub> before the application is loaded:

    my $hub = Test::EventSource->private_hub(name => 'shop');
    my $es  = Test::EventSource->new(app => 'shop.psgi', server => 'Starman', workers => 4);

    my $stream = $es->get('/events');
    $hub->publish(news => 'hello');
    $stream->like_event('hello');

From then on every named hub is in a folder of this test: in this process, and in those that it starts. The application
is not changed. The variable C<EVENTSOURCE_RUNTIME_DIR> of the environment does it: it names an absolute folder that
belongs to this user alone (mode 0700), in which the sockets of hubs are. Processes that were started before, hubs that
were created before, and hubs with a C<socket> of their own are not redirected.

B<The store of an application is not touched> (L<EventSource::Hub/store>): these hubs keep their events in memory, because the
variable C<EVENTSOURCE_STORE> says so. If private_hub is given a C<store>, such as a file in a temporary folder, all hubs of the
test have the stores that their applications name.

The hub is the application's if both have the same name. It has the settings that the application names, so private_hub needs
none; L<EventSource::Hub/name> says what becomes of those that both name.

When the test ends, also if it dies or is killed, a small process stops these hubs, waits for their end and removes the
folder. A hub whose stopper was killed, too, ends after its C<idle_exit>.

=head1 REAL SERVERS

An application that is code runs in a fork of the test, with all that the test has loaded and opened. An application that
is a file runs in a perl of its own, with the test's C<@INC>. L<Plack::Runner> runs both with C<-E deployment>: no
middleware is added.

The server limits the number of open streams. HTTP::Server::PSGI has one process; a handler that blocks there blocks all
other requests. For such handlers use Starman with one worker more than there are streams. For handlers that return use
Twiggy or Feersum.

A small process between the test and its server waits for the test to stop the server or to end.

=head1 SEE ALSO

L<Test::EventSource::Stream>, L<EventSource::Parser>, L<Plack::Test> for responses that end.

=cut

package Test::EventSource;
use strict;
use warnings;

# Runs an application for a test, in process or on a server, and makes requests to it.

our $VERSION = '0.100';

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

my $SETTINGS = EventSource::XS::Settings->new('Test::EventSource');
my $JSON     = JSON::MaybeXS->new(utf8 => 1);

my $TIMEOUT   = 5;    # seconds
my $IDLE_EXIT = 5;    # seconds, of private hubs

my @OPTIONS         = qw(app env headers server server_args timeout url workers);
my @REQUEST_OPTIONS = qw(content cut_after form headers http json last_event_id members position_event state timeout);

sub new {
    my ($class, @options) = @_;
    my %option = $SETTINGS->options('new takes options', \@options, 'option %s', @OPTIONS);
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

sub _content {
    my %option = @_;
    my @given  = grep { defined $option{$_} } qw(content form json);
    $SETTINGS->refuse($given[1] => "only one of content, form and json can be sent, not @given") if @given > 1;
    return ($SETTINGS->json($option{json}, $JSON), 'application/json') if defined $option{json};
    if (defined $option{form}) {
        $SETTINGS->refuse(form => 'form must be a hash or an array of names and values')
            if ref($option{form}) !~ /\A(?:ARRAY|HASH)\z/;
        my $form = HTTP::Request::Common::POST('/', $option{form});
        return ($form->content, $form->header('Content-Type'));
    }
    my $text = $SETTINGS->string(content => $option{content}, hint => '; did you mean json => ...?');
    $SETTINGS->refuse(content => 'content must be bytes: encode it first') if ($text // '') =~ /[^\0-\xFF]/;
    return $text;
}

sub _must_be_real {
    my ($self, $method) = @_;
    return if $self->{server}->isa('EventSource::XS::Test::Server');
    return $SETTINGS->throw(state => "$method is for a server that was started here");
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

    use EventSource::Hub;
    use Test::EventSource;
    use Test::More;

    my $hub    = EventSource::Hub->new;
    my $es     = Test::EventSource->new(app => $hub->to_app(channels => sub { 'news' }));
    my $stream = $es->get('/events');

    $hub->publish(news => {event => 'price', json => {euro => [1, 2]}});
    $stream->like_event({event => 'price', json => {euro => [1, 2]}}, 'a reader receives the price');
    $stream->no_event(0.1, 'once');

    $stream->close;
    $hub->publish(news => 'hello');
    $stream->reconnect;
    $stream->like_event(qr/^hell/, 'it resumes');
    done_testing;

=head1 DESCRIPTION

Test any PSGI application that streams events: in the test's process (L</IN PROCESS>), on a real server (L</REAL SERVERS>), or
at a C<url>.

=head1 METHODS

A request croaks, with what the server has printed, if no answer of HTTP comes in time.

=head2 new

    my $es = Test::EventSource->new(%options);

Create an object, and start the server. C<app> or C<url> is required.

    app            the application: a code reference, an object with to_app, or the path of a .psgi file
    url            the address of a running application: http://HOST:PORT, perhaps with a path
    server         a server of Plack::Loader, such as Starman; by default the application runs in the test's process
    workers        the number of workers of Starman, Starlet or Feersum; by default the server's
    server_args    an array of more arguments of plackup
    env            a hash: variables of the server's environment, in process keys of the PSGI environment
    headers        headers of each request, an array of names and values
    timeout        the default limit of every wait in seconds: above 0, fractions allowed, 5 by default

Croaks for a wrong option, or if the server does not start.

=head2 get

    my $stream = $es->get('/events', last_event_id => 7);

Make a GET request, with C<Accept: text/event-stream> and C<Cache-Control: no-cache>. Return a L<Test::EventSource::Stream>
when the head of any response has come. Options:

=over

=item headers

Headers of this request, which replace others of the same names.

=item last_event_id

The C<Last-Event-ID>, in characters.

=item members

True for L<Test::EventSource::Stream/members_are>, if the JSON of each event has the C<id>. A hash names other types of
events: C<join_event>, C<update_event>, C<leave_event> and C<gap_event>.

=item position_event

The hub's L<EventSource::Hub/position_event>, C<position> by default. Such an event without data only sets the last event ID,
unless this is C<undef>.

=item state

A hash, for L<Test::EventSource::Stream/state_is>. C<key> finds the key of an event: the name of a field of its JSON, or code
that is given the event and returns its key or C<undef>. C<forget_event>, C<forget> by default, is the type of events that
forget a key: the one that C<key> finds, or else the data. C<gap_event> is C<gap> by default. The state counts as complete at
any time if C<position_event> is C<undef>.

=item timeout

The limit of each wait; by default that of L</new>.

=item cut_after

The seconds after which a handler is interrupted (L</IN PROCESS>), by default C<timeout>.

=item http

C<1.1>, the default, or C<1.0>.

=item content, json, form

At most one of them: bytes, a structure to send as JSON, or names and values of a form.

=back

=head2 has_server

    plan skip_all => 'needs Starman' if !Test::EventSource->has_server('Starman');

Return true if a server is installed.

=head2 log

    my $text = $es->log;

Return what the server has printed, in process to C<psgi.errors>. Empty for a C<url>.

=head2 pid

    my $pid = $es->pid;

Return the process id of the server, in process of the test; C<undef> for a C<url> and while it is stopped.

=head2 post

    my $response = $es->post('/publish', json => {text => 'hello'});

As L</request> with C<POST>.

=head2 private_hub

    my $hub = Test::EventSource->private_hub(%settings);

Return an L<EventSource::Hub> with a hub process of this test (L</PRIVATE HUBS>). The settings are the hub's, without
C<socket>, by default C<< name => 'test' >> and C<< idle_exit => 5 >>. Also throws C<unavailable> if its process cannot start.

=head2 request

    my $response = $es->request('DELETE', '/channel', headers => ['X-Token' => 'x']);

Make a request with the options of L</get>, and return an L<HTTP::Response> with the content in bytes. Croaks if it has not
ended in time.

=head2 start, stop

    $es->stop;
    $es->start;

Stop the server, with C<TERM> and after two seconds C<KILL> to all that it has forked, or start it again on the same port.
Both return the object; croak without a server.

=head2 stream

    my $stream = $es->stream('POST', '/chat', json => {ask => 'why?'});

As L</get>, with any method.

=head2 url

    my $url = $es->url('/events');

Return the address of a path. In process it begins with C<http://localhost>, where nothing listens.

=head2 wait_for

    ok $es->wait_for(sub { $closed == 2 }, 10), 'both streams are closed';

Wait until the condition is true, at most so many seconds (by default C<timeout>), and return whether it is.

=head1 FUNCTIONS

    use Test::EventSource qw(ends_ok like_event members_are no_event state_is);    # none by default

=head2 ends_ok, like_event, no_event, state_is

Methods of L<Test::EventSource::Stream> as functions: C<like_event($stream, 'x')>.

=head2 members_are

    members_are($hub, 'room/7/people', ['ann', 'bob'], $name);
    members_are($stream, {ann => {name => 'Ann'}}, $name);

Test, within five seconds, that a channel of a hub has exactly these members, or call L<Test::EventSource::Stream/members_are>.

=head1 IN PROCESS

Test and application share their variables. Streams are native, and C<psgi.nonblocking> is true: a handler may keep its
connection and return. While the test waits, the loaded event loop (AnyEvent, EV, Mojo::IOLoop or IO::Async) and callbacks
run.

A handler that does not return blocks the test. After C<timeout> seconds an alarm interrupts it: it dies of an
L<EventSource::Gone>, and a diagnostic says where. C<cut_after> suppresses that:

    my $ticks = $es->get('/ticks', cut_after => 0.5);
    $ticks->like_event($_) for 1 .. 3;

An alarm that the handler sets replaces the interruption. Code that blocks in C is interrupted only when it returns. While a
handler runs, nothing is read: beyond C<max_buffered> a native stream ends as that of a slow client.

A stream on the server's writer (C<< native => 0 >>) notices at its next push that the test has disconnected, and sends no
keepalives.

=head1 STATE

A stream can keep the state, or with C<< members => 1 >> the members, as a page does:

    my $hub = EventSource::Hub->new(start => 'state');
    my $es  = Test::EventSource->new(app => $hub->to_app(channels => sub { 'stock' }));
    $hub->publish(stock => {key => 'bolt', json => {item => 'bolt', left => 3}, retain => 1});

    my $page = $es->get('/', state => {key => 'item'});
    $page->state_is({bolt => {json => {item => 'bolt', left => 3}}}, 'the stock');
    $hub->forget(stock => 'bolt');
    $page->state_is({}, 'no bolts');

A member with C<< leave_after => 0 >> leaves at once.

=head1 PRIVATE HUBS

Other tests share a named hub. Call L</private_hub> before the application is loaded:

    my $hub = Test::EventSource->private_hub(name => 'shop');
    my $es  = Test::EventSource->new(app => 'shop.psgi', server => 'Starman', workers => 4);

From then on every named hub of this process, and of those that it starts, is in a folder of this test, but for hubs that were
there before or have a C<socket>. When the test ends, also if it is killed, these hubs are stopped and the folder is removed.

B<The store of an application is not touched>: these hubs keep their events in memory, unless private_hub is given a C<store>:
then all hubs of the test have the stores that their applications name. A hub of the same name needs no settings but
C<show_channel>.

=head1 REAL SERVERS

The server listens on a free port of 127.0.0.1, and ends with the test, even a killed one. An application that is code runs in
a fork of the test, a file in a perl of its own, with the test's C<@INC>; both with C<-E deployment>. For handlers that block
take Starman with one worker more than there are streams.

=cut

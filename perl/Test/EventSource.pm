package Test::EventSource;
use strict;
use warnings;

# What a test of an application that streams events begins with: runs the application, and makes requests to it.

our $VERSION = '0.100';

use Carp     qw(croak);
use Exporter qw(import);
use HTTP::Request;
use HTTP::Request::Common ();
use JSON::MaybeXS         ();
use Plack::Util           ();
use Scalar::Util          qw(blessed);
use Test::EventSource::InProcess;
use Test::EventSource::Loop;
use Test::EventSource::Remote;
use Test::EventSource::Server;
use Test::EventSource::Stream;

our @EXPORT_OK = qw(ends_ok like_event no_event);

my $TIMEOUT = 5;    # seconds

my %IS_OPTION  = map { ($_ => 1) } qw(app env headers server server_args timeout url workers);
my %IS_REQUEST = map { ($_ => 1) } qw(content cut_after form headers http json last_event_id timeout);

sub new {
    my ($class, %option) = @_;
    _check_names('option', \%IS_OPTION, %option);
    my $self = bless {headers => $option{headers} || [], timeout => $TIMEOUT}, $class;
    $self->{timeout} = $option{timeout} if defined $option{timeout};
    _check_seconds('timeout', $self->{timeout});
    $self->{server} = _server(%option);
    return $self;
}

# Public functions: what can be asked of a stream

sub ends_ok    { goto &Test::EventSource::Stream::ends_ok }
sub like_event { goto &Test::EventSource::Stream::like_event }
sub no_event   { goto &Test::EventSource::Stream::no_event }

# Public methods

sub get {
    my ($self, $path, @options) = @_;
    return $self->stream('GET', $path, @options);
}

sub has_server {
    my ($class, $name) = @_;
    return Test::EventSource::Server->is_installed($name);
}

sub log { return $_[0]{server}->log }

sub pid { return $_[0]{server}->pid }

sub post {
    my ($self, $path, @options) = @_;
    return $self->request('POST', $path, @options);
}

sub request {
    my ($self, $method, $path, %option) = @_;
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
    my ($self, $method, $path, %option) = @_;
    my $is_whole = delete $option{is_whole};
    _check_names('option', \%IS_REQUEST, %option);
    croak 'Test::EventSource: a path must begin with /' if !defined $path || $path !~ m{\A/};
    _check_seconds($_, $option{$_}) for grep { defined $option{$_} } qw(cut_after timeout);
    my $request = $self->_request($method, $path, $is_whole, %option);
    return Test::EventSource::Stream->new(
        server          => $self->{server},
        method          => $method,
        path            => $path,
        request         => sub { _bytes($request, $_[0]) },
        timeout         => defined $option{timeout} ? $option{timeout} : $self->{timeout},
        last_event_id   => $option{last_event_id},
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
    return Test::EventSource::Loop::wait_for($condition, defined $seconds ? $seconds : $self->{timeout});
}

# Private functions and methods

# A request as it is sent, with the ID of the last event, in UTF-8, if there is one.
sub _bytes {
    my ($request, $id) = @_;
    my $copy = $request->clone;
    $copy->header('Last-Event-ID' => $id) if length $id;
    return $copy->as_string("\r\n");
}

sub _check_names {
    my ($what, $known, %given) = @_;
    for my $name (sort keys %given) { croak "Test::EventSource: unknown $what '$name'" if !$known->{$name} }
    return;
}

sub _check_seconds {
    my ($name, $value) = @_;
    croak "Test::EventSource: $name must be a number of seconds above 0"
        if $value !~ /\A(?:[0-9]+[.]?[0-9]*|[.][0-9]+)\z/ || $value == 0;
    return;
}

sub _content {
    my %option = @_;
    my @given  = grep { defined $option{$_} } qw(content form json);
    croak "Test::EventSource: only one of content, form and json can be sent, not @given" if @given > 1;
    return (JSON::MaybeXS->new(utf8 => 1)->encode($option{json}), 'application/json')     if defined $option{json};
    return $option{content}                                                               if !defined $option{form};
    my $form = HTTP::Request::Common::POST('/', $option{form});
    return ($form->content, $form->header('Content-Type'));
}

sub _must_be_real {
    my ($self, $method) = @_;
    croak "Test::EventSource: $method is for a server that was started here"
        if !$self->{server}->isa('Test::EventSource::Server');
    return;
}

# The headers of a browser's EventSource, unless others are given; of those with the same name the given ones count.
sub _request {
    my ($self, $method, $path, $is_whole, %option) = @_;
    my ($content, $type) = _content(%option);
    my $http = defined $option{http} ? $option{http} : '1.1';
    croak "Test::EventSource: http must be 1.0 or 1.1" if $http !~ /\A1[.][01]\z/;
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
    croak 'Test::EventSource: either app or url has to be given' if defined $app == defined $url;
    my @foreign = grep { defined $option{$_} } defined $url ? qw(server workers server_args env) : ();
    push @foreign, grep { defined $option{$_} } !defined $option{server} ? qw(workers server_args) : ();
    croak "Test::EventSource: $foreign[0] is for a server that is started here" if @foreign;
    return Test::EventSource::Remote->new(url => $url)                          if defined $url;
    if    (blessed $app && $app->can('to_app')) { $app = $app->to_app }
    elsif (ref $app ne 'CODE' && !(blessed $app && overload::Method($app, '&{}'))) {
        croak 'Test::EventSource: app must be an application or the path of one' if ref $app;
        croak "Test::EventSource: $app: $!"                                      if !-r $app;
    }
    return Test::EventSource::Server->new(%option, app => $app) if defined $option{server};
    return Test::EventSource::InProcess->new(
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
    $stream->like_event({id => 42, json => {price => [1, 2]}}, 'and gets the price');
    $stream->no_event(0.1, 'once');

    $stream->reconnect;
    $stream->like_event({event => 'welcome'}, 'a reader that comes back is welcomed again');

    $_->close for @readers;
    $stream->ends_ok;
    done_testing;

=head1 DESCRIPTION

Runs a PSGI application, makes requests to it, and waits for what it streams, never longer than it is told to. It cares for
any application that answers with C<text/event-stream>, whatever that is made with.

There are three places where the application may run:

=over

=item in the process of the test

    my $es = Test::EventSource->new(app => $app);

The test shares its variables with the application: it publishes, and sees what arrives. L</IN PROCESS> says how that
goes.

=item on a real server

    my $es = Test::EventSource->new(app => 'app.psgi', server => 'Starman', workers => 2);

On a free port of 127.0.0.1. The server and whatever it has forked end with the test, even if the test is killed; what
it prints is shown where a test fails. See L</REAL SERVERS>.

=item elsewhere

    my $es = Test::EventSource->new(url => 'http://127.0.0.1:5000/app');

=back

=head1 METHODS

Those that make a request croak at the caller's line if there is no answer in time or none that is HTTP, with what the
server has printed meanwhile.

=head2 new

    my $es = Test::EventSource->new(app => $app, %options);
    my $es = Test::EventSource->new(url => $url, %options);

Takes one of:

=over

=item app

The application: a code reference, an object with C<to_app>, or the path of a F<.psgi>.

=item url

Where it runs already: C<http://HOST:PORT>, and a path that is put before those of requests.

=back

and as options:

=over

=item server

A server that L<Plack::Loader> knows, such as C<HTTP::Server::PSGI>, C<Starman>, C<Starlet>, C<Twiggy> or C<Feersum>. Without
it the application runs in the process of the test.

=item workers

How many processes Starman, Starlet or Feersum is to have; their own default unless given.

=item server_args

More arguments of C<plackup>: C<< server_args => ['--max-requests', 10] >>.

=item env

A reference to a hash: with a C<server>, variables of its environment; in process, more of the PSGI environment, such as
C<< {REMOTE_USER => 'me', 'psgi.nonblocking' => 0} >>.

=item headers

Headers of each request, a reference to an array of names and values; none by default.

=item timeout

Seconds that anything is waited for unless it is told otherwise, fractions allowed: 5 by default.

=back

Croaks for an unknown option, one that has no meaning there, or a server that is not installed or does not start.

=head2 get

    my $stream = $es->get('/events', last_event_id => 7);

Asks for a path and returns the answer, whatever it is, as a L<Test::EventSource::Stream>, when its head has come. The
request is that of a browser: C<Accept: text/event-stream>, C<Cache-Control: no-cache>. Options:

=over

=item headers

Headers of this request, names and values in an array. They take the place of others with their names.

=item last_event_id

What is sent as C<Last-Event-ID>, a string of characters; not sent unless given.

=item timeout

Seconds, for the answer and whatever is asked of the stream later, instead of the C<timeout> given to L</new>.

=item cut_after

In process only: after how many seconds a handler is interrupted that is not expected to return (L</IN PROCESS>).

=item http

C<1.1>, the default, or C<1.0>.

=item content, json, form

What is sent: bytes; a structure, as JSON; or names and values, as a browser sends a form. Only one of them. This is for
L</post>, L</request> and L</stream>.

=back

=head2 has_server

    plan skip_all => 'for Starman' if !Test::EventSource->has_server('Starman');

Whether a server is installed. It is not loaded.

=head2 log

    my $text = $es->log;

What the server has printed so far, or in process, what the application has to C<psgi.errors>. Empty for a C<url>.

=head2 pid

    my $pid = $es->pid;

The process of the server; that of the test, in process; C<undef> for a C<url> and while the server is stopped.

=head2 post

    my $response = $es->post('/publish', json => {text => 'hello'});

L</request> with C<POST>.

=head2 request

    my $response = $es->request('DELETE', '/channel', headers => ['X-Token' => 'x']);

Makes a request that is answered with an end, and returns an L<HTTP::Response>; its content are bytes. Takes the options of
L</get>, and croaks too if the response has not ended in time.

=head2 start, stop

    $es->stop;
    $es->start;

Ends the server, and starts it again on the same port. It is told to end by C<TERM>, and killed two seconds later with
all that it has forked. Both return the object, and croak if there is no C<server> of this object's.

=head2 stream

    my $stream = $es->stream('POST', '/chat', json => {ask => 'why?'});

L</get> with another method.

=head2 url

    my $url = $es->url('/events');

Where the application is, for other clients. In process there is no such place; it says C<http://localhost>.

=head2 wait_for

    ok $es->wait_for(sub { $left == 2 }, 10), 'both were told';

Whether a condition comes true within so many seconds, the C<timeout> unless given. Meanwhile event loops go on and
callbacks run, as they do whenever a stream is waited for.

=head1 FUNCTIONS

    use Test::EventSource qw(ends_ok like_event no_event);

=head2 ends_ok, like_event, no_event

    like_event($stream, {data => 'x'}, $name);

The methods of L<Test::EventSource::Stream> with these names, for those who like tests to be functions. Exported only if
asked for.

=head1 IN PROCESS

Each request runs the application at once, through the code of L<HTTP::Server::PSGI> with a pair of sockets: what a stream
sends are the bytes that it would send anywhere. Streams of this distribution may be native, and threads, middleware and the
like do what they do elsewhere.

C<psgi.nonblocking> is true, as it is on Twiggy and Feersum: a handler that keeps its connection and returns has an open
stream. Whenever the test waits, the event loop that is loaded (AnyEvent, EV, Mojo::IOLoop, IO::Async) goes on, and
L<EventSource::XS/dispatch> is called.

=over

=item *

A handler that does not return, because it pushes and sleeps in a loop, stands in the way of the test. It is interrupted by
an alarm after C<timeout> seconds: its push, sleep or whatever it does dies, with an exception that is an
L<EventSource::Gone>, as if the client had left. What it has sent can be read, then the stream has ended, and a diagnostic
says where the handler was. Where that is what is wanted, C<cut_after> gives the time and silences the diagnostic:

    my $ticks = $es->get('/ticks', cut_after => 0.5);
    $ticks->like_event($_) for 1 .. 3;

A handler that is meant to go on while the test does needs a real server.

=item *

The alarm is perl's one alarm. One that the test has set rings in the handler when it is due, and is set again afterwards;
one that the handler sets takes the place of ours. What blocks in C (a database's client, an event loop without
events) is interrupted when it is done.

=item *

An application that dies in its responder is a connection that ends without an answer; on a real server it might be the
server's end.

=item *

Nobody reads while a handler runs. What it writes is kept in memory; of what it pushes to a native stream 4 MiB and a
little may wait (L<Plack::App::EventSource/max_buffered>), then the stream ends as that of a slow client would.

=item *

A native stream sees at once that the test has left; one on the server's writer (C<< native => 0 >>, middleware that filters
the body) at the next push, and it gets no keepalives.

=back

=head1 REAL SERVERS

An application that is code runs in a fork of the test, with all that the test has loaded and opened by then; one that is
a file has a perl of its own, with the C<@INC> of the test. Either is run by L<Plack::Runner> with C<-E deployment>: no
middleware is added.

How many streams a server can hold is its own affair: HTTP::Server::PSGI has one process, and a handler that blocks there
lets no other request through. Take Starman with as many C<workers> as there are streams and one more, or Twiggy or
Feersum for handlers that return.

Between the test and its server stands a small process that waits for the test to stop the server, or to be gone.

=head1 SEE ALSO

L<Test::EventSource::Stream>, L<EventSource::Parser>, L<Plack::Test> for responses that end.

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut

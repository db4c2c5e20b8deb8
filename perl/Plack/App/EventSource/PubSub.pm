package Plack::App::EventSource::PubSub;
use strict;
use warnings;

# The channels of a hub by URL, as nodes: GET streams the events of a node, POST publishes to it.

our $VERSION = '0.100';

use parent 'Plack::Component';
use EventSource::Hub;
use EventSource::XS ();
use EventSource::XS::Adapter;
use EventSource::XS::Hub::App;
use EventSource::XS::Hub::Name;
use EventSource::XS::Hub::Subscription;
use EventSource::XS::Origins;
use EventSource::XS::Post;
use EventSource::XS::Report;
use EventSource::XS::Response;
use EventSource::XS::Settings;
use JSON::MaybeXS ();
use Plack::App::EventSource::Connection;
use Plack::Util::Accessor qw(
    authorize compress fallback headers http_host hub keepalive linger max_body max_streams max_streams_per native nodes
    origins position prefix preamble retry start timeout
);
use overload     ();
use Scalar::Util qw(blessed);

# An error reports the line of the application. The hub checks the settings of streams for this class.
our @CARP_NOT = qw(EventSource::Hub Plack::Component);

my $SETTINGS = EventSource::XS::Settings->new(__PACKAGE__);

my @STREAM_SETTINGS =
    qw(compress fallback headers keepalive linger max_streams max_streams_per native position preamble retry start timeout);
my @ATTRIBUTES = (@STREAM_SETTINGS, qw(authorize http_host hub max_body nodes origins prefix));

my $MAX_NAME_BYTES   = EventSource::XS::Hub::Name->max_bytes;
my $MAX_BODY         = 65_536;                                  # bytes
my $LARGEST_MAX_BODY = 999_999_999_999_999;

# In the PSGI environment.
my $CHANNEL = 'eventsource.pubsub.channel';
my $OPTION  = 'eventsource.pubsub.option';

my @METHODS = qw(GET HEAD POST);

my $REACHES_ONE_PROCESS =
    'refused: this server has several processes, and an event would reach only the subscribers of one. Give the hub a name'
    . " (EventSource::Hub->new(name => 'shop')): then it has a hub process, which all of them share. Or set"
    . ' per_process => 1 on the hub if that is intended';

my $CONTROL = qr/[\x{00}-\x{1F}\x{7F}-\x{9F}]/;
my $HOST    = qr/\A(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]+)?\z/;

my $JSON = JSON::MaybeXS->new(utf8 => 1, canonical => 1);

# Wrong arguments are reported here, at the line that makes the mistake.
sub new {
    my ($class, @given) = @_;
    my %given = $SETTINGS->parse('new takes attributes', @given);
    my $self  = $class->SUPER::new(%given);
    $self->_check_names;
    _check_values(%given);
    return $self;
}

# Public methods

sub call {
    my ($self, $env) = @_;
    EventSource::XS->dispatch;
    return EventSource::XS::Response->for_method($env->{REQUEST_METHOD}, $self->_response($env));
}

sub prepare_app {
    my $self = shift;
    $SETTINGS->refuse(undef, "to_app is a method of an object: $self->new(...)->to_app") if !ref $self;
    $self->_check_attributes;
    $self->{_stream_app} = $self->_stream_app;
    return;
}

# Private methods

sub _check_attributes {
    my $self = shift;
    _check_values(map { ($_ => $self->$_) } @ATTRIBUTES);
    $self->_check_names;
    return;
}

# A subclass may have attributes of its own.
sub _check_names {
    my $self    = shift;
    my %unknown = map { ($_ => 1) } grep { !/\A_/ && !$self->can($_) } keys %$self;
    $SETTINGS->known(\%unknown, \@ATTRIBUTES, 'attribute %s');
    return;
}

# Checks the values of attributes. The hub is required if its name is given.
sub _check_values {
    my %given = @_;
    my ($hub, $nodes) = @given{qw(hub nodes)};
    $SETTINGS->refuse(hub => 'hub must be an EventSource::Hub')
        if exists $given{hub} && !(blessed $hub && $hub->can('publish') && $hub->can('to_app'));
    $SETTINGS->code(authorize => $given{authorize});
    EventSource::XS::Hub::App->check(map { ($_ => $given{$_}) } @STREAM_SETTINGS);
    $hub->check_max_streams($given{max_streams}) if $hub && $hub->can('check_max_streams');
    $SETTINGS->refuse(nodes => 'nodes must be a reference to an array, a hash or code')
        if defined $nodes && ref($nodes) !~ /\A(?:ARRAY|HASH|CODE)\z/;
    $SETTINGS->refuse(nodes => 'each of nodes must be a string')
        if ref $nodes eq 'ARRAY' && grep { !defined || ref && !overload::Overloaded($_) } @$nodes;
    EventSource::XS::Hub::Subscription->groups(undef, map { ['node', $_] } grep { ref eq 'HASH' } values %$nodes)
        if ref $nodes eq 'HASH';
    $SETTINGS->whole_number(max_body => $given{max_body}, from => 1, to => $LARGEST_MAX_BODY, unit => 'bytes');
    $SETTINGS->refuse(http_host => 'http_host must be the name of a host, or several')
        if grep { !defined || $_ !~ $HOST } _list($given{http_host});
    EventSource::XS::Origins->check($SETTINGS, $given{origins});
    $SETTINGS->refuse(prefix => "prefix must be a string of less than $MAX_NAME_BYTES bytes")
        if !_is_prefix($given{prefix});
    return;
}

# The response to HEAD: that GET would stream.
sub _head {
    my $self    = shift;
    my @headers = ('Content-Type' => 'text/event-stream; charset=UTF-8', 'Cache-Control' => 'no-store');
    return [200, [@headers, @{$self->headers || []}], []];
}

sub _is_for_host {
    my ($self, $env) = @_;
    return 1 if !defined $self->http_host;
    my $host = _host_name($env->{HTTP_HOST} // $env->{SERVER_NAME});
    return scalar grep { _host_name($_) eq $host } _list($self->http_host);
}

# The reason why readers could mistake an event for one that no publisher sends, or undef. An EventSource dispatches events of
# its own to the same listeners: open and error (WHATWG HTML, section 9.2.3). At finish clients close their stream for good.
sub _misleading {
    my ($self, $channel, $event) = @_;
    my $hub  = $self->hub;
    my $type = $hub->can('type_of') ? $hub->type_of($channel, $event) : $event->{event};
    return undef if !defined $type;
    return "event must not be '$type': an EventSource has an event of that name of its own"
        if $type eq 'error' || $type eq 'open';
    return "event must not be '$type': clients close their stream at that event"
        if $type eq Plack::App::EventSource::Connection->finished_event;
    return "event must not be the name of the hub's event for gaps: choose another, or set gap_event"
        if $hub->can('gap_event') && $type eq $hub->gap_event;
    my $position = $self->position // ($hub->can('position') ? $hub->position : undef) // 'event';
    return "event must not be the name of the hub's event for positions: choose another, or set position_event"
        if $position eq 'event' && $hub->can('position_event') && $type eq $hub->position_event;
    return undef;
}

# The node that a request names, in characters; or undef and a response.
sub _node {
    my ($self, $env) = @_;
    my $bytes = ($env->{PATH_INFO} // '') =~ s{\A/}{}r;
    return (undef, _text(400, 'The name of the node has a control character in it')) if _has_nul($env);
    return (undef, _text(404, 'Not found'))                                          if $bytes eq '';
    utf8::encode(my $prefix = $self->prefix // '');
    return (undef, _text(414, 'The name of the node is too long')) if length($prefix) + length $bytes > $MAX_NAME_BYTES;
    my $node = $bytes;
    return (undef, _text(400, 'The name of the node is not UTF-8'))
        if !utf8::decode($node) || $node =~ /[^\x{0}-\x{D7FF}\x{E000}-\x{10FFFF}]/;
    return (undef, _text(400, 'The name of the node has a control character in it')) if $node =~ $CONTROL;
    return $node;
}

sub _publish {
    my ($self, $env, $channel) = @_;
    my $is_multiprocess = EventSource::XS::Adapter->of_env($env)->is_multiprocess($env);
    if ($is_multiprocess && $self->hub->can('reaches_one_process') && $self->hub->reaches_one_process) {
        _report($env, 'publish', $REACHES_ONE_PROCESS);
        return _text(500, 'Not published: it would reach only some subscribers. The log of the server says what to do');
    }
    my ($event, $refusal) = EventSource::XS::Post->event_of($env, $self->max_body // $MAX_BODY);
    return _text(@$refusal) if $refusal;
    my $misleading = $self->_misleading($channel, $event);
    return _text(400, $misleading) if defined $misleading;
    local ($@, $SIG{__DIE__});    # a handler of the server or the application would log the mistakes of clients
    my $id = eval { $self->hub->publish($channel, $event) };
    return EventSource::XS::Response->of(200, 'application/json', $JSON->encode({id => "$id"})) if defined $id;
    my $reason = EventSource::XS::Post->reason_of($@);
    return _text(400, $reason) if defined $reason;
    _report($env, 'publish', $@);
    return _failed();
}

# A response for a client that the application does not authorize, or undef. Without authorize every client may
# subscribe, and none may publish.
sub _refusal_unless_authorized {
    my ($self, $env, $action, $node) = @_;
    my $authorize = $self->authorize;
    my $forbidden = _text(403, 'Forbidden');
    return $action eq 'publish' ? $forbidden : undef if !$authorize;
    my $answer = _call_back($env, 'authorize', $authorize, $env, $action, $node) or return _failed();
    return $forbidden if !$$answer;
    return $$answer   if EventSource::XS::Response->is_response($$answer);
    return undef      if ref $$answer ne 'ARRAY';
    _report($env, 'authorize', 'it returned an array that is not a response');
    return _failed();
}

# A response if nodes are declared and this one is not, or undef.
sub _refusal_unless_declared {
    my ($self, $env, $node) = @_;
    my $nodes = $self->nodes;
    return undef if !defined $nodes;
    my $is_declared;
    if    (ref $nodes eq 'HASH') { $is_declared = exists $nodes->{$node} && ($nodes->{$node} || 1) }
    elsif (ref $nodes eq 'ARRAY') {
        $is_declared = grep { $_ eq $node } @$nodes;
    }
    else {
        my $answer = _call_back($env, 'nodes', $nodes, $node, $env) or return _failed();
        $is_declared = $$answer;
    }
    $env->{$OPTION} = $is_declared if ref $is_declared eq 'HASH';
    return $is_declared ? undef : _text(404, 'Not found');
}

sub _response {
    my ($self, $env) = @_;
    return _text(404, 'Not found') if !$self->_is_for_host($env);
    my $access = EventSource::XS::Origins->access(__PACKAGE__, $self->origins, $env) or return _failed();
    return EventSource::XS::Response->completed($self->_response_to($env, $access), $access->{headers});
}

sub _response_to {
    my ($self, $env, $access) = @_;
    my $method = $env->{REQUEST_METHOD};
    return EventSource::XS::Origins->respond_to_options($access, @METHODS) if $method eq 'OPTIONS';
    return _text(405, 'Method not allowed', Allow => join ', ', sort @METHODS, 'OPTIONS')
        if !grep { $_ eq $method } @METHODS;
    my $refusal = EventSource::XS::Origins->refusal($access, $method);
    return $refusal if $refusal;

    (my $node, $refusal) = $self->_node($env);
    $refusal ||= $self->_refusal_unless_declared($env, $node);
    $refusal ||= $self->_refusal_unless_authorized($env, $method eq 'POST' ? 'publish' : 'subscribe', $node);
    return $refusal if $refusal;

    my $channel = ($self->prefix // '') . $node;
    return $self->_publish($env, $channel) if $method eq 'POST';
    return $self->_head                    if $method eq 'HEAD';
    return _cannot_stream($env)            if !$env->{'psgi.streaming'};
    my $option = delete $env->{$OPTION};
    $env->{$CHANNEL} = $option ? [$channel, $option] : $channel;
    return ($self->{_stream_app} ||= $self->_stream_app)->($env);
}

# The application that streams. There is one for all nodes: the channel is in the environment.
sub _stream_app {
    my $self    = shift;
    my %setting = map { defined $self->$_ ? ($_ => $self->$_) : () } @STREAM_SETTINGS;
    return $self->hub->to_app(%setting, channels => sub { return $_[0]{$CHANNEL} });
}

# Private functions

# A reference to the result of a callback of the application; undef if the callback died, which is reported.
sub _call_back {
    my ($env, $name, @call) = @_;
    return EventSource::XS::Report->call_back($env, __PACKAGE__ . ": $name", @call);
}

sub _cannot_stream {
    my $env = shift;
    _report($env, 'GET', 'this server does not stream (psgi.streaming)');
    return _text(501, 'This server does not stream');
}

sub _failed { return _text(500, 'Internal server error') }

# True if the path was sent with a NUL. Most servers end the path there, so that it would name another node.
sub _has_nul { return ($_[0]{REQUEST_URI} // '') =~ /\A[^?]*(?:%00|\0)/ }

# The name of a host without its port, in lower case.
sub _host_name { return lc($_[0] =~ s/:[0-9]*\z//r) }

sub _is_prefix {
    my $prefix = shift;
    return !defined $prefix if !defined $prefix || ref $prefix;
    utf8::encode($prefix);
    return length $prefix < $MAX_NAME_BYTES;
}

# The values of an attribute that is one value or an array of them.
sub _list {
    my $value = shift;
    return ref $value eq 'ARRAY' ? @$value : defined $value ? ($value) : ();
}

sub _report {
    my ($env, $name, $exception) = @_;
    EventSource::XS::Report->exception($env->{'psgi.errors'}, __PACKAGE__ . ": $name", $exception);
    return;
}

sub _text { return EventSource::XS::Response->text(@_) }

1;
__END__

=encoding utf8

=head1 NAME

Plack::App::EventSource::PubSub - Subscribe and publish to nodes by their URLs

=head1 SYNOPSIS

    use EventSource::Hub;
    use Plack::App::EventSource::PubSub;
    use Plack::Builder;

    my $hub = EventSource::Hub->new;
    my $app = builder {
        mount '/eventsource' => Plack::App::EventSource::PubSub->new(
            hub       => $hub,
            nodes     => ['news', 'weather'],
            authorize => sub {
                my ($env, $action, $node) = @_;
                return $action eq 'subscribe' || ($env->{REMOTE_USER} || '') eq 'editor';
            },
        )->to_app;
        mount '/' => sub { [404, [], []] };
    };

    my $id = $hub->publish(news => 'to all subscribers of /eventsource/news');

=head1 DESCRIPTION

A L<Plack::Component> that gives the channels of an L<EventSource::Hub> URLs, as nodes. C<GET /NODE> streams the
events of the node. C<POST /NODE> publishes to it, if L</authorize> allows that. The process that holds the hub, or any
process if the hub has a name, may also call C<< $hub->publish($node, ...) >>. The module is modelled on Prosody's
mod_pubsub_eventsource; see
L</DIFFERENCES>.

    const source = new EventSource('/eventsource/news');
    source.onmessage = event => console.log(event.data);

    curl -H 'Content-Type: text/plain' --data-binary 'rain' http://localhost:5000/eventsource/weather

A node need not be created. It exists as long as a stream is subscribed to it or the hub retains events of it. A node
without subscribers costs nothing.

=head1 REQUESTS

The application checks each request in this order. The first check that fails decides the response, which has one line
of plain text with the reason.

=over

=item 1.

The request is for this L</http_host> (404).

=item 2.

The method is one of those below (405).

=item 3.

A POST comes from a page that may publish (403, L</origins>).

=item 4.

The name is one that a node can have (400, 404, 414).

=item 5.

The node is declared (404, L</nodes>).

=item 6.

The request is authorized (403, or the response of L</authorize>).

=item 7.

The client of a GET may have one more stream (429, L<EventSource::Hub/max_streams_per>).

=back

=head2 The name of a node

    /eventsource/news           news
    /eventsource/a/b            a/b
    /eventsource/gr%C3%B6%C3%9Fe   größe
    /eventsource/*              *

The name is all that follows the path under which the application is mounted, without one slash. Servers
percent-decode it once, and it is UTF-8. It is literal: a star is a star. It may have slashes, and C<%2F> is one. A
name has at most 1,024 bytes (414), is not empty (404), and has no control characters (400).

=head2 GET

Stream the events of the node as L<EventSource::Hub/to_app> does, with its ids, its history and its C<gap> events: a
browser that reconnects receives the events that it missed (WHATWG HTML, section 9.2.4). On a server without
C<psgi.streaming> the response is 501, and C<psgi.errors> has the reason.

=head2 HEAD

Respond as to GET, without the stream. It tells a page why its stream fails, which an EventSource does not (WHATWG
HTML, section 9.2.3).

=head2 POST

Publish one event. The response is 200 with the event's id in JSON: C<{"id":"..."}>. The C<Content-Type> says what the
body is:

=over

=item application/json

An object with at least one of these fields of L<EventSource::XS/format_event>: C<data>, a string; C<json>, any
structure, which is sent as data and encoded anew; C<event>, C<id>, C<retry>, C<comment>. A field that is C<null> is
left out, except C<json>.

    {"event": "rain", "json": {"mm": 3}}

=item application/x-www-form-urlencoded

A form with the fields C<data>, C<event>, C<id>, C<retry> and C<comment>. C<data> may occur several times; each is a
line. A field that is empty is left out, except C<data>.

=item any other type, or none

The body is the data, unchanged. This is also the way to publish JSON that is not an event: send it as C<text/plain>.

=back

Everything is UTF-8. The statuses of a refusal, which publishes nothing:

=over

=item 400 Bad Request

The body is not UTF-8, or ends before its C<Content-Length>; C<Content-Length> is not a number; a field is unknown,
occurs twice, or has a wrong value (a line break in C<event>); C<json> is more than 511 levels deep, or has a number
that the JSON module could only encode as text that is not JSON; C<id> is one that a client cannot send back
(L<EventSource::Hub/Order, resume, gaps>), or begins as the hub's own ids do.

A publisher must not be able to do more than publish. So C<event> cannot be the type of the hub's own events for gaps and
positions (L<EventSource::Hub/gap_event>, L<EventSource::Hub/position_event>), unless these streams have no such events,
cannot be C<error> or C<open>, for which an EventSource dispatches events of its own, cannot be C<finish>, at which clients
close their stream, and cannot have control characters. The same holds for a node whose name becomes the type
(L<EventSource::Hub/show_channel>). C<id> cannot be that of finished streams
(L<Plack::App::EventSource::Connection/finished_id>). C<retry> is at most 86,400,000 milliseconds, a day.

=item 411 Length Required

The request has a chunked body, and the server does not decode it. Only Starman and Starlet do.

=item 413 Content Too Large

The body is longer than L</max_body>.

=item 415 Unsupported Media Type

The body has several parts (C<multipart/form-data>), is compressed, or has another C<charset>.

=item 500 Internal Server Error

The hub failed, and C<psgi.errors> has the exception; or the server says that it has several processes
(C<psgi.multiprocess>; some servers always say so), and the hub has neither a L<name|EventSource::Hub/name> nor
L<per_process|EventSource::Hub/per_process>. Then the event would reach only the subscribers of the worker that has the
request. It is not published, and C<psgi.errors> says what to do.

=back

=head2 OPTIONS

Respond with 204 and the allowed methods; see L</origins>.

=head1 ATTRIBUTES

L</to_app> reads the settings of the streams, which are the last two sections. All other attributes may change from
request to request. C<undef> stands for the default.

=head2 authorize

    authorize => sub {
        my ($env, $action, $node) = @_;
        return [401, ['WWW-Authenticate' => 'Basic realm="news"'], []] if !$env->{REMOTE_USER};
        return $action eq 'subscribe' || is_editor($env->{REMOTE_USER}, $node);
    },

A callback that decides whether a client may C<subscribe> to a node (GET, HEAD) or C<publish> to it (POST). The node
is in characters, without the L</prefix>. A true result allows the request, a false one is a 403, and a PSGI response,
an array or a code reference, is sent instead. If the callback dies, the response is 500, and C<psgi.errors> has the
exception.

The callback may read the body, to verify a signature: with L<Plack::Request> on any server, or from C<psgi.input>
where the server buffers it. L</max_body> is checked later.

It is called when a stream begins, and not again while the stream lasts. By default every client may subscribe to
every node, and none may publish.

=head2 hub

    hub => $hub

The L<EventSource::Hub>, which is required. On a server with several workers give it a L<name|EventSource::Hub/name>: then
what any worker publishes reaches the subscribers of all. Without a name, and without
L<per_process|EventSource::Hub/per_process>, events cannot be published by HTTP there (L</POST>).

=head2 http_host

    http_host => 'events.example'
    http_host => ['events.example', 'localhost']

The hosts for which the application responds, whatever the port and the case of the letters in C<Host>; a request for
another one is a 404. By default all. An application may also be mounted by host: C<< mount 'http://events.example/'
>>. There the case of the letters counts, and the port must be that of the server.

=head2 max_body

    max_body => 65_536

The maximum number of bytes in the body of a POST: a whole number from 1 to 999,999,999,999,999; 65,536 by default.

=head2 nodes

    nodes => ['news', 'weather']
    nodes => {news => 1, 'room/7' => {start => -50}, 'room/7/people' => {start => 'state'}}
    nodes => sub { my ($node, $env) = @_; ... }

The declared nodes, in characters: an array of names, a hash whose keys are names, or a callback that returns true for
a node that exists. A request for another node is a 404, before L</authorize> is called. To keep secret which nodes
exist, leave this out, and have C<authorize> return a 404. By default every node exists. If the callback dies, the
response is 500.

What the hash has for a node, and what the callback returns, may be a hash of options of this node: C<start>, where its streams
begin, and C<max_streams_per>, as for a channel of L<EventSource::Hub/to_app>. C<new> throws C<invalid> if such a hash in
C<nodes> has anything else; so does a request if the callback has returned it.

=head2 origins

    origins => 'https://shop.example'
    origins => ['https://shop.example', 'http://localhost:5000']
    origins => '*'
    origins => sub { my ($origin, $env) = @_; ... }

The other origins whose pages may read the responses, and publish; none by default. L<Plack::App::EventSource/origins>
has the details. A page of a listed origin may send cookies (C<withCredentials>). A star lets all other pages read,
without credentials, but not publish. A callback that returns true lists the origin.

A POST of a page whose origin is neither listed nor the request's own is a 403, before L</authorize> is called.

=head2 prefix

    prefix => 'pubsub/'

A string before the name of each node that makes it the name of the hub's channel, so that other channels have no URL.
It has less than 1,024 bytes in UTF-8, and counts towards the 1,024 bytes of a name. Empty by default.

=head2 headers

    headers => ['X-Own' => 1]

More headers of the streams, none by default; see L<Plack::App::EventSource/headers>.

=head2 compress, fallback, keepalive, linger, max_streams, max_streams_per, native, position, preamble, retry, start, timeout

The settings of the streams; see L<EventSource::Hub>. By default those of the hub. The key of
L<max_streams_per|EventSource::Hub/max_streams_per> is asked for when the request is authorized. Give
C<max_streams> of a named hub to that hub: here it throws C<invalid>.

=head1 METHODS

=head2 new

    my $component = Plack::App::EventSource::PubSub->new(hub => $hub, %attributes);
    my $component = Plack::App::EventSource::PubSub->new(\%attributes);

Create a component. Throws an L<EventSource::Error> with the code C<invalid>, and the attribute as its field, if an
attribute is unknown or has a wrong value: a misspelt C<authorize> would let every client in. A subclass may have
attributes of its own: those that it has a method for.

=head2 to_app

    my $app = $component->to_app;

Return the PSGI application. Throws as L</new> does, for attributes that were set since, and if there is no L</hub>.

=head2 call, prepare_app

See L<Plack::Component>. A subclass may wrap them.

=head1 DIFFERENCES

From mod_pubsub_eventsource, and for POST from mod_pubsub_post (L<EventSource::XMPP> has the nodes of a Prosody here):

=over

=item *

Data is what was published. In Prosody it is the item as XML, except for items in JSON.

=item *

Streams have ids, a history, keepalives and a position as their first block, so a client resumes where it was. In Prosody a
client that reconnects misses the events in between.

=item *

Names are percent-decoded and bounded. Prosody takes the path as it was sent.

=item *

Nodes can be declared, and C<authorize> decides. Prosody streams every path to every client.

=item *

Origins are listed, and may send credentials. In Prosody every origin may read (C<*>), and none may send cookies.

=item *

A request for another host is a 404 only if L</http_host> is set. In Prosody each component has a host, and
C<http_host> changes it.

=item *

POST goes to the same URL, responds with 200 and the id (Prosody: 202), needs C<authorize>, publishes text too
(Prosody: 415), and takes an object in JSON as an event (Prosody: as the item). It supports neither Atom feeds nor
C<X-Hub-Signature>, which an C<authorize> can verify.

=back

=head1 SEE ALSO

L<EventSource::Hub>, L<Plack::App::EventSource>,
L<https://html.spec.whatwg.org/multipage/server-sent-events.html>

=cut

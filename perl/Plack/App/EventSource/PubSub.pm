package Plack::App::EventSource::PubSub;
use strict;
use warnings;

# The channels of a hub by URL, as nodes: GET streams the events of a node, POST publishes to it.

our $VERSION = '0.100';

use parent 'Plack::Component';
use EventSource::Hub;
use EventSource::XS ();
use EventSource::XS::Adapter;
use EventSource::XS::ErrorLog;
use EventSource::XS::Hub::Name;
use EventSource::XS::Hub::Subscription;
use EventSource::XS::Origins;
use EventSource::XS::Post;
use EventSource::XS::Response;
use EventSource::XS::Settings;
use EventSource::XS::UTF8;
use JSON::MaybeXS ();
use Plack::App::EventSource::Connection;
use Plack::Util::Accessor ();
use overload              ();
use Scalar::Util          qw(blessed);

my $SETTINGS = EventSource::XS::Settings->new(__PACKAGE__);

my @STREAM_SETTINGS =
    qw(compress headers keepalive linger max_streams max_streams_per native position preamble retry start timeout);
my @ATTRIBUTES = (@STREAM_SETTINGS, qw(authorize http_host hub max_body nodes origins prefix));
Plack::Util::Accessor->import(@ATTRIBUTES);

my $MAX_NAME_BYTES   = EventSource::XS::Hub::Name->max_bytes;
my $MAX_BODY         = 65_536;                                  # bytes
my $LARGEST_MAX_BODY = 999_999_999_999_999;

# In the PSGI environment.
my $CHANNEL = 'eventsource.pubsub.channel';
my $OPTION  = 'eventsource.pubsub.option';

my @METHODS = qw(GET HEAD POST);

my $REACHES_ONE_PROCESS =
    'refused: this server may have several processes, and an event would reach only the subscribers of one. Give the hub a'
    . " name (EventSource::Hub->new(name => 'shop')): then it has a hub process, which all of them share. Or set"
    . ' per_process => 1 on the hub if that is intended, or if there is one process';

my $CONTROL = qr/[\x{00}-\x{1F}\x{7F}-\x{9F}]/;
my $HOST    = qr/\A(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]+)?\z/;

my $JSON = JSON::MaybeXS->new(utf8 => 1, canonical => 1);

# Wrong arguments are reported here, at the line that makes the mistake.
sub new {
    my ($class, @given) = @_;
    my $self = $class->SUPER::new($SETTINGS->parse('new takes attributes', @given));
    $self->_check;
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
    $self->{hub} = $self->hub;
    $self->_check;
    return;
}

# Private methods

# Checks the attributes. The hub is required if its name is given: its application checks the settings of the streams. A
# subclass may have attributes of its own.
sub _check {
    my $self    = shift;
    my %unknown = map { ($_ => 1) } grep { !/\A_/ && !$self->can($_) } keys %$self;
    $SETTINGS->known(\%unknown, \@ATTRIBUTES, 'attribute %s');
    my %given = map { ($_ => $self->$_) } @ATTRIBUTES;
    my ($hub, $nodes) = @given{qw(hub nodes)};
    $SETTINGS->refuse(hub => 'hub must be an EventSource::Hub')
        if exists $self->{hub} && !(blessed $hub && $hub->can('type_of'));
    $SETTINGS->code(authorize => $given{authorize});
    $SETTINGS->refuse(nodes => 'nodes must be a reference to an array, a hash or code')
        if defined $nodes && ref($nodes) !~ /\A(?:ARRAY|HASH|CODE)\z/;
    $SETTINGS->refuse(nodes => 'each of nodes must be a string')
        if ref $nodes eq 'ARRAY' && grep { !defined || ref && !overload::Overloaded($_) } @$nodes;
    EventSource::XS::Hub::Subscription->groups(undef, map { ['node', $_] } grep { ref eq 'HASH' } values %$nodes)
        if ref $nodes eq 'HASH';
    $SETTINGS->whole_number(max_body => $given{max_body}, from => 1, to => $LARGEST_MAX_BODY, unit => 'bytes');
    $SETTINGS->refuse(http_host => 'http_host must be the name of a host, or several')
        if grep { !defined || $_ !~ $HOST } $SETTINGS->list($given{http_host});
    EventSource::XS::Origins->check($SETTINGS, $given{origins});
    utf8::encode(my $prefix = $given{prefix} // '');
    $SETTINGS->refuse(prefix => "prefix must be a string of less than $MAX_NAME_BYTES bytes")
        if ref $given{prefix} || length $prefix >= $MAX_NAME_BYTES;
    $self->{_stream_app} = $self->_stream_app if $hub;
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
    return scalar grep { _host_name($_) eq $host } $SETTINGS->list($self->http_host);
}

# The reason why readers could mistake an event for one that no publisher sends, or undef. An EventSource dispatches events of
# its own to the same listeners: open and error (WHATWG HTML, section 9.2.3), and with the script of EventSource::Browser
# transport. At finish clients close their stream for good. The types of members change the maps of that script, unless the data
# of events says their keys.
sub _misleading {
    my ($self, $channel, $event) = @_;
    my $hub  = $self->hub;
    my $type = $hub->type_of($channel, $event) // return undef;
    return "event must not be '$type': an EventSource has an event of that name of its own"
        if $type =~ /\A(?:error|open|transport)\z/;
    return "event must not be '$type': clients close their stream at that event"
        if $type eq Plack::App::EventSource::Connection->finished_event;
    return "event must not be the name of the hub's event for gaps: choose another, or set gap_event"
        if $type eq $hub->gap_event;
    return
        "event must not be '$type': pages take such an event for one of a member or a key, as this hub does not show keys."
        . q( Choose another, or set show_channel => 'data' on the hub)
        if $type =~ /\A(?:count|forget|join|leave|update)\z/ && !$hub->shows_keys;
    return "event must not be the name of the hub's event for positions: choose another, or set position_event"
        if $type eq $hub->position_event;
    return undef;
}

sub _name_prefix { return $SETTINGS->name(prefix => $_[0]->prefix // '') }

# The node that a request names, in characters; or undef and a response.
sub _node {
    my ($self, $env) = @_;
    my $bytes = ($env->{PATH_INFO} // '') =~ s{\A/}{}r;
    return (undef, _text(400, 'The name of the node has a control character in it')) if _has_nul($env);
    return (undef, _text(404, 'Not found'))                                          if $bytes eq '';
    utf8::encode(my $prefix = $self->_name_prefix);
    return (undef, _text(414, 'The name of the node is too long')) if length($prefix) + length $bytes > $MAX_NAME_BYTES;
    my $node = EventSource::XS::UTF8->decode($bytes);
    return (undef, _text(400, 'The name of the node is not UTF-8'))                  if !defined $node;
    return (undef, _text(400, 'The name of the node has a control character in it')) if $node =~ $CONTROL;
    return $node;
}

sub _publish {
    my ($self, $env, $channel) = @_;
    if ($self->hub->is_unshared && EventSource::XS::Adapter->of_env($env)->is_multiprocess($env)) {
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
    if (ref $nodes eq 'HASH') {
        my @keys = $node =~ /[^\0-\x7F]/ ? keys %$nodes : exists $nodes->{$node} ? $node : ();
        my ($key) = grep { $SETTINGS->name(nodes => $_) eq $node } @keys;
        $is_declared = defined $key && ($nodes->{$key} || 1);
    }
    elsif (ref $nodes eq 'ARRAY') {
        $is_declared = grep { $SETTINGS->name(nodes => $_) eq $node } @$nodes;
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
    my $access = EventSource::XS::Origins->access(__PACKAGE__, $self->origins, $env, $self->hub) or return _failed();
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

    my $channel = $self->_name_prefix . $node;
    return $self->_publish($env, $channel) if $method eq 'POST';
    return $self->_head                    if $method eq 'HEAD';
    return _cannot_stream($env)            if !$env->{'psgi.streaming'};
    my $option = delete $env->{$OPTION};
    $env->{$CHANNEL} = $option ? [$channel, $option] : $channel;
    return $self->{_stream_app}->($env);
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
    return EventSource::XS::ErrorLog->call_back($env, __PACKAGE__ . ": $name", @call);
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

sub _report {
    my ($env, $name, $exception) = @_;
    EventSource::XS::ErrorLog->write($env->{'psgi.errors'}, __PACKAGE__ . ": $name", $exception);
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

This L<Plack::Component> gives channels of an L<EventSource::Hub> URLs, as nodes: C<GET /NODE> streams events, C<POST /NODE>
publishes one, if L</authorize> allows it. Its model is Prosody's mod_pubsub_eventsource (L<EventSource::Migration/FROM
MOD_PUBSUB_EVENTSOURCE>).

    curl -H 'Content-Type: text/plain' --data-binary 'rain' http://localhost:5000/eventsource/weather

=head1 REQUESTS

The first check that fails decides the response, a line of plain text with the reason:

    check                                                    status if it fails
    -------------------------------------------------------  ----------------------------------------
    the request is for this "http_host"                      404
    the method is one of those below                         405
    a POST comes from a page that may publish ("origins")    403
    the name is one that a node can have                     400, 404, 414
    the node is declared ("nodes")                           404
    the request is authorized                                403, or the response of "authorize"
    the client of a GET may have one more stream             429 ("max_streams_per" of the hub)

=head2 The name of a node

    /eventsource/news           news
    /eventsource/a/b            a/b
    /eventsource/gr%C3%B6%C3%9Fe   größe
    /eventsource/*              *

The name is all that follows the path of the mount and one slash, percent-decoded UTF-8. It has at most 1,024 bytes (414), is
not empty (404), and has no control characters (400).

=head2 GET

Stream the events of the node; without C<psgi.streaming> the response is 501.

=head2 HEAD

Respond as to GET, without the stream.

=head2 POST

Publish an event. The response is 200 with its id: C<{"id":"..."}>. The C<Content-Type> says what the body, in UTF-8, is:

=over

=item application/json

An object with at least one of these fields (L<EventSource::XS/format_event>): C<data>, a string; C<json>, any structure;
C<event>, C<id>, C<retry>, C<comment>. Fields that are C<null> are left out, except C<json>. The text of C<json>, and that of
other fields that are numbers, stays as it is.

    {"event": "rain", "json": {"mm": 3}}

=item application/x-www-form-urlencoded

A form with the fields C<data>, C<event>, C<id>, C<retry> and C<comment>. C<data> may occur several times; each is a line.
Empty fields are left out, except C<data>.

=item any other type, or none

The body is the data, unchanged. Send JSON that is not an event as C<text/plain>.

=back

The statuses of a refusal, which publishes nothing:

=over

=item 400 Bad Request

The body is not UTF-8, or ends before its C<Content-Length>. A field is unknown, occurs twice, or has a wrong value (a line
break in C<event>). C<json> is more than 511 levels deep. C<retry> is more than a day, 86,400,000 milliseconds. C<id> is not
allowed (L<EventSource::Wire/IDS>).

C<event>, and the name of a node that becomes the type (L<EventSource::Hub/show_channel>), has no control characters. It is none
of C<error>, C<open>, C<transport>, C<finish> and C<eventsource-hub>, nor the L<gap_event|EventSource::Hub/gap_event> or
L<position_event|EventSource::Hub/position_event> of the hub. C<join>, C<update>, C<leave>, C<forget> and C<count> change
the maps of L<EventSource::Browser>, and need a hub with C<< show_channel => 'data' >>.

=item 411 Length Required

The body is chunked (L<Plack::App::EventSource/methods>).

=item 413 Content Too Large

The body is longer than L</max_body>.

=item 415 Unsupported Media Type

The body is C<multipart/form-data>, is compressed, or has another C<charset>.

=item 500 Internal Server Error

The hub failed, or the event would reach only the subscribers of one worker (L</hub>). C<psgi.errors> has the exception or the
remedy.

=back

=head2 OPTIONS

Respond with 204 and the allowed methods; see L</origins>.

=head1 ATTRIBUTES

All but the settings of the streams and L</headers> may be changed at any time. C<undef> stands for the default.

=head2 authorize

A callback, as in the L</SYNOPSIS>: whether a client may C<subscribe> to a node (GET, HEAD) or C<publish> to it (POST). B<By
default every client may subscribe to every node, and none may publish.> The node is in characters, without the L</prefix>. A
true result allows the request, a false one is a 403. A PSGI response, such as a 401, is sent instead. A callback that dies is
a 500.

It is called once for a stream. It may read the body with L<Plack::Request>, to verify a signature such as C<X-Hub-Signature>.

=head2 hub

    hub => $hub

Required: the L<EventSource::Hub>. On a server with several processes (C<psgi.multiprocess>; some servers always say so) give
it a L<name|EventSource::Hub/name>: without that, and without C<per_process>, a POST is a 500 there.

=head2 http_host

    http_host => 'events.example'
    http_host => ['events.example', 'localhost']

The hosts for which the application responds, whatever the port and the case of letters; all by default.

=head2 max_body

The most bytes of the body of a POST: from 1 to 999,999,999,999,999; 65,536 by default.

=head2 nodes

    nodes => ['news', 'weather']
    nodes => {news => 1, 'room/7' => {start => -50}, 'room/7/people' => {start => 'state'}}
    nodes => sub { my ($node, $env) = @_; ... }

The nodes: an array of L<names|EventSource::Hub/Names>, a hash whose keys are names, or a callback that is given characters, and
returns true for a node that exists (a 500 if it dies). By default every node exists. To keep secret which exist, leave this
out, and have L</authorize> return a 404.

The value in the hash, and what the callback returns, may be a hash of options of this node: C<start> and C<max_streams_per>,
as for a channel of L<EventSource::Hub/to_app>.

=head2 origins

    origins => ['https://shop.example', 'http://localhost:5000']

The other origins whose pages may read the responses, and publish; none by default (L<Plack::App::EventSource/origins>). A
star lets pages read, without credentials, but not publish.

=head2 prefix

    prefix => 'pubsub/'

What the name of a node's channel begins with, so that other channels have no URL. Empty by default, less than 1,024 bytes in
UTF-8; it counts towards the 1,024 bytes of a name.

=head2 headers

More headers of the streams (L<Plack::App::EventSource/headers>).

=head2 compress, keepalive, linger, max_streams, max_streams_per, native, position, preamble, retry, start, timeout

The settings of the streams (L<EventSource::Hub>), by default those of the hub. C<max_streams> of a named hub is C<invalid>
here.

=head1 METHODS

=head2 new

    my $component = Plack::App::EventSource::PubSub->new(hub => $hub, %attributes);
    my $component = Plack::App::EventSource::PubSub->new(\%attributes);

Create a component. Throws an L<EventSource::Error> with the code C<invalid>, and the attribute as its field. A subclass may
have attributes of its own: those that it has a method for.

=head2 to_app

    my $app = $component->to_app;

Return the PSGI application. Throws as L</new> does, and if there is no L</hub>.

=head2 call, prepare_app

See L<Plack::Component>. A subclass may wrap them.

=cut

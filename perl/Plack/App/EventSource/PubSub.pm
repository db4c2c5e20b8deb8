package Plack::App::EventSource::PubSub;
use strict;
use warnings;

# Nodes of a hub by their URLs: GET streams what is published to a node, POST publishes to it.

our $VERSION = '0.100';

use parent 'Plack::Component';
use Carp                  qw(croak);
use EventSource::XS       ();
use JSON::MaybeXS         ();
use Plack::Util::Accessor qw(
    authorize headers http_host hub keepalive linger max_body max_streams native nodes origins prefix preamble retry start
    timeout
);
use Scalar::Util qw(blessed);

# What is wrong with an attribute of the stream is the hub's to say, at the line of whoever gave it to us.
our @CARP_NOT = qw(EventSource::Hub Plack::Component);

# What the streams are told of these.
my @SETTINGS = qw(headers keepalive linger max_streams native preamble retry start timeout);

my $LONGEST_NAME = 1024;                           # bytes of UTF-8; a hub's channels have no longer names
my $MAX_BODY     = 65_536;                         # bytes
my $CHANNEL      = 'eventsource.pubsub.channel';

my $ALLOWED = 'GET, HEAD, OPTIONS, POST';

# The fields of an event that a client may publish.
my %FIELD = map { $_ => 1 } qw(comment data event id json retry);

my $CONTROL = qr/[\x{00}-\x{1F}\x{7F}-\x{9F}]/;

my $JSON = JSON::MaybeXS->new(utf8 => 1, canonical => 1);

# What uWSGI dies of when a body does not come.
my $NOT_READ = qr/\A(?:error|timeout) during read\(/;

# Public methods

sub call {
    my ($self, $env) = @_;
    EventSource::XS->dispatch;
    return _text(404, 'Not found') if !$self->_is_for_host($env);
    my $visitor = $self->_visitor($env) or return _failed();
    my $answer  = $self->_answer($env, $visitor);
    return _completed($answer, $env->{REQUEST_METHOD} eq 'HEAD', @{$visitor->{headers}});
}

sub prepare_app {
    my $self = shift;
    $self->_check_options;
    $self->{_stream} = $self->_stream;
    return;
}

# Private methods

# The response to a request for this host.
sub _answer {
    my ($self, $env, $visitor) = @_;
    my $method = $env->{REQUEST_METHOD};
    return _text(405, 'Method not allowed', Allow => $ALLOWED) if $method !~ /\A(?:GET|HEAD|OPTIONS|POST)\z/;
    return _preflight($env, $visitor)                          if $method eq 'OPTIONS';
    return _text(403, 'Not from this origin')                  if $method eq 'POST' && !$visitor->{is_trusted};

    my ($node, $refusal) = $self->_node($env);
    $refusal ||= $self->_not_declared($env, $node);
    $refusal ||= $self->_not_authorized($env, $method eq 'POST' ? 'publish' : 'subscribe', $node);
    return $refusal if $refusal;

    my $channel = ($self->prefix // '') . $node;
    return $self->_publish($env, $channel) if $method eq 'POST';
    return $self->_head                    if $method eq 'HEAD';
    return _cannot_stream($env)            if !$env->{'psgi.streaming'};
    $env->{$CHANNEL} = $channel;
    return ($self->{_stream} ||= $self->_stream)->($env);
}

# The body of a request, in bytes; or undef and a response that refuses it.
sub _body {
    my ($self,   $env)  = @_;
    my ($length, $most) = ($env->{CONTENT_LENGTH} // '', $self->max_body // $MAX_BODY);
    return (undef, _text(400, 'The length of the body is not a number')) if $length !~ /\A[0-9]*\z/;
    if ($length eq '') {

        # A server that decodes a chunked body says how long it is. Others show nothing, or the chunks.
        return (undef, _text(411, 'The length of the body has to be said')) if defined $env->{HTTP_TRANSFER_ENCODING};
        return '';    # there is none, and to look for it might wait
    }
    return (undef, _text(413, "The body is longer than $most bytes")) if $length > $most;
    return '' if $length == 0;    # Feersum gives nothing to read then
    my $body = _read($env, $length);
    return (undef, _text(400, 'The body cannot be read')) if !defined $body || length $body < $length;
    return $body;
}

sub _check_options {
    my $self   = shift;
    my $is_hub = blessed $self->hub && $self->hub->can('publish') && $self->hub->can('to_app');
    _refuse('hub must be an EventSource::Hub') if !$is_hub;
    my ($nodes, $authorize, $max_body) = ($self->nodes, $self->authorize, $self->max_body);
    _refuse('authorize must be a code reference') if defined $authorize && ref $authorize ne 'CODE';
    _refuse('nodes must be a reference to an array, a hash or code')
        if defined $nodes && ref($nodes) !~ /\A(?:ARRAY|HASH|CODE)\z/;
    _refuse('max_body must be a whole number of bytes from 1')
        if defined $max_body && $max_body !~ /\A[1-9][0-9]{0,14}\z/;
    _refuse('http_host must be the name of a host, or several')
        if grep { !defined || !/\A(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]+)?\z/ } _list($self->http_host);
    _refuse("origins must be origins such as 'https://example.com', '*', or a code reference")
        if grep { !defined || !m{\A(?:[*]|[A-Za-z][A-Za-z0-9+.-]*://[^/?\#\s]+)\z} } _list($self->origins);
    _refuse('prefix must be a string of less than 1024 bytes') if !_is_prefix($self->prefix);
    my ($unknown) = grep { !/\A_/ && !$self->can($_) } sort keys %$self;
    _refuse("there is no attribute $unknown") if defined $unknown;
    return;
}

# What HEAD shows of a stream: that it may be had.
sub _head {
    my $self    = shift;
    my @headers = ('Content-Type' => 'text/event-stream; charset=UTF-8', 'Cache-Control' => 'no-store');
    return [200, [@headers, @{$self->headers || []}], []];
}

sub _is_for_host {
    my ($self, $env) = @_;
    return 1 if !defined $self->http_host;
    my $host = _name_of_host($env->{HTTP_HOST} // $env->{SERVER_NAME});
    return scalar grep { _name_of_host($_) eq $host } _list($self->http_host);
}

# The node that a request names, in characters; or undef and a response.
sub _node {
    my ($self, $env) = @_;
    my $bytes = ($env->{PATH_INFO} // '') =~ s{\A/}{}r;
    return (undef, _text(400, 'The name of the node has a control character in it')) if _has_nul($env);
    return (undef, _text(404, 'Not found'))                                          if $bytes eq '';
    utf8::encode(my $prefix = $self->prefix // '');
    return (undef, _text(414, 'The name of the node is too long')) if length($prefix) + length $bytes > $LONGEST_NAME;
    my $node = _characters($bytes);
    return (undef, _text(400, 'The name of the node is not UTF-8'))                  if !defined $node;
    return (undef, _text(400, 'The name of the node has a control character in it')) if $node =~ $CONTROL;
    return $node;
}

# A response for whom the application does not let; undef for others. Without authorize everybody may listen, and nobody
# publish.
sub _not_authorized {
    my ($self, $env, $action, $node) = @_;
    my $authorize = $self->authorize;
    my $forbidden = _text(403, 'Forbidden');
    return $action eq 'publish' ? $forbidden : undef if !$authorize;
    my $answer = _ask($env, 'authorize', $authorize, $env, $action, $node) or return _failed();
    return $forbidden if !$$answer;
    return $$answer   if ref $$answer eq 'CODE' || _is_response($$answer);
    return undef      if ref $$answer ne 'ARRAY';
    _report($env, 'authorize', 'it returned an array that is no response');
    return _failed();
}

# A response if nodes are declared, and this one is not.
sub _not_declared {
    my ($self, $env, $node) = @_;
    my $nodes = $self->nodes;
    return undef if !defined $nodes;
    my $is_declared;
    if    (ref $nodes eq 'HASH') { $is_declared = exists $nodes->{$node} }
    elsif (ref $nodes eq 'ARRAY') {
        $is_declared = grep { $_ eq $node } @$nodes;
    }
    else {
        my $answer = _ask($env, 'nodes', $nodes, $node, $env) or return _failed();
        $is_declared = $$answer;
    }
    return $is_declared ? undef : _text(404, 'Not found');
}

sub _publish {
    my ($self, $env, $channel) = @_;
    my $trouble = _not_read($env);
    return _text(415, $trouble) if defined $trouble;
    my ($body, $refusal) = $self->_body($env);
    return $refusal if $refusal;
    (my $event, $trouble) = _event($env, $body);
    return _text(400, $trouble) if defined $trouble;
    local ($@, $SIG{__DIE__});    # a handler of the server or the application would report what a client sent
    my $id = eval { $self->hub->publish($channel, $event) };
    return _own(200, 'application/json', $JSON->encode({id => "$id"})) if defined $id;
    ($trouble) =
        ref $@ && ref $@ ne 'EventSource::Error' ? () : _without_place($@) =~ /\AEventSource::Hub: ((\w+) must .+)/s;
    return _text(400, $trouble) if defined $trouble && $FIELD{$2};
    _report($env, 'publish', $@);
    return _failed();
}

# The application that streams, made once: all that differs from one stream to the next is in the environment.
sub _stream {
    my $self    = shift;
    my %setting = map { defined $self->$_ ? ($_ => $self->$_) : () } @SETTINGS;
    return $self->hub->to_app(%setting, channels => sub { return $_[0]{$CHANNEL} });
}

# Who asks, as far as a browser says it: whether it may publish, and the headers that tell the browser what it may show
# its page. Undef if the application has died of the question.
sub _visitor {
    my ($self,   $env)     = @_;
    my ($origin, $origins) = ($env->{HTTP_ORIGIN}, $self->origins);
    my $is_public = grep { $_ eq '*' } _list($origins);
    my @trusted   = grep { $_ ne '*' } _list($origins);
    my @vary      = ref $origins eq 'CODE' || @trusted ? (Vary => 'Origin') : ();
    return {is_trusted => 1, headers => \@vary} if !defined $origin;

    my $is_trusted = grep { lc $_ eq lc $origin } @trusted;
    if (ref $origins eq 'CODE') {
        my $answer = _ask($env, 'origins', $origins, $origin, $env) or return;
        $is_trusted = $$answer;
    }
    my @explicit = ('Access-Control-Allow-Origin' => $origin, 'Access-Control-Allow-Credentials' => 'true');
    return {is_trusted => 1, is_foreign => 1, headers => [@explicit, @vary]} if $is_trusted;
    return {is_trusted => 1, headers => \@vary} if _is_same_origin($origin, $env);
    my @public = $is_public ? ('Access-Control-Allow-Origin' => '*') : ();
    return {is_foreign => $is_public, headers => [@public, @vary]};
}

# Private functions

# What a callback of the application's returns, by reference; undef if it has died, which psgi.errors is told.
sub _ask {
    my ($env, $name, $code, @arguments) = @_;
    my $answer;
    local $@;
    return \$answer if eval { $answer = $code->(@arguments); 1 };
    _report($env, $name, $@);
    return;
}

sub _cannot_stream {
    my $env = shift;
    _report($env, 'GET', 'this server does not stream (psgi.streaming)');
    return _text(501, 'This server does not stream');
}

# Bytes of UTF-8 as characters, undef if they are none.
sub _characters {
    my $text = shift;
    return undef if !utf8::decode($text) || $text =~ /[^\x{0}-\x{D7FF}\x{E000}-\x{10FFFF}]/;
    return $text;
}

# A response with more headers, and without a body if it answers a HEAD. It may be the application's, which has it for
# other requests too.
sub _completed {
    my ($response, $is_head, @headers) = @_;
    my $complete = sub {
        my ($status, $own, @body) = @{$_[0]};
        my $is_open = grep { !($_ % 2) && lc $own->[$_] eq 'access-control-allow-origin' } 0 .. $#$own;
        my @more    = $is_open ? () : @headers;
        return [$status, [@$own, @more], $is_head && @body ? [] : @body];
    };
    return $complete->($response) if ref $response eq 'ARRAY';
    return sub {
        my $respond = shift;
        return $response->(sub { return $respond->($complete->(@_)) });
    };
}

# What is published, as publish takes it; or undef and what is wrong with it.
sub _event {
    my ($env, $body) = @_;
    my $type = _media_type($env);
    my ($event, $trouble);
    if    ($type eq 'application/json')                  { ($event, $trouble) = _event_in_json($body) }
    elsif ($type eq 'application/x-www-form-urlencoded') { ($event, $trouble) = _event_in_form($body) }
    else {
        $event   = {data => _characters($body)};
        $trouble = 'The body is not UTF-8' if !defined $event->{data};
    }
    return (undef, $trouble) if defined $trouble;
    my ($unknown) = grep { !$FIELD{$_} } sort keys %$event;
    return (undef, "There is no field '$unknown'") if defined $unknown;
    local ($@, $SIG{__DIE__});
    return (undef, _without_place($@) =~ s/\AEventSource::XS: //r)
        if !eval { EventSource::XS::format_event($event); 1 };
    $trouble = _not_for_readers($event);
    return defined $trouble ? (undef, $trouble) : $event;
}

# The fields of a form. Those that are left empty are none, but data.
sub _event_in_form {
    my $body = shift;
    my %event;
    for my $pair (grep { length } split /&/, $body) {
        my ($name, $value) = map { _characters(_unescaped($_)) } $pair =~ /\A([^=]*)=?(.*)\z/s;
        return (undef, 'The form is not UTF-8') if !defined $name || !defined $value;
        if    ($name eq 'data')                         { push @{$event{data}}, $value }
        elsif ($name eq 'json' || exists $event{$name}) { return (undef, "There is no such field '$name' in a form") }
        elsif ($value ne '' || !$FIELD{$name})          { $event{$name} = $value }
    }
    return \%event;
}

sub _event_in_json {
    my $body = shift;
    local ($@, $SIG{__DIE__});
    no warnings 'utf8';    # characters that are for nobody are no trouble of ours
    my $event = defined _characters($body) && eval { $JSON->decode($body) };
    return (undef, 'The body is not an object in JSON') if ref $event ne 'HASH';
    for my $name (grep { $_ ne 'json' } sort keys %$event) {
        return (undef, "$name must be a string") if ref $event->{$name};
        delete $event->{$name}                   if !defined $event->{$name};
    }

    # A number would be read and written anew: another text than was sent.
    my $is_number = defined $event->{data} && $JSON->encode([$event->{data}]) !~ /\A\["/;
    return (undef, 'data must be a string') if $is_number;

    # Some JSON modules read a number that is too large as infinity, and write that as what is no JSON.
    my $is_json = !exists $event->{json} || eval { $JSON->decode($JSON->encode([$event->{json}])) };
    return (undef, 'json must not contain a number that is too large') if !$is_json;
    return $event;
}

sub _failed { return _text(500, 'Internal server error') }

# Whether the path was sent with a NUL: most servers end it there, and another node would be meant.
sub _has_nul { return ($_[0]{REQUEST_URI} // '') =~ /\A[^?]*(?:%00|\0)/ }

sub _is_prefix {
    my $prefix = shift;
    return !defined $prefix if !defined $prefix || ref $prefix;
    utf8::encode($prefix);
    return length $prefix < $LONGEST_NAME;
}

sub _is_response {
    my $answer = shift;
    return ref $answer eq 'ARRAY' && @$answer > 1 && ($answer->[0] // '') =~ /\A[1-5][0-9][0-9]\z/;
}

# Whether a page of this origin came from here. Behind a proxy that speaks TLS a server may not know that it does.
sub _is_same_origin {
    my ($origin, $env)   = @_;
    my ($scheme, $place) = lc($origin) =~ m{\A(https?)://([^/]+)\z};
    return 0 if !$scheme || $scheme eq 'http' && $env->{'psgi.url_scheme'} eq 'https';
    my $default = $scheme eq 'http' ? 80 : 443;
    my ($theirs, $ours) = map { s/:$default\z//r } $place, lc($env->{HTTP_HOST} // '');
    return $theirs eq $ours;
}

# An attribute that may be one value or several; code is none.
sub _list {
    my $value = shift;
    return ref $value eq 'ARRAY' ? @$value : defined $value && ref $value ne 'CODE' ? ($value) : ();
}

# The type of the body without its parameters, in lower case.
sub _media_type { return lc(($_[0]{CONTENT_TYPE} // '') =~ s/\A\s*([^;\s]*).*\z/$1/sr) }

# The name without the port, as it is compared.
sub _name_of_host { return lc($_[0] =~ s/:[0-9]*\z//r) }

# Why the type of an event could be taken for something else by those who read it; undef if it could not. An EventSource has
# events of its own, and calls the same listeners for one that is sent by such a name.
sub _not_for_readers {
    my $type = shift->{event};
    return undef if !defined $type;
    return "event must not be '$type': an EventSource has an event of that name of its own"
        if $type =~ /\A(?:error|open)\z/;
    return 'event must not contain a control character' if $type =~ $CONTROL;
    return undef;
}

# Why a body is of no kind that is read; undef if it is.
sub _not_read {
    my $env       = shift;
    my $encoding  = lc($env->{HTTP_CONTENT_ENCODING} // 'identity');
    my ($charset) = ($env->{CONTENT_TYPE} // '') =~ /;\s*charset\s*=\s*"?([^";\s]*)/i;
    return 'A body of several parts is not read' if _media_type($env) =~ m{\Amultipart/};
    return 'A body that is compressed is not read' if $encoding ne 'identity';
    return 'A body in another encoding than UTF-8 is not read'
        if defined $charset && $charset !~ /\A(?:utf-?8|us-ascii)\z/i;
    return undef;
}

sub _own {
    my ($status, $type, $text, @headers) = @_;
    my @own = ('Content-Type' => $type, 'Content-Length' => length $text, 'Cache-Control' => 'no-store');
    return [$status, [@own, 'X-Content-Type-Options' => 'nosniff', @headers], [$text]];
}

# What a browser asks before it lets a page of another origin ask.
sub _preflight {
    my ($env, $visitor) = @_;
    return [204, [Allow => $ALLOWED], []]     if $visitor->{is_trusted} && !$visitor->{is_foreign};
    return _text(403, 'Not from this origin') if !$visitor->{is_foreign};
    my @headers = (
        'Access-Control-Allow-Methods' => $visitor->{is_trusted} ? 'GET, HEAD, POST' : 'GET, HEAD',
        'Access-Control-Allow-Headers' => 'Authorization, Cache-Control, Content-Type, Last-Event-ID, X-Requested-With',
        'Access-Control-Max-Age'       => 7200,
    );
    return [204, [Allow => $ALLOWED, @headers], []];
}

# So many bytes of the body, or fewer if it ends; undef if that fails. The application may have read them before. uWSGI dies
# when the client leaves or sends nothing; an exception of anybody else, such as the handler of a signal, is passed on.
sub _read {
    my ($env,   $length) = @_;
    my ($input, $body)   = ($env->{'psgi.input'}, '');
    $input->seek(0, 0) if $env->{'psgix.input.buffered'};
    while (length $body < $length) {
        my ($count, $trouble);
        {
            local ($@, $SIG{__DIE__});
            $trouble = $@ if !eval { $count = $input->read($body, $length - length $body, length $body); 1 };
        }
        die $trouble if defined $trouble && (ref $trouble || $trouble !~ $NOT_READ);
        return undef if !defined $count;
        last         if !$count;
    }
    return $body;
}

sub _refuse { return croak "Plack::App::EventSource::PubSub: $_[0]" }

# Tells psgi.errors what has gone wrong.
sub _report {
    my ($env, $name, $trouble) = @_;
    my $text = eval { "$trouble" };
    $text = 'a ' . ref($trouble) . ' that cannot be made a string' if !defined $text;
    utf8::encode($text) if $text =~ /[^\x00-\xFF]/;
    chomp $text;
    $env->{'psgi.errors'}->print("Plack::App::EventSource::PubSub: $name: $text\n");
    return;
}

sub _text {
    my ($status, $text, @headers) = @_;
    utf8::encode($text);
    return _own($status, 'text/plain; charset=UTF-8', "$text\n", @headers);
}

sub _unescaped { return $_[0] =~ tr/+/ /r =~ s/%([0-9A-Fa-f]{2})/chr hex $1/ger }

# What a croak says, without where.
sub _without_place { return $_[0] =~ s/\A(.*) at .* line [0-9]+[.]?\n\z/$1/sr }

1;
__END__

=encoding utf8

=head1 NAME

Plack::App::EventSource::PubSub - Nodes that are followed and published to by their URLs

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

    my $id = $hub->publish(news => 'to all who follow /eventsource/news');

=head1 DESCRIPTION

A L<Plack::Component> that gives the channels of an L<EventSource::Hub> URLs, as nodes: C<GET /NODE> streams what is
published to the node, C<POST /NODE> publishes to it, with L</authorize>. In the process that holds the hub,
C<< $hub->publish($node, ...) >> publishes just as well. It is modelled on Prosody's mod_pubsub_eventsource; what differs
stands in L</DIFFERENCES>.

    const source = new EventSource('/eventsource/news');
    source.onmessage = event => console.log(event.data);

    curl -H 'Content-Type: text/plain' --data-binary 'rain' http://localhost:5000/eventsource/weather

A node needs no setting up: it is there as long as somebody follows it, or the hub remembers what was published to it. One
that nobody follows costs nothing.

=head1 REQUESTS

Each of them goes through these questions; the first that is answered with no ends it: is it for this L</http_host> (404),
is the method one of those below (405), is it a POST from a page that may not publish (403, L</origins>), can the name be
one of a node (400, 404, 414), is the node declared (404, L</nodes>), is it authorized (403 or what L</authorize> says)?
What is refused is told in a line of plain text.

=head2 The name of a node

    /eventsource/news           news
    /eventsource/a/b            a/b
    /eventsource/gr%C3%B6%C3%9Fe   größe
    /eventsource/*              *

All that follows the path under which the application is mounted, without one slash: percent-decoded once, as servers do,
and UTF-8. It is literal: a star is a star. Slashes are part of it, and C<%2F> is one. A name has at most 1,024
bytes (414), is not empty (404), and has no control characters (400).

=head2 GET

Streams the events of the node as C<< EventSource::Hub->to_app >> does, with its ids, its history and its gaps: a
browser that comes back gets what it has missed. On a server without C<psgi.streaming> it is answered with 501, and
C<psgi.errors> told.

=head2 HEAD

What GET would be answered, without a stream: so that a page may learn why, for an EventSource does not say.

=head2 POST

Publishes one event, and is answered with 200 and its id in JSON, as C<publish> returns it: C<{"id":"..."}>. What the
body is its C<Content-Type> says:

=over

=item application/json

An object with at least one of the fields of L<EventSource::XS/format_event>: C<data>, a string; C<json>, any structure,
sent as data, encoded anew; C<event>, C<id>, C<retry>, C<comment>. But for C<json>, C<null> is no field.

    {"event": "rain", "json": {"mm": 3}}

=item application/x-www-form-urlencoded

A form with the fields C<data>, C<event>, C<id>, C<retry> and C<comment>; C<data> more than once is several lines. But for
C<data>, fields that are left empty are none.

=item any other, or none

The body is the data, as it is. So is JSON that is no event, if it is sent as C<text/plain>.

=back

Everything is UTF-8. If something is refused nothing is published, and the answer says why:

=over

=item 400 Bad Request

The body is not UTF-8, or ends before its length; the length is not a number; a field is unknown, stands twice, or cannot be
(a line break in C<event>); C<json> is more than 511 levels deep, or has a number that the JSON module can only write as what is
no JSON; C<id> is none that a client can bring back (L<EventSource::Hub/Order, resume, gaps>), or begins as the hub's own.

So that who may publish can do no more than that, C<event> cannot be the hub's own for gaps (L<EventSource::Hub/gap_event>),
nor C<error> or C<open>, which an EventSource calls its own listeners for, nor have control characters; and C<retry> is at
most 86,400,000, a day.

=item 411 Length Required

The length of the body is not said, and the server (all but Starman and Starlet) does not find out.

=item 413 Content Too Large

The body is longer than L</max_body>.

=item 415 Unsupported Media Type

The body is of several parts (C<multipart/form-data>), compressed, or in another C<charset>.

=item 500 Internal Server Error

The hub died of it.

=back

=head2 OPTIONS

Is answered with 204 and what is allowed; see L</origins>.

=head1 ATTRIBUTES

The settings of the streams, which stand last, are for L</to_app> to read; all others count from request to request.

=head2 authorize

    authorize => sub {
        my ($env, $action, $node) = @_;
        return [401, ['WWW-Authenticate' => 'Basic realm="news"'], []] if !$env->{REMOTE_USER};
        return $action eq 'subscribe' || is_editor($env->{REMOTE_USER}, $node);
    },

Says whether somebody may C<subscribe> to a node (GET, HEAD) or C<publish> to it (POST); the node in characters, without the
L</prefix>. What is true lets it, what is false is answered with 403, and a PSGI response, also one that is code, is sent
instead. If it dies the answer is 500, and C<psgi.errors> is told. Where the server buffers the body it may read
C<psgi.input>, to look for a signature.

It is asked when a stream begins, and not again while it lasts. Without it everybody may follow every node, and nobody
publish.

=head2 hub

    hub => $hub

The L<EventSource::Hub>. It has to be given.

=head2 http_host

    http_host => 'events.example'
    http_host => ['events.example', 'localhost']

Answers only requests with such a C<Host>, whatever its port and the case of its letters; others get 404. By default
all. A host may also be mounted, as for any application: C<< mount 'http://events.example/' >>; there its name counts
letter by letter, and the port has to be the server's own.

=head2 max_body

    max_body => 65_536

How many bytes the body of a POST may have, a whole number from 1; 65,536 by default.

=head2 nodes

    nodes => ['news', 'weather']
    nodes => \%by_name
    nodes => sub { my ($node, $env) = @_; ... }

The nodes that there are, in characters: an array of names, a hash whose keys are names, or code that returns whether
there is such a node. Others are answered with 404, before L</authorize> is asked: if that is to stay secret, leave this
out, and have C<authorize> return a 404. By default there is every node. Code that dies is a 500.

=head2 origins

    origins => 'https://shop.example'
    origins => ['https://shop.example', 'http://localhost:5000']
    origins => '*'
    origins => sub { my ($origin, $env) = @_; ... }

From which other origins pages may read what they are answered, and publish; none by default. They are given a scheme, a host
and a port that is not the scheme's own. A page of such an origin may send cookies (C<withCredentials>): it is answered with
C<Access-Control-Allow-Origin> for it alone, C<Access-Control-Allow-Credentials> and C<Vary: Origin>. A star lets all
others read, without credentials, and publish never. Code is asked for each request that has an C<Origin> header, and what it
returns true for is as if listed. If it dies the answer is 500. Responses that have an C<Access-Control-Allow-Origin> of
their own (L</headers>, L</authorize>) are left as they are.

A browser sends cookies with a form that some other page has made, and with no question first. So a POST with an C<Origin>
header that is neither listed nor the request's own is answered with 403, whatever L</authorize> thinks of its cookies. The
request's own has the host and port of its C<Host> header and C<https>, or C<http> if the request came without TLS: behind a
proxy, have it pass C<Host> on. A POST without C<Origin> comes from a program, or from an old browser.

=head2 prefix

    prefix => 'pubsub/'

Stands before each name to make it that of the hub's channel, so that other channels have no URL; nothing by default. It
counts towards the 1,024 bytes.

=head2 headers

    headers => ['X-Own' => 1]

More headers of the streams, none by default; see L<Plack::App::EventSource/headers>.

=head2 keepalive, linger, max_streams, native, preamble, retry, start, timeout

Are for the streams what they are for those of L<EventSource::Hub>, which has its own for those that are not given.

=head1 METHODS

=head2 new

    my $component = Plack::App::EventSource::PubSub->new(hub => $hub, %attributes);

Takes attributes as names and values, or as a reference to a hash.

=head2 to_app

    my $app = $component->to_app;

The PSGI application. Croaks if an attribute has a value that it cannot have, or a name that is none: a misspelt
C<authorize> would let everybody in.

=head2 call, prepare_app

What L<Plack::Component> asks for; a subclass may wrap them.

=head1 DIFFERENCES

From mod_pubsub_eventsource, and for POST from mod_pubsub_post:

=over

=item *

Data is what was published. There it is the item as XML, but for items in JSON.

=item *

Streams have ids, a history, keepalives and a first block, which has no data: clients find their place again. There a
client that comes back misses what there was meanwhile.

=item *

Names are percent-decoded and bounded. There the path is taken as it was sent.

=item *

There are nodes that can be declared, and C<authorize>. There every path is streamed to everybody.

=item *

Origins are listed, and may send credentials. There every origin may read (C<*>), and none send cookies.

=item *

A request for another host is answered with 404 only if L</http_host> is set. There each component has a host, and
C<http_host> changes it.

=item *

POST goes to the same URL, is answered with 200 and the id (there with 202), needs C<authorize>, publishes text too (there
415), and takes an object in JSON for an event (there for the item). It knows neither Atom feeds nor C<X-Hub-Signature>, which an
C<authorize> can check.

=back

=head1 SEE ALSO

L<EventSource::Hub>, L<Plack::App::EventSource>

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut

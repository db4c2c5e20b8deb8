package Plack::App::EventSource;
use strict;
use warnings;

# A drop-in replacement for the CPAN module of this name. It turns a request into a stream and runs the application's
# handler.

our $VERSION = '0.100';

use parent 'Plack::Component';
use EventSource::Error;
use EventSource::XS ();
use EventSource::XS::LastEventID;
use EventSource::XS::Origins;
use EventSource::XS::Report;
use EventSource::XS::RequestBody;
use EventSource::XS::Response;
use EventSource::XS::Settings;
use EventSource::XS::Stream;
use EventSource::XS::Stream::Child;
use EventSource::XS::Stream::HeldWorker;
use EventSource::XS::Stream::WorkerRecycling;
use Plack::App::EventSource::Connection;
use Scalar::Util qw(blessed);

my @ATTRIBUTES;

BEGIN {
    @ATTRIBUTES = qw(
        characters compress fallback handler_cb headers keepalive line_end linger max_buffered max_streams methods native on_gone
        on_full origins preamble retry spawn timeout
    );
}

use Plack::Util::Accessor @ATTRIBUTES;

my $SETTINGS = EventSource::XS::Settings->new(__PACKAGE__);
my $LENIENT  = EventSource::XS::Settings->new(__PACKAGE__, warns => 1);

# The classes whose methods each stream calls as functions: see EventSource::XS::Stream.
my ($CONNECTION, $HELD, $LIBRARY, $RECYCLING, $STREAM) = qw(
    Plack::App::EventSource::Connection EventSource::XS::Stream::HeldWorker EventSource::XS
    EventSource::XS::Stream::WorkerRecycling EventSource::XS::Stream
);

# An application may have another sub in its place.
my $NEW = \&Plack::App::EventSource::Connection::new;

# The attributes that EventSource::XS::Stream takes.
my @STREAM_SETTINGS =
    qw(compress fallback keepalive line_end linger max_buffered max_streams native on_full retry timeout);

# The attributes that are checked. They are read from the object's hash, which is quicker than their accessors, except
# those that a class has accessors of its own for. The keys of a hash know their hash values.
my @CHECKED =
    keys
    %{{map { ($_ => 1) } @STREAM_SETTINGS, qw(characters handler_cb headers methods on_gone origins preamble spawn)}};
my %OWN_ACCESSORS;

# The methods that make the first bytes. If a class has its own, they are called for each stream.
my @OPENING = qw(_line_break opening preamble_line random_retry);

# The methods whose response may be a stream. HEAD has no body (RFC 9110, section 9.3.2), and OPTIONS is the browser's.
my %IS_METHOD = map { ($_ => 1) } qw(DELETE GET PATCH POST PUT QUERY);

my ($MIN_PREAMBLE, $MAX_PREAMBLE) = (3, 65_536);    # bytes

# Where run_handler finds when the application was asked for the stream: a right that is withdrawn from then on is noticed,
# whenever the handler subscribes. By the clock of hubs, which is there without their modules.
my $ASKED_AT = 'eventsource_xs.asked_at';

# What is wrong in the arguments is reported here, at the line that makes the mistake: attributes of the original by warnings,
# because it accepts them.
sub new {
    my ($class, @given) = @_;
    my %given = $LENIENT->parse('new takes attributes', @given);
    my $self  = $class->SUPER::new(%given);
    $self->{_place} = EventSource::Error->here;
    $self->_warn_of_unknown(keys %given);
    $self->_check(%given);
    return $self;
}

# Public methods

# Ends a request on a server that blocks. If the handler has closed the stream, its callbacks can mostly run now. The server's
# writer belongs to the next request: a push to a connection that the application still holds would reach another client.
sub after_handler {
    my ($self, $stream, $env) = @_;
    return if !$stream->is_blocking;
    if    (!$stream->is_open) { $stream->wait_for_end_briefly }
    elsif ($stream->is_native && !$stream->is_for_hub_process) {
        EventSource::XS::Stream::WorkerRecycling::warn_once($RECYCLING, $env);
    }
    elsif (!$stream->is_native) { $stream->drop }
    EventSource::XS::dispatch($LIBRARY);
    return;
}

sub call {
    my ($self, $env) = @_;
    EventSource::XS::dispatch($LIBRARY);
    $self = $self->new if !ref $self;
    my $own = $OWN_ACCESSORS{ref $self};
    my ($origins, $methods) = $own && !@$own ? @$self{qw(origins methods)} : ($self->origins, $self->methods);
    return $self->stream_response($env)
        if !defined $origins && !defined $methods && $env->{REQUEST_METHOD} eq 'GET';
    return EventSource::XS::Response->for_method($env->{REQUEST_METHOD}, $self->_response($env, $origins));
}

# At a request only the server is above, so an exception of the code reports the line that created the component.
sub check_at_request {
    my ($self, $code) = @_;
    my $error;
    {
        local $@;
        return if eval { $code->(); 1 };
        $error = $@;
    }
    die $error if !$self->{_place} || !blessed $error || !$error->isa('EventSource::Error');
    die $error->at($self->{_place});
}

sub check_attributes {
    my $self = shift;
    $self->_check(map { ($_ => scalar $self->$_) } @CHECKED);
    return;
}

# The head of the response has been sent. If the exception went on to the server, some servers would end the process
# with all its streams, some would write a second head into this stream, and some would leave it open. A child that the
# handler forked has no server to return to, so the exception is thrown again.
sub end_with_error {
    my ($self, $stream, $env, $what, $exception, $process) = @_;
    die $exception if $$ != $process;
    $stream->can('end') ? $stream->end('error') : $stream->close('error');
    EventSource::XS::Report->exception($env->{'psgi.errors'}, "Plack::App::EventSource: $what", $exception);
    return;
}

# The bytes before the first event. A retry counts as soon as its line ends (WHATWG HTML, section 9.2.6). For a blank line
# some clients would report an empty event.
sub opening {
    my $self  = shift;
    my $retry = $self->random_retry;
    return $self->preamble_line if !defined $retry;
    return $self->preamble_line . "retry: $retry" . $self->_line_break;
}

# A comment for proxies and polyfills that hold back the first bytes.
sub preamble_line {
    my $self     = shift;
    my $preamble = $self->preamble or return '';
    my $end      = $self->_line_break;
    return ':' . ' ' x ($preamble - 1 - length $end) . $end;
}

# If the application calls to_app, an exception reports that line. A component that Plack calls as code is prepared at a
# request.
sub prepare_app {
    my $self = shift;
    return $LENIENT->complain(undef, "to_app is a method of an object: $self->new(...)->to_app") if !ref $self;
    my $is_request = grep { ((caller $_)[3] || '') eq 'Plack::Component::to_app_auto' } 1 .. 4;
    $self->{_place} = EventSource::Error->here if !$is_request || !$self->{_place};
    $self->check_at_request(
        sub {
            $self->check_attributes;
            _check_handler($self->_original_settings, $self->_handler) if !$is_request;
        }
    );
    EventSource::XS::_serve(0) if EventSource::XS->can('_serve');
    return;
}

# A random reconnection time, so that clients whose streams end together do not reconnect together.
sub random_retry {
    my $self  = shift;
    my $retry = $self->retry;
    return undef if !defined $retry;
    my ($least, $most) = ref $retry ? @$retry : ($retry, $retry + int $retry / 5);
    return $least + int rand $most - $least + 1;
}

# The headers are the same until an attribute changes. Each response has an array of its own.
sub response_headers {
    my $self  = shift;
    my @given = (scalar $self->headers, scalar $self->methods, scalar $self->compress);
    my $known = $self->{_response_headers};
    return [@{$known->{headers}}] if $known && EventSource::XS::_are_same(\@given, $known->{given});
    my @headers = @{$given[0] || []};
    my @own     = (
        'Content-Type'                 => 'text/event-stream; charset=UTF-8',
        'Cache-Control'                => 'no-store, no-cache, must-revalidate, max-age=0',
        'Access-Control-Allow-Methods' => join(', ', sort $self->_methods),
    );
    my $has_buffering =
        grep { !($_ % 2) && lc(defined $headers[$_] ? $headers[$_] : '') eq 'x-accel-buffering' } 0 .. $#headers;
    push @own, 'X-Accel-Buffering' => 'no'              if !$has_buffering;
    push @own, Vary                => 'Accept-Encoding' if $given[2];
    $self->{_response_headers} =
        _is_comparable($given[0]) ? {headers => [@own, @headers], given => _copies(@given)} : undef;
    return [@own, @headers];
}

sub run_handler {
    my ($self, $stream, $env, $last_event_id) = @_;

    # A push may throw an EventSource::Gone while this call runs in this process.
    my $process = $$;
    my $own     = $OWN_ACCESSORS{ref $self};
    my ($on_gone, $characters, $spawn, $handler) =
          $own && !@$own
        ? @$self{qw(on_gone characters spawn handler_cb)}
        : (scalar $self->on_gone, scalar $self->characters, scalar $self->spawn, $self->_handler);
    my $unwind     = $on_gone && $stream->is_blocking ? $process : 0;
    my $connection = Plack::App::EventSource::Connection::of_stream($CONNECTION, {stream => $stream});
    $connection->{characters}    = 1              if $characters;
    $connection->{last_event_id} = $last_event_id if defined $last_event_id;
    $connection->{unwind}        = \$unwind       if $unwind;
    $connection->{asked_at}      = $env->{$ASKED_AT};
    $stream->enter_handler;
    local $Plack::App::EventSource::Connection::request = $env;
    local $EventSource::XS::Stream::HeldWorker::running =
        EventSource::XS::Stream::HeldWorker::begin($HELD, $stream, $env, $self);
    my $handled = eval {
        $spawn && $self->_spawn($connection, $env, $handler, $spawn) or $handler->(_for_handler($connection), $env);
        1;
    };
    my $exception = $handled ? undef : $@;
    EventSource::XS::Stream::HeldWorker::end();
    $unwind = 0;
    $stream->leave_handler;

    if (!$handled) {
        my $is_unwound = blessed $exception && eval { $exception->isa('EventSource::Gone') };
        $self->end_with_error($stream, $env, 'the handler died', $exception, $process) if !$is_unwound;
    }
    undef $connection;
    $self->after_handler($stream, $env);
    return;
}

sub stream_response {
    my ($self, $env) = @_;
    my $asked_at = EventSource::Hub::clock($LIBRARY);
    my $known    = $self->_known_beginning;
    $self->check_at_request(
        sub {
            $known ||= $self->_checked_beginning;
            $self->_check_native($env) if $known->{settings}{native} eq '1';
        }
    ) if !$known || $known->{must_check};
    my $may_have = length $env->{HTTP_LAST_EVENT_ID} || length $env->{QUERY_STRING};
    my $id       = $may_have ? EventSource::XS::LastEventID->of($env) : undef;
    return $self->_finished if defined $id && $id eq Plack::App::EventSource::Connection->finished_id;
    my ($settings, $headers, $opening) = @$known{qw(settings headers opening)};
    return sub {
        my $response = [200, $headers ? [@$headers] : $self->response_headers];
        $opening = $self->opening if !defined $opening;
        my ($stream, $obstacle) = EventSource::XS::Stream::open($STREAM, $env, $_[0], $response, $opening, $settings);
        if (defined $obstacle && $settings->{native} eq '1') {
            my $why = _with_remedy($obstacle) . ($self->{_place} ? $self->{_place}{location} : '');
            $self->end_with_error($stream, $env, 'the stream cannot be native', $why, $$);
        }
        elsif ($stream->is_open) {
            local $env->{$ASKED_AT} = $asked_at;
            $self->run_handler($stream, $env, $id);
        }
        return;
    };
}

# Private methods and functions

# Checks the values of attributes. One that is missing has its default.
sub _check {
    my ($self, %given) = @_;
    my ($methods, $origins, $preamble, $retry) = @given{qw(methods origins preamble retry)};
    my $original = $self->_original_settings;
    $original->code(handler_cb => $given{handler_cb});
    $original->headers(headers => $given{headers});
    $SETTINGS->one_of(on_gone => $given{on_gone}, undef, 'unwind');
    my @retry = ref $retry eq 'ARRAY' ? @$retry : defined $retry ? ($retry, $retry) : (0, 0);
    $SETTINGS->refuse(retry => 'retry must be a whole number of milliseconds, or two of them')
        if @retry != 2 || grep { !defined || !/\A[0-9]{1,15}\z/ } @retry;
    $SETTINGS->refuse(retry => 'retry must have the smaller number first') if $retry[0] > $retry[1];
    EventSource::XS::Stream->check(map { ($_ => $given{$_}) } @STREAM_SETTINGS);
    _check_spawn($given{spawn})                          if $given{spawn};
    _check_methods($methods)                             if defined $methods;
    EventSource::XS::Origins->check($SETTINGS, $origins) if defined $origins;
    $SETTINGS->refuse(preamble => "preamble must be a number of bytes from $MIN_PREAMBLE to $MAX_PREAMBLE, or 0")
        if $preamble && ($preamble !~ /\A[0-9]+\z/ || $preamble < $MIN_PREAMBLE || $preamble > $MAX_PREAMBLE);
    return;
}

sub _check_handler {
    my ($settings, $handler) = @_;
    return $settings->code(handler_cb => $handler) if defined $handler;
    return $settings->complain(
        handler_cb => 'there is no handler_cb: give new a code reference, which is called with each stream');
}

sub _check_methods {
    my $methods = shift;
    my $known   = join ', ', sort keys %IS_METHOD;
    $SETTINGS->refuse(methods => "methods must be an array of names, such as ['GET', 'POST']")
        if ref $methods ne 'ARRAY' || !@$methods;
    for my $method (@$methods) {
        my $name = defined $method ? $method : 'undef';
        next if $IS_METHOD{$name};
        $SETTINGS->refuse(
            methods => "methods has '$name': names of methods are in capitals, write '" . uc($name) . q('))
            if $IS_METHOD{uc $name};
        $SETTINGS->refuse(methods => "methods has '$name', but may only have $known");
    }
    return;
}

sub _check_native {
    my ($self, $env) = @_;
    my $obstacle = EventSource::XS::Stream->obstacle($env);
    EventSource::Error->throw(
        code    => 'unsupported',
        field   => 'native',
        message => 'Plack::App::EventSource: the stream cannot be native: ' . _with_remedy($obstacle)
    ) if defined $obstacle;
    return;
}

# The options are those of the connection's method.
sub _check_spawn {
    my $spawn = shift;
    return EventSource::XS::Stream::Child->check(%$spawn)                        if ref $spawn eq 'HASH';
    return $SETTINGS->refuse(spawn => 'spawn must be 0, 1 or a hash of options') if $spawn ne '1';
    return;
}

# Checks the attributes, which may change from one request to the next, and keeps what the streams begin with. What a class
# has methods of its own for is not kept.
sub _checked_beginning {
    my $self  = shift;
    my $class = ref $self;
    my @own   = @{$OWN_ACCESSORS{$class} ||= [grep { _has_own($class, $_) } @CHECKED]};
    my %known = (
        class      => $class,
        members    => _copies(@$self{@CHECKED}),
        own_values => _copies(map { scalar $self->$_ } @own),
    );
    $self->check_attributes;
    _check_handler($SETTINGS, $self->_handler);
    my $headers = $self->headers;
    $SETTINGS->array(headers => $headers, 'names and values, in pairs') if $headers;
    my %given    = map { ($_ => scalar $self->$_) } @STREAM_SETTINGS;
    my $settings = $known{settings} = EventSource::XS::Stream->settings(
        %given,
        has_handler   => 1,
        handler_limit => $EventSource::XS::Stream::HeldWorker::LIMIT
    );
    $known{must_check} = $settings->{native} eq '1';
    $known{headers} = $self->response_headers if _is_comparable($headers)    && !_has_own($class, 'response_headers');
    $known{opening} = $self->opening          if !defined $settings->{retry} && !grep { _has_own($class, $_) } @OPENING;
    return $self->{_beginning} = \%known;
}

# Copies of attributes, to compare with at the next request.
sub _copies {
    return [map { ref eq 'ARRAY' ? [@$_] : $_ } @_];
}

# A connection as the handler gets it: from new, if the application has put another sub in its place.
sub _for_handler {
    my $connection = shift;
    return \&Plack::App::EventSource::Connection::new == $NEW ? $connection : $connection->through_new;
}

# The response to the client of a finished stream. It stops reconnecting (WHATWG HTML, section 9.2.3).
sub _finished {
    my $self    = shift;
    my @headers = @{$self->response_headers};
    my @kept    = map { $headers[$_] =~ /\Acontent-/i ? () : @headers[$_, $_ + 1] } grep { !($_ % 2) } 0 .. $#headers;
    return [204, \@kept, []];
}

# True if a class has a method of its own instead of the one here.
sub _has_own {
    my ($class, $method) = @_;
    return $class->can($method) != __PACKAGE__->can($method);
}

# As the original does, a stream calls what the object's hash has, though a class may have an accessor of its own.
sub _handler {
    my $self = shift;
    return defined $self->{handler_cb} ? $self->{handler_cb} : scalar $self->handler_cb;
}

# True if a change of the headers shows: an object that is overloaded as an array may be another one each time.
sub _is_comparable { return !$_[0] || ref $_[0] eq 'ARRAY' }

# Subclasses of this distribution have no original, so they refuse what it accepts.
sub _is_drop_in { return !!1 }

# The end of each line of the stream.
sub _line_break {
    my $line_end = shift->line_end;
    return defined $line_end && $line_end eq 'lf' ? "\n" : "\r\n";
}

# The first bytes of this application's streams; undef if an attribute has changed since it was checked.
sub _known_beginning {
    my $self  = shift;
    my $known = $self->{_beginning};
    return undef if !$known || $known->{class} ne ref $self;
    return undef if !EventSource::XS::_has_members($self, \@CHECKED, $known->{members});
    my @own = @{$OWN_ACCESSORS{$known->{class}}} or return $known;
    return EventSource::XS::_are_same([map { scalar $self->$_ } @own], $known->{own_values}) ? $known : undef;
}

# The methods that are allowed. A wrong value of the attribute throws later, when a GET comes. A framework has chosen by the
# method which action runs, so that method is allowed unless the attribute says otherwise.
sub _methods {
    my ($self, $env) = @_;
    my $methods = $self->methods;
    return @$methods if ref $methods eq 'ARRAY';
    my $method = $env && $env->{'eventsource.framework.is_routed'} ? $env->{REQUEST_METHOD} : 'GET';
    return $IS_METHOD{$method} ? $method : 'GET';
}

# The body is that of the original.
sub _not_allowed {
    my $body = 'Method not allowed';
    return [405, [Allow => join(', ', sort @_), 'Content-Length' => length $body], [$body]];
}

# How the attributes of the original are checked: with warnings, where the component was made or prepared.
sub _original_settings {
    my $self  = shift;
    my $place = $self->{_place};
    return $SETTINGS if !$self->_is_drop_in;
    return EventSource::XS::Settings->new(
        __PACKAGE__,
        warns => 1,
        place => $place && [grep { defined } @$place{qw(file line)}]
    );
}

# The response to a request that has no stream; undef if it is to have one. The body of the request is complete then.
# HEAD is a 405, as in the original.
sub _refusal {
    my ($self, $env, $access) = @_;
    my $method  = $env->{REQUEST_METHOD};
    my @methods = $self->_methods($env);
    return EventSource::XS::Origins->respond_to_options($access, @methods) if $access && $method eq 'OPTIONS';
    return _not_allowed(@methods, $access ? 'OPTIONS' : ())                if !grep { $_ eq $method } @methods;
    my $refusal = $access && EventSource::XS::Origins->refusal($access, $method);
    return $refusal if $refusal;
    my $unread = $method eq 'GET' ? undef : EventSource::XS::RequestBody->buffer($env);
    return $unread ? EventSource::XS::Response->text(@$unread) : undef;
}

# The response to any request. With origins it says what their pages may do.
sub _response {
    my ($self, $env, $origins) = @_;
    return $self->_refusal($env) || $self->stream_response($env) if !defined $origins;
    my $access = EventSource::XS::Origins->access('Plack::App::EventSource', $origins, $env)
        or return EventSource::XS::Response->text(500, 'Internal server error');
    my $response = $self->_refusal($env, $access) || $self->stream_response($env);
    return EventSource::XS::Response->completed($response, $access->{headers});
}

# Runs the handler in a child process. Returns false if none can continue this stream: then the handler runs here. A client that
# is one too many comes back later.
sub _spawn {
    my ($self, $connection, $env, $handler, $spawn) = @_;
    my $obstacle = EventSource::XS::Stream::Child->obstacle_of($connection->stream);
    if (defined $obstacle) {
        EventSource::XS::Stream::HeldWorker->warn_not_spawned($env, $self, $obstacle);
        return !!0;
    }
    if ($connection->spawn(sub { $handler->(_for_handler($_[0]), $env) }, ref $spawn ? $spawn : ())) {
        EventSource::XS::Stream::WorkerRecycling::warn_once($RECYCLING, $env);
    }
    elsif ($connection->stream->is_open) { $connection->stream->end_with_retry }
    return !!1;
}

# A subclass may have attributes of its own: those that it has a method for, and those that are like none of these.
sub _warn_of_unknown {
    my ($self, @names) = @_;
    my @unknown = grep { /\A[A-Za-z][\w-]*\z/ && !$self->can($_) } @names or return;
    $SETTINGS->warn_unknown('unknown attribute', \@unknown, \@ATTRIBUTES, only_similar => ref $self ne __PACKAGE__);
    return;
}

sub _with_remedy {
    my $obstacle = shift;
    return "$obstacle; " . $obstacle->remedy . q(, or set native => 'auto' for the server's writer);
}

1;
__END__

=encoding utf8

=head1 NAME

Plack::App::EventSource - Server-sent events in a Plack application

=head1 SYNOPSIS

    use Plack::App::EventSource;
    use Plack::Builder;

    builder {
        mount '/events' => Plack::App::EventSource->new(
            handler_cb => sub {
                my ($conn, $env) = @_;
                $conn->push('hello');
                $conn->push({id => 1, event => 'tick', data => "two\nlines"});
                $conn->close;
            },
            headers => ['Access-Control-Allow-Origin' => 'http://localhost:5000'],
        )->to_app;
        mount '/' => sub { [200, ['Content-Type' => 'text/plain'], ['see /events']] };
    };

=head1 DESCRIPTION

A drop-in replacement for the CPAN module of this name. Applications that use it need no change. Events are formatted
natively, and the application notices when a client disconnects. It is a L<Plack::Component>: it can be subclassed, and
its attributes can be changed at any time.

It runs on any PSGI server with C<psgi.streaming>. Where possible, it takes the stream over from the server
(L</native>). A handler that keeps its connection and returns then leaves its worker free, and one worker can hold
thousands of streams.

    my %readers;
    my $news = Plack::App::EventSource->new(
        handler_cb => sub {
            my ($conn) = @_;
            $readers{$conn} = $conn;
            $conn->on_close(sub { my ($conn) = @_; delete $readers{$conn} });
        },
    );
    my $publish = sub { $_->push('news') for values %readers; [204, [], []] };

On servers with an event loop (Twiggy, Feersum) the handler returns at once and pushes later, from timers and watchers.
A stream stays open until its client disconnects or the application closes it. On other servers the handler may also
loop, sleep and push. It occupies its worker as long as it runs, unless L</spawn> is set (L</HANDLERS THAT LOOP>). A native
stream ends there when the last reference to the connection is gone, any other stream when the handler returns.

The response to a request by another method than those of L</methods> is 405; by default only GET is allowed. The
response names the allowed methods in C<Allow> (RFC 9110, section 15.5.6). HEAD is a 405 as in the original, so C<Allow>
does not name it. OPTIONS is answered only if L</origins> is set.

To send the same events to many clients, use L<EventSource::Hub>.

=head1 ATTRIBUTES

C<undef> stands for the default.

=head2 characters

    characters => 1

If true, all pushed strings are strings of characters, and all of them are encoded as UTF-8. False by default: a field
that is valid UTF-8 when taken as bytes (ASCII always is) is sent as it is, and any other field is encoded, because
callers of the original module have always passed both.

=head2 compress

    compress => 1

Whether native streams are compressed (RFC 9110, section 8.4.1): 0, the default, or 1. A stream is coded as C<zstd> or C<gzip>,
whichever its request accepts with the greater weight (C<Accept-Encoding>); with C<zstd> if both are accepted alike. A build
without the library of zstd has C<gzip> only. The head has C<Vary: Accept-Encoding>.

Each event leaves at once, and can be decoded as soon as it has arrived. The streams of a hub share what is encoded; an
event that is pushed to one stream is encoded by itself, so a small one hardly shrinks.
L<EventSource::Deployment/COMPRESSION> says when it is worth it. Streams on the server's writer are sent as they are, and so
are all streams on Feersum.

=head2 fallback

    fallback => 'warn'

What happens when a stream is not native on a server that blocks, where it holds a worker as long as it is open. With
C<warn>, the default, C<psgi.errors> has the reason and the remedy, once for each reason in a process.
With C<quiet> it has not. C<< native => 0 >> is quiet too, but not where a client receives nothing before the stream ends
(L<EventSource::Troubleshooting/NOTHING ARRIVES UNTIL THE END>).

=head2 handler_cb

    handler_cb => sub { my ($conn, $env) = @_; ... }

A callback, which is required: without it L</to_app> warns, and a GET throws an exception. It is called for each stream,
with its L<Plack::App::EventSource::Connection> and the PSGI environment. If it dies, the stream ends and the exception is
printed to C<psgi.errors>: the head of the response has been sent, so no server could answer with an error. A native stream
in chunks is cut off then: it has no last chunk.

The handler runs when the server asks for the stream, after C<call>. Middleware may change the environment for the time
of a call only, as C<mount> does with C<SCRIPT_NAME> and C<PATH_INFO>; it has changed it back by then. The original
behaves in the same way.

=head2 headers

    headers => ['Access-Control-Allow-Origin' => 'http://localhost:5000']

More headers of the response, as a reference to an array of names and values; none by default. A name is a token (RFC
9110, section 5.6.2), a value one line without NUL. They come after
C<Content-Type>, C<Cache-Control>, C<Access-Control-Allow-Methods> and C<X-Accel-Buffering: no>. The last of these asks
nginx not to hold events back; it is left out if C<headers> has it.

=head2 keepalive

    keepalive => 15

The number of quiet seconds after which a comment is sent (WHATWG HTML, section 9.2.7). Fractions are allowed, 0 sends
none; 15 by default. The comment keeps proxies from ending the stream, and finds clients that have disconnected without
closing their connection. On a native stream, a comment is sent after that many quiet seconds, up to 1/16 later; on the
server's writer under an event loop up to 1/2 later. On the writer of a server that blocks, none is sent.

=head2 line_end

    line_end => 'crlf'

The end of each line of a stream: C<crlf>, the default and that of the original, or C<lf>. If a handler subscribes its
connection to an L<EventSource::Hub>, C<lf> saves the copies of the hub's events that CRLF needs
(L<EventSource::Hub/On the wire>).

=head2 linger

    linger => 2

The number of seconds that the end of the process waits for native streams, fractions allowed; 2 by default. Each client
first receives a C<retry> between the L</retry> that is set (two seconds if none is) and twice that. Streams then end
one after the other, over half of the time at most, so that clients do not all reconnect at once. Data that has not been
sent when the time is up is lost, and counted. If the applications of one process differ, the longest time counts. All
this happens where C<END> blocks run, and on uWSGI, which runs none: after an exit, an exception, or a signal that the
server handles, not after C<kill -9>.

=head2 max_buffered

    max_buffered => 4_194_304

The maximum number of bytes that are buffered for the client of a native stream, a whole number from 1; 4 MiB by
default. A single event may be larger. L</on_full> says what happens when more would be buffered. On TCP the kernel
holds at most 128 KiB of unsent bytes besides, and what is in flight. Under Feersum the limit counts from the moment at
which the head of the response has been sent: before that the client cannot read, so a handler may push any amount.

=head2 max_streams

    max_streams => 10_000

The maximum number of native streams of a process, a whole number from 1. A client that comes when there are that many
receives the status 200, a C<retry> of its own and the end of the stream, and its handler does not run. A browser then
reconnects later; after an error it would give up for good (WHATWG HTML, section 9.2.3). The default is the soft limit
of descriptors (C<ulimit -n>) minus 256, or minus a quarter of the limit if that is smaller.

Whatever the number, an eighth of the descriptors, but at most 128, stays free for the application and its server. A
client that comes when fewer are left receives the same response, also under an event loop if its stream is not native.
Its socket is closed at once. The socket of any other stream that has ended stays open for two seconds, unless its
client closes it.

=head2 methods

    methods => ['GET', 'POST']

The methods of requests that are answered with a stream: a reference to an array of C<DELETE>, C<GET>, C<PATCH>,
C<POST>, C<PUT> and C<QUERY>; C<['GET']> by default. Clients of language models, of MCP and of Datastar send POST; an
EventSource of a browser can only send GET.

    my $app = Plack::App::EventSource->new(
        methods    => ['POST'],
        handler_cb => sub {
            my ($conn, $env) = @_;
            my $request = Plack::Request->new($env);
            $conn->push("you asked: " . $request->body_parameters->{question});
        },
    )->to_app;

The handler reads the body from C<psgi.input>, C<CONTENT_LENGTH> bytes of it, or with L<Plack::Request>. The body is
complete when the handler runs: if the server has not read it, the application does so before it responds. A body
of more than 1 MiB is stored in a temporary file. Streams by all methods are native where a GET is (L</native>). The body of a
GET has no meaning (RFC 9110, section 9.3.1), and is lost on servers that have not read it.

If the client disconnects or sends nothing for too long before the body is complete, the response is 400, and the handler
does not run. Chunked bodies are decoded by Starman, Starlet, and proxies such as nginx; on other servers the response
is 411. C<Expect: 100-continue> is answered by Starman and Starlet; a client of another server sends its body after a
while (curl after a second). Feersum 1.410 refuses PATCH and QUERY itself, and gives no body of a DELETE;
HTTP::Server::Simple::PSGI refuses QUERY. A limit of the size is the server's or the proxy's task.

A form of any other page can make a POST with the cookies of the user. Set L</origins> if the handler does more than
read.

=head2 native

    native => 'auto'

Whether streams are taken over from the server: C<auto>, the default, where it is possible; 0 never; 1 always. If it is
1 and a stream cannot be taken over, the GET throws an exception. If that shows only after the head has been sent, the
stream ends and C<psgi.errors> has the reason. A client that has disconnected already is not an error: its handler does
not run. See L</NATIVE STREAMS>.

=head2 on_gone

    on_gone => 'unwind'

The behaviour of a push to a client that has disconnected. By default it returns false, so that a job that reports its
progress runs to its end. With C<unwind> it throws an L<EventSource::Gone>, which this application catches: a handler
that pushes in an endless loop ends, and its worker is free. It throws only on servers that block, only while the
connection's own handler runs, and never in a child that the handler has forked. See L</HANDLERS THAT LOOP>.

=head2 on_full

    on_full => 'block'

The behaviour of a push to a native stream if more than L</max_buffered> would be buffered:

=over

=item C<block>

It waits for the client, as a push to a server's writer does. This is the default. Handlers of signals run meanwhile.
Only a handler on a server that blocks waits, for its own connection, as long as it runs. Any other push never waits,
and disconnects.

=item C<disconnect>

It ends the stream with the reason C<slow>, and returns false. The client's socket is sent as much of the buffer as it
takes, and the rest is lost. The client reconnects and sends the last id that it received. Data that the native thread
has not tried to send yet does not count, so a burst of events does not make a client slow.

=item C<drop_oldest>

It is buffered, and the oldest events are dropped to make room, but never an event that is partly sent.

=back

=head2 origins

    origins => 'https://shop.example'
    origins => ['https://shop.example', 'http://localhost:5000']
    origins => '*'
    origins => sub { my ($origin, $env) = @_; ... }

The other origins whose pages may read the responses: one or several, all (C<*>, without credentials), or those for
which a callback returns true. If it is set,

=over

=item *

responses have the CORS headers for the page's origin, unless L</headers> has C<Access-Control-Allow-Origin>;

=item *

OPTIONS, a preflight request, is answered: a browser asks so before a page of another origin may send C<Last-Event-ID> or a
body in JSON by C<fetch>. The headers C<Authorization>, C<Cache-Control>, C<Content-Type>, C<Last-Event-ID> and
C<X-Requested-With> are allowed, for two hours;

=item *

a POST, PUT, PATCH or DELETE of a page of an origin that is neither listed nor the request's own is a 403, because a browser
sends cookies with a form of any page, without a preflight request. C<[]> lists none.

=back

An origin has a scheme, a host, and a port unless it is the default of the scheme. The case of the letters does not count. A
page of a listed origin may send cookies (C<withCredentials>). A star lets all other pages read (GET, HEAD, QUERY), without
credentials, and use no other method. A callback is called for each request that has an C<Origin> header, with the origin and
the PSGI environment; if it returns true, the origin counts as listed. If it dies, the response is 500, and C<psgi.errors> has
the exception.

The request's own origin has the host and port of its C<Host> header and the scheme C<https>, or C<http> if the request came
without TLS; a proxy must pass C<Host> on. A request without C<Origin> comes from a program or from an old browser.

By default it is not set. Then OPTIONS is a 405, and the application decides about origins itself, with L</headers> or a
middleware.

=head2 preamble

    preamble => 2048

The number of bytes of a comment that is sent first, from 3 to 65,536; 0, the default, sends none. Old proxies and
polyfills hold back a response until they have received some 2 KB of it.

=head2 retry

    retry => 5000
    retry => [5000, 20_000]

The reconnection time that is sent first (WHATWG HTML, section 9.2.6), in whole milliseconds from 0, of at most 15
digits; not sent by default. Each client receives a random time, so that clients which lose their streams together do
not reconnect together: between the number and a fifth more, or between the two numbers.

=head2 spawn

    spawn => 1
    spawn => {max_children => 100, grace => 5}

Whether each handler runs in a child process of its own: 0, the default, 1, or a reference to a hash with the options of
L<Plack::App::EventSource::Connection/spawn>, whose manual says what a child is. For handlers that loop, sleep or read from a
slow source: the worker is free, also on servers with an event loop, and the child ends when its client leaves, when the
handler returns, and with its worker.

    my $clock = Plack::App::EventSource->new(
        spawn      => 1,
        handler_cb => sub {
            my ($conn) = @_;
            while (1) { $conn->push(scalar localtime); sleep 1 }
        },
    )->to_app;

A variable that the handler changes is that of its child: no other handler sees it. A callback of C<on_close> runs if
the handler returns, and not if the client leaves. Where the worker has C<max_children> children already, or the system
refuses a process, the client receives a C<retry> and the end of the stream, as with L</max_streams>, and the worker
warns once.

A stream that no child can continue runs its handler in the worker, and C<psgi.errors> says so once: one that is not native
(L</native>), and any under a server with several threads.

=head2 timeout

    timeout => 60

The number of seconds after which a native stream ends if its client neither reads nor acknowledges the data that is
buffered for it. It is above 0, fractions are allowed; 60 by default. The kernel decides (C<TCP_USER_TIMEOUT>, tcp(7)), but for
clients that are slow: for them the number of bytes counts that they have still to take, and such a stream ends up to a quarter
of the time later. TCP does not tell each byte that a client reads. If its receive buffer was full, it acknowledges nothing more
until much of that is free: up to 130 KB with the buffers of a Linux system. A client that reads less in a C<timeout> is silent.

=head1 METHODS

Wrong attributes throw an L<EventSource::Error> with the code C<invalid> and the name of the attribute as its field.

=head2 new

    my $component = Plack::App::EventSource->new(handler_cb => $code, %attributes);
    my $component = Plack::App::EventSource->new(\%attributes);

Create a component. Throws C<invalid> if an attribute has a wrong value. Warns of unknown attributes, with the nearest
known ones, once for each line of the application. A subclass may have attributes of its own: those that it has a method
for, and those whose name is not like a known one, or begins with an underscore.

=head2 to_app

    my $app = $component->to_app;

Return the PSGI application. Warns if there is no L</handler_cb>. Throws C<invalid> if an attribute has a wrong value that was
set since. A wrong value that is set later makes the next GET throw, at the line that called C<to_app>.

=head2 call, prepare_app

See L<Plack::Component>. A subclass may wrap them. C<call> throws C<unsupported> if L</native> is 1 and the stream
cannot be native; the exception reports the line that called L</to_app>.

=head1 METHODS FOR SUBCLASSES

=head2 opening

    my $bytes = $component->opening;

Return the bytes that a stream is sent first.

=head2 response_headers

    my $headers = $component->response_headers;

Return the headers of the response, as a reference to an array of names and values.

=head2 stream_response

    my $response = $component->stream_response($env);

Return the response to a request whose method is allowed and whose body is complete: a code reference that streams. A
subclass may return another PSGI response.

=head1 NATIVE STREAMS

A native stream is written by a thread of the process, next to the interpreter. A push passes the event to that thread
and returns. The application is notified as soon as the client disconnects. Memory per slow client is bounded. The
worker that answered the request is free when the handler returns.

Streams are native on HTTP::Server::PSGI (plackup), Starman, Starlet, Twiggy, Feersum and uWSGI, on Linux. They go
through the server's writer, as with the original module, over TLS (let a proxy terminate it), under FastCGI and CGI,
where middleware filters the body (Deflater, SimpleContentFilter, AccessLog::Timed), and on uWSGI with threads.
C<< $conn->is_native >> tells which. On a server that blocks, C<psgi.errors> says why a stream is not native, and what to
do about it (L</fallback>). With C<EVENTSOURCE_XS_DEBUG=1> in the environment each stream prints to
C<psgi.errors> whether it is native, and if not, why.

The client does not choose: the version and the headers of its request do not decide whether its stream is native. There
are two exceptions, and you can close both. Deflater filters the body if the client sends C<Accept-Encoding>: give
Deflater a C<content_type> without C<text/event-stream>. L<Plack::Middleware::Chunked> filters the body if the client
says HTTP/1.1: leave it out, because servers make chunks themselves.

A native stream differs from others in these points:

=over

=item *

The connection is closed at the end of the stream (C<Connection: close>). Requests that the client has sent after the
stream's request are not answered, and start no stream.

=item *

The server's access log, C<psgix.cleanup> and graceful stop do not wait for the end of the stream.

=item *

A worker that the server recycles ends its streams, after it has sent their clients a reconnection time
(L<EventSource::Deployment/Recycled workers>).

=back

=head1 HANDLERS THAT LOOP

On a server that blocks, a handler holds its worker until it returns. One that loops holds it for ever, also after its
client has left: C<push> returns false then, and nothing else happens. As many visits as there are workers stop the
site. Choose one:

=over

=item *

L</spawn> runs each handler in a child process. The application changes by one word.

=item *

The handler keeps its connection and returns, and something else pushes to it; or L<EventSource::Hub> does both.

=item *

L</on_gone> ends the handler when its client has left. One that checks what C<push> returns does so by itself. Until then it
holds its worker.

=back

Two lines of the server's log name such an application, once in a process. One comes when a handler of a native stream
has run for ten seconds and has not closed it, whether its client is there or not:

    EventSource::XS: a handler of Plack::App::EventSource at app.psgi line 7 holds worker 4711: it has run for 10 seconds, and
    nothing else is served there meanwhile; spawn => 1 runs each handler in a child process

The other one comes when it has pushed for five seconds to a client that has left. A stream that is not native has a
line of its own (L</fallback>).

Such a handler ends with its worker. Starman (HUP, QUIT) and Starlet (HUP, TERM) wait for a handler when they are to end
its worker. If it has run for ten seconds by then, or once it has, the next C<push> throws an L<EventSource::Gone>,
C<is_open> returns false and C<wait> returns C<gone>; the client is told to reconnect. A job of less than ten seconds is
finished. A handler that calls none of these, or catches the exceptions of C<push> and continues, is not ended: set
L</spawn>. uWSGI kills a worker that does not end at HUP after C<worker-reload-mercy> (60 seconds). Starman and uWSGI (with
C<die-on-term>) end a worker at TERM whatever its handler does, and so does HTTP::Server::PSGI at HUP and TERM.

=head1 DIFFERENCES

It differs from the original where that module breaks a stream or loses it. F<README.md> of the distribution lists all
differences.

=head1 UNDER FEERSUM

Do not fetch C<psgix.io>, and do not copy the environment, after the response: under Feersum that takes over a
descriptor which the server closes as well, and other responses may suffer. Before it responds this application takes
C<psgix.io> out of the environment, so that its handler may copy it, and repairs what middleware has done by copying it
before. If middleware has closed the handle too, the stream goes through the server's writer.

A filter of the body must not return an empty string: Feersum takes an empty write for the end of the response, of any
application. Exclude C<text/event-stream> from such a filter.

=head1 BEHIND NGINX

L<EventSource::Deployment/nginx> has a tested configuration. C<X-Accel-Buffering: no> turns the buffering of events off.

Put nginx, or another proxy that reads a request before it passes it on, in front of Starman. Starman ends a worker
whose client sends a body that is shorter than its C<Content-Length>; this happens to any application, and all streams
of that worker end with it. Keep nginx's C<proxy_request_buffering> at C<on>, its default, for every location of that
server: nginx then passes on a request when its body is complete. C<client_body_timeout> (60 seconds by default) bounds
the time that nginx waits for more of a body.

=head1 SEE ALSO

L<Plack::App::EventSource::Connection>, L<EventSource::Hub>, L<EventSource::XS>, L<EventSource::Error>,
L<https://html.spec.whatwg.org/multipage/server-sent-events.html>

=cut

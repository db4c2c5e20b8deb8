package Plack::App::EventSource;
use strict;
use warnings;

# A drop-in replacement for the CPAN module of this name. It turns a request into a stream and runs the application's
# handler.

our $VERSION = '0.100';

use parent 'Plack::Component';
use EventSource::Error;
use EventSource::XS ();
use EventSource::XS::ErrorLog;
use EventSource::XS::Loop;
use EventSource::XS::Origins;
use EventSource::XS::Request;
use EventSource::XS::RequestBody;
use EventSource::XS::Response;
use EventSource::XS::Settings;
use EventSource::XS::Stream;
use EventSource::XS::Stream::Child;
use EventSource::XS::Stream::BusyWorker;
use EventSource::XS::Stream::WorkerRecycling;
use Plack::App::EventSource::Connection;
use Scalar::Util qw(blessed weaken);

# The value of the original, and no-transform (RFC 9111, section 5.2.2.6): a proxy that compresses may keep an event until the
# next one.
my $CACHE_CONTROL = 'no-store, no-cache, must-revalidate, max-age=0, no-transform';

# The attributes that EventSource::XS::Stream takes, and all that are checked.
my @STREAM_SETTINGS = qw(compress keepalive line_end linger max_buffered max_streams native on_full retry timeout);
my @ATTRIBUTES      = (@STREAM_SETTINGS, qw(characters handler_cb headers methods on_gone origins preamble spawn));

# An attribute that is set makes another beginning of streams (_checked_beginning).
for my $name (@ATTRIBUTES) {
    no strict 'refs';    ## no critic (ProhibitNoStrict)
    *$name = sub {
        my ($self, @value) = @_;
        return $self->{$name} if !@value;
        delete $self->{_beginning};
        return $self->{$name} = @value == 1 ? $value[0] : \@value;
    };
}

my $SETTINGS = EventSource::XS::Settings->new(__PACKAGE__);
my $LENIENT  = EventSource::XS::Settings->new(__PACKAGE__, warns => 1);

# The classes whose methods each stream calls as functions: see EventSource::XS::Stream.
my ($CONNECTION, $HELD, $LIBRARY, $RECYCLING, $STREAM) = qw(
    Plack::App::EventSource::Connection EventSource::XS::Stream::BusyWorker EventSource::XS
    EventSource::XS::Stream::WorkerRecycling EventSource::XS::Stream
);

# An application may have another sub in its place.
my $NEW = \&Plack::App::EventSource::Connection::new;

# Those that may be arrays, which the application may change in place.
my @MAY_BE_ARRAYS = qw(headers methods origins retry);

# The methods that make the first bytes. If a class has its own, they are called for each stream.
my @OPENING = qw(_line_break opening preamble_line random_retry);

# The methods whose response may be a stream. HEAD has no body (RFC 9110, section 9.3.2), and OPTIONS is the browser's.
my %IS_METHOD = map { ($_ => 1) } qw(DELETE GET PATCH POST PUT QUERY);

my ($MIN_PREAMBLE, $MAX_PREAMBLE) = (3, 65_536);    # bytes

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

# Ends a request on a server that blocks. A stream on the server's writer that follows a hub is served here. Any other one ends,
# because the writer belongs to the next request: a push to a connection that the application still has would reach another
# client. If a stream has ended, its callbacks can mostly run now.
sub after_handler {
    my ($self, $stream, $env) = @_;
    return if !$stream->is_blocking;
    $self->end_with_error($stream, $env, 'the stream failed', $@, $$)
        if !$stream->is_native && !eval { $stream->serve; 1 };
    if    (!$stream->is_open) { $stream->wait_for_end_briefly }
    elsif ($stream->is_native && !$stream->is_for_hub_process) {
        EventSource::XS::Stream::WorkerRecycling::warn_once($RECYCLING, $env);
    }
    EventSource::XS::dispatch($LIBRARY);
    return;
}

sub call {
    my ($self, $env) = @_;
    EventSource::XS::dispatch($LIBRARY);
    $self = $self->new if !ref $self;
    my $known = _known_beginning($self);
    return _begin($self, $env, $known) if $known && $known->{is_plain} && $env->{REQUEST_METHOD} eq 'GET';
    my $origins = $self->origins;
    return $self->stream_response($env)
        if !defined $origins && !defined $self->methods && $env->{REQUEST_METHOD} eq 'GET';
    return EventSource::XS::Response->for_method($env->{REQUEST_METHOD}, $self->_response($env, $origins));
}

# Returns what the code returns. At a request only the server is above, so an exception of it reports the line that created the
# component.
sub check_at_request {
    my ($self, $code) = @_;
    my $value;
    local $@;
    return $value if eval { $value = $code->(); 1 };
    die $self->{_place} ? EventSource::Error->own($@)->at($self->{_place}) : $@;
}

sub check_attributes {
    my $self = shift;
    $self->_check(map { ($_ => scalar $self->$_) } @ATTRIBUTES);
    return;
}

# The head of the response has been sent. If the exception went on to the server, some servers would end the process
# with all its streams, some would write a second head into this stream, and some would leave it open. A child that the
# handler forked has no server to return to, so the exception is thrown again.
sub end_with_error {
    my ($self, $stream, $env, $what, $exception, $process) = @_;
    die $exception if $$ != $process;
    $stream->can('fail') ? $stream->fail : $stream->close('error');
    EventSource::XS::ErrorLog->write($env->{'psgi.errors'}, "Plack::App::EventSource: $what", $exception);
    return;
}

# The first lines of a hub's streams say how long they may be silent: a client whose stream is silent for longer knows that
# something holds it back. They are a keepalive and a field that no standard knows and every client ignores, because a publisher
# may send any comment, and never such a field. A proxy that drops comments drops the keepalives, too: there the script, which
# misses the first one, expects none.
sub keepalive_line {
    my $self    = shift;
    my $seconds = EventSource::XS::Stream->settings(keepalive => scalar $self->keepalive)->{keepalive};
    return $seconds > 0 ? ":\nkeepalive: $seconds\n" : '';
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
    EventSource::XS::_serve(0);
    return;
}

# A random reconnection time, so that clients whose streams end together do not reconnect together.
sub random_retry {
    my $self  = shift;
    my $retry = $self->retry;
    return undef if !defined $retry;
    my ($least, $most) = EventSource::XS::Stream::Native::range_of_retry($SETTINGS->plain_number($retry));
    return $least + int rand $most - $least + 1;
}

# Each response has an array of its own.
sub response_headers {
    my $self    = shift;
    my @headers = @{$self->headers || []};
    my @own     = (
        'Content-Type'                 => 'text/event-stream; charset=UTF-8',
        'Cache-Control'                => $CACHE_CONTROL,
        'Access-Control-Allow-Methods' => join(', ', sort $self->_methods),
    );
    my %is_given = map { (lc(defined $headers[2 * $_] ? $headers[2 * $_] : '') => 1) } 0 .. $#headers / 2;
    push @own, 'X-Accel-Buffering' => 'no'              if !$is_given{'x-accel-buffering'};
    push @own, Incremental         => '?1'              if !$is_given{incremental};
    push @own, Vary                => 'Accept-Encoding' if $self->compress;
    return [@own, @headers];
}

# A right that is withdrawn from $asked_at on, when the application was asked for the stream, is noticed, whenever the handler
# subscribes.
sub run_handler {
    my ($self, $stream, $env, $last_event_id, $asked_at) = @_;

    # A push may throw an EventSource::Gone while this call runs in this process.
    my $generation = EventSource::XS::_generation();
    my ($on_gone, $characters, $spawn, $handler) =
          $self->{_beginning}
        ? @$self{qw(on_gone characters spawn handler_cb)}
        : (scalar $self->on_gone, scalar $self->characters, scalar $self->spawn, $self->_handler);
    my $is_blocking = $stream->is_blocking;
    my $unwind      = $on_gone && $is_blocking ? $$ : 0;
    my $connection  = Plack::App::EventSource::Connection::of_stream($CONNECTION, {stream => $stream});
    $connection->{characters}    = 1              if $characters;
    $connection->{last_event_id} = $last_event_id if defined $last_event_id;
    $connection->{unwind}        = \$unwind       if $unwind;
    $connection->{asked_at}      = $asked_at      if $asked_at;
    $stream->enter_handler;
    local $Plack::App::EventSource::Connection::request = $env;
    local $EventSource::XS::Stream::BusyWorker::running =
        $is_blocking ? EventSource::XS::Stream::BusyWorker::begin($HELD, $stream, $env, $self) : undef;
    my $handled = eval {
        $spawn && $self->_spawn($connection, $env, $handler, $spawn) or $handler->(_for_handler($connection), $env);
        1;
    };
    my $exception = $@;
    EventSource::XS::Stream::BusyWorker::end() if $is_blocking;
    $unwind = 0;
    $stream->leave_handler;

    if (!$handled) {
        my $is_unwound = blessed $exception && eval { $exception->isa('EventSource::Gone') };
        my $process    = $generation == EventSource::XS::_generation() ? $$ : 0;
        $self->end_with_error($stream, $env, 'the handler died', $exception, $process) if !$is_unwound;
    }
    my $loop = $EventSource::XS::Stream::BusyWorker::running && EventSource::XS::Loop->current(may_choose => 1);
    if ($loop) {
        weaken($connection);
        EventSource::XS::Stream::BusyWorker->see_kept($stream, $loop) if $handled && $connection;
    }
    undef $connection;
    $self->after_handler($stream, $env);
    return;
}

sub stream_response {
    my ($self, $env) = @_;
    return $self->_begin($env, $self->_known_beginning);
}

# Returns what streams begin with beside the headers of their response: the settings, the first bytes and the headers that all
# have.
sub stream_beginning {
    my $self  = shift;
    my $known = $self->_known_beginning || $self->_checked_beginning;
    return {
        headers  => $known->{headers} || $self->response_headers,
        opening  => $self->opening,
        settings => $known->{settings},
    };
}

# Private methods and functions

# Returns the response. Its beginning is known unless an attribute has changed since it was checked.
sub _begin {
    my ($self, $env, $known) = @_;
    my $asked_at = EventSource::Hub::clock($LIBRARY);    # is there without the modules of hubs
    $self->check_at_request(
        sub {
            $known ||= $self->_checked_beginning;
            $self->_check_native($env) if $known->{settings}{native} eq '1';
        }
    ) if !$known || $known->{must_check};
    my $id;
    if (length $env->{HTTP_LAST_EVENT_ID} || length $env->{QUERY_STRING}) {
        $id = EventSource::XS::Request->last_event_id($env);
        return $self->_finished if defined $id && $id eq Plack::App::EventSource::Connection->finished_id;
    }
    my ($settings, $headers, $opening) = @$known{qw(settings headers opening)};
    return sub {
        my $response = [200, $headers ? [@$headers] : $self->response_headers];
        $response->[1] = (delete $env->{'eventsource.head'})->($response->[1]) if $env->{'eventsource.head'};
        $opening       = $self->opening                                        if !defined $opening;
        my ($stream, $obstacle) = EventSource::XS::Stream::open($STREAM, $env, $_[0], $response, $opening, $settings);
        if (defined $obstacle && $settings->{native} eq '1') {
            my $why = _with_remedy($obstacle) . ($self->{_place} ? $self->{_place}{location} : '');
            $self->end_with_error($stream, $env, 'the stream cannot be native', $why, $$);
        }
        elsif ($stream->is_open) {
            $self->run_handler($stream, $env, $id, $asked_at);
        }
        return;
    };
}

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
    $SETTINGS->throw(unsupported => 'the stream cannot be native: ' . _with_remedy($obstacle), 'native')
        if defined $obstacle;
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
# has methods of its own for is not kept, and nothing if these are accessors.
sub _checked_beginning {
    my $self  = shift;
    my $class = ref $self;
    $self->check_attributes;
    _check_handler($SETTINGS, $self->_handler);
    my $headers = $self->headers;
    $SETTINGS->array(headers => $headers, 'names and values, in pairs') if $headers;
    my $settings = EventSource::XS::Stream->settings(
        (map { ($_ => scalar $self->$_) } @STREAM_SETTINGS),
        has_handler   => 1,
        handler_limit => $EventSource::XS::Stream::BusyWorker::LIMIT
    );
    my %known = (settings => $settings, elements => $self->_elements);
    $known{must_check} = $settings->{native} eq '1';
    $known{is_plain} =
        !defined $self->{origins} && !defined $self->{methods} && !_has_own($class, 'stream_response');
    $known{headers} = $self->response_headers
        if (!$headers || ref $headers eq 'ARRAY') && !_has_own($class, 'response_headers');
    $known{opening}     = $self->opening if !defined $settings->{retry} && !grep { _has_own($class, $_) } @OPENING;
    $self->{_beginning} = \%known        if !grep                                { _has_own($class, $_) } @ATTRIBUTES;
    return \%known;
}

# The elements of arrays, to compare with at the next request. The original reads the headers from the object's hash.
sub _elements {
    my $self = shift;
    return join "\0", map { $_ // '' } map { (scalar @$_, @$_) } grep { ref eq 'ARRAY' } @$self{@MAY_BE_ARRAYS};
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
    my @kept    = map { $headers[$_] =~ /\A(?:content-|incremental\z)/i ? () : @headers[$_, $_ + 1] }
        grep { !($_ % 2) } 0 .. $#headers;
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

# Subclasses of this distribution have no original, so they refuse what it accepts.
sub _is_drop_in { return !!1 }

# The end of each line of the stream.
sub _line_break {
    my $line_end = shift->line_end;
    return defined $line_end && $line_end eq 'lf' ? "\n" : "\r\n";
}

# Returns what this application's streams begin with; undef if an attribute has changed since it was checked.
sub _known_beginning {
    my $self  = shift;
    my $known = $self->{_beginning} or return undef;
    return $self->_elements eq $known->{elements} ? $known : undef;
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

# Says how the attributes of the original are checked: with warnings, where the component was made or prepared.
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
    my $access =
        EventSource::XS::Origins->access('Plack::App::EventSource', $origins, $env, $self->can('hub') && $self->hub)
        or return EventSource::XS::Response->text(500, 'Internal server error');
    $env->{'eventsource.cors'} = $access->{headers};
    my $response = $self->_refusal($env, $access) || $self->stream_response($env);
    return EventSource::XS::Response->completed($response, $access->{headers});
}

# Runs the handler in a child process. Returns false if none can continue this stream: then the handler runs here. A client that
# is one too many comes back later.
sub _spawn {
    my ($self, $connection, $env, $handler, $spawn) = @_;
    my $obstacle = EventSource::XS::Stream::Child->obstacle_of($connection->stream);
    if (defined $obstacle) {
        EventSource::XS::Stream::BusyWorker->warn_not_spawned($env, $self, $obstacle);
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

This is a drop-in replacement for the CPAN module of this name (L<EventSource::Migration/All differences>). The attributes of
this L<Plack::Component> may change at any time. To send the same events to many clients, use L<EventSource::Hub>.

It runs on any PSGI server with C<psgi.streaming>. If the stream is native (L</NATIVE STREAMS>), a handler keeps its
connection and returns:

    my %readers;
    my $news = Plack::App::EventSource->new(handler_cb => sub {
        my ($conn) = @_;
        $readers{$conn} = $conn;
        $conn->on_close(sub { my ($conn) = @_; delete $readers{$conn} });
    });
    my $publish = sub { $_->push('news') for values %readers; [204, [], []] };

On servers with an event loop (Twiggy, Feersum) the handler returns at once and pushes later, from timers and watchers. Other
servers run none of these: there the handler may loop, but occupies its worker meanwhile (L</HANDLERS THAT LOOP>); a native
stream ends with the last reference to its connection, any other stream when the handler returns.

=head1 ATTRIBUTES

C<undef> stands for the default.

=head2 characters

If true, all pushed strings are characters, and encoded as UTF-8. False by default: valid UTF-8 is sent as it is, any other
field is encoded.

=head2 compress

Whether native streams are compressed: 0, the default, or 1. C<Accept-Encoding> decides between C<zstd> (if the build has it),
which is taken if both are alike, and C<gzip>. See L<EventSource::Compression>.

=head2 handler_cb

    handler_cb => sub { my ($conn, $env) = @_; ... }

Required: a callback for each stream, which receives its L<Plack::App::EventSource::Connection> and the PSGI environment, with
the C<SCRIPT_NAME> and C<PATH_INFO> from before C<mount>. If it dies, the stream ends, and C<psgi.errors> has the exception.

=head2 headers

    headers => ['Access-Control-Allow-Origin' => 'http://localhost:5000']

Headers of the response, names (tokens) and values (one line without NUL); none by default. They follow C<Content-Type>,
C<Cache-Control>, C<Access-Control-Allow-Methods>, C<X-Accel-Buffering: no> and C<Incremental: ?1> (RFC 10036), unless they
have those.

=head2 keepalive

The quiet seconds after which a comment is sent: 15 by default, fractions allowed, 0 for none. The first one on a stream of a
hub comes after at most 2. On a stream that is neither native nor of a hub it comes up to 1/2 later under an event loop, never
on a server that blocks.

=head2 line_end

The end of each line: C<crlf>, the default, or C<lf> (L<EventSource::Wire/BYTES>).

=head2 linger

How many seconds the end of the process waits for native streams, fractions allowed; 2 by default. The longest time of all
applications counts. Each client first receives a C<retry> of one to two times the L</retry> that is set, or two seconds. Data
that has not been sent by then is lost, and counted.

=head2 max_buffered

The most bytes that are buffered for the client of a native stream, from 1; 4 MiB by default. A single event may be larger.
Beyond that L</on_full> decides.

=head2 max_streams

The most native streams of a process, from 1. A further client receives the status 200, a C<retry> of its own and the end, so
a browser reconnects later; its handler does not run. The default is the soft limit of descriptors (C<ulimit -n>) minus 256,
or a quarter if that is smaller.

An eighth of the descriptors, but at most 128, stays free for the application. When fewer are left a client receives the same
response.

=head2 methods

    methods => ['GET', 'POST']

The methods that are answered with a stream: an array of C<DELETE>, C<GET>, C<PATCH>, C<POST>, C<PUT> and C<QUERY>; C<['GET']>
by default. Any other, also HEAD, is a 405. OPTIONS is answered only if L</origins> is set.

The body, which L<Plack::Request> reads, is complete when the handler is called (otherwise the answer is 400). Let the server
or the proxy limit it. The body of a GET may be lost.

Chunks are decoded by Starman, Starlet, and proxies such as nginx; elsewhere they are a 411. Only Starman and Starlet answer
C<Expect: 100-continue>. Feersum 1.410 refuses PATCH and QUERY, and gives no body of a DELETE.

B<A form of any other page can make a POST with the cookies of the user.> Set L</origins> if the handler does more than read.

=head2 native

Whether streams are native (L</NATIVE STREAMS>): C<auto>, the default, where possible; 0 never; 1 always: then a GET whose
stream cannot be native throws C<unsupported>, at the line that called L</to_app>; after the head the stream ends, with the
reason in C<psgi.errors>.

When a stream is not native on a server that blocks, or middleware filters it on any, C<auto> writes the reason and the remedy
to C<psgi.errors>, once for each in a process or thread; C<quiet> is as C<auto>, without that line.

=head2 on_gone

With C<unwind> a push to a client that has disconnected throws an L<EventSource::Gone>, which this application catches: an
endless loop ends. By default, under an event loop, after the connection's handler and in a child that it has forked, the push
returns false.

=head2 on_full

What a push to a native stream does if more than L</max_buffered> would be buffered:

=over

=item C<block>

The default: on a server that blocks, and in a child (L</spawn>), a handler waits for its client. Any other push disconnects.

=item C<disconnect>

The push ends the stream with the reason C<slow>, and returns false.

=item C<drop_oldest>

The oldest events are dropped, but never one that is partly sent.

=back

=head2 origins

    origins => 'https://shop.example'
    origins => ['https://shop.example', 'http://localhost:5000']
    origins => '*'
    origins => sub { my ($origin, $env) = @_; ... }

The other origins whose pages may read the responses: one or several, all (C<*>), or those for which a callback returns true
(a 500 if it dies). None by default. If the attribute is set,

=over

=item *

responses have the CORS headers for the page's origin, unless L</headers> has C<Access-Control-Allow-Origin>;

=item *

OPTIONS, a preflight request, allows the headers C<Authorization>, C<Baggage>, C<Cache-Control>, C<Content-Type>,
C<Last-Event-ID>, C<Prefer>, C<Traceparent>, C<Tracestate> and C<X-Requested-With>, for two hours, and a listed origin all that
it asks for;

=item *

a POST, PUT, PATCH or DELETE of a page of an origin that is neither listed nor the request's own is a 403. C<[]> lists none.

=back

Pages of a listed origin may send cookies (C<withCredentials>). A star lets all pages read (GET, HEAD, QUERY), without
credentials. The request's own origin has the C<Host> of the request, which a proxy must pass on, and the scheme C<https>, or
C<http> if it came without TLS.

=head2 preamble

The bytes of a comment that is sent first, for old proxies and polyfills, which hold back 2 KB: 3 to 65,536; 0, for none, by
default.

=head2 retry

    retry => 5000
    retry => [5000, 20_000]

The reconnection time that is sent first, whole milliseconds of at most 15 digits; not sent by default. Each client receives a
random time between the number and a fifth more, or between the two numbers.

=head2 spawn

    spawn => 1
    spawn => {max_children => 100, grace => 5}

Whether each handler runs in a child process: 0, the default, 1, or a hash of options of
L<Plack::App::EventSource::Connection/spawn>.

No other handler sees a variable that the handler changes. A callback of C<on_close> runs only if the handler returns. Beyond
C<max_children>, or if the system refuses a process, the client is answered as with L</max_streams>, and the worker warns
once. The handler of a stream that is not native, or on a server with threads, runs in the worker, with a warning.

=head2 timeout

The seconds, above 0, fractions allowed, 60 by default, after which, or up to a quarter later, a native stream or a hub's ends
if its client takes nothing buffered for it.

=head1 METHODS

Wrong attributes throw an L<EventSource::Error> with the code C<invalid> and the name of the attribute as its field.

=head2 new

    my $component = Plack::App::EventSource->new(handler_cb => $code, %attributes);
    my $component = Plack::App::EventSource->new(\%attributes);

Create a component. Warns of unknown attributes, but not of those that a subclass has a method for.

=head2 to_app

    my $app = $component->to_app;

Return the PSGI application. Without L</handler_cb> it warns, and a GET throws, as after a wrong value is set.

=head2 call, prepare_app

See L<Plack::Component>. A subclass may wrap them.

=head2 opening, response_headers, stream_response

    my $bytes    = $component->opening;
    my $headers  = $component->response_headers;
    my $response = $component->stream_response($env);

For subclasses: return the bytes that a stream is sent first, the headers of the response as an array, and the response to a
request whose method is allowed and whose body is complete.

=head1 NATIVE STREAMS

A thread of the process writes a native stream. The worker is free when the handler returns, and
L<Plack::App::EventSource::Connection/on_close> is called when the client disconnects.

Streams are native on HTTP::Server::PSGI (plackup), Starman, Starlet, Twiggy, Feersum and uWSGI, on Linux. They go through the
server's writer elsewhere, over TLS and where middleware filters the body (L<EventSource::Troubleshooting/NOT NATIVE>).

A native stream ends with its worker (L<EventSource::Deployment/Recycled workers>). At the end its connection is closed
(C<Connection: close>). The server's access log, C<psgix.cleanup> and graceful stop do not wait for that.

=head1 HANDLERS THAT LOOP

On a server that blocks, a handler that loops occupies its worker for ever, even after its client has left: as many visits as
workers stop the site. The log names it when it has run for ten seconds, or has pushed for five to a client that has left.
Choose: L</spawn> runs each handler in a child process; or the handler keeps its connection and returns, and a hub or another
request pushes to it; or L</on_gone>, or a check of what C<push> returns, ends the handler of a client that has left.

Starman (HUP, QUIT) and Starlet (HUP, TERM) wait for such a handler when its worker is to end. Once it has run for ten
seconds, its next C<push> throws an L<EventSource::Gone>, C<is_open> returns false and C<wait> returns C<gone>; the client
reconnects. A handler that calls none of these is not ended: set L</spawn>. Other signals and servers end the worker whatever
its handler does.

=head1 UNDER FEERSUM

After the response, do not fetch C<psgix.io>, and copy the environment only in a handler: other responses may suffer.
Feersum 1.507 ends each request whose environment was copied, or read by L<Mojolicious>: set its C<psgix_io> to 0.

Feersum 1.507 with TLS has streams on its writer, also in HTTP/2.

=head1 BEHIND NGINX

Put nginx (L<EventSource::Deployment/nginx>), or another proxy that reads whole requests, in front of Starman: a body that is
shorter than its C<Content-Length> ends a worker of Starman, with all its streams.

=head1 SEE ALSO

L<https://html.spec.whatwg.org/multipage/server-sent-events.html>

=cut

package EventSource::XS::Stream;
use strict;
use warnings;

# Begins the response to one request as a stream: a native one if that can be, otherwise one on the server's writer.

use EventSource::XS::Adapter;
use EventSource::XS::Library;
use EventSource::XS::Notification;
use EventSource::XS::Request;
use EventSource::XS::Settings;
use EventSource::XS::Stream::Child;
use EventSource::XS::Stream::Native;
use EventSource::XS::Stream::Obstacle;
use EventSource::XS::Stream::Takeover;
use EventSource::XS::Stream::Writer;

my $SETTINGS = EventSource::XS::Settings->new('EventSource::XS');

# perl forgets which classes it has looked up whenever a handle is made, as a server does for each connection. So what each
# stream calls is called as a function, which perl looks up once, with the name of its class.
my $ADAPTER  = 'EventSource::XS::Adapter';
my $OBSTACLE = 'EventSource::XS::Stream::Obstacle';

my $INTERPRETER = EventSource::XS::Stream::Native->interpreter;

# The sets by which a takeover needs no adapter. It is always the same hash.
my $PLAIN = $ADAPTER->plain;

my %DEFAULT = (
    native       => 'auto',
    keepalive    => 15,
    line_end     => 'crlf',
    timeout      => 60,
    max_buffered => 4_194_304,
    on_full      => 'block',
    linger       => 2,
);

# The statuses of responses without a body.
my %HAS_NO_BODY = map { ($_ => 1) } 204, 205, 304;

# False to have every takeover ask its adapter, as a test does to compare.
our $TAKES_PLAINLY = !!EventSource::XS->can('_next_end');    ## no critic (ProhibitPackageVars)

# The methods take_over of adapters that have one, each in an array.
my %TAKE_OVER;

# True if a server has said that it has several processes.
my $is_multiprocess = 0;

my %IS_NUMBER = map { ($_ => 1) } qw(keepalive linger max_buffered max_streams retry timeout);

# Public methods

# Throw an exception if a setting has an invalid value. undef stands for the default.
sub check {
    my ($class, %given) = @_;
    $SETTINGS->seconds($_ => $given{$_}) for qw(keepalive linger timeout);
    $SETTINGS->whole_number($_ => $given{$_}, from => 1) for qw(max_buffered max_streams);
    $SETTINGS->refuse(timeout => 'timeout must not be 0') if defined $given{timeout} && $given{timeout} == 0;
    $SETTINGS->one_of(compress => $given{compress}, 0,       1);
    $SETTINGS->one_of(line_end => $given{line_end}, 'crlf',  'lf');
    $SETTINGS->one_of(native   => $given{native},   'auto',  'quiet', 0, 1);
    $SETTINGS->one_of(on_full  => $given{on_full},  'block', 'disconnect', 'drop_oldest');
    return;
}

sub is_multiprocess { return !!$is_multiprocess }

# Return why the response to this request cannot be native, as far as the environment shows; undef if it may be. Whether the
# body is filtered shows only in the response. The environment is not changed.
sub obstacle {
    my ($class, $env) = @_;
    return _obstacle(EventSource::XS::Adapter->of_env($env), $env);
}

# Respond by $respond, the responder of PSGI, and return the stream. If it is not native, $obstacle says why. $opening are
# bytes to send first. The settings are those of Plack::App::EventSource with the same names: compress, keepalive,
# line_end, linger, max_buffered, max_streams, native (here 1 means quiet), on_full, retry, timeout.
sub open {
    my ($class, $env, $respond, $response, $opening, $setting) = @_;
    $setting = $class->settings(@_[5 .. $#_]) if @_ != 6;
    my ($stream, $obstacle, @writer);
    if ($setting->{native} && $TAKES_PLAINLY && (exists $PLAIN->{noted} || exists $PLAIN->{noted_in_loop})) {
        my $coded  = $setting->{compress} ? _coded($setting, $env) : $setting;
        my $native = $coded->{native_settings} || EventSource::XS::Stream::Native->shared_settings($coded);
        ($stream, my @why) = EventSource::XS::Stream::Native::_begin($env, $respond, $response, $opening, $native,
            $$INTERPRETER, $PLAIN);
        _log($env, 'native stream') if $stream && $ENV{EVENTSOURCE_XS_DEBUG};
        return $stream              if $stream;
        (my ($code, $text), @writer) = @why;
        $obstacle = $OBSTACLE->new($code, $text)    # descriptor_obstacle of the adapter has more to say about a socket
            if @why && ($code ne 'socket' || @writer);
    }
    my $adapter = $ADAPTER->of_env($env);
    my $seen_in = $PLAIN->{seen_in}{$adapter};
    _note_request($adapter, $env)
        if !defined $seen_in || $seen_in != EventSource::XS::_generation() || $env->{'psgi.multithread'};
    ($stream, $obstacle, @writer) = _open_native($adapter, $env, $respond, $response, $setting, $opening)
        if !defined $obstacle;
    return $stream if $stream;
    if (!@writer && $adapter->has_left($env)) {
        $respond->([@$response[0, 1], []]);         # a complete response ends the request on every server
        return _ended($env);
    }
    @writer = $adapter->respond($respond, $response) if !@writer;
    return _ended($env, $response, $writer[0])       if !$writer[0] || $HAS_NO_BODY{$response->[0]};
    $SETTINGS->throw(unsupported =>
            'PAGI::App::WrapPSGI loses what is pushed when the request has returned: run the application on a PSGI server'
            . ' beside that of PAGI')
        if ref $writer[0] eq 'PAGI::App::WrapPSGI::Writer';
    $obstacle = $OBSTACLE->collected || ($ADAPTER->is_filter($writer[0]) ? $OBSTACLE->new('filter') : $obstacle);
    _log($env, "on the server's writer: $obstacle") if $ENV{EVENTSOURCE_XS_DEBUG};
    $stream = _open_on_writer($env, \@writer, $setting, $opening);
    $obstacle->warn_once($env)
        if ($setting->{native} eq 'auto' || $setting->{native} ne 'quiet' && $obstacle->code eq 'collected')
        && !$adapter->has_left($env);
    return ($stream, $obstacle);
}

# Return settings with their defaults, to be given to open for any number of streams.
sub settings {
    my ($class, %given) = @_;
    $given{$_} = $SETTINGS->plain_number($given{$_}) for grep { $IS_NUMBER{$_} } keys %given;
    return {%DEFAULT, map { defined $given{$_} ? ($_ => $given{$_}) : () } keys %given};
}

# Private methods and functions

# Returns the settings of a native stream with the content coding that its client accepts best. The head of a takeover names it,
# so a stream on the server's writer has none, nor has its relay.
sub _coded {
    my ($setting, $env)    = @_;
    my ($coding,  $number) = EventSource::XS::Request->_call('coding', $env->{HTTP_ACCEPT_ENCODING});
    return $setting if !$number;
    return $setting->{coded}{$coding} ||=
        {%$setting, coding => $coding, coding_number => $number, native_settings => undef};
}

# There is nothing to write to. Either a middleware has replaced the response by one without a body, as ConditionalGET does if
# the client asks for it; or the client has disconnected, and perhaps the server could not even write the head.
sub _ended {
    my ($env, $response, $writer) = @_;
    my $is_replaced = $response && ($response->[2] || $HAS_NO_BODY{$response->[0]});
    _log($env,
        'no stream: ' . ($is_replaced ? 'a middleware has replaced the response' : 'the client has disconnected'))
        if $ENV{EVENTSOURCE_XS_DEBUG};
    $writer->close if $writer;
    return EventSource::XS::Stream::Writer->ended($is_replaced ? 'application' : 'client', $env);
}

sub _log {
    my ($env, $what) = @_;
    my $path = ($env->{SCRIPT_NAME} || '') . ($env->{PATH_INFO} || '');
    $env->{'psgi.errors'}->print("EventSource::XS: $path: $what\n");
    local ($@, $SIG{__DIE__});
    eval { $env->{'psgi.errors'}->flush };    # a framework may have given STDERR an encoding, and so a buffer
    return;
}

# Notes the properties of the server that a request tells. The next requests of the process tell the same.
sub _note_request {
    my ($adapter, $env) = @_;
    $PLAIN->{seen_in}{$adapter} = EventSource::XS::_generation();
    $is_multiprocess ||= $adapter->is_multiprocess($env);
    EventSource::XS::Stream::Child->see_request($env) if $env->{'psgi.multithread'};
    EventSource::XS::Notification->see_request($env);
    return;
}

sub _obstacle {
    my ($adapter, $env) = @_;
    return $OBSTACLE->new('system') if !defined &EventSource::XS::_next_end;
    return $OBSTACLE->new('method') if ($env->{REQUEST_METHOD} || '') eq 'HEAD';
    return $adapter->obstacle($env);
}

# Takes the response over in the way of its adapter, unless something is in the way. Returns the stream; or undef, the obstacle,
# and the writer if the server has responded.
sub _open_native {
    my ($adapter, $env, $respond, $response, $setting, $opening) = @_;
    my $obstacle = $adapter->prepare_env($env);
    $obstacle = $OBSTACLE->new('setting') if !$setting->{native};
    $obstacle = _obstacle($adapter, $env) if !defined $obstacle;
    return (undef, $obstacle) if defined $obstacle;
    $setting = _coded($setting, $env) if $setting->{compress} && $adapter->codes_content;
    my @given = ($adapter, $env, $respond, $response, $setting, $opening);
    my $own   = ($TAKE_OVER{$adapter} ||= [$adapter->can('take_over')])->[0];
    my ($stream, @why) = $own ? $own->(@given) : EventSource::XS::Stream::Takeover::begin(@given);
    return ($stream, @why)                          if !$stream;
    _log($env, 'native stream')                     if $ENV{EVENTSOURCE_XS_DEBUG};
    $ADAPTER->after_takeover($env)                  if !$env->{'psgi.nonblocking'};
    $ADAPTER->note_takeover($env, $is_multiprocess) if $adapter eq $ADAPTER;
    return $stream;
}

# The writer is that of the response; the second one, if there is one, is the server's own below all middleware.
sub _open_on_writer {
    my ($env, $writers, $setting, $opening) = @_;
    my ($writer, $own) = @$writers;
    my $stream =
        EventSource::XS::Stream::Writer->new($writer, $env, %$setting, opening => $opening, server_writer => $own);
    $stream->refuse if !$stream->is_blocking && EventSource::XS::_is_short();
    return $stream;
}

1;

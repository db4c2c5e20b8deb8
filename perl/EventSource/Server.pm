package EventSource::Server;
use strict;
use warnings;

# An application whose handler subscribes each stream to one channel of a hub. The supply is read into that channel.

our $VERSION = '0.100';

use parent 'Plack::App::EventSource';
use EventSource::Error;
use EventSource::Hub;
use EventSource::Hub::Lease;
use EventSource::Server::Emitter;
use EventSource::Server::Event;
use EventSource::Server::Supply;
use EventSource::XS::ErrorLog;
use EventSource::XS::Loop;
use EventSource::XS::Server::Source;
use EventSource::XS::Settings;
use Scalar::Util qw(blessed weaken);

use overload '&{}' => sub {
    my $self = shift;
    return sub { $self->call(@_) }
    },
    fallback => 1;

my $SETTINGS = EventSource::XS::Settings->new('EventSource::Server');

my @HUB_OPTIONS = qw(
    autostart gap_data gap_event grace idle_exit keep_history keep_total_history name on_slow per_process position_event
    publish_timeout socket store
);
my @STREAM_OPTIONS = qw(linger max_streams native origins preamble retry timeout);
my @OPTIONS =
    (@HUB_OPTIONS, @STREAM_OPTIONS, qw(channel headers hub keepalive keepalive_interval position start supply));

# The names of the Raku module's code and of its documentation.
my %ALIAS = map { ($_ => 'keepalive_interval') } qw(keepalive-interval keepalive-frequency keepalive_frequency);

# The channel's name in a server's own hub.
my $CHANNEL = 'events';

sub new {
    my ($class, @options) = @_;
    my %given  = $SETTINGS->options('new takes options', \@options, 'option %s', @OPTIONS, keys %ALIAS);
    my %option = (keepalive_interval => 60);
    for my $name (grep { defined $given{$_} } sort keys %given) {
        $option{$ALIAS{$name} || $name} = $given{$name};
    }
    my $channel = _checked_channel(%option);
    my $self    = $class->SUPER::new(
        (map { defined $option{$_} ? ($_ => $option{$_}) : () } @STREAM_OPTIONS),
        headers   => _headers(@{$option{headers} || []}),
        keepalive => $option{keepalive} ? $option{keepalive_interval} : 0,
        line_end  => 'lf',
    );
    @$self{qw(channel option place process streams taps)} = ($channel, \%option, EventSource::Error->here, $$, {}, {});
    $self->{source} = EventSource::XS::Server::Source->new($option{supply}) if defined $option{supply};
    $self->{hub}    = $option{hub} || $self->_own_hub;
    weaken(my $server = $self);
    $self->handler_cb(sub { $server->_subscribe(@_) });
    return $self;
}

# Public methods

sub emit {
    my ($self, @event) = @_;
    $SETTINGS->refuse(undef, "emit is a method of an object: $self->new(...)") if !ref $self;
    return $self->_publish(EventSource::Server::Event->fields_of(@event));
}

sub hub { return $_[0]{hub} }

sub opening {
    my $self = shift;
    return $self->SUPER::opening . $self->keepalive_line;
}

sub out_supply { return EventSource::Server::Supply->new($_[0]) }

sub response_headers { return [@{$_[0]->headers}] }

sub stop {
    my $self = shift;
    return if $self->{is_stopped};
    $self->{is_stopped} = 1;
    delete $self->{lease};
    my $run = delete $self->{run};
    $run->close if $run;
    $self->_end_taps('done');
    $self->_end_streams('application');
    return;
}

sub stream_response {
    my ($self, $env) = @_;
    return [204, [], []] if $self->{is_stopped};
    $self->_check_supply($env);
    return $self->SUPER::stream_response($env);
}

sub supply { return $_[0]{option}{supply} }

sub to_app {
    my $self = shift;
    $SETTINGS->refuse(undef, "to_app is a method of an object: $self->new(...)->to_app") if !ref $self;
    return $self->SUPER::to_app;
}

# A freed object has no streams: these keep it.
sub DESTROY {
    my $self = shift;
    return if ${^GLOBAL_PHASE} eq 'DESTRUCT' || ($self->{process} || 0) != $$;    # 0 if new has thrown
    local ($@, $!, $?);
    eval { $self->stop; 1 } or EventSource::XS::ErrorLog->write(undef, 'EventSource::Server', $@);
    return;
}

# Methods for taps

sub add_tap {
    my ($self, $tap) = @_;
    return $tap->end('done') if $self->{is_stopped};
    $tap->{number} = ++$self->{made};
    $self->{taps}{$tap->{number}} = $tap;
    my $loop = EventSource::XS::Loop->current(may_choose => 1);
    $self->_keep_taps_alive($loop) if $loop && $self->{option}{keepalive};
    $self->_start_supply($loop);
    return;
}

# A tap that was added after stop has no number.
sub remove_tap {
    my ($self, $tap) = @_;
    delete $self->{taps}{$tap->{number}} if $tap->{number};
    delete $self->{tap_keepalive}        if !%{$self->{taps}};
    return;
}

# Private functions and methods

# The channel in characters, when the options have been checked. The hub and the streams check theirs.
sub _checked_channel {
    my %option = @_;
    my ($hub, $channel) = @option{qw(hub channel)};
    $SETTINGS->refuse(keepalive => 'keepalive must be 0 or 1; keepalive_interval takes the seconds')
        if defined $option{keepalive} && $option{keepalive} !~ /\A[01]?\z/;
    $SETTINGS->seconds(keepalive_interval => $option{keepalive_interval}, is_above_zero => 1);
    $SETTINGS->headers(headers => $option{headers});
    if (defined $hub) {
        $SETTINGS->refuse(hub => 'hub must be an EventSource::Hub') if !blessed $hub || !$hub->isa('EventSource::Hub');
        $SETTINGS->refuse(channel => 'channel must be given with hub') if !defined $channel;
        $SETTINGS->refuse($_, "$_ must be set on the hub itself if hub is given")
            for grep { defined $option{$_} } @HUB_OPTIONS;
        $hub->to_app(channels => sub { }, map { ($_ => $option{$_}) } qw(max_streams position start));
    }
    return $CHANNEL if !defined $channel;
    EventSource::Hub->check_topics($channel);
    $SETTINGS->refuse(channel => 'channel must be a name, not a pattern')
        if ref $channel && !overload::Method($channel, '""');
    return $SETTINGS->name(channel => $channel);
}

# Throws if the supply has not begun and cannot be read under the server that sent this request. The mistake is where
# the supply was given, and the caller is the PSGI server.
sub _check_supply {
    my ($self, $env) = @_;
    $self->_reset_after_fork;
    return if !$self->{source} || !$self->{source}->needs_loop || $self->{run};
    return if $env->{'psgi.nonblocking'} && EventSource::XS::Loop->current(may_choose => 1);
    my $kind   = $self->{source}->kind eq 'handle' ? 'a filehandle' : 'an iterator';
    my $remedy = 'Use a server that has one (psgi.nonblocking), or read the supply in code: '
        . 'supply => sub { my $emitter = shift; $emitter->emit($_) for ... }';
    $remedy .= ', or in a process of its own that publishes to the hub' if $self->{hub}->has_process;
    EventSource::Error->throw(
        code    => 'unsupported',
        field   => 'supply',
        message => "EventSource::Server: $kind as supply needs an event loop, which this server does not have. $remedy",
        place   => $self->{place},
    );
    return;
}

sub _end_streams {
    my ($self, $reason) = @_;
    $self->_reset_after_fork;
    my @streams = values %{$self->{streams}};
    $self->{streams} = {};
    $_->close($reason) for @streams;
    return;
}

sub _end_taps {
    my ($self, @how) = @_;
    $_->end(@how) for $self->_taps;
    return;
}

# Sends a comment to the taps at each interval while there are any. Streams have keepalives of their own.
sub _keep_taps_alive {
    my ($self, $loop) = @_;
    return if $self->{tap_keepalive};
    weaken $self;
    $self->{tap_keepalive} =
        $loop->every($self->{option}{keepalive_interval}, sub { $_->give_bytes(":\n") for $self->_taps });
    return;
}

# The headers of the Raku module, and what stops nginx from buffering events, and others from compressing them.
sub _headers {
    my @given = @_;
    my @own   = (
        'Cache-Control' => 'must-revalidate, no-cache, no-transform',
        'Content-Type'  => 'text/event-stream; charset=utf-8',
    );
    my $has_buffering = grep { !($_ % 2) && lc $given[$_] eq 'x-accel-buffering' } 0 .. $#given;
    push @own, 'X-Accel-Buffering' => 'no' if !$has_buffering;
    return [@own, @given];
}

sub _own_hub {
    my $self   = shift;
    my %option = map { defined $self->{option}{$_} ? ($_ => $self->{option}{$_}) : () } @HUB_OPTIONS,
        qw(position start);

    # A named hub bounds the streams of all workers.
    $option{max_streams} = $self->{option}{max_streams} if defined $option{name};

    # Each process runs the supply, so a hub for each is meant.
    $option{per_process} = 1 if !defined $option{per_process} && $self->{source};
    return EventSource::Hub->new(%option);
}

sub _publish {
    my ($self, $fields) = @_;
    return if $self->{is_stopped};
    my $id = $self->{hub}->publish($self->{channel}, $fields);
    if (my @taps = $self->_taps) {
        my $bytes;
        my $encode = sub { $bytes = EventSource::Server::Event->new($fields)->encode if !defined $bytes; $bytes };
        $_->give($fields, $encode) for @taps;
    }
    return $id;
}

# A forked child inherits the records of the parent's streams and of its supply's run, but neither of the two. It keeps
# the taps.
sub _reset_after_fork {
    my $self = shift;
    return if $self->{process} == $$;
    $self->{process} = $$;
    $self->{streams} = {};
    delete @$self{qw(lease run tap_keepalive)};
    return;
}

# Subscribes one client. The supply starts after that, so that the client receives the first event.
sub _subscribe {
    my ($self, $conn, $env) = @_;
    $self->_reset_after_fork;
    return $conn->close if $self->{is_stopped};
    my $name = ++$self->{made};
    $self->{streams}{$name} = $conn->stream;
    $conn->on_close(sub { delete $self->{streams}{$name} });
    my %option = map { ($_ => $self->{option}{$_}) } qw(position start);
    $self->{hub}->subscribe($conn, $self->{channel}, \%option);
    my $loop = EventSource::XS::Loop->current(may_choose => 1);
    return if $self->_start_supply($loop, $env) || $loop || !$conn->is_open;

    # Only a request asks for the lease again, so the client has to come back: it might wait for ever. Then it is
    # subscribed before another lease is asked for.
    delete $self->{lease};
    $conn->stream->end_with_retry;
    return;
}

# A hub process has elected this worker to run the supply, or, after that process was lost, another one.
sub _lease_changed {
    my $self  = shift;
    my $lease = $self->{lease} or return;
    if    ($lease->is_held) { $self->_run_supply(scalar EventSource::XS::Loop->current(may_choose => 1)) }
    elsif ($self->{run}) {
        $self->{run}->close;
        delete $self->{$self->{source}->is_repeatable ? 'run' : 'lease'};
    }
    return;
}

# Publishes an event of the supply. The caller is mostly an event loop, which cannot handle that the hub process was lost.
sub _publish_of_supply {
    my ($self, $fields) = @_;
    my ($id, $error);
    {
        local ($@, $SIG{__DIE__});
        return $id if eval { $id = $self->_publish($fields); 1 };
        $error = $@;
    }
    die $error if EventSource::Error->own($error)->code !~ /\A(?:unavailable|unknown)\z/;
    EventSource::XS::ErrorLog->write($self->{errors}, 'EventSource::Server: an event of the supply', $error);
    return undef;
}

# Runs the supply, unless it has been run in this process. A failure during the start is reported to the request's
# psgi.errors if an environment is given.
sub _run_supply {
    my ($self, $loop, $env) = @_;
    return if $self->{run};
    weaken(my $server = $self);
    my $run = $self->{run} = EventSource::Server::Emitter->new(
        on_event => sub { $server && $server->_publish_of_supply($_[0]) },
        on_quit  => sub { $server && $server->_supply_failed(@_) },
    );
    local $self->{errors} = $env && $env->{'psgi.errors'};
    local $@;
    eval { $self->{source}->begin($run, $loop); 1 } or $run->quit($@);
    return;
}

# Runs the supply: in this process; or once for all workers of a named hub, whose process elects one. Returns false if that
# process cannot be asked.
sub _start_supply {
    my ($self, $loop, $env) = @_;
    $self->_reset_after_fork;
    return !!1 if !$self->{source} || $self->{run};
    if ($self->{hub}->has_process) {
        weaken(my $server = $self);
        $self->{lease} ||= EventSource::Hub::Lease->new(
            hub       => $self->{hub},
            name      => "EventSource::Server/$self->{channel}",
            on_change => sub { $server->_lease_changed if $server },
        );
        my $is_held = $loop ? $self->{lease}->is_held : $self->{lease}->is_held_now;
        return defined $is_held if !$is_held;
    }
    $self->_run_supply($loop, $env);
    return !!1;
}

sub _supply_failed {
    my ($self, $run, $reason) = @_;
    EventSource::XS::ErrorLog->write($self->{errors}, 'EventSource::Server: the supply died', $reason);
    delete $self->{run} if $self->{source}->is_repeatable;
    delete $self->{lease};
    $self->_end_taps(quit => $reason);
    $self->_end_streams('error');
    return;
}

# All taps in the order in which they were made. The list keeps them, because the callback of one tap may close others.
sub _taps {
    my $self = shift;
    my @taps = @{$self->{taps}}{sort { $a <=> $b } keys %{$self->{taps}}};
    return @taps;
}

1;
__END__

=encoding utf8

=head1 NAME

EventSource::Server - Send the events of one supply to any number of clients

=head1 SYNOPSIS

    use EventSource::Server;
    use Plack::Builder;

    my $es = EventSource::Server->new(keepalive => 1);

    my $app = builder {
        mount '/events' => $es;
        mount '/say'    => sub {
            my $env = shift;
            $es->emit(said => $env->{QUERY_STRING});
            return [204, [], []];
        };
    };

    # Read the encoded events in this process.
    my $tap = $es->out_supply->tap(sub { my $bytes = shift; print STDERR $bytes });

=head1 DESCRIPTION

This class has the interface of the Raku module of this name. An object is a PSGI application that sends every event of
L</emit> and of the L</supply> to every client. It uses a channel of an L<EventSource::Hub>, so clients resume.

=head1 ATTRIBUTES

=head2 supply

    supply => $code | $object | $iterator | $filehandle

The source of events, values that L</emit> accepts; none by default. It starts with the first client or L<tap|/out_supply>,
once in each process, or for all workers (L</Several workers>).

=over

=item code

The code is called with an L<EventSource::Server::Emitter> (L</A clock>). It arranges to be called back, and returns soon. Its
return value, such as a watcher, is held until the supply ends.

On a server that blocks nothing runs between requests: there it emits at once, or other requests emit through its emitter.

=item an object with C<tap>

    supply => $other->out_supply

The object is tapped (L<EventSource::Server::Supply/tap>), and a method C<close> of the result is called at the end. The
L</out_supply> of another server passes events, not bytes.

=item an iterator

An object with a method C<next>, C<getline> (without the line ending) or C<get>. Its values are events; C<undef> ends them.

=item a filehandle

Each line, ending in LF or CRLF, is the data of an event, decoded as UTF-8; invalid bytes become U+FFFD. A line of more than 1
MiB is a failure. What Perl has buffered is not read, and the handle is not closed.

=back

Iterators and filehandles are read by the event loop: AnyEvent, EV, Mojo::IOLoop or IO::Async. On a server that blocks, a
request croaks. Without a loop C<tap> reads the supply to its end. If workers inherit a handle, each line is read by one of
them: open it in code, or give the server a L<name|/Several workers>.

=head2 channel, hub

    hub => $hub, channel => 'news'

An L<EventSource::Hub>, and its channel, required with it. Clients, but not taps, also receive what others publish there. By
default each server has a hub of its own.

=head2 gap_data, gap_event, keep_history, keep_total_history, on_slow, per_process, position_event

=head2 autostart, grace, idle_exit, name, publish_timeout, socket, store

Settings of the server's own hub (L<EventSource::Hub/ATTRIBUTES>), not together with L</hub>. With a supply and no
L<name|/Several workers> C<per_process> is true by default.

=head2 headers

See L<Plack::App::EventSource/headers>.

=head2 keepalive, keepalive_interval

If C<keepalive> is true, a quiet stream is sent a comment, or its position if that has advanced, after C<keepalive_interval>
seconds (above 0, fractions allowed, 60 by default), and a tap a comment at every interval if an event loop was loaded before.
False by default: then proxies may end quiet streams, and vanished clients are not noticed. C<keepalive_frequency> is another
name of it; both may be written with a dash, as in Raku.

=head2 linger, max_streams, native, origins, preamble, retry, timeout

Settings of the streams (L<Plack::App::EventSource>). If a named hub is given as C<hub>, C<max_streams> is its setting.

=head2 position, start

See L<EventSource::Hub/position> (by default that of the hub) and L<EventSource::Hub/start> (C<latest> by default).

=head1 METHODS

=head2 new

    my $es = EventSource::Server->new(%attributes);
    my $es = EventSource::Server->new(\%attributes);

Create a server. Croaks if an attribute is unknown or invalid, and on systems other than Linux. The server stops when it is
freed; its applications and streams keep it, its taps do not.

=head2 call

    my $response = $es->call($env);

Answer a request. Croaks, at the line that created the server, if the supply needs an event loop and there is none.

=head2 emit

    my $id = $es->emit($data);
    my $id = $es->emit($type => $data);
    my $id = $es->emit([$type => $data]);
    my $id = $es->emit({type => $type, data => $data, %fields});
    my $id = $es->emit($event);

Send an event to all clients and taps. Returns its id, or C<undef> if the server is stopped. C<$data> is a string of
characters, or an object that overloads stringification. C<$type> may be C<undef>. A hash has the fields of the
L<EventSource::Server::Event> C<$event>. Croaks, and sends nothing, for any other argument, and for the reasons of
L<EventSource::Hub/publish>.

=head2 headers

    my $headers = $es->headers;

Return the headers of a response, an array. A subclass may override it.

=head2 hub

    my $stats = $es->hub->stats;

Return the L<EventSource::Hub>.

=head2 out_supply

    my $tap = $es->out_supply->tap(sub { my $bytes = shift; ... });

Return a new L<EventSource::Server::Supply>, whose taps receive the encoded events from now on, without ids of the hub.

=head2 stop

    $es->stop;

Stop the server for good, in each worker. Ends the supply, calls C<done> of the taps, and ends each stream when it has been
sent what was emitted before. Later, L</emit> drops its events, a new tap is done at once, and a client is answered with 204:
browsers do not reconnect. A new server on the same L</hub> has the history of this one.

=head2 supply

    my $supply = $es->supply;

Return the attribute L</supply>.

=head2 to_app

    my $app = $es->to_app;

Return the PSGI application; the object itself is one, too. Only GET is allowed.

=head2 When a supply fails

If a supply dies, cannot be read, calls C<quit>, or has a value that is not an event, taps are closed with C<quit>, and all
streams end. The reason is a warning, or goes to C<psgi.errors> in the request that started it. Code and an object with C<tap>
start again with the next client or tap; an iterator and a filehandle do not.

=head2 Several workers

    my $es = EventSource::Server->new(name => 'ticker', supply => $code);

Without a C<name>, each worker has a hub and runs the supply for its clients. With a C<name>, or with a L</hub> that has one,
one worker that has had a client or a tap runs the supply for all (L<EventSource::Hub::Lease>); if it ends or its server is
stopped, another one does. Servers of different supplies need different names or channels.

After the hub process was killed two workers may emit for some milliseconds. A worker that has lost the lease does not
continue an iterator or a filehandle. A supply that is done is not started again while its worker lives.

While the hub process cannot be reached, events of the supply are lost, each with a warning; L</emit> throws, and streams end
with a C<retry>.

L<Taps|/out_supply> receive what is emitted in their own process. On a server that blocks, a worker learns at its next request
that it has the lease, or by L<Plack::Middleware::EventSource/notify_signal>.

=head1 EXAMPLES

Each is an F<app.psgi> for a server with an event loop, such as Twiggy.

=head2 A clock

    use AnyEvent;
    use EventSource::Server;

    my $es = EventSource::Server->new(
        supply => sub {
            my $emitter = shift;
            return AnyEvent->timer(interval => 1, cb => sub { $emitter->emit(tick => scalar localtime) });
        },
    );
    $es->to_app;

=head2 The lines of a program

    use EventSource::Server;

    open my $lines, '-|', 'tail', '-n', '+1', '-f', $ENV{LOG_FILE} or die "tail: $!";
    my $es = EventSource::Server->new(supply => $lines);
    $es->to_app;

=head2 A response of your own

The last line of L</A clock> becomes

    my $app = sub {
        my $env = shift;
        return sub {
            my $writer = shift->([200, $es->headers]);
            $es->out_supply->tap(sub { $writer->write($_[0]) }, done => sub { $writer->close });
        };
    };

It does not notice a client that disconnects, and bounds no buffer.

=head1 DIFFERENCES

From the Raku module:

    here                                               Raku
    -------------------------------------------------  ----------------------------------------------
    a supply runs once in a process or for all         an on-demand supply runs once for each client
    events have ids; a client receives what it missed  no ids; a client loses events
    keepalive: a position or a comment                 a NUL byte, which clients ignore
    lines end in LF                                    CRLF
    a last line break and no data arrive as given      the line break is lost, no event is dispatched
    a line break in a type croaks                      injects fields
    after "stop": 204                                  200 without a body, so browsers reconnect
    X-Accel-Buffering: no; only GET                    neither

=cut

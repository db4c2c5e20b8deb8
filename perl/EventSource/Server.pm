package EventSource::Server;
use strict;
use warnings;

# One supply of events, any number of clients: a channel of a hub, something that is read into it, and a PSGI application
# that sends it out.

our $VERSION = '0.100';

use Carp qw(croak);
use EventSource::Hub;
use EventSource::Hub::App;
use EventSource::Server::Emitter;
use EventSource::Server::Event;
use EventSource::Loop;
use EventSource::Server::Source;
use EventSource::Server::Supply;
use EventSource::Stream::Relay;
use Scalar::Util qw(blessed weaken);

use overload '&{}' => sub { $_[0]->to_app }, fallback => 1;

# What is wrong is wrong where this was called.
our @CARP_NOT = qw(EventSource::Hub EventSource::Stream Plack::App::EventSource Plack::Component);

my @OF_HUB     = qw(gap_event history total_history on_slow per_process);
my @OF_STREAMS = qw(linger max_streams native preamble retry timeout);
my %KNOWN = map { ($_ => 1) } @OF_HUB, @OF_STREAMS, qw(channel headers hub keepalive keepalive_interval start supply);

# As a Raku program writes it, and as its documentation does.
my %ALSO = map { ($_ => 'keepalive_interval') } qw(keepalive-interval keepalive-frequency keepalive_frequency);

my $CHANNEL = 'events';    # of a hub that nobody else knows

sub new {
    my ($class, @options) = @_;
    my $self = bless {taps => {}, streams => {}, process => $$}, $class;
    $self->_take_options(@options);
    my %option = %{$self->{option}};
    $self->{source} = EventSource::Server::Source->new($option{supply}) if defined $option{supply};
    $self->{hub}    = $option{hub} || $self->_own_hub;
    $self->{app}    = $self->_streams;
    $self->{app}->prepare_app;
    return $self;
}

# Public methods

sub call {
    my ($self, $env) = @_;
    return [204, [], []] if $self->{is_stopped};
    my $trouble = $self->_cannot_read($env);
    croak "EventSource::Server: $trouble" if defined $trouble;
    my $response = $self->{app}->call($env);
    return $response if ref $response ne 'CODE';
    return sub {
        my $kept = $self;    # until the stream has begun, which keeps it from then on
        $response->(@_);
        return;
    };
}

sub emit {
    my ($self, @event) = @_;
    return $self->_publish(EventSource::Server::Event->fields_of(@event));
}

# As the original's, and what keeps nginx from holding events back.
sub headers {
    my $self  = shift;
    my @given = @{$self->{option}{headers} || []};
    my @own   = (
        'Cache-Control' => 'must-revalidate, no-cache',
        'Content-Type'  => 'text/event-stream; charset=utf-8',
    );
    my $has_buffering = grep { !($_ % 2) && lc $given[$_] eq 'x-accel-buffering' } 0 .. $#given;
    push @own, 'X-Accel-Buffering' => 'no' if !$has_buffering;
    return [@own, @given];
}

sub hub { return $_[0]{hub} }

sub out_supply { return EventSource::Server::Supply->new($_[0]) }

sub stop {
    my $self = shift;
    return if $self->{is_stopped};
    $self->{is_stopped} = 1;
    my $run = delete $self->{run};
    $run->close if $run;
    $self->_end_taps('done');
    $self->_end_streams('application');
    return;
}

sub supply { return $_[0]{option}{supply} }

sub to_app {
    my $self = shift;
    return sub { $self->call(@_) };
}

# An object that nobody has any more can emit nothing; its clients are not to wait for that.
sub DESTROY {
    my $self = shift;
    return if ${^GLOBAL_PHASE} eq 'DESTRUCT' || $self->{process} != $$;
    local ($@, $!, $?);
    eval { $self->stop; 1 } or warn "EventSource::Server: $@";
    return;
}

# Private methods

sub _add_tap {
    my ($self, $tap) = @_;
    return $tap->_end('done') if $self->{is_stopped};
    $tap->{number} = ++$self->{made};
    $self->{taps}{$tap->{number}} = $tap;
    my $loop = EventSource::Loop->at_hand(may_choose => 1);
    $self->_keep_taps_alive($loop) if $loop && $self->{option}{keepalive};
    $self->_start($loop);
    return;
}

# Why the supply cannot be read under the server that sent this request; undef if it can, or need not be.
sub _cannot_read {
    my ($self, $env) = @_;
    $self->_settle_process;
    return if !$self->{source} || !$self->{source}->needs_loop || $self->{run};
    return if $env->{'psgi.nonblocking'} && EventSource::Loop->at_hand(may_choose => 1);
    my $kind = $self->{source}->kind eq 'handle' ? 'a filehandle' : 'an iterator';
    return "$kind as supply is read by an event loop, which this server does not have";
}

sub _check {
    my $option   = shift;
    my $interval = $option->{keepalive_interval};
    croak 'EventSource::Server: keepalive_interval must be a number of seconds above 0'
        if $interval !~ /\A(?:[0-9]+\.?[0-9]*|\.[0-9]+)\z/ || $interval == 0;
    croak 'EventSource::Server: headers must be an array of names and values'
        if defined $option->{headers} && (ref $option->{headers} ne 'ARRAY' || @{$option->{headers}} % 2);
    EventSource::Hub->check_start($option->{start});
    EventSource::Hub->check_topics($option->{channel})        if defined $option->{channel};
    croak "EventSource::Server: a server's channel is a name" if ref $option->{channel};
    return                                                    if !defined $option->{hub};
    croak 'EventSource::Server: hub must be an EventSource::Hub'
        if !blessed $option->{hub} || !$option->{hub}->isa('EventSource::Hub');
    croak 'EventSource::Server: a hub has channels; say which' if !defined $option->{channel};

    for my $name (@OF_HUB) {
        croak "EventSource::Server: $name is the hub's to know" if defined $option->{$name};
    }
    return;
}

sub _end_streams {
    my ($self, $why) = @_;
    $self->_settle_process;
    my @streams = values %{$self->{streams}};
    $self->{streams} = {};
    $_->close($why) for @streams;
    return;
}

sub _end_taps {
    my ($self, @how) = @_;
    $_->_end(@how) for $self->_taps;
    return;
}

# Takes in one client: it follows, then the supply begins, so that it has the first event; where only this handler can
# serve it, that comes last.
sub _join {
    my ($self, $conn, $env) = @_;
    $self->_settle_process;
    return $conn->close if $self->{is_stopped};
    my $stream = $conn->{stream};
    my $name   = ++$self->{made};
    $self->{streams}{$name} = $stream;
    $conn->on_close(sub { delete $self->{streams}{$name} });
    my $option = {start => $self->{option}{start}, after => EventSource::Hub::App->last_event_id($env)};
    $self->{hub}->subscribe_stream($stream, $self->{channel}, $option);
    $self->_start(scalar EventSource::Loop->at_hand(may_choose => 1), $env);
    EventSource::Stream::Relay->of($stream)->serve if EventSource::Hub->needs_serving($stream) && $stream->is_open;
    return;
}

# A comment for the taps now and then, as long as there are any. Streams have their own.
sub _keep_taps_alive {
    my ($self, $loop) = @_;
    return if $self->{keepalive};
    weaken $self;
    $self->{keepalive} =
        $loop->every($self->{option}{keepalive_interval}, sub { $_->_give_bytes(":\n\n") for $self->_taps });
    return;
}

sub _own_hub {
    my $self   = shift;
    my %option = map { defined $self->{option}{$_} ? ($_ => $self->{option}{$_}) : () } @OF_HUB;
    $option{per_process} = 1 if !defined $option{per_process} && $self->{source};    # each process runs it
    return EventSource::Hub->new(%option);
}

sub _publish {
    my ($self, $fields) = @_;
    return if $self->{is_stopped};
    my $id = $self->{hub}->publish($self->{channel}, $fields);
    if (my @taps = $self->_taps) {
        my $bytes;
        my $encode = sub { $bytes = EventSource::Server::Event->new($fields)->encode if !defined $bytes; $bytes };
        $_->_give($fields, $encode) for @taps;
    }
    return $id;
}

sub _remove_tap {
    my ($self, $tap) = @_;
    delete $self->{taps}{$tap->{number}} if $tap->{number};      # one that came too late has none
    delete $self->{keepalive}            if !%{$self->{taps}};
    return;
}

# A child has the parent's clients and its run of the supply by name only.
sub _settle_process {
    my $self = shift;
    return if $self->{process} == $$;
    $self->{process} = $$;
    $self->{streams} = {};
    delete @$self{qw(keepalive run)};
    return;
}

# Begins the supply, unless it has begun in this process. In trouble: tells whom.
sub _start {
    my ($self, $loop, $env) = @_;
    $self->_settle_process;
    return if !$self->{source} || $self->{run};
    weaken(my $still = $self);
    my $run = $self->{run} = EventSource::Server::Emitter->new(
        on_event => sub { $still && $still->_publish($_[0]) },
        on_done  => sub { },
        on_quit  => sub { $still && $still->_supply_failed(@_) },
    );
    local $self->{errors} = $env && $env->{'psgi.errors'};
    local $@;
    eval { $self->{source}->begin($run, $loop); 1 } or $run->quit($@);
    return;
}

# The application that streams run on.
sub _streams {
    my $self   = shift;
    my %option = %{$self->{option}};
    weaken $self;
    return EventSource::Server::Streams->new(
        (map { defined $option{$_} ? ($_ => $option{$_}) : () } @OF_STREAMS),
        keepalive  => $option{keepalive} ? $option{keepalive_interval} : 0,
        server     => $self,
        handler_cb => sub { $self ? $self->_join(@_) : $_[0]->close },
    );
}

sub _supply_failed {
    my ($self, $run, $why) = @_;
    my $text = eval { "$why" };
    $text = 'of a ' . ref($why) . ' that cannot be made a string' if !defined $text;
    utf8::encode($text) if $text =~ /[^\x00-\xFF]/;
    chomp $text;
    $text = "EventSource::Server: the supply died: $text\n";
    if   ($self->{errors}) { $self->{errors}->print($text) }
    else                   { warn $text }
    delete $self->{run} if $self->{source}->is_repeatable;
    $self->_end_taps(quit => $why);
    $self->_end_streams('error');
    return;
}

# All taps, in the order in which they were made: a list that holds them, for what one of them is told may close others.
sub _taps {
    my $self = shift;
    my @taps = @{$self->{taps}}{sort { $a <=> $b } keys %{$self->{taps}}};
    return @taps;
}

# A hash of what was asked for, by the names that are ours.
sub _take_options {
    my ($self, @options) = @_;
    my $options = @options == 1 ? $options[0] : @options % 2 ? undef : {@options};
    croak 'EventSource::Server: new takes names and values, or a hash of them' if ref $options ne 'HASH';
    my %option = (keepalive_interval => 60);
    for my $given (sort keys %$options) {
        my $name = $ALSO{$given} || $given;
        croak "EventSource::Server: there is no option '$given'" if !$KNOWN{$name};
        $option{$name} = $options->{$given}                      if defined $options->{$given};
    }
    _check(\%option);
    $self->{option}  = \%option;
    $self->{channel} = defined $option{channel} ? $option{channel} : $CHANNEL;
    return;
}

# Streams with the headers of their server.
package EventSource::Server::Streams;
use parent 'Plack::App::EventSource';
use Plack::Util::Accessor qw(server);
use Scalar::Util          qw(weaken);

sub new {
    my ($class, @attributes) = @_;
    my $self = $class->SUPER::new(@attributes);
    weaken $self->{server};
    return $self;
}

sub response_headers { return $_[0]->server->headers }

1;
__END__

=encoding utf8

=head1 NAME

EventSource::Server - One supply of events, any number of clients

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

    # whoever wants the bytes
    my $tap = $es->out_supply->tap(sub { my $bytes = shift; print STDERR $bytes });

=head1 DESCRIPTION

The interface of the Raku module C<EventSource::Server> for Perl. An object has events: those that are emitted to it, and
those of its L</supply>, if it has one, which is begun once, when the first client comes. It is a PSGI application, and
sends every event to every client that is connected. It stands on an L<EventSource::Hub>: native streams, an id with each
event, and a client that comes back is sent first what it has missed, or told that this is forgotten.

In the page:

    const source = new EventSource('/events')
    source.addEventListener('said', e => console.log(e.data))

=head1 ATTRIBUTES

All are for L</new>, and none has to be given.

=head2 supply

    supply => $code | $object | $iterator | $filehandle

Where events come from. It begins with the first client, or the first L<tap|/out_supply>, in each process by itself, and
not again for others. What it gives are events as L</emit> takes them, each one value: a string, a hash,
C<< [$type => $data] >>.

=over

=item code

    supply => sub {
        my $emitter = shift;
        return AnyEvent->timer(after => 1, interval => 1, cb => sub { $emitter->emit(tick => time) });
    }

Is called with an L<EventSource::Server::Emitter>. It should emit what there is and return soon, having arranged to be
called back: whoever it keeps waiting is the first client, and with it the worker or the event loop. What it returns, such
as a watcher, is held until the supply is done, has failed or is stopped.

Where the server blocks (Starman, Starlet, plackup's own) nothing calls back between requests: there its events are those
that it emits at once and those that other requests emit by its emitter. What a child emits that it has forked stays in
that child.

=item an object with C<tap>

    supply => $other->out_supply

Is tapped as Raku's supplies are: C<< $object->tap(sub { my $event = shift }, done => sub { ... }, quit => sub { my $why =
shift }) >>, and if that returns an object with C<close> it is closed at the end. The L</out_supply> of another server
hands on events, not bytes.

=item an iterator

An object with a method C<next>, C<getline> or C<get>: its values are events, up to the first that is C<undef>; of a line
its end is taken off. An event loop has its turn after 64 of them; what waits for a value stops the loop.

=item a filehandle

Each line is the data of an event, whether it ends in LF or CRLF, up to the end of the file; a last line without an end is
one too. Lines are UTF-8, whatever the layers of the handle, and what is not becomes U+FFFD. A line of more than 1 MiB is a
failure. It is read by its descriptor, so what has been read ahead of a line is not seen. It is not closed.

=back

Iterators and filehandles are read by the event loop: AnyEvent, EV, Mojo::IOLoop or IO::Async. Under a server that blocks
they would hold the worker, so there a request croaks and says so. If such a supply is short and never waits, read it in
code and emit what it has. Where no loop is loaded at all a tap reads it to its end before C<tap> returns. If a server with
several processes inherits one handle, each line is read by one of them: open it in code there.

=head2 channel, hub

    hub => $hub, channel => 'news'

An L<EventSource::Hub> of the application's, and the channel of it that streams follow and events are published to;
C<channel> has to be given with it. What others publish to that channel is sent too, except to taps. By default a server
has a hub of its own.

=head2 gap_event, history, total_history, on_slow, per_process

As L<EventSource::Hub> has them, for a hub of its own; they croak together with L</hub>. C<per_process> is true by default
if there is a supply, for each process runs that. Without one, on a server of several processes, what is emitted in one
reaches the clients of that one, which is warned of once.

=head2 headers

    headers => ['Access-Control-Allow-Origin' => '*']

More headers, after C<Cache-Control>, C<Content-Type> and C<X-Accel-Buffering: no>; the last is left out if it is given
here.

=head2 keepalive, keepalive_interval

    keepalive => 1, keepalive_interval => 60

If C<keepalive> is true something is sent that is no event when so many seconds, above 0, fractions allowed, have been
quiet; 60 by default. On a stream that is its position, to a tap a comment, this one whether or not it was quiet, and only
where an event loop was loaded before the tap. Off by default, as with the original: but proxies end streams that are quiet,
and clients that are gone without a word are not noticed. C<keepalive_frequency>, C<keepalive-frequency> and
C<keepalive-interval> are the same as C<keepalive_interval>.

=head2 linger, max_streams, native, preamble, retry, timeout

As L<Plack::App::EventSource> has them.

=head2 start

    start => -10

Where a client begins that says nothing of what it has received (L<EventSource::Hub/start>): C<newest>, with what is emitted
from then on, by default.

=head1 METHODS

=head2 new

    my $es = EventSource::Server->new(%attributes);

Takes attributes as names and values, or as a reference to a hash of them. Croaks if one is unknown or has a value that it
cannot have, and where there is no Linux. When the object is gone it has stopped; its applications
and its streams keep it, its taps do not.

=head2 emit

    my $id = $es->emit($data);
    my $id = $es->emit($type => $data);
    my $id = $es->emit([$type => $data]);
    my $id = $es->emit({type => $type, data => $data, %fields});
    my $id = $es->emit($event);

Sends an event to all who are there, and returns its id, or C<undef> if the server was stopped. C<$data> is a string of
characters, or an object that is a string; C<$type> may be C<undef>. A hash has the fields of
L<EventSource::XS/format_event>, and C<type> for C<event>; so has an L<EventSource::Server::Event>. It does not wait for
clients.

Croaks, at the caller's line, if given anything else, if both C<type> and C<event> are given, or for the reasons of
L<EventSource::Hub/publish>; then nothing is sent.

=head2 headers

    my $headers = $es->headers;

The headers of a response, as a reference to an array. A subclass may have others.

=head2 hub

    my $hub = $es->hub;

The hub that it stands on: C<< $es->hub->stats >>.

=head2 out_supply

    my $tap = $es->out_supply->tap(sub { my $bytes = shift; ... }, done => sub { ... }, quit => sub { my $why = shift; ... });
    $tap->close;

The events from here on, encoded, without the ids of the hub: an L<EventSource::Server::Supply>, a new one each time. What
was emitted before is not there, but the first tap begins the supply and has all of it.

=head2 stop

    $es->stop;

Ends the supply, the taps, whose C<done> is called, and the streams, when each has been sent what was emitted before. It is
for good: what is emitted later is dropped, a tap that is made later is done at once, and who connects later is answered
with 204, which tells a browser not to come back. To begin anew make a new object; on the same L</hub> it has the history of
this one.

In this process: the workers of a preforking server have each to be told. When the process ends, streams are ended without
this, and their clients told to come back.

=head2 supply

    my $supply = $es->supply;

What was given as L</supply>.

=head2 to_app

    my $app = $es->to_app;

The PSGI application. The object itself can be called as one: C<< $es->($env) >>. A request that is not a GET is answered
with 405.

=head2 call

    my $response = $es->call($env);

One request.

=head2 When a supply fails

If code dies, an iterator dies, a filehandle cannot be read, an object says C<quit>, or a supply gives what is no event,
then the reason is written to C<psgi.errors> while the request runs that began it, and is a warning elsewhere; taps are told
(C<quit>) and closed, and the streams end. Nothing dies of it. Clients come back, and are sent what they have missed. Code
and an object with C<tap> begin anew with the next client or tap; an iterator and a filehandle do not, for what they have
given is gone.

A supply that is done ends nothing: events may still be emitted to the server.

=head1 EXAMPLES

Those of the original. Each is an F<app.psgi> for an event loop, for example Twiggy.

=head2 A clock

    use AnyEvent;
    use EventSource::Server;
    use EventSource::Server::Event;

    my $es = EventSource::Server->new(
        supply => sub {
            my $emitter = shift;
            return AnyEvent->timer(
                interval => 1,
                cb       => sub {
                    $emitter->emit(EventSource::Server::Event->new(type => 'tick', data => scalar localtime));
                },
            );
        },
    );
    $es->to_app;

=head2 A clock that is kept alive

    use AnyEvent;
    use EventSource::Server;

    my $es = EventSource::Server->new(
        keepalive          => 1,
        keepalive_interval => 1,
        supply             => sub {
            my $emitter = shift;
            return AnyEvent->timer(interval => 3, cb => sub { $emitter->emit(tick => scalar localtime) });
        },
    );
    $es->to_app;

=head2 JSON

    use AnyEvent;
    use EventSource::Server;

    my $es = EventSource::Server->new(
        supply => sub {
            my $emitter = shift;
            my $tick = sub { $emitter->emit({type => 'message', json => {date => scalar localtime, pid => $$}}) };
            return AnyEvent->timer(interval => 1, cb => $tick);
        },
    );
    $es->to_app;

=head2 A bridge

From a queue of messages whose client calls back; C<My::Queue> stands for it.

    use EventSource::Server;
    use My::Queue;

    my $es = EventSource::Server->new(
        supply => sub {
            my $emitter = shift;
            my $queue   = My::Queue->connect('localhost');
            $queue->consume(hello => sub { my $body = shift; $emitter->emit(hello => $body) });
            return $queue;
        },
    );
    $es->to_app;

=head2 The lines of a program

    use EventSource::Server;

    open my $lines, '-|', 'tail', '-n', '+1', '-f', $ENV{LOG_FILE} or die "tail: $!";
    my $es = EventSource::Server->new(supply => $lines);
    $es->to_app;

=head2 A response of your own

    use AnyEvent;
    use EventSource::Server;

    my $es = EventSource::Server->new(
        supply => sub {
            my $emitter = shift;
            return AnyEvent->timer(interval => 1, cb => sub { $emitter->emit(tick => scalar localtime) });
        },
    );
    my $app = sub {
        my $env = shift;
        return sub {
            my $writer = shift->([200, $es->headers]);
            $es->out_supply->tap(sub { $writer->write($_[0]) }, done => sub { $writer->close });
        };
    };

Nobody notices here that the client has left. The application of the object itself does, and sends to slow clients only
what they take.

=head1 DIFFERENCES

From the Raku module:

=over

=item *

A supply runs once in a process, whoever connects. There an on-demand supply, such as an interval, runs once for each
client, so that clients see different events and an event that costs something costs it for each.

=item *

Events have ids, a stream begins with its position, and a client that comes back has what it missed. There are no ids there,
and what is emitted while a client is away is lost to it. To taps of L</out_supply> the hub's ids are not given: whoever
wants them has streams.

=item *

What is sent for C<keepalive> is a position or a comment. There it is a NUL byte and a line end, which is no line of the
format: a client ignores it as a field without a name that it knows.

=item *

Lines end in LF; there in CRLF. Clients read both.

=item *

Data that ends with a line break has an empty line more, and empty data is an event whose data is empty; a client has what
was given. There the last line break is lost, and an event without data is not dispatched.

=item *

A line break in a type croaks. There it injects fields.

=item *

After L</stop> a client is answered with 204. There with 200 and nothing, so that browsers come back every few seconds.
Stopping twice is no error.

=item *

An emitter, a tap with C<close>, C<done> and C<quit>, and hashes stand for what Raku's own types do there; names have
underscores.

=item *

C<X-Accel-Buffering: no> is sent too. Requests other than GET are refused.

=item *

A client that leaves is forgotten, and nothing has to be stopped for that. There the stream goes on being written to a closed
socket.

=back

=head1 SEE ALSO

L<EventSource::Hub>, L<Plack::App::EventSource>, L<EventSource::Server::Emitter>, L<EventSource::Server::Supply>

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut

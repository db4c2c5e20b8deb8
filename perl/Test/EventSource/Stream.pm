package Test::EventSource::Stream;
use strict;
use warnings;

# One response as a test sees it: waits for its events and compares them.

our $VERSION = '0.100';

use Carp  qw(shortmess);
use Errno ();
use EventSource::Error;
use EventSource::Parser;
use EventSource::XS::Signals qw(without_signals);
use EventSource::XS::Test::Expected;
use EventSource::XS::Test::Loop;
use EventSource::XS::Test::Remote;
use EventSource::XS::Test::Response;
use HTTP::Headers;
use Socket qw(MSG_DONTWAIT);
use Test::Builder;
use Time::HiRes qw(time);

our @CARP_NOT = qw(Test::EventSource);

# The received bytes that a failure shows.
my $SHOWN_BYTES = 8192;

# The bytes that are received at once: while a test waits, and otherwise. The latter is more than a socket holds.
my $WAIT_BYTES = 262_144;
my $FILL_BYTES = 8_388_608;

# An event of a test may be large.
my $MAX_EVENT = 1_073_741_824;

# A new thread has copies of earlier connections. The number tells the owner from a copy, as $$ does after a fork.
my $thread = 0;

sub CLONE { $thread++; return }

sub new {
    my ($class, %option) = @_;
    my $self = bless {%option, id => '', comments => [], events => [], positions => 0}, $class;
    $self->{id} = $option{last_event_id} if defined $option{last_event_id};
    return $self->_connect;
}

# Public methods

sub attach {
    my ($self, $socket) = @_;
    $self->{socket}   = $socket;
    $self->{owner}    = "$$ $thread";
    $self->{response} = EventSource::XS::Test::Response->new(method => $self->{method});
    EventSource::XS::Test::Remote->not_inherited($socket);
    return;
}

sub close {
    my $self = shift;
    $self->_hang_up;
    $self->{response}->finish;
    EventSource::XS::Test::Loop::turn(0);
    return;
}

sub content {
    my ($self, $seconds) = @_;
    $self->has_ended($seconds)
        or EventSource::Error->throw(
        code    => 'timeout',
        message => "Test::EventSource: $self->{name} has not ended in " . $self->_seconds($seconds),
        );
    return $self->raw;
}

# If the handler had not answered when it was interrupted, a response that the interruption caused is discarded.
sub cut {
    my ($self, $reason, $had_answer) = @_;
    $self->{reason} = "its handler $reason";
    $self->fill;
    $self->{response} = EventSource::XS::Test::Response->new if !$had_answer;
    $self->{response}->break_off;
    $self->close;
    return if $self->{is_cut_expected} || !$had_answer;
    Test::Builder->new->diag("Test::EventSource: $self->{name}: $self->{reason}");
    return;
}

sub ends_ok {
    my ($self, $seconds, $name) = @_;
    my $test   = Test::Builder->new;
    my $passed = $self->has_ended($seconds) && $self->is_complete;
    $test->ok($passed, defined $name ? $name : 'the stream ends');
    return !!1 if $passed;
    $test->diag(
        $self->{response}->is_ended ? 'It was cut off.' : 'It has not ended in ' . $self->_seconds($seconds) . '.');
    $self->_explain;
    return !!0;
}

sub events {
    my ($self, $most, $seconds) = @_;
    $self->_wait_while($seconds, sub { @{$self->{events}} < $most });
    my $count = @{$self->{events}};
    return map { $self->_shift_event } 1 .. ($count < $most ? $count : $most);
}

# Receives what is available, up to a limit, since a server may send as fast as this receives. A handler of a signal that
# dies would lose bytes that were received but not stored.
sub fill {
    my ($self, $most) = @_;
    without_signals(sub { $self->_fill(defined $most ? $most : $FILL_BYTES) });
    return;
}

sub has_ended {
    my ($self, $seconds) = @_;
    return $self->_wait_while($seconds, sub { !$self->{response}->is_ended });
}

sub header {
    my ($self, $name) = @_;
    return scalar $self->headers->header($name);
}

sub headers {
    my $head = $_[0]{response}->head;
    return $head ? $head->headers : HTTP::Headers->new;
}

sub is_answered {
    my $self = shift;
    $self->fill;
    return !!$self->{response}->head;
}

sub is_complete { return $_[0]{response}->is_complete }

sub is_open {
    my $self = shift;
    EventSource::XS::Test::Loop::turn(0);
    $self->fill;
    return !$self->{response}->is_ended;
}

sub last_event_id {
    my $self = shift;
    return @{$self->{events}} ? $self->{events}[0]{before} : $self->{parser}->last_event_id;
}

sub like_event {
    my ($self, $expected, $name) = @_;
    my $wanted = EventSource::XS::Test::Expected->new($expected);
    my $test   = Test::Builder->new;
    my $event  = $self->next_event;
    my @wrong  = $event ? $wanted->differences($event) : $self->_no_event_reason;
    $test->ok(!@wrong, defined $name ? $name : 'the next event');
    return $event if !@wrong;
    $test->diag($_) for @wrong;
    $self->_explain;
    return undef;
}

sub members_are {
    my ($self, $expected, $name) = @_;
    return $self->_knows('members => 1', $self->{members}, $expected, defined $name ? $name : 'the members');
}

sub next_comment {
    my ($self, $seconds) = @_;
    $self->_wait_while($seconds, sub { !@{$self->{comments}} });
    return shift @{$self->{comments}};
}

sub next_event {
    my ($self, $seconds) = @_;
    $self->_wait_while($seconds, sub { !@{$self->{events}} });
    return $self->_shift_event;
}

sub no_event {
    my ($self, $seconds, $name) = @_;
    my $test  = Test::Builder->new;
    my $event = $self->next_event($seconds);
    $test->ok(!$event, defined $name ? $name : 'no event is received');
    return !!1 if !$event;
    $test->diag('Received ' . EventSource::XS::Test::Expected::shown_event($event));
    $self->_explain;
    return !!0;
}

sub raw { return $_[0]{raw} }

sub reconnect {
    my $self = shift;
    my ($id, $retry) = ($self->last_event_id, $self->retry);
    $self->close;
    $self->{id} = $id;
    return $self->_connect($retry);
}

sub response { return $_[0]{response}->head }

sub retry { return $_[0]{parser}->retry }

sub state_is {
    my ($self, $expected, $name) = @_;
    return $self->_knows(q{state => {key => 'item'}}, $self->{state}, $expected, defined $name ? $name : 'the state');
}

sub status {
    my $head = $_[0]{response}->head;
    return $head ? $head->code : undef;
}

# Private functions and methods

# Sends the request and waits for the head. The last event ID and the reconnection time are kept.
sub _connect {
    my ($self, $retry) = @_;
    $self->{response}                           = EventSource::XS::Test::Response->new;
    $self->{parser}                             = EventSource::Parser->new(max_event => $MAX_EVENT);
    $self->{name}                               = "$self->{method} $self->{path}";
    @$self{qw(raw line events comments reason)} = ('', '', [], [], undef);
    $self->{response}->finish;    # There is no response before there is a connection.
    my $bytes = $self->{id};
    utf8::encode($bytes);
    $self->{parser}->feed("id: $bytes\n\n")    if length $bytes;
    $self->{parser}->feed("retry: $retry\n\n") if defined $retry;
    $self->{server}->begin($self, $self->{request}->($bytes), cut_after => $self->{cut_after} || $self->{timeout});
    $self->_wait_while(undef, sub { !$self->{response}->head && !$self->{response}->is_ended });
    return $self if $self->{response}->head;
    my $reason =
          $self->{response}->problem  ? $self->{response}->problem
        : $self->{reason}             ? $self->{reason}
        : $self->{response}->is_ended ? 'the connection ended without an answer'
        :                               'it was not answered in ' . $self->_seconds;
    $self->{reason} = $reason;
    $self->close;
    my $news = $self->{server}->news;
    die shortmess("Test::EventSource: $self->{name}: $reason") . (length $news ? "The server printed:\n$news" : '');
}

sub _differences {
    my ($self, $state, $expected) = @_;
    my @wrong     = $state->differences($expected);
    my $positions = @{$self->{events}} ? $self->{events}[0]{positions} : $self->{positions};
    push @wrong, 'The state is not complete: no position has come.'
        if defined $self->{position_event} && !$state->is_complete($positions);
    return @wrong;
}

# Prints the state of the response, the last received bytes and the server's output.
sub _explain {
    my $self = shift;
    my $test = Test::Builder->new;
    my $state =
         !$self->{response}->is_ended ? 'is open'
        : $self->{reason}             ? "has ended: $self->{reason}"
        : $self->is_complete          ? 'has ended'
        :                               'was cut off';
    my $head = $self->response;
    my $type = $self->header('Content-Type') || 'no type';
    my $what = $head ? $head->code . " $type" : 'not answered';
    $test->diag("$self->{name}, $what, $state. Received " . length($self->raw) . ' bytes:');
    my $left = length($self->raw) - $SHOWN_BYTES;
    $test->diag("  ($left bytes before these)") if $left > 0;
    my $raw = $left > 0 ? substr $self->raw, -$SHOWN_BYTES : $self->raw;
    $test->diag("  $_") for map { EventSource::XS::Test::Expected::escaped($_) } split /(?<=\n)/, $raw;
    my $news = $self->{server}->news;
    $test->diag("The server printed:\n$news") if length $news;
    return;
}

# Receives what is available, at most so many bytes and the rest of the last read.
sub _fill {
    my ($self, $most) = @_;
    while ($self->{socket} && $most > 0) {
        my $answer = CORE::recv $self->{socket}, my $bytes, 65_536, MSG_DONTWAIT;
        next if !defined $answer && $!{EINTR};
        return if !defined $answer && ($!{EAGAIN} || $!{EWOULDBLOCK});
        if (!defined $answer || !length $bytes) {
            $self->{reason} ||= "the connection was lost: $!" if !defined $answer;
            $self->{response}->finish;
        }
        else { $self->_take($self->{response}->take($bytes)) }
        $self->_hang_up if $self->{response}->is_ended;
        $most -= length $bytes;
    }
    return;
}

# A child of the application holds this end too, so closing it would not end the connection; shutdown does.
sub _hang_up {
    my $self   = shift;
    my $socket = delete $self->{socket};
    return if !$socket || !defined fileno $socket;
    shutdown $socket, 2 if $self->{owner} eq "$$ $thread";
    CORE::close $socket;
    return;
}

sub _is_event_stream {
    my $head = $_[0]{response}->head;
    return $head && $head->code == 200 && $head->content_type eq 'text/event-stream';
}

# A hub's position is an event without data, which tells the client an id and nothing else.
sub _is_position {
    my ($self, $event) = @_;
    return defined $self->{position_event} && $event->{event} eq $self->{position_event} && $event->{data} eq '';
}

# Takes events until the client knows what is expected. It does not before its state is complete: a position says so, and may
# come after the last event.
sub _knows {
    my ($self, $option, $state, $expected, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    EventSource::Error->throw(
        code    => 'state',
        message => "Test::EventSource: this is for a stream that is opened with $option"
    ) if !$state;
    my @wrong;
    my $is_wrong = sub { !!(@wrong = $self->_differences($state, $expected)) };
    $self->_wait_while(
        undef,
        sub {
            while ($is_wrong->()) { $self->_shift_event or return !!1 }
            return !!0;
        }
    );
    my $test = Test::Builder->new;
    $test->ok(!@wrong, $name);
    return !!1 if !@wrong;
    $test->diag($_) for @wrong;
    $self->_explain;
    return !!0;
}

sub _no_event_reason {
    my $self = shift;
    return 'No event received: the response is not an event stream.' if !$self->_is_event_stream;
    return 'No event received: the stream has ended.'                if $self->{response}->is_ended;
    return 'No event received in ' . $self->_seconds . '.';
}

sub _seconds {
    my ($self, $seconds) = @_;
    $seconds = $self->{timeout} if !defined $seconds;
    return "$seconds second" . ($seconds == 1 ? '' : 's');
}

sub _shift_event {
    my $self  = shift;
    my $entry = shift @{$self->{events}} or return undef;
    $_->take(@$entry{qw(event positions)}) for grep { defined } @$self{qw(members state)};
    return $entry->{event};
}

# Parses bytes of the body. The parser is fed one line at a time, so that the last event ID before each event is known:
# last_event_id tells only of the events that the test has taken.
sub _take {
    my ($self, $bytes) = @_;
    $self->{raw} .= $bytes;
    return if !$self->_is_event_stream;
    while ($bytes =~ /\G([^\r\n]*(?:\r\n?|\n)|[^\r\n]+)/g) {
        my $piece  = $1;
        my $before = $self->{parser}->last_event_id;
        for my $event ($self->{parser}->feed($piece)) {
            if ($self->_is_position($event)) { $self->{positions}++ }
            else { push @{$self->{events}}, {event => $event, before => $before, positions => $self->{positions}} }
        }
        $self->{line} .= $piece;
        next if $piece !~ /[\r\n]\z/;
        push @{$self->{comments}}, $1 if $self->{line} =~ /\A:([^\r\n]*)/;
        $self->{line} = '';
    }
    return;
}

# Waits while the condition is true, at most so many seconds and until the response ends. Returns true if the condition
# became false.
sub _wait_while {
    my ($self, $seconds, $condition) = @_;
    $seconds = $self->{timeout} if !defined $seconds;
    my $deadline = time + $seconds;
    while (1) {
        $self->fill($WAIT_BYTES);
        return !!1 if !$condition->();
        my $left = $deadline - time;
        return !!0 if $left <= 0 || $self->{response}->is_ended;
        EventSource::XS::Test::Loop::turn($left, $self->{socket} || ());
    }
    return;
}

sub DESTROY {
    my $self = shift;
    local ($@, $!, $?);
    $self->_hang_up;
    return;
}

1;
__END__

=encoding utf8

=head1 NAME

Test::EventSource::Stream - Test one stream of events

=head1 SYNOPSIS

    use Test::EventSource;
    use Test::More;

    my $app = sub {
        my $env = shift;
        my $id  = ($env->{HTTP_LAST_EVENT_ID} || 0) + 1;
        return [200, ['Content-Type' => 'text/event-stream'], ["retry: 500\n\nid: $id\ndata: one\n\ndata: two\n\n"]];
    };

    my $stream = Test::EventSource->new(app => $app)->get('/');
    my $event  = $stream->next_event;
    is $event->{data}, 'one';
    $stream->like_event('two', 'the second event');
    $stream->ends_ok(5, 'the stream ends after it');
    is $stream->reconnect->last_event_id, 1, 'the client reconnects with the last ID';
    $stream->like_event({id => 2, data => qr/one/}, 'the client receives the next event');
    is $stream->retry, 500;
    done_testing;

=head1 DESCRIPTION

L<Test::EventSource/get> returns such an object.

C<$seconds> always limits a wait. It is a number above 0, fractions allowed, by default the stream's C<timeout>. A wait
also ends when the response has ended.

The state of the stream is that of the test: an event that was received but not taken by the test changes neither
L</last_event_id> nor the request of L</reconnect>.

=head1 METHODS THAT ARE TESTS

Each of these is one test of L<Test::More>. A failure reports what was received instead, the state of the response, the
last 8 KiB of its bytes, and what the server has printed. It is reported at the caller's line; C<$Test::Builder::Level>
selects a caller further out.

=head2 ends_ok

    $stream->ends_ok;
    $stream->ends_ok($seconds, $name);

Test that the response ends in time and completely, not within a chunk. Returns true if it does.

=head2 like_event

    my $event = $stream->like_event({event => 'price', id => qr/^7-/, data => 'x'}, $name);
    my $event = $stream->like_event({json => {price => [1, 2]}}, $name);
    my $event = $stream->like_event('x', $name);

Test that the next event is as expected, and take it. C<event>, C<id> and C<data> are strings to be equal to or regular
expressions to match. C<json> is a structure that the data, decoded as JSON, must equal as by C<is_deeply>. Other fields
may have any value. An argument that is not a hash is the expected data. Waits for the stream's C<timeout>.

Returns the event, or C<undef> if the test fails. Croaks if a field has another name or an invalid value.

=head2 members_are

    my $stream = $es->get('/room/7', members => 1);
    $stream->members_are(['ann', 'bob'], $name);
    $stream->members_are({ann => {name => 'Ann'}, bob => {name => 'Bob', typing => 1}}, $name);

Test that the client knows exactly these members (L<EventSource::Hub/Members>): an array of their ids, or a hash of each one's
data. The data is a hash, of what C<json> has beside the id, or a string or a regular expression for that of the event. For a
stream that begins with the state, with the option C<members> (L<Test::EventSource/get>). Waits as L</state_is> does.
L<Test::EventSource/members_are> can ask a hub instead.

Returns true if these are here. A failure reports each member that differs.

=head2 no_event

    $stream->no_event($seconds, $name);

Test that no event is received within C<$seconds> or until the response ends. An event that is received is taken. Returns
true if there is none.

=head2 state_is

    my $stream = $es->get('/events', state => {key => 'item'});
    $stream->state_is({bolt => {json => {item => 'bolt', left => 3}}, nut => qr/"left":7/}, $name);
    $stream->state_is({}, 'nothing is sold');

Test that the client knows exactly these keys, and of each the event as L</like_event> takes it. For a stream that keeps the
state (L<EventSource::Hub/State>), as its option C<state> says (L<Test::EventSource/get>). Takes events until the state is
complete and as expected, at most for the stream's C<timeout>: so it also waits for a change that the test has just published.
Events that other methods take count. A C<gap> clears the state; L</reconnect> keeps it, as a page does.

Returns true if the state is so. A failure reports each key that differs.

=head1 METHODS

=head2 close

    $stream->close;

Close the connection, as a client that disconnects. Events that were received can still be taken.

=head2 content

    my $bytes = $stream->content($seconds);

Return the whole body, without framing, when the response has ended. Croaks if it does not end in time.

=head2 events

    my @events = $stream->events($count, $seconds);

Take the next events, at most C<$count>. Returns fewer if the time is up or the response ends.

=head2 has_ended

    my $ended = $stream->has_ended($seconds);

Wait for the end of the response. Returns true if it ends in time.

=head2 header, headers

    my $type    = $stream->header('Content-Type');
    my $headers = $stream->headers;

Return one header of the response; return all of them, an L<HTTP::Headers>.

=head2 is_complete

    my $complete = $stream->is_complete;

Return true if the response has ended in the way that its framing says. A response without framing ends with its
connection.

=head2 is_open

    my $open = $stream->is_open;

Return true if the response has not ended yet. Does not wait.

=head2 last_event_id

    my $id = $stream->last_event_id;

Return the last event ID, set by the last event that was taken, or by a position or a block
without data after it; empty if there is
none. Events that were not taken do not count.

=head2 next_comment

    my $text = $stream->next_comment($seconds);

Take the next comment: its bytes, without the colon. Returns C<undef> if there is none in time. Comments and events are
taken independently of each other.

=head2 next_event

    my $event = $stream->next_event($seconds);

Take the next event, a hash of C<event>, C<data> and C<id> (L<EventSource::Parser/feed>). Returns C<undef> if there is none
in time, if the response has ended, or if it is not an event stream, which has the status 200 and the type
C<text/event-stream>.

=head2 raw

    my $bytes = $stream->raw;

Return the received bytes of the body, without framing.

=head2 reconnect

    $stream->reconnect;

Close the connection and make the same request again, with L</last_event_id> as C<Last-Event-ID> if there is one. A
browser does the same, but waits for the reconnection time first. Events that were not taken are dropped.

Returns the stream. Croaks for the reasons of L<Test::EventSource/get>: then the stream has ended, has neither headers nor
L</response> nor L</status>, and can reconnect later.

=head2 response

    my $head = $stream->response;

Return the head of the response, an L<HTTP::Response>.

=head2 retry

    my $milliseconds = $stream->retry;

Return the reconnection time that the stream has set last, in milliseconds, or C<undef>.

=head2 status

    my $status = $stream->status;

Return the status of the response, 200 for a stream.

=head1 METHODS FOR SERVERS

=head2 new

    my $stream = Test::EventSource::Stream->new(
        server  => $server,
        request => sub { my $last_event_id = shift; ... },
        method  => 'GET',
        path    => '/',
        timeout => 5,
    );

Connect to a server and wait for the head of the response. C<request> returns the bytes of the request, which
C<< $server->begin >> sends. C<last_event_id>, C<position_event>, C<state> and C<cut_after> are optional.

=head2 attach

    $stream->attach($socket);

Set the client's end of the connection.

=head2 cut

    $stream->cut($reason, $had_answer);

End the stream because its handler was interrupted. C<$had_answer> is true if the handler had answered before.

=head2 fill

    $stream->fill;

Receive what is available, without waiting.

=head2 is_answered

    my $answered = $stream->is_answered;

Return true if the head of the response was received.

=head1 SEE ALSO

L<Test::EventSource>, L<EventSource::Parser>

=cut

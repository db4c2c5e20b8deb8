package Test::EventSource::Stream;
use strict;
use warnings;

# One response as a test sees it: waits for its events and compares them.

our $VERSION = '0.100';

use EventSource::Error;
use EventSource::Parser;
use EventSource::XS::Client::Response;
use EventSource::XS::Hub::Word;
use EventSource::XS::Settings;
use EventSource::XS::Signals qw(without_signals);
use EventSource::XS::Test::Expected;
use EventSource::XS::Test::Loop;
use EventSource::XS::Test::Remote;
use HTTP::Headers;
use HTTP::Response;
use List::Util qw(min);
use Socket     qw(MSG_DONTWAIT);
use Test::Builder;

my $SETTINGS = EventSource::XS::Settings->new('Test::EventSource');
my $RESPONSE = 'EventSource::XS::Client::Response';
my $WORD     = 'EventSource::XS::Hub::Word';

# What is known of a stream before an event.
my @FACTS = qw(positions shows_channels);

# The received bytes that a failure shows.
my $SHOWN_BYTES = 8192;

# The bytes that are received at once: while a test waits, and otherwise. The latter is more than a socket takes.
my $WAIT_BYTES = 262_144;
my $FILL_BYTES = 8_388_608;

# An event of a test may be large.
my $MAX_EVENT = 1_073_741_824;

# A new thread has copies of earlier connections. The number tells the owner from a copy, as $$ does after a fork.
my $thread = 0;

sub CLONE { $thread++; return }

# request returns the bytes of a request, given the last event ID, and $server->begin sends them.
sub new {
    my ($class, %option) = @_;
    my $self = bless {%option, id => '', comments => [], events => [], positions => 0}, $class;
    $self->{id} = $option{last_event_id} if defined $option{last_event_id};
    return $self->_connect;
}

# Public methods

# Sets the client's end of the connection.
sub attach {
    my ($self, $socket) = @_;
    $self->{socket}   = $socket;
    $self->{owner}    = "$$ $thread";
    $self->{response} = $RESPONSE->new($self->{method});
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
        or $SETTINGS->throw(timeout => "$self->{name} has not ended in " . $self->_seconds($seconds));
    return $self->{raw};
}

# If the handler had not answered when it was interrupted, a response that the interruption caused is discarded.
sub cut {
    my ($self, $reason, $had_answer) = @_;
    $self->{reason} = "its handler $reason";
    $self->fill;
    $self->{response} = $RESPONSE->new if !$had_answer;
    $self->{response}->finish(!!1);
    $self->close;
    return if $self->{is_cut_expected} || !$had_answer;
    Test::Builder->new->diag("Test::EventSource: $self->{name}: $self->{reason}");
    return;
}

sub ends_ok {
    my ($self, $seconds, $name) = @_;
    my $passed = $self->has_ended($seconds) && $self->{response}->is_complete;
    my $why    = $self->{response}->is_ended ? 'was cut off.' : 'has not ended in ' . $self->_seconds($seconds) . '.';
    return $self->_passes($name // 'the stream ends', $passed ? () : "It $why");
}

sub events {
    my ($self, $most, $seconds) = @_;
    $self->_wait_while($seconds, sub { @{$self->{events}} < $most });
    return map { $self->_shift_event } 1 .. min($most, scalar @{$self->{events}});
}

# Receives what is available, up to a limit, since a server may send as fast as this receives. A handler of a signal that
# dies would lose bytes that were received but not stored.
sub fill {
    my ($self, $most) = @_;
    without_signals(sub { $self->_fill(defined $most ? $most : $FILL_BYTES) });
    return $self;
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
    my $response = $_[0]->response;
    return $response ? $response->headers : HTTP::Headers->new;
}

sub is_answered { return !!$_[0]->fill->{response}->head }

# Receives first, as all methods do that tell what was received so far: a test may wait for what they return.
sub is_complete { return $_[0]->fill->{response}->is_complete }

sub is_open {
    my $self = shift;
    EventSource::XS::Test::Loop::turn(0);
    return !$self->fill->{response}->is_ended;
}

sub last_event_id {
    my $self = shift->fill;
    return @{$self->{events}} ? $self->{events}[0]{before} : $self->{parser}->last_event_id;
}

sub like_event {
    my ($self, $expected, $name) = @_;
    my $wanted = EventSource::XS::Test::Expected->new($expected);
    my $event  = $self->next_event;
    my @wrong  = $event ? $wanted->differences($event) : $self->_no_event_reason;
    return $self->_passes($name // 'the next event', @wrong) ? $event : undef;
}

sub members_are {
    my ($self, $expected, $name) = @_;
    return $self->_knows('members => 1', $self->{members}, $expected, $name // 'the members');
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
    my $event = $self->next_event($seconds);
    my @wrong = $event ? 'Received ' . EventSource::XS::Test::Expected::shown_event($event) : ();
    return $self->_passes($name // 'no event is received', @wrong);
}

sub raw { return $_[0]->fill->{raw} }

sub reconnect {
    my $self = shift;
    my ($id, $retry) = ($self->last_event_id, $self->retry);
    $self->close;
    $self->{id} = $id;
    return $self->_connect($retry);
}

# The head as an object, which keeps the content that it is given.
sub response {
    my $head = $_[0]{response}->head or return undef;
    $head->{object} ||= HTTP::Response->new(@$head{qw(status reason)}, [map { @$_ } @{$head->{fields}}]);
    $head->{object}->protocol("HTTP/$head->{version}");
    return $head->{object};
}

sub retry { return $_[0]->fill->{parser}->retry }

sub state_is {
    my ($self, $expected, $name) = @_;
    return $self->_knows(q{state => {key => 'item'}}, $self->{state}, $expected, $name // 'the state');
}

sub status {
    my $head = $_[0]{response}->head;
    return $head ? $head->{status} : undef;
}

# Private functions and methods

# Sends the request and waits for the head. The last event ID and the reconnection time are kept.
sub _connect {
    my ($self, $retry) = @_;
    $self->{response}                                          = $RESPONSE->new;
    $self->{parser}                                            = EventSource::Parser->new(max_event => $MAX_EVENT);
    $self->{name}                                              = "$self->{method} $self->{path}";
    @$self{qw(raw line events comments reason shows_channels)} = ('', '', [], [], undef, undef);
    $self->{response}->finish;    # There is no response before there is a connection.
    my $bytes = $self->{id};
    utf8::encode($bytes);
    $self->{parser}->feed("id: $bytes\n\n")    if length $bytes;
    $self->{parser}->feed("retry: $retry\n\n") if defined $retry;
    $self->{server}->begin($self, $self->{request}->($bytes), cut_after => $self->{cut_after} || $self->{timeout});
    $self->_wait_while(undef, sub { !$self->{response}->head && !$self->{response}->is_ended });
    return $self if $self->{response}->head;
    $self->{reason} =
           $self->{response}->problem
        || $self->{reason}
        || (
        $self->{response}->is_ended
        ? 'the connection ended without an answer'
        : 'it was not answered in ' . $self->_seconds
        );
    $self->close;
    my $news = $self->{server}->news;
    die "Test::EventSource: $self->{name}: $self->{reason}"
        . EventSource::Error->here->{location}
        . (length $news ? "The server printed:\n$news" : '');
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
         !$self->{response}->is_ended    ? 'is open'
        : $self->{reason}                ? "has ended: $self->{reason}"
        : $self->{response}->is_complete ? 'has ended'
        :                                  'was cut off';
    my $head = $self->response;
    my $type = $self->header('Content-Type') || 'no type';
    my $what = $head ? $head->code . " $type" : 'not answered';
    $test->diag("$self->{name}, $what, $state. Received " . length($self->{raw}) . ' bytes:');
    my $left = length($self->{raw}) - $SHOWN_BYTES;
    $test->diag("  ($left bytes before these)") if $left > 0;
    my $raw = $left > 0 ? substr $self->{raw}, -$SHOWN_BYTES : $self->{raw};
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

# A child of the application has this end too, so closing it would not end the connection; shutdown does.
sub _hang_up {
    my $self   = shift;
    my $socket = delete $self->{socket};
    return if !$socket || !defined fileno $socket;
    shutdown $socket, 2 if $self->{owner} eq "$$ $thread";
    CORE::close $socket;
    return;
}

sub _is_event_stream {
    my $response = $_[0]->response;
    return $response && $response->code == 200 && $response->content_type eq 'text/event-stream';
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
    $SETTINGS->throw(state => "this is for a stream that is opened with $option") if !$state;
    my @wrong;
    my $is_wrong = sub { !!(@wrong = $self->_differences($state, $expected)) };
    $self->_wait_while(
        undef,
        sub {
            while ($is_wrong->()) { $self->_shift_event or return !!1 }
            return !!0;
        }
    );
    return $self->_passes($name, @wrong);
}

sub _no_event_reason {
    my $self = shift;
    return 'No event received: the response is not an event stream.' if !$self->_is_event_stream;
    return 'No event received: the stream has ended.'                if $self->{response}->is_ended;
    return 'No event received in ' . $self->_seconds . '.';
}

# A test of the caller's caller, which passes if nothing is wrong.
sub _passes {
    my ($self, $name, @wrong) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $test = Test::Builder->new;
    return !!1 if $test->ok(!@wrong, $name);
    $test->diag($_) for @wrong;
    $self->_explain;
    return !!0;
}

sub _seconds {
    my ($self, $seconds) = @_;
    $seconds = $self->{timeout} if !defined $seconds;
    return "$seconds second" . ($seconds == 1 ? '' : 's');
}

sub _shift_event {
    my $self  = shift;
    my $entry = shift @{$self->{events}} or return undef;
    $_->take($entry->{event}, @$entry{@FACTS}) for grep { defined } @$self{qw(members state)};
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
            if    ($WORD->is_word($event))      { $self->{shows_channels} ||= $WORD->shows_channels($event) }
            elsif ($self->_is_position($event)) { $self->{positions}++ }
            else {
                push @{$self->{events}}, {event => $event, before => $before, map { $_ => $self->{$_} } @FACTS};
            }
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
    my $is_met;
    my $is_over = sub {
        $self->fill($WAIT_BYTES);
        $is_met = !$condition->();
        return $is_met || $self->{response}->is_ended;
    };
    EventSource::XS::Test::Loop::wait_for($is_over, $seconds // $self->{timeout}, $self->{socket} || ());
    return $is_met;
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
    is $stream->next_event->{data}, 'one';
    $stream->like_event('two', 'the second event');
    $stream->ends_ok(5, 'the stream ends after it');
    is $stream->reconnect->last_event_id, 1, 'the client resumes';
    $stream->like_event({id => 2, data => qr/one/}, 'the next event');
    is $stream->retry, 500;
    done_testing;

=head1 DESCRIPTION

L<Test::EventSource/get> returns such an object. C<$seconds> limits a wait: above 0, fractions allowed, by default the
stream's C<timeout>. A wait also ends with the response. An event that the test has not taken changes neither
L</last_event_id> nor L</reconnect>.

=head1 METHODS THAT ARE TESTS

Each is one test of L<Test::More>, and returns whether it passes. A failure reports what was received instead, the response's
last 8 KiB, and what the server has printed.

=head2 ends_ok

    $stream->ends_ok;
    $stream->ends_ok($seconds, $name);

Test that the response ends in time and completely, not within a chunk.

=head2 like_event

    my $event = $stream->like_event({event => 'price', id => qr/^7-/, data => 'x'}, $name);
    my $event = $stream->like_event({json => {price => [1, 2]}}, $name);
    my $event = $stream->like_event('x', $name);

Take the next event, and test that it is as expected. C<event>, C<id> and C<data> are strings or regular expressions. C<json>
is a structure that the data, decoded as JSON, must equal as by C<is_deeply>. Any other argument than a hash is the expected
data.

Returns the event, or C<undef> if the test fails. Croaks if a field has another name or an invalid value.

=head2 members_are

    my $stream = $es->get('/room/7', members => 1);
    $stream->members_are(['ann', 'bob'], $name);
    $stream->members_are({ann => {name => 'Ann'}, bob => {name => 'Bob', typing => 1}}, $name);

Test that the client of a stream with the option C<members>, which begins with the state, knows exactly these members: an
array of their ids, or a hash of each one's data. The data is a hash, of what C<json> has beside the id, or a string or a
regular expression for that of the event. Waits as L</state_is> does.

=head2 no_event

    $stream->no_event($seconds, $name);

Test that no event is received within C<$seconds> or until the response ends. An event is taken.

=head2 state_is

    my $stream = $es->get('/events', state => {key => 'item'});
    $stream->state_is({bolt => {json => {item => 'bolt', left => 3}}, nut => qr/"left":7/}, $name);
    $stream->state_is({}, 'nothing is sold');

Test that the client of a stream with the option C<state> (L<Test::EventSource/get>) knows exactly these keys, and of each the
event as L</like_event> takes it. Takes events until the state is complete and as expected, at most for the stream's
C<timeout>. Events that other methods take count. A C<gap> clears the state; L</reconnect> keeps it.

=head1 METHODS

=head2 close

    $stream->close;

Close the connection. Events that were received can still be taken.

=head2 content, raw

    my $bytes = $stream->content($seconds);
    my $bytes = $stream->raw;

Return the whole body, without framing, when the response has ended, or what has come so far. C<content> croaks if the
response does not end in time.

=head2 events

    my @events = $stream->events($count, $seconds);

Take the next C<$count> events, or fewer if the time is up or the response ends.

=head2 has_ended, is_complete, is_open

    my $ended = $stream->has_ended($seconds);
    my $open  = $stream->is_open;

Return true if the response ends in time; if it has ended as its framing says; if it has not ended yet.

=head2 last_event_id

    my $id = $stream->last_event_id;

Return the id of the last event that was taken, or of a position or a block without data after it, or an empty string.

=head2 next_comment

    my $text = $stream->next_comment($seconds);

Take the next comment: its bytes, without the colon. Returns C<undef> if there is none in time.

=head2 next_event

    my $event = $stream->next_event($seconds);

Take the next event, a hash of C<event>, C<data> and C<id> (L<EventSource::Parser/feed>). Returns C<undef> if there is none in
time, or if the response is not an event stream.

=head2 reconnect

    $stream->reconnect;

Close the connection and make the same request again, with L</last_event_id> as C<Last-Event-ID> if there is one. Events that
were not taken are dropped. Returns the stream. Croaks as L<Test::EventSource/get> does, and can be called again then.

=head2 response, header, headers, status

    my $head = $stream->response;
    my $type = $stream->header('Content-Type');

Return the head of the response (L<HTTP::Response>), one of its headers, all of them (L<HTTP::Headers>) or its status.

=head2 retry

    my $milliseconds = $stream->retry;

Return the reconnection time that the stream has set last, in milliseconds, or C<undef>.

=cut

package Test::EventSource::Stream;
use strict;
use warnings;

# One response as a test sees it: waits for its events, and makes tests of them.

our $VERSION = '0.100';

use Carp  qw(croak shortmess);
use Errno ();
use EventSource::Parser;
use HTTP::Headers;
use POSIX  qw(SIG_BLOCK SIG_SETMASK sigprocmask);
use Socket qw(MSG_DONTWAIT);
use Test::Builder;
use Test::EventSource::Expected;
use Test::EventSource::Loop;
use Test::EventSource::Remote;
use Test::EventSource::Response;
use Time::HiRes qw(time);

our @CARP_NOT = qw(Test::EventSource);

# How much of what was received a failure shows, in bytes.
my $SHOWN = 8192;

# How much is taken at once, in bytes: while a test waits, and otherwise, where it is more than a socket holds.
my $PIECE = 262_144;
my $MOST  = 8_388_608;

my $SIGNALS = POSIX::SigSet->new;
$SIGNALS->fillset;

# An event of a test may be large.
my $MAX_EVENT = 1_073_741_824;

# Whose connections these are, besides the process: a thread has copies of those that were there before it.
my $thread = 0;

sub CLONE { $thread++; return }

# Connects. Options: server, what begins a connection; request, called with a last event ID, gives the bytes to send;
# method; path; last_event_id; timeout; cut_after.
sub new {
    my ($class, %option) = @_;
    my $self = bless {%option, id => '', comments => [], events => []}, $class;
    $self->{id} = $option{last_event_id} if defined $option{last_event_id};
    return $self->_connect;
}

# Public methods

# As a server's connection gives its other end.
sub attach {
    my ($self, $socket) = @_;
    $self->{socket}   = $socket;
    $self->{owner}    = "$$ $thread";
    $self->{response} = Test::EventSource::Response->new(method => $self->{method});
    Test::EventSource::Remote->not_inherited($socket);
    return;
}

sub close {
    my $self = shift;
    $self->_hang_up;
    $self->{response}->finish;
    Test::EventSource::Loop::turn(0);
    return;
}

sub content {
    my ($self, $seconds) = @_;
    $self->has_ended($seconds)
        or croak "Test::EventSource: $self->{name} has not ended in " . $self->_seconds($seconds);
    return $self->raw;
}

# What a server in this process calls when it has ended a handler that did not return. What answered for one that had not
# answered by itself is not its answer.
sub cut {
    my ($self, $why, $had_answer) = @_;
    $self->{why} = "its handler $why";
    $self->fill;
    $self->{response} = Test::EventSource::Response->new if !$had_answer;
    $self->{response}->break_off;
    $self->close;
    return if $self->{is_cut_expected} || !$had_answer;
    Test::Builder->new->diag("Test::EventSource: $self->{name}: $self->{why}");
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
    return map { $_->{event} } splice @{$self->{events}}, 0, $most < @{$self->{events}} ? $most : @{$self->{events}};
}

# Takes what has come: all, unless more comes as fast as it is taken. No signal's handler runs meanwhile: one that dies
# would lose what has been received and not yet been taken.
sub fill {
    my ($self, $most) = @_;
    my $blocked = POSIX::SigSet->new;
    sigprocmask(SIG_BLOCK, $SIGNALS, $blocked);
    local $@;
    my $returned = eval { $self->_fill(defined $most ? $most : $MOST); 1 };
    my $trouble  = $@;
    sigprocmask(SIG_SETMASK, $blocked);
    die $trouble if !$returned;
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

# Whether the head of the response has come.
sub is_answered {
    my $self = shift;
    $self->fill;
    return !!$self->{response}->head;
}

sub is_complete { return $_[0]{response}->is_complete }

sub is_open {
    my $self = shift;
    Test::EventSource::Loop::turn(0);
    $self->fill;
    return !$self->{response}->is_ended;
}

sub last_event_id {
    my $self = shift;
    return @{$self->{events}} ? $self->{events}[0]{before} : $self->{parser}->last_event_id;
}

sub like_event {
    my ($self, $expected, $name) = @_;
    my $wanted = Test::EventSource::Expected->new($expected);
    my $test   = Test::Builder->new;
    my $event  = $self->next_event;
    my @wrong  = $event ? $wanted->differences($event) : $self->_nothing_came;
    $test->ok(!@wrong, defined $name ? $name : 'the next event');
    return $event if !@wrong;
    $test->diag($_) for @wrong;
    $self->_explain;
    return undef;
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
    $test->ok(!$event, defined $name ? $name : 'no event comes');
    return !!1 if !$event;
    $test->diag('There came ' . Test::EventSource::Expected::shown_event($event));
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

sub status {
    my $head = $_[0]{response}->head;
    return $head ? $head->code : undef;
}

# Private functions and methods

# Sends the request, and waits for the head. What the event source knows of its last connection stays.
sub _connect {
    my ($self, $retry) = @_;
    $self->{response}                        = Test::EventSource::Response->new;
    $self->{parser}                          = EventSource::Parser->new(max_event => $MAX_EVENT);
    $self->{name}                            = "$self->{method} $self->{path}";
    @$self{qw(raw line events comments why)} = ('', '', [], [], undef);
    $self->{response}->finish;    # there is none before there is a connection
    my $bytes = $self->{id};
    utf8::encode($bytes);
    $self->{parser}->feed("id: $bytes\n\n")    if length $bytes;
    $self->{parser}->feed("retry: $retry\n\n") if defined $retry;
    $self->{server}->begin($self, $self->{request}->($bytes), cut_after => $self->{cut_after} || $self->{timeout});
    $self->_wait_while(undef, sub { !$self->{response}->head && !$self->{response}->is_ended });
    return $self if $self->{response}->head;
    my $why =
          $self->{response}->trouble  ? $self->{response}->trouble
        : $self->{why}                ? $self->{why}
        : $self->{response}->is_ended ? 'the connection ended without an answer'
        :                               'it was not answered in ' . $self->_seconds;
    $self->{why} = $why;
    $self->close;
    my $news = $self->{server}->news;
    die shortmess("Test::EventSource: $self->{name}: $why") . (length $news ? "The server printed:\n$news" : '');
}

# What a failed test tells besides.
sub _explain {
    my $self = shift;
    my $test = Test::Builder->new;
    my $state =
         !$self->{response}->is_ended ? 'is open'
        : $self->{why}                ? "has ended: $self->{why}"
        : $self->is_complete          ? 'has ended'
        :                               'was cut off';
    my $head = $self->response;
    my $type = $self->header('Content-Type') || 'no type';
    my $what = $head ? $head->code . " $type" : 'not answered';
    $test->diag("$self->{name}, $what, $state. Received " . length($self->raw) . ' bytes:');
    my $left = length($self->raw) - $SHOWN;
    $test->diag("  ($left bytes before these)") if $left > 0;
    my $raw = $left > 0 ? substr $self->raw, -$SHOWN : $self->raw;
    $test->diag("  $_") for map { Test::EventSource::Expected::escaped($_) } split /(?<=\n)/, $raw;
    my $news = $self->{server}->news;
    $test->diag("The server printed:\n$news") if length $news;
    return;
}

# Takes what has come, so many bytes or a few more.
sub _fill {
    my ($self, $most) = @_;
    while ($self->{socket} && $most > 0) {
        my $answer = CORE::recv $self->{socket}, my $bytes, 65_536, MSG_DONTWAIT;
        next if !defined $answer && $!{EINTR};
        return if !defined $answer && ($!{EAGAIN} || $!{EWOULDBLOCK});
        if (!defined $answer || !length $bytes) {
            $self->{why} ||= "the connection was lost: $!" if !defined $answer;
            $self->{response}->finish;
        }
        else { $self->_take($self->{response}->take($bytes)) }
        $self->_hang_up if $self->{response}->is_ended;
        $most -= length $bytes;
    }
    return;
}

# What the application has forked holds this end too: to close it would not end the connection.
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

sub _nothing_came {
    my $self = shift;
    return 'No event can come: the response is no event stream.' if !$self->_is_event_stream;
    return 'No event came, and the stream has ended.'            if $self->{response}->is_ended;
    return 'No event came in ' . $self->_seconds . '.';
}

sub _seconds {
    my ($self, $seconds) = @_;
    $seconds = $self->{timeout} if !defined $seconds;
    return "$seconds second" . ($seconds == 1 ? '' : 's');
}

sub _shift_event {
    my $self  = shift;
    my $entry = shift @{$self->{events}};
    return $entry ? $entry->{event} : undef;
}

# Bytes of the body. The parser is given a line at a time, so that it is known after which event an ID has changed: the
# event source of a test has come as far as the test has.
sub _take {
    my ($self, $bytes) = @_;
    $self->{raw} .= $bytes;
    return if !$self->_is_event_stream;
    while ($bytes =~ /\G([^\r\n]*(?:\r\n?|\n)|[^\r\n]+)/g) {
        my $piece  = $1;
        my $before = $self->{parser}->last_event_id;
        push @{$self->{events}}, map { {event => $_, before => $before} } $self->{parser}->feed($piece);
        $self->{line} .= $piece;
        next if $piece !~ /[\r\n]\z/;
        push @{$self->{comments}}, $1 if $self->{line} =~ /\A:([^\r\n]*)/;
        $self->{line} = '';
    }
    return;
}

# Whether the condition has become false within so many seconds. It is asked only while the response goes on.
sub _wait_while {
    my ($self, $seconds, $condition) = @_;
    $seconds = $self->{timeout} if !defined $seconds;
    my $deadline = time + $seconds;
    while (1) {
        $self->fill($PIECE);
        return !!1 if !$condition->();
        my $left = $deadline - time;
        return !!0 if $left <= 0 || $self->{response}->is_ended;
        Test::EventSource::Loop::turn($left, $self->{socket} || ());
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

Test::EventSource::Stream - One stream of events, as a test sees it

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
    $stream->like_event('two', 'and another');
    $stream->ends_ok(5, 'then it ends');
    is $stream->reconnect->last_event_id, 1, 'it comes back';
    $stream->like_event({id => 2, data => qr/one/}, 'and gets the next');
    is $stream->retry, 500;
    done_testing;

=head1 DESCRIPTION

What L<Test::EventSource/get> returns. C<$seconds> is always how long is waited at most, fractions allowed; the stream's
C<timeout> unless given. There is nothing to wait for once the response has ended.

The stream is where the test is: events that have come and that the test has not taken yet change neither
L</last_event_id> nor what L</reconnect> asks for.

=head1 METHODS THAT ARE TESTS

Each is one test. Where it fails it tells what came instead, how the response stands, which bytes have been received (the last
8 KiB), and what the server has printed. The failure is reported at the caller's line; C<$Test::Builder::Level> moves it
further out, as always.

=head2 ends_ok

    $stream->ends_ok;
    $stream->ends_ok($seconds, $name);

That the response ends in time, and as its framing says, not amid a chunk.

=head2 like_event

    my $event = $stream->like_event({event => 'price', id => qr/^7-/, data => 'x'}, $name);
    my $event = $stream->like_event({json => {price => [1, 2]}}, $name);
    my $event = $stream->like_event('x', $name);

That the next event is as expected. C<event>, C<id> and C<data> are each equal to a string or match a regular expression;
the data, read as JSON, is the structure that C<json> gives, compared as C<is_deeply> compares. A field that is not named
may be anything. Anything but a hash is what the data is to be. Waits for the stream's C<timeout>; returns the event,
which is taken, or C<undef> if the test fails. Croaks for another field.

=head2 no_event

    $stream->no_event($seconds, $name);

That no event comes for so many seconds, or until the end of the response. One that comes is taken.

=head1 METHODS

=head2 close

    $stream->close;

Leaves, as a client does. What has been received can still be taken.

=head2 content

    my $bytes = $stream->content($seconds);

The whole body, without the framing, of a response that ends; croaks if it does not in time.

=head2 events

    my @events = $stream->events($most, $seconds);

The next events, so many at the most: fewer if the time is up or the response ends.

=head2 has_ended

    my $ended = $stream->has_ended($seconds);

Whether the response ends in time.

=head2 header, headers

    my $type    = $stream->header('Content-Type');
    my $headers = $stream->headers;

One header of the response; all of them, an L<HTTP::Headers>.

=head2 is_complete

    my $complete = $stream->is_complete;

Whether the response has ended as its framing says. One without framing ends where its connection does.

=head2 is_open

    my $open = $stream->is_open;

Whether the response goes on, as far as can be seen without waiting.

=head2 last_event_id

    my $id = $stream->last_event_id;

The last event ID, of the event taken last or of a block without an event behind it; empty if there is none. An event that
has come but was not taken does not count.

=head2 next_comment

    my $text = $stream->next_comment($seconds);

The next comment, without its colon, in bytes; C<undef> if none comes in time. Comments and events are waited for
independently.

=head2 next_event

    my $event = $stream->next_event($seconds);

The next event, a hash of C<event>, C<data> and C<id> (L<EventSource::Parser/feed>); C<undef> if none comes in time, or the
response ends before, or is no event stream: its status is not 200 or its type not C<text/event-stream>.

=head2 raw

    my $bytes = $stream->raw;

All of the body that has come, without the framing.

=head2 reconnect

    $stream->reconnect;

Leaves and makes the same request anew, with the L</last_event_id> as C<Last-Event-ID> if there is one, as a browser does,
but without waiting for the reconnection time. Events that were not taken are gone. Croaks as L<Test::EventSource/get>
does; the stream has ended then, without headers, L</response> and L</status>, and may come back later. Returns the stream
itself.

=head2 response

    my $head = $stream->response;

The head of the response, an L<HTTP::Response>.

=head2 retry

    my $milliseconds = $stream->retry;

The reconnection time that the stream has set last, or C<undef>.

=head2 status

    my $status = $stream->status;

The status of the response, 200 for a stream.

=head1 METHODS FOR SERVERS

=head2 new

    my $stream = Test::EventSource::Stream->new(server => $server, request => $code, method => 'GET', path => '/');

What L<Test::EventSource> calls: C<< $code->($last_event_id) >> gives the request's bytes, C<< $server->begin >> sends them.

=head2 attach

    $stream->attach($socket);

Gives it its end of a connection.

=head2 cut

    $stream->cut($why, $had_answer);

Ends it because its handler did not return.

=head2 fill

    $stream->fill;

Takes what has come, without waiting.

=head2 is_answered

    my $answered = $stream->is_answered;

Whether the head of the response has come.

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut

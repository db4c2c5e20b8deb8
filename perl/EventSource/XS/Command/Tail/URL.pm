package EventSource::XS::Command::Tail::URL;
use strict;
use warnings;

# `eventsource tail URL`: reads the stream of any server, and connects again as a browser does.

use EventSource::Error;
use EventSource::XS::Command;
use EventSource::XS::Doctor::Connection;
use List::Util qw(max min);
use URI;

my $COMMAND    = 'EventSource::XS::Command';
my $CONNECTION = 'EventSource::XS::Doctor::Connection';

my $MAX_REDIRECTS = 10;

# The pause before the next attempt if the stream has set none, in seconds; the shortest, whatever it has set; and the longest
# that attempts without an event lead to. A pause is up to a quarter longer, at random: other clients were cut at the same time.
my ($PAUSE, $SHORTEST, $LONGEST) = (1, 0.25, 30);
my $JITTER = 0.25;

# For how long a server may send nothing, not even a keepalive, in seconds.
my $QUIET = 300;

sub new {
    my ($class, %self) = @_;
    return bless {%self, fruitless => 0}, $class;
}

# Public methods

sub follow {
    my ($self, $url, @others) = @_;
    my ($option, $parser) = @$self{qw(option parser)};
    $COMMAND->usage("a URL is followed alone, without '$others[0]'") if @others;
    my ($of_hub) = grep { defined $option->{$_} } qw(hub socket spawn channel last from-start from-state);
    $COMMAND->usage("--$of_hub is for hubs, not for a URL") if defined $of_hub;
    $self->{after} = defined $option->{after} ? $COMMAND->text('--after', $option->{after}) : '';
    $self->{url}   = URI->new($url)->canonical;
    $COMMAND->usage('the URL has no host') if !length($self->{url}->host || '');

    while ($self->_read_stream) {
        $parser->finish;
        $COMMAND->complain('tail', 'the stream has ended; connecting again');
        $CONNECTION->wait_for($self->_pause, $self->{is_over});
    }
    return;
}

# Private methods

# Opens the stream and reads it to its end. Returns false if that was the last one.
sub _read_stream {
    my $self     = shift;
    my $is_over  = $self->{is_over};
    my $response = $self->_open;
    return !!0 if $is_over->();
    if (defined $response->status) {
        return !!0 if $response->status == 204;
        _check($response);
        $self->{has_opened} = 1;
    }
    elsif (!$self->{has_opened}) {
        my $failure = $response->failure;
        EventSource::Error->throw(
            code    => 'unavailable',
            message => $failure ? $failure->{sentence} : 'the server has closed the connection without an answer'
        );
    }
    my $is_quiet = sub { $response->seconds - ($response->{last_at} || 0) > $QUIET };
    my $has_end  = sub { $is_over->() || !$response->is_open || $is_quiet->() };
    1 until $CONNECTION->wait_for($QUIET, $has_end, $response);
    $response->leave;
    return !$is_over->();
}

# Sends the request and waits for the head of the response, through redirects.
sub _open {
    my $self = shift;
    my $id   = $self->{parser}->last_event_id;
    $id = $self->{after} if !length $id;
    utf8::encode($id);
    my @headers = (
        [Accept          => 'text/event-stream'],
        ['Cache-Control' => 'no-store'],
        ['User-Agent'    => 'eventsource/' . EventSource::XS::Command->VERSION]
    );
    push @headers, ['Last-Event-ID' => $id] if length $id;
    $self->{fruitless}++;
    my $url = $self->{url};
    my $response;

    for (0 .. $MAX_REDIRECTS) {
        my $take = sub { $self->_take(@_) };
        $response = $CONNECTION->new(url => $url, headers_sent => \@headers, on_bytes => $take)->request;
        my $has_answer = sub { $self->{is_over}->() || $response->has_head || !$response->is_open };
        $CONNECTION->wait_for($QUIET, $has_answer, $response);
        my $to = $response->redirect;
        last if !$to || ($to->scheme || '') !~ /\Ahttps?\z/ || !length($to->host || '');
        $response->leave;
        $url = $to;
    }
    return $response;
}

# Throws an exception if a response is not an event stream.
sub _check {
    my $response = shift;
    my $status   = $response->status;
    my $type     = $response->header('Content-Type');
    my $reason   = length($response->{reason} // '') ? " $response->{reason}" : '';
    my $trouble =
          $status != 200                                 ? "HTTP status $status$reason"
        : !defined $type                                 ? 'not an event stream: it has no type'
        : $type !~ m{\A\s*text/event-stream\s*(?:;|\z)}i ? "not an event stream: its type is $type"
        :                                                  return;
    EventSource::Error->throw(code => 'invalid', message => $trouble);
    return;
}

# How long to wait before the next attempt: the longer, the more attempts in a row have brought no event.
sub _pause {
    my $self  = shift;
    my $retry = $self->{parser}->retry;
    my $least = max($SHORTEST, defined $retry ? $retry / 1000 : $PAUSE);
    my $pause = max($least,    min($LONGEST, $least * 2**min($self->{fruitless}, 10)));
    return $pause * (1 + rand $JITTER);
}

# Prints the events of the next bytes. A position is an event of the hub itself, with nothing in it.
sub _take {
    my ($self, $response, $bytes) = @_;
    return if $response->status != 200;
    _check($response);
    $self->{output}->raw($bytes);
    for my $event ($self->{parser}->feed($bytes)) {
        $self->{fruitless} = 0;
        $self->{output}->event($event) if $event->{event} ne 'position' || length $event->{data};
    }
    $self->{output}->flush;
    return;
}

1;

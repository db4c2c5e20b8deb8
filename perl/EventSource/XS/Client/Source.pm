package EventSource::XS::Client::Source;
use strict;
use warnings;

# The rules of an event source: what it asks for, what a response, a byte or an end means, and when it connects again (WHATWG
# HTML, sections 9.2.2, 9.2.3 and 9.2.6). It makes no system call and reads no clock: times are given, in seconds.
#
# The headers and the content of the application are for the origin of its URL, and for no other one.

use EventSource::Error;
use EventSource::Parser;
use EventSource::XS::Client::Decoder;
use EventSource::XS::Hub::Word;
use EventSource::XS::Reason;
use HTTP::Date   qw(str2time);
use List::Util   qw(max min);
use MIME::Base64 qw(encode_base64);
use URI;
use URI::Escape qw(uri_unescape);

my $MAX_REDIRECTS = 20;     # as Fetch, section 4.4
my $MAX_SHOWN     = 300;    # characters of a message

# The pauses before another connection, in seconds. They differ from the standard (WHATWG HTML, section 9.2.3): none is shorter
# than a quarter of a second, whatever the stream sets, and they grow while attempts bring no event, so that no server is asked
# all the time. Each is up to a quarter longer, at random, because other clients were cut at the same moment.
my ($SHORTEST, $LONGEST) = (0.25, 30);    # of a pause, and to which attempts without an event lead
my $MAX_PAUSE = 86_400;                   # whatever the server asks for
my $JITTER    = 0.25;

# Characters that no host has, also in its escapes (WHATWG URL, section 3.5); libraries write them into the request, or
# resolve another name: that before a NUL.
my $FORBIDDEN = qr{[\0-\x20\x7F#%/<>?\@\\^|]};

# Make an event source that waits for its first request. Options: url (an object of URI), method, headers (an array of pairs),
# content (bytes), last_event_id, timeout (seconds, 0 for none), retry (milliseconds), max_event (bytes), reconnect,
# retry_statuses (an array), gap_event, position_event, place (of exceptions).
sub new {
    my ($class, %option) = @_;
    my $self = bless {%option, state => 'waiting', attempts => 0, opens_at => 0}, $class;
    my $url  = $self->{url} = $option{url}->clone;
    $self->{headers} = [@{$option{headers}}, $class->take_userinfo($url)];
    $url->fragment(undef);
    my $parser = $self->{parser} = EventSource::Parser->new(max_event => $option{max_event});
    utf8::encode(my $id = $option{last_event_id} // '');
    $parser->feed("id: $id\n\n") if length $id;    # a block with nothing but an id sets the last event ID
    $parser->finish;
    return $self;
}

# Public methods

# Close it for good. With an error it has failed.
sub close {
    my ($self, $error) = @_;
    return if $self->{state} eq 'closed';
    @$self{qw(state error decoder)} = ('closed', $error, undef);
    return;
}

# Take the end of a connection, with the error that has cut it, if one has.
sub end {
    my ($self, $now, $error) = @_;
    return if $self->{state} eq 'closed';
    $self->{parser}->finish;
    return $self->close($error) if !$self->{reconnect};
    $self->{error} = $error || $self->error('unavailable', 'the stream has ended');
    return $self->_wait($now, $self->_pause);
}

sub error {
    my ($self, $code, $text, $field) = @_;
    $text =~ s/\s+\z//;
    return EventSource::Error->new(
        code    => $code,
        field   => $field,
        message => 'EventSource::Client: ' . _shown($text),
        place   => $self->{place}
    );
}

# Take bytes off the body, at most 64 KiB of text, and return that and the events that it completes. Nothing is taken if more
# bytes have to come first.
sub events {
    my ($self, $now, $bytes) = @_;
    my ($text, $is_damaged) = $self->{decoder}->next_text($bytes);
    my @events = $self->_parse($text);
    $self->end($now, $self->error('unavailable', 'the compressed stream is damaged')) if $is_damaged;
    return ($text, @events);
}

# Take the head of a response: its headers are in a hash by their names in lower case. Returns read if its body is the stream,
# redirect if another request is to be sent now, end if neither.
sub head {
    my ($self, $now, $status, $headers, $reason) = @_;
    @$self{qw(status response_headers reason)} = ($status, $headers, $reason);
    $self->is_alive($now);
    my $trouble = $status =~ /\A30[12378]\z/ && defined $headers->{location} ? $self->_redirect : $self->_refusal;
    return $self->{state} eq 'redirected' ? 'redirect' : 'read' if !defined $trouble && $status != 204;
    my $error = defined $trouble ? $self->error('refused', $trouble) : undef;
    return $self->close($error) || 'end'
        if !$error || !$self->{reconnect} || !grep { $_ == $status } @{$self->{retry_statuses}};
    $self->{error} = $error;
    return $self->_wait($now, max($self->_pause, _pause_asked_for($headers->{'retry-after'}))) || 'end';
}

# True if events may complete more without more bytes.
sub has_more { return !!($_[0]{decoder} && $_[0]{decoder}->has_more) }

# Anything that comes is a sign of life, so comments are.
sub is_alive { $_[0]{alive_at} = $_[1]; return }

sub last_event_id { return $_[0]{parser}->last_event_id }

# The origin of a URL as a text: what may be sent to one URL, such as a cookie, may be sent to another one with the same.
sub origin_of {
    my ($class, $url) = @_;
    return join ' ', $url->scheme, lc $url->host, $url->port;
}

# Why a URL (an object of URI, or undef) is not one to send a request to; undef if it is.
sub problem_of {
    my ($class, $url) = @_;
    return 'is not of http or https' if !$url || ($url->scheme || '') !~ /\Ahttps?\z/ || !length($url->host || '');
    return 'names no host'           if $url->authority !~ /\A(?:.*@)?(?:\[[0-9a-fA-F:.]+\]|[^:\[\]]+)(?::[0-9]*)?\z/s;
    return 'has a character in its host that no host has' if $url->host =~ $FORBIDDEN;
    return 'has a port that is not one of 1 to 65535'     if $url->port < 1 || $url->port > 65_535;
    return undef;
}

# Return the request to send now: a hash of method, url (an object of URI), headers (an array of pairs) and content.
sub request {
    my ($self, $now) = @_;
    if ($self->{state} ne 'redirected') {
        $self->{attempts}++;
        $self->{asked}     = {map { ($_ => $self->{$_}) } qw(url method content headers)};
        $self->{redirects} = 0;
    }
    $self->{state} = 'connecting';
    $self->is_alive($now);
    my %request = %{$self->{asked}};
    return {%request, headers => $self->_headers(@{$request{headers}})};
}

# One of waiting (for its next attempt), connecting, redirected (the next request follows now), open, closed.
sub state { return $_[0]{state} }

# Return the newest error, once.
sub take_error { return delete $_[0]{error} }

# Remove the name and the password from a URL. Returns the header that sends them, if there are any.
sub take_userinfo {
    my ($class, $url) = @_;
    my $userinfo = $url->userinfo;
    $url->userinfo(undef);
    return defined $userinfo ? [Authorization => 'Basic ' . encode_base64(uri_unescape($userinfo), '')] : ();
}

# Take the time: a connection on which nothing has come for too long is lost. Returns true then.
sub tick {
    my ($self, $now) = @_;
    my $at = $self->{state} =~ /\A(?:connecting|open)\z/ ? $self->wakes_at : undef;
    return !!0 if !defined $at || $now < $at;
    $self->end($now, $self->error('timeout', "the server has sent nothing for $self->{timeout} s"));
    return !!1;
}

# When to send the next request, or to call tick.
sub wakes_at {
    my $self = shift;
    return $self->{opens_at} if $self->{state} eq 'waiting';
    return $self->{state} eq 'closed' || !$self->{timeout} ? undef : $self->{alive_at} + $self->{timeout};
}

# Private functions and methods

# Headers of the application come first, and instead of the others of the same name. Servers refuse a request with a control
# character, and that would end the client for good, so an id with one is not sent.
sub _headers {
    my ($self, @given) = @_;
    my $id = $self->last_event_id;
    utf8::encode($id);
    my @pairs    = grep { lc $_->[0] ne 'last-event-id' } @given;
    my %is_given = map  { (lc $_->[0] => 1) } @pairs;
    my @others   = (
        ['Accept'          => 'text/event-stream'],
        ['Accept-Encoding' => EventSource::XS::Client::Decoder->codings],
        ['Cache-Control'   => 'no-cache'],
        ['User-Agent'      => 'EventSource-Client/' . EventSource::Parser->VERSION],
    );
    push @others, ['Last-Event-ID' => $id] if length $id && $id !~ /[^\t\x20-\x7E\x80-\xFF]/;
    return [@pairs, grep { !$is_given{lc $_->[0]} } @others];
}

# A position moves the last event ID, and is not an event for the application. Neither is the word of a hub.
sub _known {
    my ($self, $event) = @_;
    return               if EventSource::XS::Hub::Word->is_word($event);
    return               if $event->{event} eq $self->{position_event} && !length $event->{data};
    $event->{is_gap} = 1 if $event->{event} eq $self->{gap_event};
    return $event;
}

# The events that a text completes. The parser returns those before one that is too long first, and says so when it is asked
# again.
sub _parse {
    my ($self,   $text)   = @_;
    my ($parser, @events) = $self->{parser};
    local $SIG{__DIE__};
    eval { @events = $parser->feed($text); $parser->feed('') if @events; 1 }
        or EventSource::Error->own($@)
        && $self->close($self->error('invalid', "an event has more than $self->{max_event} bytes", 'max_event'));
    $self->{attempts} = 0 if @events = map { $self->_known($_) } @events;
    return @events;
}

# The pause after so many attempts without an event, by the reconnection time of the stream.
sub _pause {
    my $self  = shift;
    my $least = max($SHORTEST, ($self->{parser}->retry // $self->{retry}) / 1000);
    my $pause = max($least,    min($LONGEST, $least * 2**min($self->{attempts}, 10)));
    return min($pause, $MAX_PAUSE) * (1 + rand $JITTER);
}

# The pause that a server asks for with the value of Retry-After (RFC 9110, section 10.2.3); 0 if it does not.
sub _pause_asked_for {
    my $value = shift // '';
    return min($1, $MAX_PAUSE) if $value =~ /\A\s*([0-9]{1,15})\s*\z/;
    local ($@, $SIG{__DIE__});
    my $at = $value =~ /GMT\s*\z/ ? str2time($value) : undef;
    return max(0, min(($at // 0) - time, $MAX_PAUSE));
}

# Follow a redirect as Fetch does (section 4.4). Returns why it is not followed.
sub _redirect {
    my $self   = shift;
    my %asked  = %{$self->{asked}};
    my $status = $self->{status};
    my $to     = do {
        local $SIG{__DIE__};
        eval { URI->new_abs($self->{response_headers}{location}, $asked{url})->canonical };
    };
    my $problem = ref($self)->problem_of($to);
    return "a redirect to a URL that $problem"  if defined $problem;
    return 'a redirect from https to http'      if $asked{url}->scheme eq 'https' && $to->scheme eq 'http';
    return "more than $MAX_REDIRECTS redirects" if ++$self->{redirects} > $MAX_REDIRECTS;
    $to->userinfo(undef);
    $to->fragment(undef);

    if ($status == 303 || $status =~ /\A30[12]\z/ && $asked{method} eq 'POST') {
        @asked{qw(method content)} = ('GET', undef);
        $asked{headers} = [grep { $_->[0] !~ /\AContent-/i } @{$asked{headers}}];
    }
    if ($self->origin_of($to) ne $self->origin_of($asked{url})) {
        return 'a redirect of a request with content to another origin' if defined $asked{content};
        $asked{headers} = [];
    }
    $self->{asked} = {%asked, url => $to};
    $self->{state} = 'redirected';
    return undef;
}

# Why the response is not an event stream.
sub _refusal {
    my $self = shift;
    my ($status, $headers) = @$self{qw(status response_headers)};
    return undef                                                                             if $status == 204;
    return "HTTP status $status" . (length($self->{reason} // '') ? " $self->{reason}" : '') if $status != 200;
    my $coding = $headers->{'transfer-encoding'};
    return "not readable: its transfer coding is $coding" if ($coding // '') !~ /\A(?:chunked|identity|)\z/i;
    my $type = $headers->{'content-type'};
    return 'not an event stream: it has no type'    if !defined $type;
    return "not an event stream: its type is $type" if $type !~ m{\A\s*text/event-stream\s*(?:;|\z)}i;
    $self->{decoder} = EventSource::XS::Client::Decoder->new($headers->{'content-encoding'})
        or return "not readable: its encoding is $headers->{'content-encoding'}";
    $self->{state} = 'open';
    return undef;
}

# Shows bytes that a server has sent, or a message of the system, in UTF-8 or not.
sub _shown {
    my $text   = shift;
    my $is_one = utf8::decode($text);
    $text = substr(EventSource::XS::Reason->visible($text), 0, $MAX_SHOWN) . (length $text > $MAX_SHOWN ? '...' : '');
    utf8::encode($text) if $is_one;
    return $text;
}

sub _wait {
    my ($self, $now, $pause) = @_;
    @$self{qw(state opens_at decoder)} = ('waiting', $now + $pause, undef);
    return;
}

1;

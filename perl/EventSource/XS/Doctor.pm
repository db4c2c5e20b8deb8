package EventSource::XS::Doctor;
use strict;
use warnings;

# Examines an event stream as a client, or the table of an outbox: makes the requests, keeps what they show, and has each check
# judge it.
#
# Each check is a class below Doctor::Check with the method findings, which takes this object and returns findings
# (Doctor::Finding); those without a name have that of the class, in lower case. A check makes no request: it judges what was
# seen, so the order of the report is not that of the requests.

our $VERSION = '0.100';

use EventSource::XS::Client::Source;
use EventSource::XS::Doctor::Check::HubName;
use EventSource::XS::Doctor::Check::Response;
use EventSource::XS::Doctor::Check::Tickets;
use EventSource::XS::Doctor::Connection;
use EventSource::XS::Doctor::Finding qw(named rounded);
use EventSource::XS::Doctor::Probe;
use IO::Select  ();
use List::Util  qw(max min);
use Time::HiRes qw(CLOCK_MONOTONIC clock_gettime sleep);
use URI;
use URI::Escape qw(uri_escape);

# In the order of a report: each explains better than those after it. The last one looks at a table and at no stream.
my @CHECKS = map { "EventSource::XS::Doctor::Check::$_" }
    qw(Response HubName Delivery Ending Compression Caching Poll Resume Tickets Protocol Origin Format Hub Modules Outbox);
require(s{::}{/}gr . '.pm') for @CHECKS;

my $SOURCE = 'EventSource::XS::Client::Source';

my $MAX_REDIRECTS = 10;
my $PATIENCE      = 5;      # seconds for an answer beside the examined stream, at most
my $MOST_WORKERS  = 8;      # requests that look for another hub
my $MOMENT        = 0.5;    # seconds after which the head of a quiet stream counts as all
my $APART         = 0.5;    # seconds between the beginnings of the stream and of a second one, at most
my $LONGEST_WAIT  = 0.5;    # seconds between two looks at a condition
my $ATTEMPTS      = 3;      # requests until an error counts as the answer to all
my $POLLED        = 2;      # seconds that a poll waits for an event
my $UNKNOWN_ID    = 'eventsource-doctor-unknown';

# The headers that a browser sends with EventSource. The decoder knows these encodings.
my @HEADERS = (
    [Accept            => 'text/event-stream'],
    ['Accept-Encoding' => 'gzip, deflate'],
    ['Cache-Control'   => 'no-cache'],
    ['User-Agent'      => "eventsource-doctor/$VERSION"],
);

sub new {
    my ($class, %option) = @_;
    my $self = bless {hops => [], %option}, $class;
    $self->{url}      = URI->new($self->{url})->canonical if defined $self->{url};
    $self->{patience} = min($self->{seconds}, $PATIENCE);
    $self->{probe}    = EventSource::XS::Doctor::Probe->new(map { ($_ => $self->{$_}) } qw(trigger hub socket channel));
    return $self;
}

# Public methods

# Returns the epochs of the hubs that have answered, that of the examined stream first.
sub epochs {
    my $self = shift;
    my %seen;
    my @answers = grep { $_ } @$self{qw(stream second)}, $self->{resume} && $self->{resume}{by_header},
        @{$self->{others} || []};
    return grep { !$seen{$_}++ } map { EventSource::XS::Doctor::Check::HubName->epochs_of($_->body) } @answers;
}

# Returns the findings of all checks.
sub examine {
    my $self = shift;
    return $self->findings if !$self->{url};
    $self->_open_stream;
    if ($self->is_streaming) {
        $self->_observe;
        $self->{head} = $self->_ask(method => 'HEAD')
            if $self->{method} eq 'GET' && defined $self->{stream}->header('EventSource-Owner');
        $self->_examine_cache;
        $self->_examine_resume;
        $self->_examine_tickets if $self->{tickets} && $self->{method} eq 'GET';
        $self->_find_hubs;
    }
    elsif ($self->is_silent) {
        $self->{open}   = [];                                 # the stream stays open, and what comes now is too late
        $self->{beside} = $self->_ask(method => 'OPTIONS');
        $self->{stream}->close;
        if ($self->{method} eq 'GET') {
            $self->{second} = $self->_ask(is_plain => 1, patience => $POLLED, until => sub { defined $_[0]{body_at} });
            $self->_poll_beside;
        }
    }
    elsif (!$self->failure && $self->{method} eq 'GET') {
        $self->_poll_beside;
    }
    $self->_examine_waiting_poll;
    $self->_examine_server if !$self->failure;
    return $self->findings;
}

sub failure { return $_[0]{stream} && !$_[0]{stream}->has_head && $_[0]{stream}->failure }

sub findings {
    my $self      = shift;
    my @findings  = map { named(lc s/.*:://sr, $_->findings($self)) } $self->{url} ? @CHECKS : $CHECKS[-1];
    my %explained = map { ($_ => 1) } map { @{$_->{explains}} } @findings;
    $_->{measured} = $self->{measured}{$_->{check}} || {} for @findings;
    return grep { $_->{verdict} eq 'ok' || !$explained{$_->{check}} } @findings;
}

# True if the hub process that sent the probe has ended since, and perhaps another one has begun.
sub has_lost_hub {
    my $self = shift;
    return !!0 if !defined $self->{hub} || !defined $self->{probe_seconds};
    my $stats = eval { local $SIG{__DIE__}; $self->{probe}->hub->stats };
    return !$stats || $stats->{age} < $self->{stream}->seconds;
}

# True if the poll was answered as one: with the preference for its end, and as a whole.
sub has_polled {
    my $poll = shift->{poll};
    return !!($poll && ($poll->status || 0) == 200 && defined $poll->applied->{wait} && $poll->is_whole);
}

# True if a page gets no stream here, or a stream without what was sent.
sub is_hindered {
    my $self = shift;
    return !$self->is_streaming || !$self->{stream}->body->{bytes} || !!$self->{behind};
}

# True if the server has accepted the request and has not answered it.
sub is_silent {
    my $stream = shift->{stream};
    return !!($stream && !$stream->has_head && !$stream->failure && $stream->is_open);
}

sub is_streaming { return !!($_[0]{stream} && ($_[0]{stream}->status || 0) == 200) }

# Adds figures to the report about a check, whatever it finds.
sub measure {
    my ($self, $check, %figures) = @_;
    $self->{measured}{$check} = {%{$self->{measured}{$check} || {}}, %figures};
    return;
}

sub measurements {
    my $self    = shift;
    my $stream  = $self->{stream} or return {};
    my $body    = $stream->body;
    my ($event) = $body->events;
    my %at = map { ($_ => rounded($stream->{$_})) } qw(connected_at tls_at sent_at first_at head_at body_at ended_at);
    return {
        %at,
        address        => $stream->{peer},
        status         => $stream->status,
        http           => $stream->{version},
        alpn           => $self->{alpn},
        headers        => [map { [@$_] } @{$stream->{headers}}],
        first_event_at => $event && rounded($event->{at}),
        end            => $stream->{end},
        bytes          => $stream->{read},
        events         => scalar(() = $body->events),
        ids            => scalar(() = $body->ids),
        keepalives_at  => [map { rounded($_) } $body->keepalives],
        retry          => defined $body->{retry} ? 0 + $body->{retry} : undef,
        redirects      => [map { "$_->{status} $_->{to}" } @{$self->{hops}}],
        probe_seconds  => $self->{probe_seconds},
        poll_seconds   => $self->has_polled ? rounded($self->{poll}{ended_at}) : undef,
    };
}

# Private methods

# Sends another request for the stream, waits, and leaves. Options: until, a condition on the connection, of other methods that
# it has a head; id, headers, method, query. Returns the connection.
sub _ask {
    my ($self, %option) = @_;
    my $connection = $self->_request(%option);
    my $until      = $option{until} || sub { $option{method} && $_[0]->has_head };
    $self->_wait_for($option{patience} || $self->{patience}, sub { !$connection->is_open || $until->($connection) });
    $connection->close;
    return $connection;
}

# If two requests get the same events, and another URL does not, then the second response is a copy. A server that repeats the
# token of a request tells at once.
sub _examine_cache {
    my $self = shift;
    return $self->_note_copy if grep { $_ && $_->is_copy } @$self{qw(stream second poll)};
    return if $self->{method} ne 'GET' || !$self->{stream}->is_whole || !$self->{stream}->body->events;
    my @twice = map { $self->_ask } 1, 2;
    return if grep { !$_->is_whole } @twice;
    return if _text($twice[0]) ne _text($twice[1]);
    my $other = $self->_ask(query => 'eventsource_doctor=' . int rand 1e9);
    $self->{repetition} = _text($other) eq _text($twice[0]) ? 'all' : 'copy';
    return;
}

# A cache has answered. Does it, too, if the URL has a parameter?
sub _note_copy {
    my $self  = shift;
    my $token = _token();
    my $other =
        $self->_ask(query => "eventsource-request=$token", token => $token, until => sub { $_[0]->has_head });
    $self->{repetition}   = 'copy';
    $self->{is_avoidable} = defined $other->applied->{request} && !$other->is_copy;
    return;
}

# Asks for what follows an id that the stream has sent: with a probe the event that is published meanwhile, otherwise the
# later events of the stream.
sub _examine_resume {
    my $self = shift;
    return if $self->{method} ne 'GET' || ($self->{repetition} || '') eq 'copy';
    my @ids        = $self->{stream}->body->ids or return;
    my @dispatched = grep { length($_->{id} // '') } $self->{stream}->body->events;
    my %resume     = (from => $ids[-1], expected => []);
    if ($self->{probe}->is_possible && !$self->{probe}{failure} && !$self->{is_elsewhere}) {
        my $token = $self->{probe}->begin;
        $self->{probe}->finish;
        $resume{token} = $token if !$self->{probe}{failure};
    }
    elsif (@dispatched > 1) {
        $resume{from}     = $dispatched[0]{id};
        $resume{expected} = [grep { $_ ne $resume{from} } map { $_->{id} } @dispatched];
    }
    my %is_old     = map { ($_ => 1) } @ids;
    my $has_missed = sub {
        my $body = shift->body;
        my %got  = map { ($_->{id} => 1) } grep { length($_->{id} // '') } $body->events;
        return scalar grep { _has_token($_, $resume{token}, \%is_old) } $body->events if $resume{token};
        return @{$resume{expected}} ? !grep { !$got{$_} } @{$resume{expected}} : scalar keys %got;
    };
    my $has_repeated = sub {
        scalar grep { ($_->{id} // '') eq $resume{from} } $_[0]->body->events;
    };
    my $is_told = sub {
        scalar grep { ($_->{event} // '') eq 'gap' } $_[0]->body->events;
    };
    my $by_header = $resume{by_header} = $self->_ask(id => $resume{from}, until => $has_missed);
    return $self->_note_copy if $by_header->is_copy;
    @resume{qw(is_resumed is_repeated is_told)} = map { $_->($by_header) } $has_missed, $has_repeated, $is_told;
    $resume{is_wanted} = $resume{token} || @{$resume{expected}};

    if ($resume{is_wanted} && !$resume{is_resumed} && !$resume{is_told} || $resume{is_repeated}) {
        my $by_query = $self->_ask(query => _id_in_query($resume{from}), until => $has_missed);
        $resume{is_stripped} = $has_missed->($by_query) && !$has_repeated->($by_query);
    }
    else {
        my $unknown = $self->_ask(id => $UNKNOWN_ID, until => $is_told);
        $resume{unknown}     = $is_told->($unknown) ? 'gap' : $unknown->body->events ? 'events' : 'nothing';
        $resume{is_stripped} = $is_told->($self->_ask(query => _id_in_query($UNKNOWN_ID), until => $is_told))
            if $resume{unknown} ne 'gap' && !$resume{is_wanted};
    }
    $self->{resume} = \%resume;
    return;
}

# Comes back twice as a browser does, with the cookies of the responses before. A stream that begins with a ticket is given no
# other one; the second time the cookies are those that the application has had before.
sub _examine_tickets {
    my $self    = shift;
    my $tickets = sub {
        defined $self->{hub} ? eval { local $SIG{__DIE__}; $self->{probe}->hub->stats->{tickets} } : undef;
    };
    my $before = $tickets->();
    my (%jar, @visits);
    while (@visits < 3) {
        my %sent  = map { $_->{is_sent} ? ($_->{name} => $_->{value}) : () } values %jar;
        my $visit = $self->_ask(cookies => \%sent, until => sub { $_[0]->has_head });
        push @visits,
            {connection => $visit, sent => \%sent, set => [EventSource::XS::Doctor::Check::Tickets->cookies($visit)]};
        last if ($visit->status || 0) != 200 || !EventSource::XS::Doctor::Check::Tickets->ticket($visits[-1]);
        $jar{"$_->{name};$_->{path}"} = $_ for @{$visits[-1]{set}};
    }
    $self->{visits} = \@visits;
    my $after = $tickets->();
    $self->{tickets_counted} = {map { ($_ => $after->{$_} - $before->{$_}) } keys %$after} if $before && $after;
    return;
}

# If the probe has not arrived, looks whether other workers have other hubs.
sub _find_hubs {
    my $self = shift;
    return if $self->{method} ne 'GET' || !$self->{is_probed} || defined $self->{probe_seconds};
    for (1 .. $MOST_WORKERS) {
        return if $self->epochs != 1;
        my $other = $self->_ask(until => sub { $_[0]->body->ids });
        push @{$self->{others}}, $other;
        return if !$other->body->ids;    # something does withhold bytes
    }
    return;
}

# Checks that do not need the stream: HTTP/2, and the preflight of other origins.
sub _examine_server {
    my $self = shift;
    $self->{alpn} = $self->_connection->alpn;
    return if !defined $self->{origin};
    my $wanted = join ', ', 'last-event-id', map { lc $_->[0] } @{$self->{headers}};
    $self->{preflight} = $self->_ask(
        method  => 'OPTIONS',
        headers => [
            [Origin                           => $self->{origin}],
            ['Access-Control-Request-Method'  => $self->{method}],
            ['Access-Control-Request-Headers' => $wanted],
        ],
    );
    return;
}

sub _connection {
    my ($self, %option) = @_;
    my $url   = $self->{url};
    my $token = $option{token} // _token();
    ($url = $url->clone)->query(join '&', grep { defined && length } $url->query, $option{query})
        if defined $option{query};
    return EventSource::XS::Doctor::Connection->new(
        url          => $url,
        method       => $option{method} || $self->{method},
        insecure     => $self->{insecure},
        token        => $token,
        headers_sent => $self->_headers(%option, token => $token),
        defined $self->{data} && !$option{method} ? (content => $self->{data}) : (),
    );
}

# The headers of a request. Those of the user replace the browser's.
sub _headers {
    my ($self, %option) = @_;
    my @own = @{$option{headers} || []};
    push @own, ['Accept-Encoding' => 'identity']  if $option{is_plain};
    push @own, ['Last-Event-ID'   => $option{id}] if defined $option{id};
    if (($option{method} || '') ne 'OPTIONS') {
        push @own, @{$self->{headers}};
        my @cookie = grep { defined } $self->{cookie};
        if (my $later = $option{cookies}) {
            my @given = grep { length } map { split m{\s*;\s*} } @cookie;
            @cookie = grep { !exists $later->{/\A([^=]*)/ && $1} } @given;
            push @cookie, map { "$_=$later->{$_}" } sort keys %$later;
        }
        push @own, [Cookie => join '; ', @cookie] if @cookie;
        push @own, [Origin => $self->{origin}]    if defined $self->{origin};
        push @own, ['Content-Type' => 'application/json']
            if defined $self->{data} && !grep { lc $_->[0] eq 'content-type' } @own;
    }
    my @wait = defined $option{wait} ? "wait=$option{wait}; reason=other" : ();
    my %has  = map { (lc $_->[0] => 1) } @own;
    return [@own, grep { !$has{lc $_->[0]} } @HEADERS, [Prefer => join ', ', @wait, "request=$option{token}"]];
}

# Reads the stream for the time that the user has set, with a second client beside it, and the probe.
sub _observe {
    my $self   = shift;
    my $stream = $self->{stream};
    my $ends   = $stream->seconds + $self->{seconds};
    $self->_wait_for(min($APART, $self->{seconds} / 4), sub { !$stream->is_open });
    my $second  = $self->{second} = $self->{method} eq 'GET' ? $self->_request(is_plain => 1) : undef;
    my $is_over = sub { !$stream->is_open && (!$second || !$second->is_open) };
    if ($self->{probe}->is_possible) {
        $self->_wait_for($MOMENT, sub { $is_over->() || defined $stream->{body_at} });
        $self->{probe_seconds} = $self->_probe_on($stream, $self->{seconds});    # it is a reader of its channel
        $self->{is_probed}     = !$self->{probe}{failure};
    }
    if ($self->{is_probed} && !defined $self->{probe_seconds}) {
        $self->{probe_target} = $self->{probe}->target;
        $self->{is_elsewhere} = EventSource::XS::Doctor::Check::HubName->probe($self) ? 1 : 0;
    }
    $self->_wait_for(max(0, $ends - $stream->seconds), $is_over);
    $self->_poll_beside if $self->{method} eq 'GET' && !$stream->is_excessive;
    $_->close for grep { $_ } $stream, $second;
    return;
}

# Sends the probe. Returns after how many seconds its event has arrived on a connection, from the end of the command that
# publishes it; undef if it has not.
sub _probe_on {
    my ($self, $connection, $seconds) = @_;
    my $probe = $self->{probe};
    my $begun = $connection->seconds;
    my $token = $probe->begin;
    my ($event, $sent_at);
    my $is_over = sub {
        $sent_at //= $connection->seconds if $probe->has_ended;
        my @events = $connection->body->events;
        ($event) = grep { _has_token($_, $token) } @events;
        ($event) = grep { $_->{at} > $begun } @events if !$event && defined $probe->{trigger};
        return $event || $probe->{failure} || !$connection->is_open;
    };
    $self->_wait_for($seconds,  $is_over);
    $self->_wait_for($PATIENCE, sub { $probe->has_ended });
    $is_over->();
    $probe->end;
    return $event && rounded(max(0, $event->{at} - ($sent_at // $event->{at})));
}

# An error that does not come each time is one finding, and the stream that another request gets is examined.
sub _open_stream {
    my $self     = shift;
    my $attempts = $self->{method} eq 'GET' ? $ATTEMPTS : 1;
    for (0 .. $MAX_REDIRECTS) {
        my $stream;
        for (1 .. $attempts) {
            $stream = $self->{stream} = $self->_request;
            return if $stream->failure;
            $self->_wait_for($self->{seconds}, sub { $stream->has_head || !$stream->is_open });
            last if !_is_error($stream);
        }
        my $url = $stream->redirect or return;
        $stream->close;
        my $hop = {status => $stream->status, from => "$self->{url}", to => "$url"};
        push @{$self->{hops}}, $hop;
        return                 if defined $SOURCE->problem_of($url);
        $self->_withhold($hop) if $SOURCE->origin_of($self->{url}) ne $SOURCE->origin_of($url);
        $self->{url} = $url;
    }
    $self->{is_endless} = 1;
    return;
}

# Headers and cookies of the user go to one origin only, to no other one and to none behind it.
sub _withhold {
    my ($self, $hop) = @_;
    $hop->{withheld} = 1 if defined $self->{cookie} || defined $self->{data} || @{$self->{headers}};
    delete @$self{qw(cookie data)};
    $self->{headers} = [];
    return;
}

# Polls once, while the stream is open: what a poll brings that the stream has not, something holds back.
sub _poll_beside {
    my $self   = shift;
    my $stream = $self->{stream};
    for (1 .. $ATTEMPTS) {
        my $poll = $self->{poll} = $self->_poll(0, $stream);
        $self->_wait_for($self->{patience},
            sub { !$poll->is_open || $poll->has_head && !defined $poll->applied->{wait} });
        $poll->close;
        last if !_is_error($poll);
    }
    return if !$self->has_polled || !$stream->is_open || $self->{poll}->is_copy;
    my $lacks = sub { _lacking($stream, $self->{poll}) };
    $self->_wait_for($MOMENT, sub { !$lacks->() });
    $self->{behind} = $lacks->();
    return;
}

# Where no stream works, a page polls: does a poll work that has to wait, and does it bring an event in time? eventsource-hub.js
# waits for a shorter time if it does not.
sub _examine_waiting_poll {
    my $self = shift;
    return if !$self->has_polled || !$self->is_hindered;
    for my $wait ($POLLED, $POLLED / 2) {
        my $poll    = $self->{waiting} = $self->_poll($wait, $self->{poll});
        my $is_over = sub { !$poll->is_open };
        if ($self->{probe}->is_possible && !$self->{probe}{failure}) {
            $self->_wait_for($APART, $is_over);
            $self->{polled_seconds} = $self->_probe_on($poll, $wait) // $self->{polled_seconds};
        }
        $self->_wait_for($wait + 1, $is_over);
        $poll->close;
        return if $poll->is_whole && $poll->status == 200;
    }
    return;
}

# Asks for what follows the last id of another response, at once or after so many seconds.
sub _poll {
    my ($self, $wait, $before) = @_;
    my ($id) = reverse $before->body->ids;
    return $self->_request(wait => $wait, defined $id ? (id => $id) : ());
}

# The answers to requests for a stream are counted.
sub _request {
    my ($self, %option) = @_;
    my $connection = $self->_connection(%option)->request;
    push @{$self->{asked}}, $connection if !$option{method} && !defined $option{wait};
    push @{$self->{open}},  $connection;
    return $connection;
}

# Reads all connections until a condition is true, or the seconds are over.
sub _wait_for {
    my ($self, $seconds, $condition) = @_;
    my $deadline = clock_gettime(CLOCK_MONOTONIC) + $seconds;
    while (!$condition->()) {
        my $left = $deadline - clock_gettime(CLOCK_MONOTONIC);
        return if $left <= 0;
        my @open  = @{$self->{open}} = grep { $_->is_open } @{$self->{open}};
        my $wait  = min($left, $LONGEST_WAIT);
        my @ready = grep { $_->{socket}->can('pending') && $_->{socket}->pending } @open;
        if (!@ready) {
            my %is_ready = map { ($_ => 1) } IO::Select->new(map { $_->{socket} } @open)->can_read(@open ? $wait : 0);
            @ready = grep { $is_ready{$_->{socket}} } @open;
            sleep $wait if !@open;
        }
        $_->read_all for @ready;
    }
    return;
}

# Private functions

# True if an event is the probe's. A command that sends no token may cause any event with a new id.
sub _has_token {
    my ($event, $token, $is_old) = @_;
    my $text = join "\n", map { defined $event->{$_} ? $event->{$_} : '' } qw(event data id);
    return 1 if index($text, $token) >= 0;
    return $is_old && length($event->{id} // '') && !$is_old->{$event->{id}} && ($event->{event} || '') ne 'gap';
}

# An id as polyfills send it.
sub _id_in_query { return 'lastEventId=' . uri_escape($_[0]) }

# True if a proxy or a server cannot answer now, which may be otherwise the next time. A refusal says that it is not.
sub _is_error {
    my $connection = shift;
    return ($connection->status || 0) >= 500 && !EventSource::XS::Doctor::Check::Response->refusal($connection);
}

# Returns what a stream lacks of the response to a poll: the number of events, or 'all' if no text has come. A gap is the poll's
# own.
sub _lacking {
    my ($stream, $poll) = @_;
    return 'all' if !$stream->body->{bytes} && $poll->body->{bytes};
    my %has = map { (_name($_) => 1) } @{$stream->body->{blocks}};
    return scalar grep { !$has{_name($_)} }
        grep { length($_->{id} // '') && ($_->{event} || '') ne 'gap' } $poll->body->events;
}

sub _name {
    my $block = shift;
    return join "\0", map { $block->{$_} // '' } qw(id event data);
}

# The events of a response as one string.
sub _text {
    my $connection = shift;
    return join "\0", map { _name($_) } $connection->body->events;
}

sub _token { return sprintf 'doctor-%06d-%06d', rand 1_000_000, rand 1_000_000 }

1;

package EventSource::XS::Doctor::Connection;
use strict;
use warnings;

# One request of the doctor and its response, with the times at which bytes have arrived.
#
# A response is read no further (is_excessive) if it has more than 16 MiB, with or without its compression, more than
# 100,000 lines, or comes in more than 100,000 pieces.

use parent 'EventSource::XS::Client::Transport::Socket';
use EventSource::XS::Client::Decoder;
use EventSource::XS::Doctor::Body;
use List::Util  qw(min);
use Time::HiRes qw(CLOCK_MONOTONIC clock_gettime);
use URI;

my $SEND_WITHIN  = 10;            # seconds
my $MAX_BYTES    = 16_777_216;    # of a response, as it came and without its compression
my $MAX_PIECES   = 100_000;       # reads of a response whose times are kept
my $MAX_TURNS    = 64;            # reads of one connection in a row
my $LONGEST_WAIT = 0.5;           # seconds between two looks at the condition

# Return a connection that is not open yet. url is an object of URI with the scheme http or https. Options: method (by
# default GET), headers_sent (an array of pairs [name, value], by default empty), content (the bytes of the request's body, by
# default none), insecure (true: certificates are not checked), token (that of its preference "request").
sub new {
    my ($class, %option) = @_;
    my %on;
    my $method = $option{method} //= 'GET';
    my $self   = $class->SUPER::new(\%on, $method);
    my $link   = $self->{link};
    %on = (
        head  => sub { $$link->_note_head($_[3]) },
        bytes => sub { $$link->_take_body(@_) },
        end   => sub { $$link->_note_end(@_) },
    );
    $option{content} //= '' if $method =~ /\A(?:POST|PUT|PATCH)\z/;
    my %request = (headers => $option{headers_sent} || [], alpn => ['http/1.1']);
    $self->{request} = {%request, map { ($_ => $option{$_}) } qw(content insecure method url)};
    %$self = (%$self, %option, pieces => [], headers => [], read => 0, body => EventSource::XS::Doctor::Body->new);
    return $self;
}

# Public methods

# The preferences that the response says it has applied (RFC 7240, section 3): their values by name.
sub applied {
    my $self = shift;
    return {
        map { /\A\s*([\w-]+)\s*=\s*"?([^"\s;]*)/ ? (lc $1 => $2) : () } split /,/,
        $self->header('Preference-Applied') // ''
    };
}

# The protocol that the server selects for browsers, which offer HTTP/2; undef if it cannot be known.
sub alpn {
    my $self = shift;
    return undef if $self->{url}->scheme ne 'https' || !$self->has_tls || !IO::Socket::SSL->can_alpn;
    $self->{request}{alpn} = ['h2', 'http/1.1'];
    $self->{began} = clock_gettime(CLOCK_MONOTONIC);
    $self->turn;
    my $selected = $self->is_open ? $self->{socket}->alpn_selected : return undef;
    $self->close;
    return defined $selected ? $selected : 'http/1.1';
}

sub body { return $_[0]{body} }

sub close {
    my $self = shift;
    $self->{left_at} = $self->seconds if $self->is_open;
    return $self->SUPER::close;
}

# When the response has ended, or the doctor has read no further.
sub ends_at { return $_[0]{ended_at} // $_[0]{left_at} // $_[0]->seconds }

# Why there is no response; undef if nothing has failed.
sub failure { return $_[0]{failure} }

sub has_head { return defined $_[0]{status} }

# Return the values of a header, joined by a comma; undef if there is none.
sub header {
    my ($self, $name) = @_;
    return $self->{values}{lc $name};
}

# True if the response is that to another request: it has another token.
sub is_copy {
    my $self  = shift;
    my $token = $self->applied->{request};
    return defined $token && $token ne ($self->{token} // '');
}

sub is_open { return !!$_[0]{socket} }

# True if a response was read no further, because it has sent too much.
sub is_excessive { return !!$_[0]{is_excessive} }

# True if a response has ended by itself, as far as its framing tells.
sub is_whole { return ($_[0]{end} // '') =~ /\A(?:complete|closed)\z/ }

# The connection has ended. Without an answer that is not a failure.
sub lost {
    my ($self, @reason) = @_;
    return $self->SUPER::lost(@reason) if $self->has_head;
    @$self{qw(end ended_at)} = ('none', $self->seconds);
    return $self->close;
}

sub reached {
    my ($self, $what) = @_;
    $self->{"${what}_at"} = $self->seconds;
    $self->{peer}         = $self->{socket}->peerhost if $what eq 'sent';
    return;
}

# Reads what has arrived.
sub read_all {
    my $self = shift;
    for (1 .. $MAX_TURNS) {
        my $before = $self->{read};
        $self->turn(0);
        return if $self->{read} == $before;
    }
    return;
}

# Where the response sends its client; undef if it does not.
sub redirect {
    my $self = shift;
    my $to   = $self->header('Location');
    return undef if ($self->{status} || 0) !~ /\A30[12378]\z/ || !defined $to;
    my $url = URI->new_abs($to, $self->{url})->canonical;
    $url->userinfo(undef) if $url->can('userinfo');
    return $url;
}

# Connects and sends the request. Returns itself; failure says whether it has failed.
sub request {
    my $self = shift;
    $self->{began} = clock_gettime(CLOCK_MONOTONIC);
    $self->turn;
    my $deadline = clock_gettime(CLOCK_MONOTONIC) + $SEND_WITHIN;
    while ($self->is_open && !defined $self->{sent_at}) {
        my $left = $deadline - clock_gettime(CLOCK_MONOTONIC);
        $left > 0
            ? $self->turn(min($left, $LONGEST_WAIT))
            : $self->report_end(
            timeout => "the request could not be sent: the server does not read it within $SEND_WITHIN s");
    }
    return $self;
}

# Seconds since the request began.
sub seconds { return clock_gettime(CLOCK_MONOTONIC) - $_[0]{began} }

# The seconds from one piece of the body to the next, the first after the head, and from the last one to the end.
sub silences {
    my $self  = shift;
    my @times = (map({ $_->[0] } @{$self->{pieces}}), $self->ends_at);
    my $after = $self->{head_at};
    return map { my $silence = $_ - $after; $after = $_; $silence } @times;
}

sub status { return $_[0]{status} }

sub take {
    my ($self, $bytes) = @_;
    $self->{last_at} = $self->seconds;
    $self->{first_at} //= $self->{last_at};
    $self->{read} += length $bytes;
    return $self->SUPER::take($bytes);
}

# Private methods

# Takes the next piece of a body's text off its bytes: without its compression, if there is one that can be read.
sub _next_text {
    my ($self, $bytes) = @_;
    $self->{decoder} ||= EventSource::XS::Client::Decoder->new($self->header('Content-Encoding'), 1) or return '';
    my ($text) = $self->{decoder}->next_text($bytes);
    return $text;
}

# Notes how the response ended: complete, cut, or closed if its framing does not tell. Without a head the request has failed.
sub _note_end {
    my ($self, $code, $why) = @_;
    if (!$self->has_head) {
        my $where =
              $code eq 'unsupported'                                      ? 'tls'
            : !defined $self->{connected_at}                              ? 'connect'
            : $self->{url}->scheme eq 'https' && !defined $self->{tls_at} ? 'tls'
            : !defined $self->{sent_at}                                   ? 'send'
            :                                                               'head';
        $self->{failure} = {where => $where, sentence => $why =~ s/\s+\z//r};
        return;
    }
    my $is_closed = $self->{response}->ends_with_connection;
    @$self{qw(end ended_at)} = (defined $code ? 'cut' : $is_closed ? 'closed' : 'complete', $self->seconds);
    return;
}

sub _note_head {
    my ($self, $head) = @_;
    @$self{qw(version status headers values head_at)} = (@$head{qw(version status fields headers)}, $self->{last_at});
    $self->{is_chunked} = defined $self->header('Transfer-Encoding');
    return;
}

# Hands the text of a body on, in pieces: a few compressed bytes may be very many.
sub _take_body {
    my ($self, $bytes) = @_;
    my $body = $self->{body};
    $self->{body_at} = $self->{last_at} if !defined $self->{body_at};
    push @{$self->{pieces}}, [$self->{last_at}, length $bytes];
    while ($self->is_open && length(my $text = $self->_next_text(\$bytes))) {
        $body->feed($self->{last_at}, $text);
        next
            if $self->{read} <= $MAX_BYTES
            && $body->{bytes} <= $MAX_BYTES
            && !$body->is_full
            && @{$self->{pieces}} < $MAX_PIECES;
        $self->{is_excessive} = 1;
        $self->close;
        $self->{left_at} = $self->{last_at};    # taking the lines may have lasted for seconds: that is no silence
    }
    return;
}

1;

package EventSource::XS::Hub::Ticket;
use strict;
use warnings;

# The option ticket of to_app: the cookie in which a client brings back what the application has allowed for its stream, and the
# request that this is bound to. src/request reads both, and src/ticket seals it. Whatever is wrong with a ticket, the
# application is asked as if there were none: nothing here throws an exception at a request.

use Digest::SHA  qw(sha256);
use MIME::Base64 qw(encode_base64url);
use EventSource::Error;
use EventSource::XS::ErrorLog;
use EventSource::XS::Origins;
use EventSource::XS::Request;
use EventSource::XS::Settings;
use EventSource::XS::Stream::Native;
use Plack::App::EventSource::Connection;

my $REQUEST  = 'EventSource::XS::Request';
my $SETTINGS = EventSource::XS::Settings->new('EventSource::Hub');

my $MAX_SECONDS = 3600;    # LONGEST_TICKET in src/hub/ticket.rs

# Browsers store cookies of 4,096 bytes, and paths of 1,024 (RFC 6265bis, section 5.6). But a client whose request is longer
# than its server reads has no stream until the cookie ends: some servers read heads of 4,096 bytes by default, nginx lines of
# 8,192, in which the tickets of nested paths are. Of a site with more than 180 cookies Chromium removes those of low priority
# first: tickets instead of the session.
my ($MAX_COOKIE, $MAX_PATH) = (2048, 1024);

# Returns what a ticket is bound to, beside the path and the other headers that count.
my @BOUND = qw(REQUEST_METHOD HTTP_HOST HTTP_ORIGIN HTTP_AUTHORIZATION);

# The last event ID of a client whose stream has ended for good. It begins no stream, and takes no place of one.
my $FINISHED = Plack::App::EventSource::Connection->finished_id;

# In the PSGI environment.
my $BINDING = 'eventsource.hub.binding';

my $has_logged_size;

# Return what the option of an application says, or undef if it has none.
sub of {
    my ($class, $given) = @_;
    return undef if !defined $given;
    my %given = ref $given eq 'HASH' ? %$given : (seconds => $given);
    $SETTINGS->known(\%given, [qw(around cookies headers seconds)], 'field %s of ticket');
    my $seconds = $SETTINGS->seconds('ticket' => $given{seconds}, is_above_zero => 1);
    $SETTINGS->refuse(ticket => "ticket must be a number of seconds up to $MAX_SECONDS, or a hash with seconds")
        if !defined $seconds || $seconds > $MAX_SECONDS;
    my %names;
    for my $kind (grep { defined $given{$_} } qw(cookies headers)) {
        $SETTINGS->refuse(ticket => "$kind of ticket must be an array of names")
            if ref $given{$kind} ne 'ARRAY' || grep { !defined || ref || !length } @{$given{$kind}};
        $names{$kind} = [sort @{$given{$kind}}];
    }
    $SETTINGS->code('around of ticket' => $given{around}, field => 'ticket');
    my @headers = map { 'HTTP_' . uc =~ tr/-/_/r } @{$names{headers} || []};
    return bless {around => $given{around}, cookies => $names{cookies}, headers => \@headers, seconds => $seconds},
        $class;
}

# Public methods

# Return an application with what the option has put around it: middleware that runs only if there is no ticket.
sub around {
    my ($self, $app) = @_;
    return $self->{around} ? $self->{around}->($app) : $app;
}

# Return the header that gives the client of a request a ticket of this subscription; an empty list if it gets none. The
# request has come through `opened`.
sub header {
    my ($self, $hub, $env, $subscription, @ticket) = @_;
    my ($path, $binding) = (_path_of($env), $env->{$BINDING});
    return if !defined $binding || $path !~ m{\A/[!-:<-~]*\z} || length $path > $MAX_PATH;
    my ($name) = $REQUEST->_call('cookie', $hub->{name}, $path);
    my $secure = EventSource::XS::Origins->is_https($env) ? '; Secure' : '';
    my $rest =
        "; Path=$path; Max-Age=" . int($self->{seconds} + 0.999) . "; HttpOnly; SameSite=Strict; Priority=Low$secure";
    my $most      = int(($MAX_COOKIE - length "$name=$rest") * 3 / 4);
    my @ticket_of = (@$subscription, $self->{seconds}, $most, binding => $binding, @ticket);
    my $sealed    = EventSource::Error->attempt(sub { [$hub->seal_ticket(@ticket_of)] }) or return;
    return ('Set-Cookie' => "$name=" . encode_base64url($sealed->[0]) . $rest) if defined $sealed->[0];
    EventSource::XS::ErrorLog->warn(
        "EventSource::Hub: a stream has so many channels or labels that its ticket is larger than $MAX_COOKIE bytes:"
            . " its client gets none, and the application is asked each time.\n")
        if !$has_logged_size++;
    return;
}

# Return what the ticket of a request allows: whose stream it is, what the hub subscribes, and the labels by which it is
# counted; undef if the application is to be asked. The settings are those of the application that a ticket is bound to, beside
# the request as it is here: middleware may change it before its stream gets another ticket.
sub opened {
    my ($self, $hub, $env, $settings) = @_;
    delete $env->{$BINDING};
    return undef if $env->{REQUEST_METHOD} ne 'GET';    # HEAD asks whose stream a GET would be
    return undef if $env->{CONTENT_LENGTH} || defined $env->{HTTP_TRANSFER_ENCODING};    # callbacks may read the body
    my ($digest, $sealed) = $self->_of_request($hub, $env);
    my $binding = $env->{$BINDING} = $digest . $self->_of_worker($env, $settings);
    return undef if !defined $sealed || ($REQUEST->last_event_id($env) // '') eq $FINISHED;
    my $opened = EventSource::Error->attempt(sub { [$hub->_call('open_ticket', $sealed, $binding)] });
    return $opened && @$opened ? $opened : undef;
}

# Return what the hub process needs to begin a stream of this request itself, in the order in which src/xs/subscribe.rs reads
# it; nothing if it cannot know all by which the application has decided. How such a stream begins is given as a hash.
sub passport {
    my ($self, $hub, $env, $beginning) = @_;
    return if !length $hub->{name} || defined $env->{REMOTE_USER};
    my ($setting, @headers) = ($beginning->{settings}, @{$beginning->{headers}});
    if (defined $env->{HTTP_ORIGIN}) {
        my %of = @headers;
        return if !grep { lc eq 'access-control-allow-origin' } keys %of;    # middleware may allow it
    }
    return if grep({ !defined } @headers) || join('', @headers) =~ /[^\t -~]/;
    my $head = '';
    while (my ($name, $value) = splice @headers, 0, 2) {
        $head .= "$name: $value\r\n" if $name ne 'Preference-Applied';
    }
    my $native = EventSource::XS::Stream::Native->shared_settings($setting);
    my @names  = map { lc =~ s/\Ahttp_//r =~ tr/_/-/r } @{$self->{headers}};
    return (
        passport => @$native{qw(keepalive timeout retry max_buffered drops_oldest)},
        $setting->{compress} ? 1 : 0,
        $head,
        $beginning->{opening},
        defined $setting->{retry} ? (1, EventSource::XS::Stream::Native::range_of_retry($setting->{retry})) : (0, 0, 0),
        defined $self->{cookies}  ? 1                                                                       : 0,
        join(';', @{$self->{cookies} || []}),
        join(';', @names),
    );
}

# Private methods and functions

# A digest of all of a request by which an application may decide, so that a ticket opens for the same request only; and the
# sealed ticket that it brings.
sub _of_request {
    my ($self, $hub, $env) = @_;
    my @names   = $self->{cookies} ? (scalar @{$self->{cookies}}, @{$self->{cookies}}) : undef;
    my @of_head = (@$env{@BOUND}, _path_of($env), @$env{qw(QUERY_STRING HTTP_COOKIE)}, @$env{@{$self->{headers}}});
    return $REQUEST->_call('bound', @names, $hub->{name}, @of_head);
}

# A digest of what else a ticket is bound to, and only a worker knows.
sub _of_worker {
    my ($self, $env, $settings) = @_;
    my @parts = (
        $env->{REMOTE_USER},                                              $self->{seconds},
        join(' ', @{$self->{headers}}, '', @{$self->{cookies} || ['*']}), @$settings,
    );
    my $text = join '', map { defined() ? length() . ":$_" : '-' } @parts;
    utf8::encode($text);
    return sha256($text);
}

# The path as the client has it: middleware and mounts leave REQUEST_URI alone.
sub _path_of {
    my $env = shift;
    my ($path) = defined $env->{REQUEST_URI} ? $env->{REQUEST_URI} =~ /\A([^?#]*)/ : ();
    return $path if defined $path && length $path;
    return join '', map { defined() ? $_ : '' } @$env{qw(SCRIPT_NAME PATH_INFO)};
}

1;

package EventSource::XS::Hub::Ticket;
use strict;
use warnings;

# The option ticket of to_app: the cookie in which a client brings back what the application has allowed for its stream, and the
# request that this is bound to. src/ticket seals it. Whatever is wrong with a ticket, the application is asked as if there were
# none: nothing here throws an exception at a request.

use Carp         ();
use Digest::SHA  qw(sha256_hex);
use MIME::Base64 qw(decode_base64url encode_base64url);
use EventSource::XS::LastEventID;
use EventSource::XS::Settings;

# Carp reports no line of this package: a wrong value is the mistake of the code that called our caller.
$Carp::CarpInternal{+__PACKAGE__} = 1;

my $SETTINGS = EventSource::XS::Settings->new('EventSource::Hub');

my $MAX_SECONDS = 3600;    # LONGEST_TICKET in src/hub/ticket.rs

# What browsers accept (RFC 6265bis, section 5.6): more bytes are cut off, or not stored.
my ($MAX_COOKIE, $MAX_PATH) = (4096, 1024);

my $PREFIX = 'eventsource-ticket';

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

# Return the header that gives the client of a request a ticket of these subscriptions; an empty list if it gets none. The
# request has come through `opened`.
sub header {
    my ($self, $hub, $env, $subscriptions, $limits, $owner) = @_;
    my ($path, $binding) = (_path_of($env), $env->{$BINDING});
    return if !defined $binding || $path !~ m{\A/[!-:<-~]*\z} || length $path > $MAX_PATH;
    my $name   = _cookie_of($hub);
    my $secure = ($env->{'psgi.url_scheme'} || '') eq 'https' ? '; Secure' : '';
    my $rest   = "; Path=$path; Max-Age=" . int($self->{seconds} + 0.999) . "; HttpOnly; SameSite=Strict$secure";
    my $most   = int(($MAX_COOKIE - length "$name=$rest") * 3 / 4);
    my @sealed = eval {
        local $SIG{__DIE__};
        $hub->seal_ticket($subscriptions, $limits, $owner, $binding, $self->{seconds}, $most);
    };
    return                                                                   if !@sealed;
    return ('Set-Cookie' => "$name=" . encode_base64url($sealed[0]) . $rest) if defined $sealed[0];
    warn "EventSource::Hub: a stream has so many channels or labels that its ticket is larger than a cookie may be: its"
        . " client gets none, and the application is asked each time.\n"
        if !$has_logged_size++;
    return;
}

# Return what the ticket of a request allows: whose stream it is, the number of subscriptions, and what the hub subscribes;
# undef if the application is to be asked. The settings are those of the application that a ticket is bound to, beside the
# request as it is here: middleware may change it before its stream gets another ticket.
sub opened {
    my ($self, $hub, $env, $settings) = @_;
    delete $env->{$BINDING};
    return undef if $env->{REQUEST_METHOD} ne 'GET';    # HEAD asks whose stream a GET would be
    my $binding = $env->{$BINDING} = $self->_binding($hub, $env, $settings);
    my $cookies = $env->{HTTP_COOKIE};
    return undef if !defined $cookies || index($cookies, $PREFIX) < 0;
    my $name  = _cookie_of($hub);
    my @found = map { /\A\Q$name\E=([A-Za-z0-9_-]+)\z/ ? $1 : () } _cookies($cookies);
    return undef if @found != 1 || length $found[0] > $MAX_COOKIE;
    local ($@, $SIG{__DIE__});
    my $opened = eval { $hub->_open_ticket(decode_base64url($found[0]), $binding) };
    return $opened && @$opened ? $opened : undef;
}

# Private methods and functions

# A digest of all by which an application may decide, so that a ticket opens for the same request only. An id with which a
# client resumes is not part of it.
sub _binding {
    my ($self, $hub, $env, $settings) = @_;
    my $query = defined $env->{QUERY_STRING} ? $env->{QUERY_STRING} : '';
    my @parts = (
        $hub->{name},                                                     $env->{REQUEST_METHOD},
        @$env{qw(HTTP_HOST HTTP_ORIGIN HTTP_AUTHORIZATION REMOTE_USER)},  _path_of($env),
        EventSource::XS::LastEventID->query_without($query),              $self->_bound_cookies($env->{HTTP_COOKIE}),
        @$env{@{$self->{headers}}},                                       $self->{seconds},
        join(' ', @{$self->{headers}}, '', @{$self->{cookies} || ['*']}), @$settings,
    );
    my $text = join '', map { defined() ? length() . ":$_" : '-' } @parts;
    utf8::encode($text);
    return sha256_hex($text);
}

# The cookies that count, in an order of their own, as one text.
sub _bound_cookies {
    my ($self, $cookies) = @_;
    return '' if !defined $cookies;
    my @all = grep { index($_, $PREFIX) != 0 } _cookies($cookies);
    if (my $names = $self->{cookies}) {
        my %is_named = map { ($_ => 1) } @$names;
        @all = grep { /\A([^=]*)/ && $is_named{$1} } @all;
    }
    return join ';', sort @all;
}

sub _cookie_of {
    my $hub = shift;
    return defined $hub->{name} && length $hub->{name} ? "$PREFIX-$hub->{name}" : $PREFIX;
}

sub _cookies { return split /[ \t]*;[ \t]*/, $_[0] }

# The path as the client has it: middleware and mounts leave REQUEST_URI alone.
sub _path_of {
    my $env = shift;
    my ($path) = defined $env->{REQUEST_URI} ? $env->{REQUEST_URI} =~ /\A([^?#]*)/ : ();
    return $path if defined $path && length $path;
    return join '', map { defined() ? $_ : '' } @$env{qw(SCRIPT_NAME PATH_INFO)};
}

1;

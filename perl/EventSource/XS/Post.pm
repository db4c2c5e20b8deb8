package EventSource::XS::Post;
use strict;
use warnings;

# The event in the body of a POST. The client may be hostile: every field is checked, and an exception of the hub's
# formatter becomes a refusal only if the client caused it.

use EventSource::XS::JSONText;
use EventSource::XS::Library;
use EventSource::XS::RequestBody;
use EventSource::XS::UTF8;
use JSON::MaybeXS ();
use Plack::Request;
use Scalar::Util qw(blessed);

# The fields of an event that a client may publish.
my %IS_FIELD = map { $_ => 1 } qw(comment data event id json retry);

my $CONTROL = qr/[\x{00}-\x{1F}\x{7F}-\x{9F}]/;

my $JSON = JSON::MaybeXS->new(utf8 => 1, canonical => 1);

# Public methods

# Return the body in bytes; or undef and a refusal, as event_of does.
sub body_of {
    my ($class, $env, $max_body) = @_;
    my $refusal = EventSource::XS::RequestBody->refusal($env);
    return (undef, $refusal) if $refusal;

    # Without a length there is no body. Reading might block for ever, and some servers have no input then.
    my $length = $env->{CONTENT_LENGTH} || 0;
    return ''                                                        if $length == 0;
    return (undef, [413, "The body is longer than $max_body bytes"]) if $length > $max_body;
    my $body;    # the whole one, or undef if it ends early
    EventSource::XS::RequestBody->try_reading(sub { $body = Plack::Request->new($env)->content });
    return (undef, [400, 'The body cannot be read']) if !defined $body || length $body < $length;
    return $body;
}

# Return the event of a request, as a reference to a hash that EventSource::Hub::publish takes; or undef, and the status and
# the reason of a refusal as a reference to an array. $max_body is the maximum number of bytes of the body. The body is read
# with Plack::Request. An exception that the client did not cause is thrown again: that of a signal's handler, for example.
sub event_of {
    my ($class, $env, $max_body) = @_;
    my $unsupported = _unsupported($env);
    return (undef, [415, $unsupported]) if defined $unsupported;
    my ($body, $refusal) = $class->body_of($env, $max_body);
    return (undef, $refusal) if $refusal;
    my ($event, $reason) = _event($env, $body);
    return (undef, [400, $reason]) if defined $reason;
    return $event;
}

# Return the reason of an EventSource::Error with the code invalid, without the name of the module: the client has sent a
# wrong value. undef for any other exception.
sub reason_of {
    my ($class, $error) = @_;
    return undef if !blessed $error || !$error->isa('EventSource::Error');
    return $error->code eq 'invalid' ? $error->message =~ s/\A[\w:]+: //r : undef;
}

# Private functions

# The event, as publish takes it; or undef and the reason why there is none.
sub _event {
    my ($env,   $body)   = @_;
    my ($event, $reason) = _fields(_media_type($env), $body);
    return (undef, $reason) if defined $reason;
    my ($unknown) = grep { !$IS_FIELD{$_} } sort keys %$event;
    return (undef, "There is no field '$unknown'") if defined $unknown;
    my $error;
    {
        local ($@, $SIG{__DIE__});
        $error = $@ if !eval { EventSource::XS::format_event($event); 1 };
    }
    $reason = __PACKAGE__->reason_of($error)                 if defined $error;
    die $error                                               if defined $error && !defined $reason;
    $reason //= 'event must not contain a control character' if ($event->{event} // '') =~ $CONTROL;
    return defined $reason ? (undef, $reason) : $event;
}

# The fields in a body of a media type; or undef and a reason.
sub _fields {
    my ($type, $body) = @_;
    return _json_fields($body) if $type eq 'application/json';
    return _form_fields($body) if $type eq 'application/x-www-form-urlencoded';
    my $data = EventSource::XS::UTF8->decode($body);
    return defined $data ? {data => $data} : (undef, 'The body is not UTF-8');
}

# The fields of a form. An empty one is left out, unless it is data.
sub _form_fields {
    my $body = shift;
    my %event;
    for my $pair (grep { length } split /&/, $body) {
        my ($name, $value) = map { EventSource::XS::UTF8->decode(_unescaped($_)) } $pair =~ /\A([^=]*)=?(.*)\z/s;
        return (undef, 'The form is not UTF-8') if !defined $name || !defined $value;
        if    ($name eq 'data')                         { push @{$event{data}}, $value }
        elsif ($name eq 'json' || exists $event{$name}) { return (undef, "There is no such field '$name' in a form") }
        elsif ($value ne '' || !$IS_FIELD{$name})       { $event{$name} = $value }
    }
    return \%event;
}

sub _json_fields {
    my $body = shift;
    local ($@, $SIG{__DIE__});
    no warnings 'utf8';    # noncharacters in a client's data are not a reason for a warning
    my $event = defined EventSource::XS::UTF8->decode($body) && eval { $JSON->decode($body) };
    return (undef, 'The body is not an object in JSON') if ref $event ne 'HASH';
    for my $name (grep { $_ ne 'json' } sort keys %$event) {
        return (undef, "$name must be a string") if ref $event->{$name};
        delete $event->{$name}                   if !defined $event->{$name};
    }

    return EventSource::XS::JSONText->with_texts($body, $event);
}

# The media type of the body, without parameters, in lower case.
sub _media_type { return lc(($_[0]{CONTENT_TYPE} // '') =~ s/\A\s*([^;\s]*).*\z/$1/sr) }

sub _unescaped { return $_[0] =~ tr/+/ /r =~ s/%([0-9A-Fa-f]{2})/chr hex $1/ger }

# The reason why a body of this kind is refused, or undef.
sub _unsupported {
    my $env       = shift;
    my $encoding  = lc($env->{HTTP_CONTENT_ENCODING} // 'identity');
    my ($charset) = ($env->{CONTENT_TYPE} // '') =~ /;\s*charset\s*=\s*"?([^";\s]*)/i;
    return 'A body of several parts is not read' if _media_type($env) =~ m{\Amultipart/};
    return 'A body that is compressed is not read' if $encoding ne 'identity';
    return 'A body in another encoding than UTF-8 is not read'
        if defined $charset && $charset !~ /\A(?:utf-?8|us-ascii)\z/i;
    return undef;
}

1;

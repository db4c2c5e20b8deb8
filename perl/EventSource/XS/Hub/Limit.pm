package EventSource::XS::Hub::Limit;
use strict;
use warnings;

# A limit of the streams that have a key in common: max_streams_per. Each of them has a label, which begins with a NUL, as no
# label of an application does; src/hub/readers/stream_limits.rs counts them.

use Digest::SHA qw(sha256_hex);
use EventSource::Error;
use EventSource::XS::Response;
use EventSource::XS::Settings;
use Scalar::Util qw(blessed);

my $SETTINGS = EventSource::XS::Settings->new('EventSource::Hub');

my $MAX_STREAMS   = 999_999_999;
my $MAX_KEY_BYTES = 254;           # a label has 256 bytes

# The labels of a key, of the hash of a longer one, and of the hash of a key with channels.
my ($OF_KEY, $OF_HASH, $OF_CHANNELS) = ("\0=", "\0#", "\0:");

# Seconds after which a refused client may ask again. Those that were refused together do not come back together.
my ($LEAST_SECONDS, $MOST_SECONDS) = (10, 30);

# Return a limit of what the application has given, or undef if that is undef.
sub of {
    my ($class, $given) = @_;
    return undef if !defined $given;
    $SETTINGS->refuse(max_streams_per =>
              'max_streams_per must be an array of a code reference, which returns the key of a request, and of'
            . ' a number of streams')
        if ref $given ne 'ARRAY' || @$given != 2 || !defined $given->[0];
    my ($code, $most) = @$given;
    $SETTINGS->code('the first element of max_streams_per' => $code, field => 'max_streams_per');
    $SETTINGS->refuse(max_streams_per => 'the second element of max_streams_per must be a number of streams')
        if !defined $most;
    $SETTINGS->whole_number(
        'the number of max_streams_per' => $most,
        field                           => 'max_streams_per',
        from                            => 1,
        to                              => $MAX_STREAMS
    );
    return bless {code => $code, most => $most}, $class;
}

# Public methods

# Return the label of a request's key, in the channels that follow if the limit is one of these. undef if the request has no
# key: then it has no limit.
sub label_of {
    my ($self, $env, @topics) = @_;
    my $key = $self->{code}->($env);
    return undef if !defined $key;
    $key = $SETTINGS->name('a key of max_streams_per', $key, field => 'max_streams_per');
    utf8::encode(my $bytes = $key);
    return $OF_CHANNELS . sha256_hex(map { sha256_hex($_) } $bytes, map { _text_of($_) } @topics) if @topics;
    return length $bytes <= $MAX_KEY_BYTES ? "$OF_KEY$key" : $OF_HASH . sha256_hex($bytes);
}

# Return true if one more stream with this label, which was asked for at a time, may begin. It then has a place
# (EventSource::XS::Hub::Places). If the hub process cannot be asked, it may begin: the hub counts it when it subscribes.
sub may_begin {
    my ($self, $hub, $asked_at, $label) = @_;
    my $reserve = sub { $hub->_call('reserve', $label, $self->{most}, $asked_at) ? 1 : 0 };
    return EventSource::Error->attempt($reserve) // !!1;
}

sub refusal {
    my $self    = shift;
    my $seconds = $LEAST_SECONDS + int rand 1 + $MOST_SECONDS - $LEAST_SECONDS;
    return EventSource::XS::Response->text(
        429,
        "There are $self->{most} streams of this client already, and may not be more",
        'Retry-After' => $seconds
    );
}

# Private functions

# A channel or a pattern in bytes: a channel may be named as a pattern is written.
sub _text_of {
    my $topic = shift;
    my $text  = blessed $topic ? "pattern $$topic" : "channel $topic";
    utf8::encode($text);
    return $text;
}

1;

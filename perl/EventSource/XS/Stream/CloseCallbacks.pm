package EventSource::XS::Stream::CloseCallbacks;
use strict;
use warnings;

# The callbacks of on_close of a stream, and the holder of each: what the callback is given, mostly the connection. The holder
# is not kept alive for it. If it has been freed, the callback is given what the method closed of its class returns for the
# stream and the holder's fields.
#
# They are pairs in an array of the caller: the callback, and its holder. A native stream is that array itself: arrays of their
# own, and names in a hash, take 210 bytes more for a stream. 0 stands for the stream itself, undef for a connection without
# fields that has been freed, and a Holder for what differs from that.
#
# Called as functions, because perl forgets the methods that it has looked up (EventSource::XS::Stream).

use Scalar::Util qw(weaken);

my $CONNECTION = 'Plack::App::EventSource::Connection';
my $HOLDER     = 'EventSource::XS::Stream::CloseCallbacks::Holder';

# Public functions

# Adds a callback. The holder and its fields, a hash, may be missing.
sub add {
    my ($pairs, $callback, $holder, $fields) = @_;
    if    (!$holder)                              { push @$pairs, $callback, 0 }
    elsif ($fields || ref $holder ne $CONNECTION) { push @$pairs, $callback, $HOLDER->new($holder, $fields) }
    else {
        push @$pairs, $callback, $holder;
        weaken $pairs->[-1];
    }
    return;
}

# Returns the values that are freed with the callbacks, so that somebody can keep them.
sub held {
    my $pairs = shift;
    return grep { ref eq 'CODE' || ref eq $HOLDER } @$pairs;
}

# Takes all callbacks out: for each an array of the callback, its holder, and the holder's fields. $stream is what callbacks
# without a holder are given.
sub take {
    my ($pairs, $stream) = @_;
    my @pairs = splice @$pairs;
    my @taken;
    while (my ($callback, $holder) = splice @pairs, 0, 2) {
        push @taken,
              !defined $holder       ? [$callback, $CONNECTION->closed($stream)]
            : !$holder               ? [$callback, $stream]
            : ref $holder ne $HOLDER ? [$callback, $holder]
            :                          [$callback, $holder->get($stream), $holder->fields];
    }
    return @taken;
}

# A holder of another class, or with fields: an array of the holder, its class, and its fields.
package EventSource::XS::Stream::CloseCallbacks::Holder;

sub fields { return $_[0][2] }

sub get {
    my ($self, $stream) = @_;
    my ($holder, $class, $fields) = @$self;
    return $holder || $class->closed($stream, $fields);
}

sub new {
    my ($class, $holder, $fields) = @_;
    my $self = bless [$holder, ref $holder, $fields], $class;
    Scalar::Util::weaken($self->[0]);
    return $self;
}

1;

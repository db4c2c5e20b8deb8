package EventSource::XS::Stream::CloseCallbacks;
use strict;
use warnings;

# The callbacks of on_close of a stream, and the holder of each: what the callback is given, mostly the connection. The holder
# is not kept alive for it. If it has been freed, the callback is given a connection of the same class and with the same
# attributes, which keep_attributes has kept then.
#
# Each callback has a note of its holder: the holder; 0 for the stream itself; undef for a connection that has been freed, and
# an array of its class and its attributes if that was of another class, or had attributes. Callbacks and notes are pairs in an
# array of the caller. A native stream keeps that array in its magic, or if it has one callback only, that, and the note as its
# own value: an array takes 96 bytes more for a stream. A relay is a hash, so it always has the array.
#
# Called as functions, because perl forgets the methods that it has looked up (EventSource::XS::Stream).

use Scalar::Util qw(refaddr reftype weaken);

my $CONNECTION = 'Plack::App::EventSource::Connection';

# Public functions

# Adds a callback to pairs. The holder may be missing.
sub add {
    my ($pairs, $callback, $holder) = @_;
    push @$pairs, $callback, undef;
    _note($pairs->[-1], $holder);
    return;
}

# Adds a callback to a native stream.
sub add_to_stream {
    my ($stream, $callback, $holder) = @_;
    my $kept = $stream->_callbacks;
    if (!$kept && reftype $stream ne 'HASH') {
        $stream->_keep_callbacks($callback);
        _note($$stream, $holder);
        return;
    }
    if (ref $kept ne 'ARRAY') {
        $stream->_keep_callbacks($kept = [$kept ? ($kept, $$stream) : ()]);
        weaken $kept->[1] if ref $kept->[1] && ref $kept->[1] ne 'ARRAY';
    }
    add($kept, $callback, $holder);
    return;
}

# Takes the callbacks of a native stream out. Returns the values that are freed with them, so that somebody can keep them.
sub forget {
    return grep { ref eq 'CODE' || ref eq 'ARRAY' } _take_pairs(shift);
}

# Returns what a callback is given.
sub given {
    my ($note, $stream) = @_;
    return
          !defined $note       ? $CONNECTION->closed($stream)
        : !ref $note           ? $stream
        : ref $note eq 'ARRAY' ? $note->[0]->closed($stream, $note->[1])
        :                        $note;
}

# Keeps the class and the attributes of a holder, which is being freed, in the notes of it.
sub keep_attributes {
    my $holder = shift;
    for my $note (grep { ref && refaddr $_ == refaddr $holder } @_) {
        my %attributes = $holder->shared_attributes;
        $note = [ref $holder, \%attributes] if %attributes || ref $holder ne $CONNECTION;
    }
    return;
}

sub keep_attributes_of_stream {
    my ($stream, $holder) = @_;
    my $kept = $stream->_callbacks or return;
    keep_attributes($holder, ref $kept eq 'ARRAY' ? @$kept : $$stream);
    return;
}

# Takes all callbacks out of pairs: for each an array of the callback and of what it is given.
sub take {
    my ($pairs, $stream) = @_;
    my @pairs = splice @$pairs;
    my @taken;
    while (my ($callback, $note) = splice @pairs, 0, 2) { push @taken, [$callback, given ($note, $stream)] }
    return @taken;
}

sub take_from_stream {
    my $stream = shift;
    return take([_take_pairs($stream)], $stream);
}

# Private functions

# Notes a holder in the first argument.
sub _note {
    my (undef, $holder) = @_;
    $_[0] = $holder || 0;
    weaken $_[0] if $holder;
    return;
}

# Takes the callbacks of a native stream out, as pairs.
sub _take_pairs {
    my $stream = shift;
    my $kept   = $stream->_callbacks or return;
    my @pairs  = ref $kept eq 'ARRAY' ? splice @$kept : ($kept, $$stream);
    undef $$stream if reftype $stream ne 'HASH';
    $stream->_keep_callbacks(undef);
    return @pairs;
}

1;

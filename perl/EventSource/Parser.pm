package EventSource::Parser;
use strict;
use warnings;

# Reads a stream of events: the options here, all else in src/xs/eventsource.xs.

our $VERSION = '0.100';

use EventSource::Error ();
use EventSource::XS    ();

sub new {
    my ($class, %option) = @_;
    my $max_event = delete $option{max_event};
    $max_event = 1_048_576 if !defined $max_event;
    _invalid(max_event => 'max_event must be a whole number of bytes from 1 on')
        if $max_event !~ /\A[1-9][0-9]{0,14}\z/;
    _invalid($_ => "unknown option '$_'") for sort keys %option;

    my $self = bless {}, $class;
    $self->_attach($max_event);
    return $self;
}

# Private functions

sub _invalid {
    my ($field, $message) = @_;
    return EventSource::Error->throw(code => 'invalid', field => $field, message => "EventSource::Parser: $message");
}

1;
__END__

=encoding utf8

=head1 NAME

EventSource::Parser - Reads a stream of server-sent events

=head1 SYNOPSIS

    use EventSource::Parser;

    my $parser = EventSource::Parser->new(max_event => 65_536);
    for my $chunk ("id: 1\nevent: add\nda", "ta: hello\n\n") {
        for my $event ($parser->feed($chunk)) {
            print "$event->{event} $event->{id}: $event->{data}\n";    # "add 1: hello"
        }
    }
    $parser->finish;
    my $resume_from = $parser->last_event_id;

=head1 DESCRIPTION

Takes an event stream in pieces cut anywhere and gives the events that a browser would dispatch: WHATWG HTML, sections
9.2.5 and 9.2.6, to the letter. Bytes go in, characters come out; what is not UTF-8 becomes U+FFFD.

=head1 METHODS

=head2 new

    my $parser = EventSource::Parser->new;
    my $parser = EventSource::Parser->new(max_event => 1_048_576);

C<max_event> bounds an event that does not end: its type, its data and the line under way may come to that many bytes,
from 1 to 999,999,999,999,999; 1,048,576 unless given. Croaks for an unknown option, or a bound that is not such a
number.

=head2 feed

    my @events = $parser->feed($bytes);

Takes the next bytes and returns the events that they complete, each a reference to a hash of three strings:

=over

=item event

The type; C<message> where the stream gave none.

=item data

The data, its lines joined by LF.

=item id

The last event ID at the time of the event: its own, or the latest before it, or empty.

=back

Called in scalar context it keeps the events for the next call and returns how many wait.

Croaks if C<$bytes> is undefined or holds a character above U+00FF, and once an event grows beyond C<max_event>; events
that were complete before that one are returned first, and the next call croaks. From then on every call does, until
L</finish>.

=head2 finish

    $parser->finish;

The stream has ended: drops what is unterminated, as the standard wants it, and stands at the start of the next stream.
The last event ID and the reconnection time stay, as they do for a client that reconnects.

=head2 last_event_id

    my $id = $parser->last_event_id;

The last event ID of the event source, a string of characters, empty at first: what a client sends as C<Last-Event-ID>
when it reconnects. It changes with the blank line that ends a block, not with the C<id> field.

=head2 retry

    my $milliseconds = $parser->retry;

The reconnection time that the stream has set last, or C<undef>. A number beyond 64 bits is the largest of 64 bits.

=head1 THREADS

A parser that exists when an ithread is created is cloned; each thread goes on with its own.

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut

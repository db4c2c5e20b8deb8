package EventSource::Parser;
use strict;
use warnings;

# The constructor and its options. The methods are in src/xs/parser.xs.

our $VERSION = '0.100';

use EventSource::XS ();
use EventSource::XS::Settings;

my $SETTINGS = EventSource::XS::Settings->new(__PACKAGE__);

sub new {
    my ($class, @options) = @_;
    my %option    = $SETTINGS->parse('new takes options', @options);
    my $max_event = defined $option{max_event} ? $option{max_event} : 1_048_576;
    $SETTINGS->refuse(max_event => 'max_event must be a whole number of bytes from 1 on')
        if $max_event !~ /\A[1-9][0-9]{0,14}\z/;
    $SETTINGS->known(\%option, ['max_event'], 'option %s');

    my $self = bless {}, $class;
    $self->_attach("$max_event");
    return $self;
}

1;
__END__

=encoding utf8

=head1 NAME

EventSource::Parser - Read a stream of server-sent events

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

The parser takes a stream in pieces of any size and returns the events that a browser would dispatch (WHATWG HTML, sections
9.2.5 and 9.2.6). Its input is bytes, its output characters. Bytes that are not UTF-8 become U+FFFD.

=head1 METHODS

=head2 new

    my $parser = EventSource::Parser->new(max_event => 1_048_576);
    my $parser = EventSource::Parser->new(\%options);

Make a parser at the start of a stream. C<max_event> is the most bytes that an unfinished event may have, its type, its data
and the current line together: 1 to 999,999,999,999,999, by default 1,048,576. Anything else throws an L<EventSource::Error>
with the code C<invalid>.

=head2 feed

    my @events = $parser->feed($bytes);

Parse the next bytes and return the events that they complete, each a hash of three strings:

    event    the type; "message" if the stream gave none
    data     the data, its lines joined by LF
    id       its own id, or the latest before it, or empty

In scalar context, keep the events for the next call and return their number.

Throws C<invalid>: of the field C<bytes> if C<$bytes> is undefined or contains a character above U+00FF, of the field
C<max_event> if an event exceeds that bound. Events that were complete before it are returned first, and the next call throws,
as every further one until L</finish>.

=head2 finish

    $parser->finish;

End the stream. An unterminated event is dropped, and the parser is at the start of the next stream. The last event ID and the
reconnection time stay.

=head2 last_event_id

    my $id = $parser->last_event_id;

Return the last event ID, empty at first. It changes with the blank line that ends a block, not with the C<id> field.

=head2 retry

    my $milliseconds = $parser->retry;

Return the reconnection time that the stream has set last, in milliseconds, or C<undef>.

=cut

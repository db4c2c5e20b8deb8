# EventSource::Parser: bytes in, events in characters out, cut anywhere.

use strict;
use warnings;
use utf8;

use EventSource::Parser;
use EventSource::XS qw(format_event);
use Test::More;

sub event {
    my ($data, $event, $id) = @_;
    return {data => $data, event => $event || 'message', id => defined $id ? $id : ''};
}

subtest 'events are hashes of event, data and id' => sub {
    my $parser = EventSource::Parser->new;
    is_deeply [$parser->feed("id: 1\nevent: add\ndata: a\ndata: b\n\ndata: \xE2\x98\xBA\n\n: note\n\nda")],
        [event("a\nb", 'add', 1), event('☺', 'message', 1)], 'in one piece';
    is_deeply [$parser->feed("ta: c\n\n")], [event('c', 'message', 1)], 'the rest later';
    is_deeply [$parser->feed('')],          [],                         'nothing comes of nothing';
};

subtest 'a stream may be cut anywhere' => sub {
    my $stream = "\xEF\xBB\xBFid: \xE2\x98\xBA\r\ndata: \xC3\xA9\r\rdata\n\nevent: x\r\ndata: y\r\n\r\n";
    my @whole  = EventSource::Parser->new->feed($stream);
    is @whole, 3, 'three events';
    for my $cut (0 .. length $stream) {
        my $parser = EventSource::Parser->new;
        my @events = map { $parser->feed($_) } substr($stream, 0, $cut), substr $stream, $cut;
        is_deeply \@events, \@whole, "at $cut";
    }
};

subtest 'last_event_id and retry' => sub {
    my $parser = EventSource::Parser->new;
    is $parser->last_event_id, '',    'no id yet';
    is $parser->retry,         undef, 'no reconnection time yet';
    $parser->feed("id: \xE2\x98\xBA\nretry: 2500\n");
    is $parser->last_event_id, '',   'an id counts from the blank line on';
    is $parser->retry,         2500, 'a reconnection time at once';
    $parser->feed("\n");
    is $parser->last_event_id, '☺', 'also of a block without data; in characters';
    $parser->feed("retry: 18446744073709551615\nretry: x\n");
    is $parser->retry, ~0, 'the largest number';
};

subtest 'finish drops what is unterminated' => sub {
    my $parser = EventSource::Parser->new;
    $parser->feed("id: 7\nretry: 3\n\nid: 8\ndata: lost\n");
    $parser->finish;
    is $parser->last_event_id, '7', 'the id stays';
    is $parser->retry,         3,   'so does the reconnection time';
    is_deeply [$parser->feed("\n\xEF\xBB\xBFdata: lost\n\ndata: new\n\n")], [event('new', 'message', 7)],
        'a new stream begins, and a mark inside it is no mark';
};

subtest 'in other contexts nothing is lost' => sub {
    my $parser = EventSource::Parser->new;
    $parser->feed("data: a\n\n");
    my $waiting = $parser->feed("data: b\n\n");
    is $waiting, 2, 'the number that waits';
    is_deeply [map { $_->{data} } $parser->feed('')], ['a', 'b'], 'they are still there';
};

subtest 'a bound on an event that does not end' => sub {
    my $parser = EventSource::Parser->new(max_event => 20);
    is_deeply [$parser->feed("data: ok\n\ndata: " . 'x' x 30)], [event('ok')], 'what was complete is given first';
    my ($file, $line) = (__FILE__, __LINE__ + 1);
    ok !eval { $parser->feed('x'); 1 }, 'then it croaks';
    is $@, "EventSource::Parser: an event is larger than max_event, 20 bytes at $file line $line.\n", 'and says why';
    ok !eval { $parser->feed("\n\n"); 1 }, 'again and again';
    $parser->finish;
    is_deeply [$parser->feed("data: x\n\n")], [event('x')], 'until finish';
    ok !eval { my @events = $parser->feed('x' x 21); 1 }, 'at once if nothing was complete';
};

subtest 'bytes in' => sub {
    my $parser = EventSource::Parser->new;
    utf8::upgrade(my $flagged = "data: \xC3\xA9\n\n");
    is_deeply [$parser->feed($flagged)], [event('é')], 'the flag does not matter';
    ok !eval { $parser->feed('☺'); 1 }, 'wide characters are refused';
    like $@, qr/\AEventSource::Parser: feed takes bytes, this string holds a character above U\+00FF at /, 'by name';
    ok !eval { $parser->feed(undef); 1 }, 'so is undef';
    like $@, qr/feed takes a string of bytes, not undef at /, 'by name';
    is_deeply [$parser->feed("data: \xFF\n\n")], [event("\x{FFFD}")], 'what is no UTF-8 is replaced';
};

subtest 'objects' => sub {
    ok !eval { EventSource::Parser->new(max_events => 1); 1 }, 'an unknown option is refused';
    like $@, qr/\AEventSource::Parser: unknown option 'max_events' at \Q${\__FILE__}\E line/, 'by name';
    for my $bad (0, -1, '1e3', 'x', '', 1.5, "1\n") {
        ok !eval { EventSource::Parser->new(max_event => $bad); 1 }, "max_event => '$bad'";
        like $@, qr/max_event must be a whole number of bytes from 1 on at \Q${\__FILE__}\E line/, 'is refused';
    }
    for my $forged (
        {},
        bless({},                             'EventSource::Parser'),
        bless(\(my $number = 94_000_000_000), 'EventSource::Parser'),
        7, undef
    ) {
        ok !eval { EventSource::Parser::feed($forged, 'x'); 1 }, 'what is no parser is refused';
        like $@, qr/this is no parser; make one with EventSource::Parser->new at \Q${\__FILE__}\E line/, 'and said so';
    }
    {

        package Sub;
        our @ISA = ('EventSource::Parser');
    }
    my $parser = Sub->new;
    isa_ok $parser, 'Sub';
    $parser->{own} = 'field';
    is_deeply [$parser->feed("data: x\n\n")], [event('x')], 'a subclass may keep fields of its own';
};

subtest 'what format_event makes comes back' => sub {
    my $parser = EventSource::Parser->new;
    for my $data ("a\nb\n", '', 'é☺😀', " x\r\n\r", ':', "\0") {
        (my $unified = $data) =~ s/\r\n?/\n/g;
        is_deeply [$parser->feed(format_event(event => 'e☺', id => 'é', data => $data))], [event($unified, 'e☺', 'é')];
    }
};

done_testing;

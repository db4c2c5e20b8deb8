# EventSource::Parser: it takes bytes, cut anywhere, and returns events of characters.

use lib 't/lib';
use Testing;
use EventSource::Parser;
use EventSource::XS qw(format_event);

sub event {
    my ($data, $event, $id) = @_;
    return {data => $data, event => $event || 'message', id => defined $id ? $id : ''};
}

subtest 'events are hashes of event, data and id' => sub {
    my $parser = EventSource::Parser->new;
    is_deeply [$parser->feed("id: 1\nevent: add\ndata: a\ndata: b\n\ndata: \xE2\x98\xBA\n\n: note\n\nda")],
        [event("a\nb", 'add', 1), event('☺', 'message', 1)], 'two complete events in one piece';
    is_deeply [$parser->feed("ta: c\n\n")], [event('c', 'message', 1)], 'an event that a later piece completes';
    is_deeply [$parser->feed('')],          [],                         'an empty piece completes no event';
};

subtest 'a stream cut at any offset gives the same events' => sub {
    my $stream = "\xEF\xBB\xBFid: \xE2\x98\xBA\r\ndata: \xC3\xA9\r\rdata\n\nevent: x\r\ndata: y\r\n\r\n";
    my @whole  = EventSource::Parser->new->feed($stream);
    is @whole, 3, 'the whole stream has three events';
    for my $cut (0 .. length $stream) {
        my $parser = EventSource::Parser->new;
        my @events = map { $parser->feed($_) } substr($stream, 0, $cut), substr $stream, $cut;
        is_deeply \@events, \@whole, "cut at $cut";
    }
};

subtest 'last_event_id and retry return the last values of the stream' => sub {
    my $parser = EventSource::Parser->new;
    is $parser->last_event_id, '',    'a new parser has an empty id';
    is $parser->retry,         undef, 'a new parser has no reconnection time';
    $parser->feed("id: \xE2\x98\xBA\nretry: 2500\n");
    is $parser->last_event_id, '',   'an id is not effective before the blank line';
    is $parser->retry,         2500, 'a reconnection time is effective at once';
    $parser->feed("\n");
    is $parser->last_event_id, '☺', 'the id of a block without data is effective, in characters';
    $parser->feed("retry: 18446744073709551615\nretry: x\n");
    is $parser->retry, ~0, 'the largest number is kept, an invalid one is ignored';
};

subtest 'finish drops an unterminated block' => sub {
    my $parser = EventSource::Parser->new;
    $parser->feed("id: 7\nretry: 3\n\nid: 8\ndata: lost\n");
    $parser->finish;
    is $parser->last_event_id, '7', 'the id is kept';
    is $parser->retry,         3,   'the reconnection time is kept';
    is_deeply [$parser->feed("\n\xEF\xBB\xBFdata: lost\n\ndata: new\n\n")], [event('new', 'message', 7)],
        'a new stream begins, in which a byte order mark after the start is text';
};

subtest 'feed in void or scalar context loses no events' => sub {
    my $parser = EventSource::Parser->new;
    $parser->feed("data: a\n\n");
    my $waiting = $parser->feed("data: b\n\n");
    is $waiting, 2, 'scalar context gives the number of complete events';
    is_deeply [map { $_->{data} } $parser->feed('')], ['a', 'b'], 'list context returns them later';
};

subtest 'an event larger than max_event makes feed croak' => sub {
    my $parser = EventSource::Parser->new(max_event => 20);
    is_deeply [$parser->feed("data: ok\n\ndata: " . 'x' x 30)], [event('ok')],
        'feed returns the complete events before it croaks';
    my ($file, $line) = (__FILE__, __LINE__ + 1);
    ok !eval { $parser->feed('x'); 1 }, 'the next feed croaks';
    is $@, "EventSource::Parser: an event is larger than max_event, 20 bytes at $file line $line.\n",
        'the error names the bound and the line';
    ok !eval { $parser->feed("\n\n"); 1 }, 'each later feed croaks';
    $parser->finish;
    is_deeply [$parser->feed("data: x\n\n")], [event('x')], 'feed works again after finish';
    ok !eval { my @events = $parser->feed('x' x 21); 1 }, 'feed croaks at once if no event is complete';
};

subtest 'feed takes bytes' => sub {
    my $parser = EventSource::Parser->new;
    utf8::upgrade(my $flagged = "data: \xC3\xA9\n\n");
    is_deeply [$parser->feed($flagged)], [event('é')], 'bytes with the UTF-8 flag are accepted';
    ok !eval { $parser->feed('☺'); 1 }, 'wide characters are refused';
    like $@, qr/\AEventSource::Parser: feed takes bytes, this string holds a character above U\+00FF at /,
        'the error names wide characters';
    ok !eval { $parser->feed(undef); 1 }, 'undef is refused';
    like $@, qr/feed takes a string of bytes, not undef at /, 'the error names undef';
    is_deeply [$parser->feed("data: \xFF\n\n")], [event("\x{FFFD}")], 'bytes that are not UTF-8 are replaced';
};

subtest 'new and feed refuse invalid arguments, and a subclass works' => sub {
    ok !eval { EventSource::Parser->new(max_events => 1); 1 }, 'an unknown option is refused';
    like $@,
        qr/\AEventSource::Parser: unknown option 'max_events'; did you mean max_event[?] [(]known: max_event[)] at \Q${\__FILE__}\E line/,
        'the error names the option';
    for my $bad (0, -1, '1e3', 'x', '', 1.5, "1\n") {
        ok !eval { EventSource::Parser->new(max_event => $bad); 1 }, "max_event => '$bad' is refused";
        like $@, qr/max_event must be a whole number of bytes from 1 on at \Q${\__FILE__}\E line/,
            "the error names the range for '$bad'";
    }
    for my $forged (
        {},
        bless({},                             'EventSource::Parser'),
        bless(\(my $number = 94_000_000_000), 'EventSource::Parser'),
        7, undef
    ) {
        ok !eval { EventSource::Parser::feed($forged, 'x'); 1 }, 'feed refuses a value that is not a parser';
        like $@, qr/this is not a parser; make one with EventSource::Parser->new at \Q${\__FILE__}\E line/,
            'the error says that it is not a parser';
    }

    package Sub {
        our @ISA = ('EventSource::Parser');
    }
    my $parser = Sub->new;
    isa_ok $parser, 'Sub';
    $parser->{own} = 'field';
    is_deeply [$parser->feed("data: x\n\n")], [event('x')], 'an object of a subclass may have its own fields';
};

subtest 'an event of format_event is parsed with the same values' => sub {
    my $parser = EventSource::Parser->new;
    for my $data ("a\nb\n", '', 'é☺😀', " x\r\n\r", ':', "\0") {
        (my $unified = $data) =~ s/\r\n?/\n/g;
        is_deeply [$parser->feed(format_event(event => 'e☺', id => 'é', data => $data))], [event($unified, 'e☺', 'é')];
    }
};

done_testing;

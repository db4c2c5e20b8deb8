# An empty id, and empty data, are strings like others.

use strict;
use warnings;

use EventSource::Parser ();
use Test::More;

my $parser = EventSource::Parser->new;
is $parser->last_event_id, '', 'before any id the last event ID is empty';

# A parser that has seen nothing else, so that Rust has no memory behind the empty strings.
is_deeply [EventSource::Parser->new->feed("data: first\n\n")], [{event => 'message', data => 'first', id => ''}],
    'an event without id';
is_deeply [EventSource::Parser->new->feed("data\n\n")], [{event => 'message', data => '', id => ''}],
    'an event without anything';

done_testing;

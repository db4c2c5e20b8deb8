# ithreads: a parser is cloned with its object, each thread goes on with its own.

use strict;
use warnings;

use Config;
use Test::More;
BEGIN { plan skip_all => 'this perl has no threads' if !$Config{useithreads} }
use threads;

use EventSource::Parser;
use EventSource::XS qw(format_event);

my $parser = EventSource::Parser->new;
$parser->feed("id: 1\ndata: a\n");

my @threads = map {
    my $number = $_;
    threads->create(
        sub {
            my @events = $parser->feed("data: $number\n\n");
            return "$events[0]{data}|" . $parser->last_event_id . '|' . format_event(data => $number);
        }
    )
} 1 .. 4;
is $threads[$_ - 1]->join, "a\n$_|1|data: $_\n\n", "thread $_ goes on from the state of its birth" for 1 .. 4;

is $parser->last_event_id, '', 'and changes nothing here';
my ($event) = $parser->feed("data: b\n\n");
is_deeply $event, {event => 'message', data => "a\nb", id => '1'}, 'the first parser goes on with its own';

done_testing;

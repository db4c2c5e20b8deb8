# ithreads: a new thread clones a parser with its object. Each thread continues with its own copy.

use lib 't/lib';
use Testing;
use Config;
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
is $threads[$_ - 1]->join, "a\n$_|1|data: $_\n\n", "thread $_ continues from the parser's state at its start"
    for 1 .. 4;

is $parser->last_event_id, '', 'the threads do not change the first parser';
my ($event) = $parser->feed("data: b\n\n");
is_deeply $event, {event => 'message', data => "a\nb", id => '1'}, 'the first parser continues with its own data';

done_testing;

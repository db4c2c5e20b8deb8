# ithreads: a parser belongs to its thread. The copy of another one says so, and a thread makes parsers of its own.

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
            my $error = eval { $parser->feed("data: $number\n\n"); 1 } ? 'none' : $@->code . ' ' . $@->message;
            my ($event) = EventSource::Parser->new->feed(format_event(data => $number));
            return "$error|$event->{data}";
        }
    )
} 1 .. 4;
my $BELONGS = 'state EventSource::XS: this object belongs to another thread; make one in this thread';
is $threads[$_ - 1]->join, "$BELONGS|$_", "thread $_ cannot feed the parser of its parent, but one of its own"
    for 1 .. 4;

my ($event) = $parser->feed("data: b\n\n");
is_deeply $event, {event => 'message', data => "a\nb", id => '1'}, 'the first parser continues with its own data';

done_testing;

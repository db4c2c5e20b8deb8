# A real browser's EventSource receives what an application pushes, and reconnects with the last event ID after the
# reconnection time.

use lib 't/lib';
use Testing               qw(Browser);
use Testing::BrowserCases qw(cases expected_events);
use Testing::Server;

my $browser = Testing::Browser->start;

# The times at which the page saw a state.
sub times_of {
    my ($state, $states) = @_;
    return map { $_->{time} } grep { $_->{state} == $state } @$states;
}

for my $name (Testing::Server->tested(qw(HTTP::Server::PSGI Starman Starlet Twiggy Feersum))) {
    subtest $name => sub {
        my $server = Testing::Server->start($name, 't/browser/events.psgi', workers => 4);
        $browser->open($server->url('/'));
        $browser->wait_for("events.some(event => event.type === 'done')", 'the page receives the last event');
        my @events = @{$browser->evaluate('events')};
        my $states = $browser->evaluate('states');

        my @expected = expected_events();
        for my $case (cases()) {
            is_deeply shift @events, shift @expected, $case->[0];
        }
        is_deeply shift @events, {type => 'resumed', data => 'ïd ☺', lastEventId => 'second'},
            'the browser reconnects with the last event ID';
        is_deeply \@events, [{type => 'done', data => 'second', lastEventId => 'second'}],
            'the browser reconnects again with the next ID';

        my ($first_end, $second_end) = times_of(0, [@$states[1 .. $#$states]]);
        my (undef, $second_open, $third_open) = times_of(1, $states);
        my @waited = ($second_open - $first_end, $third_open - $second_end);
        cmp_ok $waited[1], '>', $waited[0], 'a longer reconnection time makes the browser wait longer';
        is $states->[-1]{state}, 2, 'the EventSource that the page has closed stays closed';
    };
}
is_deeply [$browser->complaints], [], 'the browser reports no error';

done_testing;

# A hub in a test of an application, as its author would write it: in process, natively and through the server's writer.

use strict;
use warnings;

use EventSource::Hub;
use Plack::Builder;
use Test::EventSource;
use Test::More;

for my $way (['natively', 1], ["through the server's writer", 0]) {
    my ($how, $native) = @$way;
    subtest $how => sub {
        my $hub  = EventSource::Hub->new(native => $native);
        my $app  = $hub->to_app(channels => sub { my $env = shift; return split /,/, substr $env->{PATH_INFO}, 1 });
        my $es   = Test::EventSource->new(app => $app);
        my $both = $es->get('/news,weather');
        my $news = $es->get('/news');
        $hub->publish(news    => {event => 'headline', data => 'hello'});
        $hub->publish(weather => {json  => {sun => 1}});
        $both->like_event({event => 'headline', data => 'hello'}, 'what is published comes');
        $both->like_event({json  => {sun => 1}},                  'from each channel');
        $news->like_event('hello', 'to each that follows');
        $news->no_event(0.1, 'and nothing else');
        $both->close;
        $hub->publish(news => $_) for 1 .. 3;
        $both->reconnect;
        $both->like_event($_, 'what was missed comes too') for 1 .. 3;
        is $hub->subscribers('news'), 2, 'both follow';
        $_->close for $both, $news;
        $es->wait_for(sub { $hub->stats->{streams} == 0 }) if $native;
        is $es->get('/')->status, 404, 'there has to be something to follow';
    };
}

done_testing;

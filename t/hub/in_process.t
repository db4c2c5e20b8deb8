# A test of an application with a hub, as its author would write it: in process, with native streams and on the server's writer.

use lib 't/lib';
use Testing;
use EventSource::Hub;
use Plack::Builder;
use Test::EventSource;

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
        $both->like_event({event => 'headline', data => 'hello'}, 'a stream receives an event of its first channel');
        $both->like_event({json  => {sun => 1}},                  'a stream receives an event of its second channel');
        $news->like_event('hello', 'a second stream receives the event of its channel');
        $news->no_event(0.1, 'a stream receives no event of another channel');
        $both->close;
        $hub->publish(news => $_) for 1 .. 3;
        $both->reconnect;
        $both->like_event($_, 'a stream that reconnects receives an event that it missed') for 1 .. 3;
        $es->wait_for(sub { $hub->subscribers('news') == 2 });    # the end of the closed stream may be seen later
        is $hub->subscribers('news'), 2, 'the hub counts two subscribers';
        $_->close for $both, $news;
        $es->wait_for(sub { $hub->stats->{streams} == 0 }) if $native;
        is $es->get('/')->status, 404, 'a request without channels is a 404';
    };
}

done_testing;

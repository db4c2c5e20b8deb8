# What the manuals advise on named hubs: to bound the streams of a user, and to publish from a child of spawn.

use lib 't/lib';
use Testing    qw(native named_hubs);
use File::Temp ();
use Test::EventSource;
use Testing::Developer qw(needs);
use Testing::Server;

needs(Testing::Server->missing('Starman'));

my $app = File::Temp->new(SUFFIX => '.psgi');
print {$app} <<'APP';
use EventSource::Hub;
use Plack::App::EventSource;
use Plack::Builder;

my $hub = EventSource::Hub->new(name => 'test');

builder {
    mount '/events' => $hub->to_app(
        channels => sub {
            my $user = shift->{QUERY_STRING};
            return [429, ['Content-Type' => 'text/plain'], ['Too many streams']] if $hub->subscribers("user/$user") >= 2;
            return "user/$user";
        }
    );
    mount '/answer' => Plack::App::EventSource->new(
        handler_cb => sub {
            my $conn = shift;
            $conn->spawn(
                sub {
                    $hub->publish('user/bob' => "word $_") for 1 .. 3;
                    $conn->finish;
                }
            );
        }
    )->to_app;
};
APP
close $app;

my $hub = Test::EventSource->private_hub;
my $es  = Test::EventSource->new(app => $app->filename, server => 'Starman', workers => 2);

subtest 'the streams of a user are bounded over all workers' => sub {
    my @streams = map { $es->get('/events?ada') } 1, 2;
    ok wait_until(sub { $hub->subscribers('user/ada') == 2 }), 'two are subscribed';
    is $es->request('GET', '/events?ada')->code, 429, 'a third one is refused';
    my $other = $es->get('/events?carl');
    ok wait_until(sub { $hub->subscribers('user/carl') == 1 }), 'another user is not';
    $streams[0]->close;
    ok wait_until(sub { $hub->subscribers('user/ada') == 1 }), 'one leaves';
    push @streams, $es->get('/events?ada');
    ok wait_until(sub { $hub->subscribers('user/ada') == 2 }), 'then another one is served';
};

subtest 'a spawned child publishes to a named hub' => sub {
    my $stream = $es->get('/events?bob');
    ok wait_until(sub { $hub->subscribers('user/bob') == 1 }), 'a client reads';
    is $es->request('GET', '/answer')->code, 200, 'a child runs';
    $stream->like_event("word $_") for 1 .. 3;
};

done_testing;

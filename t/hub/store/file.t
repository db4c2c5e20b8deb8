# A hub whose events are in a file: its process is killed, and clients resume.

use strict;
use warnings;

use lib 't/lib';
use Test::More;
use Testing::StoredHub;
use File::Temp ();
use Testing::Subscriber;

my $folder = File::Temp->newdir;
my $path   = "$folder/events.db";

for my $sync (qw(never second event)) {
    subtest "the process is killed: sync => '$sync'" => sub {
        my $stored = Testing::StoredHub->start({file => "$path.$sync", sync => $sync});
        my $hub    = $stored->hub;
        my @ids    = map { $hub->publish(news => "event $_") } 1 .. 50;
        my $once   = $hub->publish(news => 'once', {once => 'key'});
        my $epoch  = $hub->epoch;
        $stored->kill;
        my $subscriber = Testing::Subscriber->open($hub, 'news', {after => $ids[9]});
        is_deeply [$subscriber->data(41)], [map({ "event $_" } 11 .. 50), 'once'],
            'a client receives what it has missed';
        is $hub->epoch,                                    $epoch, 'ids go on';
        is $hub->publish(news => 'once', {once => 'key'}), $once,  'a key `once` is remembered';
        my $id = $hub->publish(news => 'later');
        my ($before, $after) = map { /-([0-9]+)\z/ } $once, $id;
        cmp_ok $after, '>', $before, 'later ids are greater';
        is $stored->store->{events}, 52, 'the store has all events';
    };
}

subtest 'two hubs with one file' => sub {
    my $one = Testing::StoredHub->start({file => $path});
    $one->hub->publish(news => 'one');
    my $two   = Testing::StoredHub->start({file => $path}, publish_timeout => 1);
    my $error = eval { $two->hub->publish(news => 'two'); 1 } ? undef : $@;
    is $error && $error->code, 'unavailable', 'the second one does not begin';
    is $one->store->{events},  1,             'the first one is not disturbed';
};

done_testing;

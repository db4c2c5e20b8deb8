# bakery.t: the application on Starman, with a hub of this test only. prove bakery.t
use strict;
use warnings;

use Test::EventSource;
use Test::More;

my $hub = Test::EventSource->private_hub(name => 'bakery');
my $es  = Test::EventSource->new(app => 'bakery.psgi', server => 'Starman', workers => 4);

my $ann = $es->get('/events?name=ann', members => 1, state => {key => 'bread'});
is $es->post('/bake', form => [bread => 'rye', left => 3])->code, 200, 'rye is baked';
$ann->state_is({rye => {json => {bread => 'rye', left => 3}}}, 'ann sees it');

my $bob = $es->get('/events?name=bob', members => 1, state => {key => 'bread'});
$bob->state_is({rye => {json => {bread => 'rye', left => 3}}}, 'bob, who comes later, sees it, too');
$ann->members_are(['ann', 'bob'], 'ann sees bob');

$bob->close;
$hub->publish(bread => {key => 'rye', json => {bread => 'rye', left => 2}, retain => 1});
$ann->state_is({rye => {json => {bread => 'rye', left => 2}}}, 'ann sees what a job publishes');
$bob->reconnect;
$bob->state_is({rye => {json => {bread => 'rye', left => 2}}}, 'bob receives it when he is back');

done_testing;

# A master of Redis and the machine that has published to it die together, and an event is lost that was acknowledged and not
# replicated. The other machine has never seen it. A client that has comes there with its id: with opaque ids, which nobody
# can invent, that proves the loss, and all clients receive a gap. With plain ids only this client is, because anybody
# could write such an id.

use lib 't/lib';
use Testing qw(Machine Redis);
use Testing::CuttableProxy;
use Testing::RoamingClient;

my $PROOF = 7;    # seconds after which an id that is ahead has proven a loss, and more

# Two machines, of which the second one is cut off while an event is published, and Redis as a replica without it is.
sub lose {
    my $opaque   = shift;
    my $redis    = Testing::Redis->start;
    my $proxy    = Testing::CuttableProxy->start($redis->port);
    my @urls     = ($redis->url, $redis->url(port => $proxy->port));
    my @machines = map { Testing::Machine->start({redis => $_}, opaque_ids => $opaque) } @urls;
    my ($roams, $stays) = map { Testing::RoamingClient->open($machines[$_], channels => 'news') } 0, 1;
    $machines[0]->publish(news => 'before');
    ok $_->has('before'), 'a client receives an event' for $roams, $stays;
    my ($stream) = @{$redis->command(KEYS => 'es:{shop}:*')};
    $redis->command(COPY => $stream, 'replica');
    $proxy->hold;
    $machines[0]->publish(news => 'lost');
    ok $roams->has('lost'), 'a client receives the event that is lost';
    $machines[0]->kill_hub;
    $redis->command(RENAME => 'replica', $stream);
    $proxy->release;
    return {
        redis    => $redis,
        proxy    => $proxy,
        machines => \@machines,
        machine  => $machines[1],
        roams    => $roams,
        stays    => $stays
    };
}

# Ends everything: the first machine has no hub process any more.
sub end_ok {
    my $all = shift;
    $_->leave for @$all{qw(roams stays)};
    $all->{machines}[0]->publish(news => 'the end');    # the socket of a killed process is removed by the next one
    $_->end_ok for @{$all->{machines}};
    return;
}

sub epoch_changes { return $_[0]{machine}->stats->{store}{epoch_changes} }

subtest 'opaque ids' => sub {
    my $all = lose(1);
    my ($prefix) = $all->{roams}->last_id =~ /\A(.+-)/;
    my @invented =
        map { Testing::RoamingClient->open($all->{machine}, channels => 'news', id => $prefix . $_) } '0' x 34,
        '7' . 'v' x 33, '3' . 'a7' x 16 . 'b';
    ok $_->has_gaps(1), 'a client with an invented id receives a gap' for @invented;
    is epoch_changes($all),         0, 'and nobody else';
    is $all->{stays}->has_gaps_now, 0, 'nor is a client of that machine';
    $_->leave for @invented;
    $all->{roams}->head_for($all->{machine});
    ok $all->{$_}->has_gaps(1), "a client that $_ receives a gap" for qw(roams stays);
    is epoch_changes($all), 1, 'in another epoch';
    $all->{machine}->publish_at_last(news => 'after', once => 'after');
    ok $all->{$_}->has('after'), "a client that $_ receives the next event" for qw(roams stays);
    is_deeply [map { $all->{$_}->gaps } qw(roams stays)], [1, 1], 'there is one gap';
    end_ok($all);
};

subtest 'plain ids' => sub {
    my $all = lose(0);
    $all->{roams}->head_for($all->{machine});
    ok $all->{roams}->has_gaps(1), 'the client that has received the event receives a gap';
    $all->{machine}->publish_at_last(news => 'after', once => 'after');
    ok $all->{$_}->has('after'), "a client that $_ receives the next event" for qw(roams stays);
    is_deeply [map { $all->{$_}->gaps } qw(roams stays)], [1, 0], 'no other client is';
    is epoch_changes($all), 0, 'an id that anybody could write begins no epoch';
    end_ok($all);
};

# The state is kept where the stream is lost: the next epoch begins with an entry that is no event, and a client that comes then
# has its number.
subtest 'a client with the number of an entry that is no event proves nothing' => sub {
    my $redis    = Testing::Redis->start;
    my @machines = map { Testing::Machine->start({redis => $redis->url}, opaque_ids => 1) } 1, 2;
    my $stays    = Testing::RoamingClient->open($machines[1], channels => 'news');
    $machines[0]->publish(news => $_, key => 'k', retain => 1) for 1, 2;
    ok $stays->has(2), 'a client receives events';
    $redis->command(DEL => @{$redis->command(KEYS => 'es:{shop}:*')});
    ok $stays->has_gaps(1), 'the stream is lost: the client receives a gap';
    my $epochs = sub {
        join ' ', map { $_->stats->{store}{epoch_changes} } @machines;
    };
    ok wait_until(sub { $epochs->() eq '1 1' }), 'both hubs begin another epoch' or diag $epochs->();
    my $roams = Testing::RoamingClient->open($machines[0], channels => 'news');
    $roams->move($machines[1]);
    ok !wait_until($PROOF, sub { $roams->has_gaps_now || $stays->has_gaps_now > 1 }), 'nobody receives another one';
    $machines[0]->publish(news => 'after');
    ok $_->has('after'), 'a client receives what is published then' for $roams, $stays;
    is_deeply [map { $_->gaps } $roams, $stays], [0, 1], 'and no other gap';
    is $epochs->(), '1 1', 'there is no other epoch';
    $_->leave for $roams, $stays;
    $_->end_ok for @machines;
};

done_testing;

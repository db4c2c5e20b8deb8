# Each item once and in order, whatever ends meanwhile: the bridge, its lease, Prosody, the hub process.

use lib 't/lib';
use Testing          qw(named_hubs Prosody);
use Testing::Process qw(is_running);
use Testing::Redis;
use Testing::XMPPBridge;

require Testing::XMPPClient;
Testing::XMPPClient->import(qw(text));

my $prosody = Testing::Prosody->start(max_items => 2000);
my $alice   = Testing::XMPPClient->login($prosody, 'alice');

# The events of a channel as text: the data, with the type of those that have one.
sub shown {
    return [map { $_->{event} eq 'message' ? $_->{data} : "$_->{event} $_->{data}" } @{$_[0]}];
}

for my $kind (qw(component client)) {
    my %as = $kind eq 'component' ? $prosody->as_component : $prosody->as_client;

    subtest "a bridge that was killed, as a $kind" => sub {
        my $node   = "$kind/away";
        my $bridge = Testing::XMPPBridge->new(\%as, $node);
        $alice->publish($node, $_, text("item $_")) for 1 .. 5;
        $bridge->start;
        $alice->publish($node, $_, text("item $_")) for 6 .. 8;
        $bridge->events($node, 8);
        $bridge->wait_until_saved($node, 8);
        $bridge->kill;
        $alice->publish($node, $_, text("item $_")) for 9 .. 11;
        $alice->publish($node, 3,  text('item 3 changed'));
        $alice->retract($node, 7);
        $bridge->start;
        my @expected = ((map { "item $_" } 1 .. 8), 'retract 7', (map { "item $_" } 9 .. 11), 'item 3 changed');
        is_deeply shown($bridge->events($node, scalar @expected)), \@expected,
            'what was published meanwhile comes at its return';
        $bridge->wait_until_saved($node, 11);
        $bridge->kill;
        $bridge->start;
        $alice->publish($node, 12, text('item 12'));
        push @expected, 'item 12';
        is_deeply shown($bridge->events($node, scalar @expected)), \@expected, 'and nothing again at the next return';
        $bridge->stop;
        $alice->purge($node);
        $bridge->start;
        push @expected, "purge $node";
        is_deeply shown($bridge->events($node, scalar @expected)), \@expected, 'a purge meanwhile is an event';
        $bridge->stop;
        $alice->delete($node);
        $bridge->start;
        push @expected, "delete $node";
        is_deeply shown($bridge->events($node, scalar @expected)), \@expected, 'so is a deletion';
        $bridge->stop;
    };
}

subtest 'hundreds of items, and a bridge that is killed in their midst' => sub {
    my $bridge = Testing::XMPPBridge->new({$prosody->as_component}, 'hundreds')->start('--max-items', 2000);
    my $count  = 250;
    is $alice->create('hundreds', max_items => 2000), 'result', 'the node keeps them';
    for my $number (1 .. $count) {
        $alice->publish('hundreds', $number, text("item $number"), no_wait => $number % 50);
        if ($number % 100 == 0) {
            $bridge->kill;
            $bridge->start('--max-items', 2000);
        }
    }
    is_deeply $bridge->data('hundreds', $count), [map { "item $_" } 1 .. $count], 'all come once, in order';
    $bridge->stop;
    $bridge->start('--max-items', 2000);
    $alice->publish('hundreds', 'last', text('last'));
    $bridge->data('hundreds', $count + 1);
    is scalar @{$bridge->events_now('hundreds')}, $count + 1, 'none comes again';
};

subtest 'a hub that shows channels in data' => sub {
    my $bridge = Testing::XMPPBridge->new({$prosody->as_component}, 'shown');
    $bridge->show_channels;
    $bridge->start;
    my @expected;
    for my $number (1, 2) {
        $alice->publish('shown', $number, text("item $number"));
        push @expected, qq({"channel":"shown","data":"item $number"});
        is_deeply $bridge->data('shown', $number), \@expected, 'events have its form';
        $bridge->stop;
        $bridge->start;
    }
    $alice->publish('shown', 3, text('item 3'));
    push @expected, '{"channel":"shown","data":"item 3"}';
    is_deeply $bridge->data('shown', 3), \@expected, 'a bridge that begins again knows what it has published';
    $bridge->stop;
};

subtest 'a hub that shows channels from now on' => sub {
    my $bridge = Testing::XMPPBridge->new({$prosody->as_component}, 'turned')->start;
    $alice->publish('turned', 1, text('item 1'));
    is_deeply $bridge->data('turned', 1), ['item 1'], 'the bridge publishes';
    $bridge->show_channels;
    $alice->publish('turned', 2, text('item 2'));
    is_deeply $bridge->data('turned', 2), ['item 1', '{"channel":"turned","data":"item 2"}'],
        'it takes the form over, and nothing is missed';
    is $bridge->stop, 0, 'until it is ended';
};

subtest 'Prosody is killed' => sub {
    my $bridge = Testing::XMPPBridge->new({$prosody->as_component}, 'killed')->start;
    $alice->publish('killed', $_, text("item $_")) for 1 .. 3;
    $bridge->events('killed', 3);
    $prosody->restart('KILL');
    $alice = Testing::XMPPClient->login($prosody, 'alice');
    $alice->publish('killed', $_, text("item $_")) for 4 .. 6;
    is_deeply $bridge->data('killed', 6), [map { "item $_" } 1 .. 6], 'the bridge connects again, and misses nothing';
    my @said = $bridge->log =~ /^eventsource xmpp: (no connection|connected as)/mg;
    is_deeply [@said[0, 1, -1]], ['connected as', 'no connection', 'connected as'], 'it says both';
    cmp_ok scalar @said, '<=', 4, 'and not again and again';
};

subtest 'the holder of the lease is killed' => sub {
    my $bridge = Testing::XMPPBridge->new({$prosody->as_client}, 'lease')->start;
    $alice->publish('lease', 1, text('item 1'));
    $bridge->events('lease', 1);
    my $first = $bridge->program;
    $bridge->start;
    $alice->publish('lease', $_, text("item $_")) for 2 .. 3;
    is_deeply $bridge->data('lease', 3), [map { "item $_" } 1 .. 3], 'of two bridges one publishes';
    unlike $bridge->log, qr/connected/, 'the other one does not connect';
    kill KILL => $first->pid;
    wait_until($DEADLINE, sub { $first->has_ended });
    $alice->publish('lease', $_, text("item $_")) for 4 .. 5;
    is_deeply $bridge->data('lease', 5), [map { "item $_" } 1 .. 5], 'and continues when the first is killed';
};

subtest 'the hub process is killed' => sub {
    my $bridge = Testing::XMPPBridge->new({$prosody->as_component}, 'hub');
    $bridge->keep_events({file => $bridge->shell->folder . '/events.db', sync => 'event'});
    $bridge->start;
    $alice->publish('hub', $_, text("item $_")) for 1 .. 3;
    $bridge->events('hub', 3);
    my $pid = $bridge->hub->stats->{process}{pid};
    kill KILL => $pid;
    ok wait_until($DEADLINE, sub { !is_running($pid) }), 'it is killed';
    $alice->publish('hub', $_, text("item $_")) for 4 .. 6;
    is_deeply $bridge->data('hub', 6), [map { "item $_" } 1 .. 6],
        'with a store nothing is lost, and nothing comes twice';
    $bridge->stop;
};

subtest 'two machines that share a store' => sub {
    my $redis = Testing::Redis->start_or_skip_all;
    my @machines =
        map { Testing::XMPPBridge->new({$_->(), prefix => 'p/'}, 'machines') } sub { $prosody->as_component },
        sub { $prosody->as_client };
    $_->keep_events({redis => $redis->url}) for @machines;
    my ($one, $two) = @machines;
    $one->start;
    $alice->publish('machines', $_, text("item $_")) for 1 .. 3;
    $two->events('p/machines', 3);
    $one->wait_until_saved('machines', 3);
    $one->kill;
    $alice->publish('machines', 4, text('item 4'));
    $two->start;
    is_deeply $two->data('p/machines', 4), [map { "item $_" } 1 .. 4], 'the other one continues where the first ended';
    $two->wait_until_saved('machines', 4);
    $one->start;
    ok wait_until($DEADLINE, sub { $one->log =~ /connected as/ }), 'both are connected';
    $alice->publish('machines', $_, text("item $_")) for 5 .. 30;
    is_deeply $one->data('p/machines', 30), [map { "item $_" } 1 .. 30], 'what both publish comes once';
    $alice->publish('machines', 'last', text('last'));
    is scalar @{$two->data('p/machines', 31)}, 31, 'and nothing again';
    $_->stop for @machines;
};

done_testing;

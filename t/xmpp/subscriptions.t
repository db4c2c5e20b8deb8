# Subscriptions that the service takes away: the bridge notices, says so, subscribes again, and misses no item.

use lib 't/lib';
use Testing qw(named_hubs Prosody);
use Testing::XMPPBridge;
use Testing::XMPPServer;

require Testing::XMPPClient;
Testing::XMPPClient->import(qw(text));

my $ENDED = 'the service has ended the subscription to the node news; the bridge subscribes again';

# How often the bridge has said that the subscription has ended.
sub losses { return scalar(() = $_[0]->log =~ /^eventsource xmpp: \Q$ENDED\E$/mg) }

my $prosody = Testing::Prosody->start;
my $alice   = Testing::XMPPClient->login($prosody, 'alice');

for my $kind (qw(component client)) {
    subtest "an owner ends the subscription of a $kind" => sub {
        my %as     = $kind eq 'component' ? $prosody->as_component : $prosody->as_client;
        my $bridge = Testing::XMPPBridge->new(\%as, 'news', 'other')->start;
        $alice->publish($_, 'first', text('first')) for qw(news other);
        $bridge->data($_, 1) for qw(news other);
        my @expected = ('first');
        for my $time (1, 2) {
            is $alice->unsubscribe('news', $as{jid}), 'result', 'Prosody, which does not notify of it, ends it';
            $alice->publish('news', $time, text("item $time"));
            push @expected, "item $time";
            is_deeply $bridge->data('news', scalar @expected), \@expected, 'the item that was published then comes';
            is losses($bridge), $time, 'and the bridge says why it was late';
        }
        $alice->publish('other', 'last', text('last'));
        is_deeply $bridge->data('other', 2), [qw(first last)], 'the other node is followed as before';
        $bridge->stop;
        $alice->delete($_) for qw(news other);
    };
}

subtest 'a service without its data, on the same connection' => sub {
    my $server = Testing::XMPPServer->new;
    my $bridge = Testing::XMPPBridge->new({$server->as_component}, 'news')->start('--poll', 0.2);
    $server->accept->follow('news');
    $server->list_subscriptions('news')->list('news');
    $server->list_subscriptions('elsewhere')->follow('news', '<item id="1">' . text('one') . '</item>');
    is_deeply $bridge->data('news', 1), ['one'], 'is subscribed to again, and asked for its items';
    is losses($bridge), 1, 'which the bridge says';
};

subtest 'a notification' => sub {
    my $server = Testing::XMPPServer->new;
    for my $element ('pubsub xmlns="http://jabber.org/protocol/pubsub"',
        'event xmlns="http://jabber.org/protocol/pubsub#event"') {
        my $bridge = Testing::XMPPBridge->new({$server->as_component}, 'news')->start('--poll', 1);
        $server->accept->follow('news');
        my ($name) = $element =~ /\A(\w+)/;
        for my $jid ('evil.example.test', 'bridge.example.test') {
            $server->send(qq(<message from="pubsub.example.test" to="bridge.example.test"><$element>)
                    . qq(<subscription node="news" jid="$jid" subscription="none"/></$name></message>));
        }
        $server->follow('news');
        ok wait_until($DEADLINE, sub { losses($bridge) }), "$name: the bridge says that its subscription has ended";
        is losses($bridge), 1, 'once: that of another JID does not count';
    }
};

subtest 'a service that lists no subscriptions' => sub {
    my $server = Testing::XMPPServer->new;
    my $error  = '<error type="cancel"><feature-not-implemented xmlns="urn:ietf:params:xml:ns:xmpp-stanzas"/></error>';
    my $bridge = Testing::XMPPBridge->new({$server->as_component}, 'news')->start('--poll', 0.2);
    $server->accept->follow('news');
    for (1 .. 2) {
        $server->send($server->answer($server->read_iq, $error, type => 'error'));
        $server->list('news');
    }
    my $problem = 'does not list subscriptions, and one that it ends may stay unnoticed';
    ok wait_until($DEADLINE, sub { $bridge->log =~ /$problem: feature-not-implemented$/m }), 'is reported';
    $server->list_subscriptions->follow('news');
    is losses($bridge), 1, 'an empty list is believed once';
    for (1 .. 2) { $server->list_subscriptions->list('news') }
    ok wait_until($DEADLINE, sub { $bridge->log =~ /$problem: none is there$/m }), 'and then reported';
    is scalar(() = $bridge->log =~ /$problem/g), 2, 'each once';
    $server->list_subscriptions('news')->list('news');
    $server->list_subscriptions->follow('news');
    is losses($bridge), 2, 'it is believed again when another list has had some';
};

done_testing;

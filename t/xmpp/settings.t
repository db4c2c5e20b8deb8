# Settings of the bridge that change what is published.

use lib 't/lib';
use Testing  qw(named_hubs Prosody);
use JSON::PP ();
use Testing::XMPPBridge;
use Testing::XMPPServer;

require Testing::XMPPClient;
Testing::XMPPClient->import(qw(atom text));

my $prosody = Testing::Prosody->start;
my $alice   = Testing::XMPPClient->login($prosody, 'alice');
my %as      = $prosody->as_component;
$alice->publish('news', 1, text('old'));

subtest 'start: only what comes later, also of nodes that come later' => sub {
    my $bridge = Testing::XMPPBridge->new(\%as, '*')->start('--start', 'latest');
    $bridge->wait_until_saved('news', 1);
    $alice->publish('news', 2, text('new'));
    $alice->publish('late', 1, text('late'));
    is_deeply $bridge->data('news', 1), ['new'],  'an item that was there is not published';
    is_deeply $bridge->data('late', 1), ['late'], 'the first item of a later node is';
};

subtest 'format' => sub {
    $alice->publish('feed', 1, atom('Title'));
    my $bridge = Testing::XMPPBridge->new(\%as, 'feed')->start('--format', 'json');
    is_deeply [map { JSON::PP->new->decode($_) } @{$bridge->data('feed', 1)}],
        [{id => '1', node => 'feed', text => 'Title'}], 'json: an object';
    $bridge->stop;
    $bridge = Testing::XMPPBridge->new({%as, prefix => 'x/'}, 'feed')->start('--format', 'xml');
    like $bridge->data('x/feed', 1)->[0], qr{\A<entry .*<title>Title</title></entry>\z}, 'xml: the payload';
};

subtest 'newest_first: a service that lists its newest item first, as ejabberd does' => sub {
    my $server = Testing::XMPPServer->new;
    my $bridge = Testing::XMPPBridge->new({$server->as_component}, 'news')->start('--newest-first', '--poll', 600);
    $server->accept->follow(news => join '', map { "<item id='$_'>" . text("item $_") . '</item>' } 3, 2, 1);
    is_deeply $bridge->data('news', 3), ['item 1', 'item 2', 'item 3'], 'the oldest is published first';
};

done_testing;

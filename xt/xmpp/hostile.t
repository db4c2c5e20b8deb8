# Hostile publishers, entities and servers: nothing that they send ends the bridge, gets into another event, or hides an item.

use lib 't/lib';
use Testing qw(named_hubs Prosody);
use Testing::XMPPBridge;
use Testing::XMPPServer;

require Testing::XMPPClient;
Testing::XMPPClient->import(qw(escaped json text));

sub bytes { my $text = shift; utf8::encode($text); return $text }

# An item of a notification.
sub item {
    my ($id, $text) = @_;
    return qq(<items node="news"><item id="$id">) . bytes(text($text)) . '</item></items>';
}

subtest 'payloads of a publisher, through Prosody' => sub {
    my $prosody = Testing::Prosody->start;
    my $alice   = Testing::XMPPClient->login($prosody, 'alice');
    my $bridge  = Testing::XMPPBridge->new({$prosody->as_component}, 'news')->start;
    my @texts   = (
        "two\nlines\r\nand\rthree",
        "data: x\n\nevent: evil\nid: 1\n\n",
        '&lt;b&gt; &amp;amp; <x> ]]> "\'',
        "\x{feff}\x{fffd}\x{1f600} \x{85}\x{2028}",
        'x' x (1 << 20),
        "\n" x 300_000,
    );
    my @ids = ("a\nid: b", '<&>"', "\x{1f600}" x 200, ' ', 'e', 'f');
    is $alice->publish('news', $ids[$_], text($texts[$_])), 'result', "Prosody takes payload $_" for 0 .. $#texts;
    my @expected = map { s/\r\n?/\n/gr } @texts;
    my @data     = @{$bridge->data('news', scalar @texts)};
    ok $data[$_] eq $expected[$_], "payload $_ is the data of one event" for 0 .. $#texts;
    $alice->retract('news', $ids[0]);
    is $bridge->data('news', @texts + 1)->[-1], 'a id: b', 'of an id with a line break Prosody makes a space';
    $bridge->kill;
    $bridge->start;
    $alice->publish('news', 'last', text('last'));
    is scalar @{$bridge->data('news', @texts + 2)}, @texts + 2, 'and nothing comes again';
};

my $server = Testing::XMPPServer->new;
my $bridge = Testing::XMPPBridge->new({$server->as_component}, 'news')->start('--max-stanza', 65_536, '--poll', 600);
my $count  = 0;

# The bridge publishes the next item, and nothing else.
sub follows_ok {
    my $name = shift;
    my $text = 'item ' . ++$count;
    $server->notify(item($count, $text));
    my @data = @{$bridge->data('news', $count)};
    return is_deeply \@data, [map { "item $_" } 1 .. $count], $name;
}

# The bridge connects again, and publishes the next item.
sub connects_again_ok {
    my $name = shift;
    $server->accept->follow('news');
    return follows_ok($name);
}

$server->accept->follow('news');
follows_ok('the bridge works');

subtest 'bytes that come one by one' => sub {
    my $text = "w\x{f6}rld \x{2713} \x{1f600}";
    $server->send($_) for split //, $server->notification(item('bytes', $text));
    is $bridge->data('news', ++$count)->[-1], $text, 'make the same text';
};

subtest 'an id with a line break' => sub {
    $server->notify('<items node="news"><retract id="a&#10;&#10;id: b"/></items>');
    is $bridge->data('news', ++$count)->[-1], "a\n\nid: b", 'is the data of its retraction, and no other field';
};
$bridge->stop;

# Each case with a bridge and a hub of its own.
sub begin {
    ($count, $bridge) = (0, Testing::XMPPBridge->new({$server->as_component}, 'news'));
    $bridge->start('--max-stanza', 65_536, '--poll', 600);
    return $server->accept->follow('news');
}

my $laughs = '<!DOCTYPE x [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>';
my %ENDS   = (
    'invalid UTF-8'                 => sub { $server->notify(item(1, 'x') =~ s/x/\xC3\x28/r) },
    'an overlong NUL'               => sub { $server->notify(item(1, 'x') =~ s/>x</>\xC0\x80</r) },
    'a character that XML has not'  => sub { $server->notify(item(1, 'x') =~ s/>x</>&#0;</r) },
    'an entity that is not defined' => sub { $server->notify(item(1, 'x') =~ s/>x</>&lol;</r) },
    'the end in a stanza'           => sub { $server->send('<message><event'); shutdown $server->{socket}, 2 },
    'the end of the stream'         => sub { $server->send('</stream:stream>') },
    'a stream error'                => sub {
        $server->send(
            '<stream:error><conflict xmlns="urn:ietf:params:xml:ns:xmpp-streams"/></stream:error></stream:stream>');
    },
);
for my $name (sort keys %ENDS) {
    subtest $name => sub {
        begin();
        $ENDS{$name}->();
        connects_again_ok('ends the connection, and the bridge connects again');
        $bridge->stop;
    };
}

subtest 'entities' => sub {
    $bridge = Testing::XMPPBridge->new({$server->as_component}, 'news')->start;
    $count  = 0;
    $server->accept_only;
    $server->send($laughs . $server->head . '<handshake/>');
    ok $server->has_ended, 'a document type declaration ends the connection';
    connects_again_ok('and the bridge connects again');
    $bridge->stop;
};

my $long    = 'x' x 70_000;
my $deep    = ('<a>' x 20_000) . ('</a>' x 20_000);
my %SKIPPED = (
    'another sender'               => sub { $server->notify(item('x', 'evil'), from => 'evil.example.test') },
    'another recipient'            => sub { $server->notify(item('x', 'evil'), to => 'other.example.test') },
    'a message of the type error'  => sub { $server->notify(item('x', 'evil'), type => 'error') },
    'another node'                 => sub { $server->notify(item('x', 'evil') =~ s/"news"/"other"/r) },
    'an item without id'           => sub { $server->notify(item('x', 'evil') =~ s/ id="x"//r) },
    'a message without content'    => sub { $server->send('<message/><message from="pubsub.example.test"/>') },
    'an event of another protocol' => sub { $server->notify(item('x', 'evil') =~ s/<items/<items xmlns="urn:x"/r) },
    'an answer that nobody awaits' => sub { $server->send($server->answer('id="1-1"', '<x/>')) },
    'a request of another entity'  =>
        sub { $server->send('<iq type="get" id="1" from="a@b"><query xmlns="urn:x"/></iq>') },
    'a stanza that is too long'   => sub { $server->notify(item('x', $long)) },
    'a stanza that is too deep'   => sub { $server->notify(item('x', '') =~ s/<data.*?data>/$deep/r) },
    'stanzas of other namespaces' => sub { $server->send('<x xmlns="urn:x"><y/>text</x> text ') },
);
begin();
for my $name (sort keys %SKIPPED) {
    $SKIPPED{$name}->();
    follows_ok("$name is skipped, and the next item is published");
}
is scalar(() = $bridge->log =~ /no connection/g), 0, 'the connection has lasted';
$bridge->stop;

subtest 'an answer of another entity' => sub {
    ($count, $bridge) = (0, Testing::XMPPBridge->new({$server->as_component}, 'news')->start('--poll', 600));
    $server->accept->list('news');
    my $subscribe = $server->read_iq;
    $server->send($server->answer($subscribe, '<error type="cancel"/>', from => 'evil.example.test', type => 'error'));
    $server->send($server->answer($subscribe, ''));
    my $fetch = $server->read_iq;
    my $item  = '<item id="x">' . text('evil') . '</item>';
    $server->send($server->answer($fetch, $server->items('news', $item), from => 'evil.example.test'));
    $server->send($server->answer($fetch, $server->items('news', '')));
    follows_ok('does not count');
    $bridge->stop;
};

subtest 'a list that is too long' => sub {
    ($count, $bridge) = (0, Testing::XMPPBridge->new({$server->as_component}, 'news'));
    $bridge->start('--max-stanza', 65_536, '--max-items', 4, '--poll', 600);
    $server->accept->list('news');
    $server->send($server->answer($server->read_iq, ''));
    my @items = map { "<item id='$_'>" . text(++$count <= 2 ? $long : "item $_") . '</item>' } 1 .. 4;
    $server->send($server->answer($server->read_iq, $server->items('news', join '', @items)));
    my $again = $server->read_iq;
    like $again, qr/max_items="2"/, 'the newest half is asked for';
    $server->send($server->answer($again, $server->items('news', join '', @items[2, 3])));
    is_deeply $bridge->data('news', 2), ['item 3', 'item 4'], 'and published';
    $bridge->stop;
};

done_testing;

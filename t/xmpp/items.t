# The items of a real Prosody as events of a hub: what is published, and in which order.

use lib 't/lib';
use Testing qw(named_hubs Prosody);
use Testing::XMPPBridge;

require Testing::XMPPClient;
Testing::XMPPClient->import(qw(atom json text));

my $prosody = Testing::Prosody->start;
my $alice   = Testing::XMPPClient->login($prosody, 'alice');

for my $kind (qw(component client)) {
    subtest "as a $kind" => sub {
        my %as     = $kind eq 'component' ? $prosody->as_component : $prosody->as_client;
        my $bridge = Testing::XMPPBridge->new(\%as, "$kind/news", "$kind/many/*");
        my $news   = "$kind/news";
        $alice->publish($news, 'before', text('before the bridge'));
        $bridge->start;
        is_deeply $bridge->data($news, 1), ['before the bridge'], 'an item that was there is published';

        $alice->publish($news, 1, text('hello'));
        $alice->publish($news, 2, json('{"a": [1, "ö"]}'));
        $alice->publish($news, 3, atom('A title'));
        $alice->publish($news, 4, atom('A title', summary => 'A summary'));
        $alice->publish($news, 5, atom('A title', content => "two\nlines", summary => 'A summary'));
        $alice->publish($news, 6, '<x xmlns="urn:x"><y a="1"/>z</x>');
        my @data = @{$bridge->data($news, 7)};
        is_deeply [@data[1 .. 5]], ['hello', '{"a": [1, "ö"]}', 'A title', 'A summary', "two\nlines"],
            'texts of payloads are data';
        like $data[6], qr{\A<x xmlns=(['"])urn:x\1><y a=(['"])1\2/>z</x>\z}, 'and another payload is, as XML';

        subtest 'the same id again, and the same payload as before' => sub {
            $alice->publish($news, 'lamp', text($_)) for qw(on off on on);
            is_deeply [@{$bridge->data($news, 11)}[7 .. 10]], [qw(on off on on)], 'each is an event';
        };
        subtest 'retracting, purging and deleting' => sub {
            $alice->retract($news, 'lamp');
            $alice->purge($news);
            my @events = @{$bridge->events($news, 13)};
            is_deeply [map { "$_->{event} $_->{data}" } @events[11, 12]], ['retract lamp', "purge $news"], 'are events';
            $alice->publish($news, 'lamp', text('on'));
            is $bridge->data($news, 14)->[13], 'on', 'and an item that was retracted may come again';
            $alice->delete($news);
            is $bridge->events($news, 15)->[14]{event}, 'delete', 'deleting is an event';
            $alice->publish($news, 'lamp', text('new'));
            is $bridge->data($news, 16)->[15], 'new', 'a node that is created again is followed again';
        };
        subtest 'a pattern' => sub {
            $alice->publish("$kind/many/one",      1, text('one'));
            $alice->publish("$kind/many/one/more", 1, text('not matched'));
            $alice->publish("$kind/many/two",      1, text('two'));
            is_deeply $bridge->data("$kind/many/$_", 1), [$_], "node $_ that came later is followed" for qw(one two);
            is_deeply [grep { m{/more\z} } $bridge->channels], [], 'a node that does not match is not';
        };
        is $bridge->stop, 0, 'it ends at a signal';
    };
}

done_testing;

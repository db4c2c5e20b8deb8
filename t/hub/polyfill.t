# Polyfills from npm that cannot set headers send the last event ID in the query. In a real browser they resume by it and miss
# no event.

use lib 't/lib';
use Testing qw(native);
use Testing::Browser;
use Testing::Client;
use File::Spec          ();
use Testing::Subscriber qw(blocks);
use Testing::Node       qw(node_missing);
use Testing::Server;
use Testing::Developer qw(needs);

# The query parameter of each polyfill. amvtek uses one only in old browsers, whose XMLHttpRequest cannot set headers; in others
# it sends the header.
my %PARAMETER = (yaffle => 'lastEventId', amvtek => undef, old => 'evs_last_event_id');

Testing::Browser->require_or_skip_all;
needs(node_missing());
my $modules = File::Spec->rel2abs('t/node/node_modules');
my $browser = Testing::Browser->start;

sub ask {
    my ($server, $path) = @_;
    my $client = Testing::Client->get($server->port, $path);
    $client->read_all or die "$path: no answer\n";
    return $client->body;
}

for my $name (sort keys %PARAMETER) {
    subtest $name => sub {
        Testing::Server->require_or_skip_all('Twiggy');
        my $server = Testing::Server->start('Twiggy', 't/data/polyfill.psgi', env => {NODE_MODULES => $modules});
        $browser->open($server->url("/page/$name"));
        $browser->wait_for('source.readyState === 1', 'the polyfill opens its stream');
        for my $round (1 .. 3) {
            ask($server, '/publish');
            $browser->wait_for('events.length >= ' . (10 * $round - 5), "round $round: published events arrive");
            ask($server, '/cut');
            ask($server, '/publish');
            $browser->wait_for('events.length >= ' . 10 * $round, 'the events published after a cut or an end arrive');
        }
        my @events = @{$browser->evaluate('events')};
        is_deeply [map { $_->{data} // $_ } @events], [map { "number $_" } 1 .. 30],
            'all events arrived once, in order, without a gap';
        my ($first, @back) = split /\n/, ask($server, '/seen');
        my ($id, $parameter) = (qr/[0-9a-v]{8}-([0-9]+)/, $PARAMETER{$name});
        my $way = defined $parameter ? qr/(?:\A|&)$parameter=$id(?:&\S*)? without\z/ : qr/ with $id\z/;
        unlike $first, $id, 'the first request has no id';
        is scalar @back, 3, 'the polyfill reconnected after each cut';
        like $_, $way, 'a reconnect sends the id in the way of this polyfill' for @back;
        is $back[-1] =~ $way && $1, 25, 'the last reconnect sends the newest id';
        $server->stop;
    };
}

done_testing;

# The streams of a hub, through a proxy that cuts them: each event once, positions and gaps. With every library.

use lib 't/lib';
use Testing qw(native);
use Testing::CuttableProxy;
use Testing::ReadingClient;
use Testing::Server;
use Testing::SideBySide qw(run_each);

my $COUNT = 200;

my @CUTS = (
    [700,  'reset'],
    [-1,   'reset'],
    [1500, 'close'],
    [-30,  'close'],
    ['id', 'close'],
    [0,    'close'],
    [333,  'reset'],
    [40,   'close'],
);

sub publish {
    my ($server, $hub, $from, $to) = @_;
    return $server->ask("/publish?hub=$hub&from=$from&to=$to");
}

run_each ['Twiggy next', map { "Starman $_" } Testing::ReadingClient->ways] => sub {
    my ($name, $way) = split / /, shift;
    my $server = Testing::Server->start_or_skip_all($name, 't/client/hub.psgi', workers => 1);
    my $proxy  = Testing::CuttableProxy->start($server->port);
    publish($server, all => 1, $COUNT);

    subtest 'a stream that is cut' => sub {
        $proxy->plan(@CUTS);
        my $seen = Testing::ReadingClient->read($way, {url => $proxy->url('/stream/all')}, $COUNT);
        is_deeply [map { $_->{data} } @{$seen->{events}}], [1 .. $COUNT], 'each event comes once, in order';
        is $proxy->state->{cuts}, scalar @CUTS, 'through all cuts';
        is_deeply [grep { $_ ne 'unavailable' } @{$seen->{errors}}], [], 'which are errors';
    };
    subtest 'positions and gaps' => sub {
        my ($client, $before, @gaps);
        my %option = (
            url     => $proxy->url('/stream/few'),
            on_gap  => sub { push @gaps, $_[1] },
            on_open => sub { $client = shift },
        );
        my $meanwhile = sub {
            return if $before || !$client || !length $client->last_event_id;
            $before = $client->last_event_id;
            $proxy->hold;
            publish($server, few => 1, 10);
            $proxy->release;
        };
        my @events;
        if ($way eq 'next') {
            $client = EventSource::Client->new(%option);
            wait_until(sub { $client->next(0.1); length $client->last_event_id });
            $meanwhile->();
            @events = map { $client->next(10) } 1 .. 3;
        }
        else {
            @events = @{Testing::ReadingClient->read($way, \%option, 3, $meanwhile)->{events}};
        }
        like $before, qr/-[0-9]+\z/, 'a position is the last event ID, and no event';
        is_deeply [map { "$_->{event} $_->{is_gap}" } @gaps], ['gap 1'],  'a gap is known';
        is_deeply [map { $_->{data} } @events],               [8, 9, 10], 'the events after it follow';
    };
};

done_testing;

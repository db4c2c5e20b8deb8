# The streams of a hub, through a proxy that cuts them: each event once, positions and gaps. With every library.

use lib 't/lib';
use Testing qw(native);
use Testing::CuttingProxy;
use Testing::Deadline qw(wait_until);
use Testing::ReadingClient;
use Testing::Server;

my @WAYS  = Testing::ReadingClient->ways;
my $COUNT = 200;

# Net::Async::HTTP takes a chunk as a whole, and the first one has most of the events: each cut makes its pauses longer.
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
my %CUTS = ('Net::Async::HTTP' => [@CUTS[0, 1, 3]]);

sub name_of { return $_[0] =~ s/\W//gr }

sub publish {
    my ($server, $hub, $from, $to) = @_;
    return $server->ask("/publish?hub=$hub&from=$from&to=$to");
}

for my $name (qw(Starman Twiggy)) {
    subtest $name => sub {
        Testing::Server->require_or_skip_all($name);
        my $server = Testing::Server->start($name, 't/client/hub.psgi', workers => 1);
        my $proxy  = Testing::CuttingProxy->start($server->port, map { name_of($_) } @WAYS);
        publish($server, all => 1, $COUNT);

        for my $way (@WAYS) {
            my $url = sub { $proxy->url(name_of($way), "/stream/$_[0]") };
            subtest "$way: a stream that is cut" => sub {
                my @cuts = @{$CUTS{$way} || \@CUTS};
                $proxy->plan(name_of($way), @cuts);
                my $seen = Testing::ReadingClient->read($way, {url => $url->('all')}, $COUNT);
                is_deeply [map { $_->{data} } @{$seen->{events}}], [1 .. $COUNT], 'each event comes once, in order';
                is $proxy->state(name_of($way))->{cuts}, scalar @cuts, 'through all cuts';
                is_deeply [grep { $_ ne 'unavailable' } @{$seen->{errors}}], [], 'which are errors';
            };
        }
        for my $way (@WAYS) {
            my $url = $proxy->url(name_of($way), '/stream/few');
            subtest "$way: positions and gaps" => sub {
                my ($client, $before, @gaps);
                my %option = (
                    url      => $url,
                    on_gap   => sub { push @gaps, $_[1] },
                    on_open  => sub { $client = shift },
                    on_error => sub { return },
                );
                my $meanwhile = sub {
                    return if $before || !$client || !length $client->last_event_id;
                    $before = $client->last_event_id;
                    $proxy->hold(name_of($way));
                    publish($server, few => 1, 10);
                    $proxy->release(name_of($way));
                };
                my $seen;
                if ($way eq 'next') {
                    $client = EventSource::Client->new(%option);
                    wait_until(sub { $client->next(0.1); length $client->last_event_id });
                    $meanwhile->();
                    @gaps = $client->next(10);
                    $seen = {events => [map { $client->next(10) } 1 .. 3]};
                }
                else {
                    $seen = Testing::ReadingClient->read($way, \%option, 3, $meanwhile);
                }
                like $before, qr/-[0-9]+\z/, 'a position is the last event ID, and no event';
                is_deeply [map { "$_->{event} $_->{is_gap}" } @gaps], ['gap 1'],  'a gap is known';
                is_deeply [map { $_->{data} } @{$seen->{events}}],    [8, 9, 10], 'the events after it follow';
            };
        }
    };
}

done_testing;

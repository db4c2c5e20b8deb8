# Streams that begin with the state, or in each channel as it says, and streams of members, in the way of each framework.

use lib 't/lib';
use Testing;
use Test::EventSource;
use Testing::Developer qw(needs needs_module);
use Testing::Server;

for my $framework (qw(Dancer2 Mojolicious Catalyst)) {
    subtest $framework => sub {
        needs_module($framework);
        needs(Testing::Server->missing('Starman'));
        my $file = 't/data/' . lc($framework) . '.psgi';
        my $es   = Test::EventSource->new(app => $file, server => 'Starman', workers => 1);
        my $page = $es->get('/state', state => {key => sub { $_[0]{data} }});
        $page->state_is({bolt => 'bolt', nut => 'nut'}, 'the stream begins with what is retained');
        my $both = $es->get('/both');
        is_deeply [sort map { $both->next_event->{data} } 1 .. 3], ['bolt', 'last', 'nut'],
            'the state of one channel, and the last event of another';
        my $ann = $es->get('/people/ann', members => 1);
        my $bob = $es->get('/people/bob', members => 1);
        $_->members_are(['ann', 'bob'], 'both members are here') for $ann, $bob;
        $bob->close;
        $ann->members_are(['ann'], 'one has left');
    };
}

done_testing;

# A member that lingers in a hub with a file: it leaves in time, however often the hub process is killed meanwhile.

use lib 't/lib';
use Testing;
use Testing::StoredHub;
use Testing::Subscriber ();
use Time::HiRes         qw(sleep);

my $LINGER     = 3;     # seconds
my $INTERVAL   = 1;     # of kills
my $MOST_KILLS = 12;    # if each began the linger anew, there would be no end

my $folder = new_folder;
my $stored = Testing::StoredHub->start({file => "$folder/db"});
my $hub    = $stored->hub;
my @streams =
    map { Testing::Subscriber->open($hub, 'news', {member => {id => $_, channel => 'people', leave_after => $LINGER}}) }
    qw(ann bob);
ok wait_until(10, sub { $hub->members_count('people') == 2 }), 'two members';
$streams[0]->client->leave;
eventually_ok 10, 'one of them lingers' => sub {
    grep { $_->{id} eq 'ann' && !$_->{streams} } $hub->members('people');
};
my $kills = 0;
while ($hub->members_count('people') && $kills < $MOST_KILLS) {
    sleep $INTERVAL;
    $stored->kill;
    $kills++;
}
is $hub->members_count('people'), 0, "they leave although the process was killed $kills times";
is $hub->stats->{state}{keys},    0, 'nothing is retained of them';

done_testing;

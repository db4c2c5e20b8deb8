# A named hub that is made and dropped with each event: its objects share what a process has of it, one after the other.

use lib 't/lib';
use Testing qw(named_hubs);
use EventSource::Hub;
use EventSource::Hub::Process;

my $COUNT = 3_000;
my $MOST  = 10;      # threads and descriptors more than one hub needs: one may begin while another one ends

my $folder = new_folder;
my %settings =
    (name => 'made_anew', socket => "$folder/made_anew.sock", idle_exit => 1, keep_history => {events => $COUNT});

sub made { return EventSource::Hub->new(%settings) }

# The threads or descriptors of this process.
sub count_of {
    my $what = shift;
    opendir my $entries, "/proc/self/$what" or die "/proc/self/$what: $!";
    return scalar grep { /\A[0-9]/ } readdir $entries;
}

# With a reactor, and without a connection.
EventSource::Hub->new->publish(news => 1);
my $alone = count_of('fd');

# How many more there are at most while a hub is made for each event.
sub publishes_with_new_hubs {
    my %before = map { ($_ => count_of($_)) } qw(fd task);
    my %more   = (fd => 0, task => 0);
    for my $number (1 .. $COUNT) {
        made()->publish(news => $number, {wait => 0});
        for my $what (keys %more) {
            my $more = count_of($what) - $before{$what};
            $more{$what} = $more if $more > $more{$what};
        }
    }
    return %more;
}

for my $when ('before the hub process runs', 'while it runs') {
    my $published = $when =~ /before/ ? 0 : made()->stats->{published};
    my %more      = publishes_with_new_hubs();
    cmp_ok $more{task}, '<=', $MOST, "$when: threads do not pile up";
    cmp_ok $more{fd},   '<=', $MOST, "$when: descriptors do not pile up";
    ok wait_until(sub { made()->stats->{published} == $published + $COUNT }), "$when: each event is published";
}
my @log = map { $_->{data} }
    EventSource::Hub::Process->connect(map({ $_ => $settings{$_} } qw(name socket)))->history('news');
is_deeply \@log, [grep { $_ > $COUNT - @log } 1 .. $COUNT], 'in their order';
is(EventSource::XS->stats->{lost}, 0, 'nothing is lost');
ok wait_until(sub { count_of('fd') == $alone }), 'the last object that is dropped closes the connection';

done_testing;

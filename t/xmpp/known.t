# The knowledge that the bridge has of a node, against a naive service and a hub that keeps each key: at random, with crashes
# that lose what was not saved. EVENTSOURCE_XS_SEED repeats a run.

use lib 't/lib';
use Testing;
use EventSource::XS::XMPP::Known;

my $KNOWN = 'EventSource::XS::XMPP::Known';
my $MOST  = 8;                                # items that the service keeps, and that are remembered at least

my $seed = srand($ENV{EVENTSOURCE_XS_SEED} // time ^ $$);
note "seed $seed";

my (@service, %hub, @published, $known, $saved);

sub digest { return $KNOWN->digest(shift) }

sub save {
    $saved = $known->saved;
    $known->note_saved;
    return;
}

# Publishes to the hub as the bridge does.
sub publish {
    my ($id, $payload) = @_;
    my $digest = defined $payload ? digest($payload) : 'retract';
    save() if $known->needs_saving($id);
    my $key = $known->key('node', $id, $digest);
    push @published, [$id, $payload] if !$hub{$key}++;
    save() if $known->note($id, defined $payload ? $digest : undef);
    return;
}

# Something happens at the service; the bridge is notified if it is there.
sub happen {
    my $is_there = shift;
    my $id       = int rand 12;
    my $payload  = rand() < 0.8 ? 'payload ' . int rand 3 : undef;
    return if !defined $payload && !grep { $_->[0] eq $id } @service;
    @service = grep { $_->[0] ne $id } @service;
    push @service, [$id, $payload] if defined $payload;
    shift @service while @service > $MOST;
    return if !$is_there;
    my $before = @published;
    publish($id, $payload);
    return @published == $before + 1 ? () : 'a notification is not an event';
}

# The bridge comes back: it reads the list.
sub come_back {
    my %is_here = map { $_->[0] => 1 } @service;
    publish($_->[0], $_->[2]) for $known->missing_of(map { [$_->[0], digest($_->[1]), $_->[1]] } @service);
    publish($_) for grep { !$is_here{$_} } $known->ids;
    $known->settle;
    my %last = map { ($_->[0] => $_->[1]) } @published;
    return map { "the last event of $_->[0] has another payload" } grep { ($last{$_->[0]} // '') ne $_->[1] } @service;
}

sub round {
    (@service, %hub, @published) = ();
    ($known, $saved) = ($KNOWN->new(undef, $MOST), undef);
    for (1 .. 60) {
        my @wrong = map { happen(1) } 1 .. rand 20;
        save() if rand() < 0.7;
        push @wrong, map { happen(1) } 1 .. rand 4;
        my $before = @published;
        $known = $KNOWN->new($saved, $MOST);
        push @wrong, come_back();
        my @again = grep { defined $_->[1] } @published[$before .. $#published];
        push @wrong, 'a crash alone brings an item again' if @again;
        save() if rand() < 0.5;
        happen(0) for 1 .. rand 6;
        $known = $KNOWN->new($saved, $MOST);
        push @wrong, come_back();
        return @wrong if @wrong;
    }
    return;
}

my @wrong;
for my $round (1 .. 200) {
    @wrong = round();
    last if @wrong;
}
is_deeply \@wrong, [], 'each notification is an event, the hub has the last payloads, and nothing comes twice'
    or diag "EVENTSOURCE_XS_SEED=$seed";

subtest 'a list that begins before what is remembered' => sub {
    my $long = $KNOWN->new(undef, 2);
    $long->note($_, digest($_)) for 1 .. 6;
    my @list = map { [$_, digest($_)] } 1 .. 7;
    is_deeply [map { $_->[0] } $long->missing_of(@list)], [7], 'what is older counts as published';
    is_deeply [map { $_->[0] } $KNOWN->new($long->saved, 2)->missing_of(@list)], [7], 'also when it was saved';
};

done_testing;

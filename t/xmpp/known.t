# The knowledge that bridges have of a node, against a naive service and a hub that keeps each key: at random, one bridge or two
# at once, with crashes that lose what was not saved. EVENTSOURCE_XS_SEED repeats a run.

use lib 't/lib';
use Testing;
use List::Util qw(shuffle);
use EventSource::XS::XMPP::Event;
use EventSource::XS::XMPP::Known;

my $KNOWN = 'EventSource::XS::XMPP::Known';
my $MOST  = 6;                                # items that the service keeps
my $IDS   = 20;                               # more than are remembered

my $seed = srand($ENV{EVENTSOURCE_XS_SEED} // time ^ $$);
note "seed $seed";

# The bridges that run, what the last of them has saved, and the ids whose last event was not saved before a crash.
my (@bridges, $saved, %unsaved);

# The items of the service; the keys, the events, and the last payload of each item in the hub. It is empty after a retraction.
my (@service, %hub, @published, %last);

sub digest { return $KNOWN->digest(shift) }

# An item of a list.
sub listed {
    my ($id, $payload) = @_;
    return EventSource::XS::XMPP::Event->new(kind => 'item', id => $id, digest => digest($payload));
}

sub save {
    my $known = shift;
    $saved = $known->saved;
    $known->note_saved;
    return;
}

# Publishes to the hub as a bridge does.
sub publish {
    my ($known, $id, $payload) = @_;
    my $digest = defined $payload ? digest($payload) : 'retract';
    save($known) if $known->needs_saving($id);
    my $key = $known->key('node', $id, $digest);
    if (!$hub{$key}++) {
        push @published, [$id, $payload];
        $last{$id} = $payload // '';
    }
    save($known) if $known->note($id, defined $payload ? $digest : undef);
    return;
}

# Something happens at the service, and the bridges that are there are notified. What was published, but not saved before a
# crash, and has gone from the list meanwhile, is no event again: the page has it.
sub happen {
    my $id      = int rand $IDS;
    my $payload = rand() < 0.8 ? 'payload ' . int rand 3 : undef;
    return if !defined $payload && !grep { $_->[0] eq $id } @service;
    @service = grep { $_->[0] ne $id } @service;
    push @service, [$id, $payload] if defined $payload;
    shift @service while @service > $MOST;
    my ($before, $last) = (scalar @published, $last{$id} // '');
    publish($_, $id, $payload) for shuffle @bridges;
    my $has_page = delete $unsaved{$id} && $last eq ($payload // '');
    my $events   = @published - $before;
    return if !@bridges || $events == 1 || $events == 0 && $has_page;
    return "a notification gives $events events";
}

# A bridge begins: it reads the list.
sub begin {
    my $known   = $KNOWN->new($saved, $MOST);
    my %is_here = map { $_->[0] => 1 } @service;
    my @ids     = $known->ids;
    shift @ids while @ids && !$is_here{$ids[0]};
    publish($known, $_) for grep { !$is_here{$_} } @ids;
    my %payload = map { @$_ } @service;
    publish($known, $_->id, $payload{$_->id}) for $known->missing_of(map { listed(@$_) } @service);
    $known->note_order(map { $_->[0] } @service);
    push @bridges, $known;
    return map { "the last event of $_->[0] has another payload" } grep { ($last{$_->[0]} // '') ne $_->[1] } @service;
}

# All end at once.
sub crash {
    $unsaved{$_} = 1 for map { keys %{$_->{unsaved}} } @bridges;
    @bridges = ();
    return;
}

sub round {
    (@service, %hub, @published, %last, @bridges, %unsaved) = ();
    $saved = undef;
    for (1 .. 60) {
        my @wrong = @bridges ? () : begin();
        push @wrong, map { happen() } 1 .. rand 20;
        save($bridges[0]) if rand() < 0.7;
        push @wrong, map { happen() } 1 .. rand 4;
        my $before = @published;
        if (@bridges == 1 && rand() < 0.5) { save($bridges[0]); push @wrong, begin() }
        elsif (@bridges == 2 && rand() < 0.3) { splice @bridges, rand 2, 1 }
        else                                  { crash(); push @wrong, begin() }
        my @again = grep { defined $_->[1] } @published[$before .. $#published];
        push @wrong, 'an item comes again' if @again;

        if (rand() < 0.5) {
            save($_) for @bridges;
            crash();
            happen() for 1 .. rand 6;
        }
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

subtest 'a list that is longer than those before' => sub {
    my $long = $KNOWN->new(undef, 2);
    $long->note($_, digest($_)) for 1 .. 8;
    my @list = map { listed($_, $_) } 1 .. 9;
    is_deeply [map { $_->id } $KNOWN->new($long->saved, 4)->missing_of(@list)], [9],
        'what is older counts as published';
    is_deeply [map { $_->id } $KNOWN->new($long->saved, 2)->missing_of(@list[0, 1])], [1, 2],
        'a list of others is new if it is no longer';
};

done_testing;

# What a publisher can do to the pages of others, in Node: to their maps, their memory, and when they ask for a stream again.

use lib 't/lib';
use Testing            qw(native);
use JSON::MaybeXS      qw(encode_json);
use Testing::Developer qw(needs_command);
use Testing::Node      qw(run_script);
use Testing::Server;

needs_command('node');

my $server = Testing::Server->start('Twiggy', 't/script/publishers.psgi');

sub json { return ['application/json', encode_json({@_})] }
sub text { return ['text/plain',       shift] }

# The case of a stream whose handler pushes an event before it subscribes.
sub pushing {
    my $data  = pop;
    my $type  = pop;
    my $query = $data =~ s/([^\w])/sprintf '%%%02X', ord $1/ger;
    return {@_, member => undef, posts => [], path => "pushed?event=$type&push=$query"};
}

my $BOB    = '{"channel":"room","key":"bob","data":{"id":"bob","name":"Bob (admin)"}}';
my $GONE   = '{"channel":"room","key":"ann","forget":true}';
my $OWN    = '{"channel":"room","data":"of an application"}';
my @TYPES  = qw(count forget join leave update);
my @FORGED = (
    text($BOB),
    text($GONE),
    text($OWN),
    text('{"channel":"room","key":"bolt","data":{"left":999}}'),
    map({ json(event => $_, json => {id => 'ann', name => 'FORGED'}) } @TYPES),
    json(event => 'forget',          data => 'bolt'),
    json(event => 'count',           data => '999'),
    json(event => 'eventsource-hub', data => '{"show_channel":"data"}'),
    json(event => 'transport',       data => 'poll'),
);
my @steering = map { json(comment => $_, data => 'x') } 'keepalive 0.001', ":\nkeepalive: 0.001", 'state',
    "\nkeepalive: 0.001";
my @flood = map { text(sprintf '{"channel":"room","key":"%d","data":"%s"}', $_, 'x' x 20_000) } 1 .. 30;

my %plain = (url => $server->url('/plain'), options => {history => 1_000}, member => q(ann));
my %shown = (url => $server->url('/shown'), options => {history => 1_000}, member => q(ann), names => ['room']);
my @long  = map { json(event => "$_" . 'x' x 20_000, id => $_ . 'i' x 1_000, data => '') } 1 .. 30;
my @pushing =
    map { pushing(%shown, @$_) } ([message => $BOB], [join => '{"id":"bob"}'], [count => 999], [forget => 'bolt']);
my ($plain, $shown, @others) = run_script(
    publishers => {%plain, posts => \@FORGED},
    {%shown, posts => \@FORGED},
    {%plain, posts => \@steering},
    {%plain, posts => \@flood},
    {%plain, posts => \@long, options => {history => 1_000, share => \1}},
    @pushing,
);

for (['a hub that does not show keys', $plain, 400], ['a hub that does', $shown, 200]) {
    my ($what, $seen, $status) = @$_;
    is $seen->{after}, $seen->{before}, "$what: no text and no type changes a map";
    like $seen->{before}, qr/Ann/, 'which had a member';
    is_deeply $seen->{statuses}, [(200) x 4, ($status) x 7, 400, 400],
        "types that change maps: $status, the word of the hub and events of the script: 400";
    is_deeply $seen->{transports}, [], 'no event is taken for one of the script';
}
is_deeply [grep { $_ eq $OWN } @{$plain->{received}}], [$OWN],
    'JSON of an application that looks like that of a hub arrives as it is';

my ($steered, $flooded, $typed, @pushed) = @others;
is_deeply [map { @{$_->{warnings}} } $shown, @pushed], [],     'of a hub that shows channels the console has no line';
is_deeply [@$steered{qw(asked errors)}],               [0, 0], 'no comment has a page ask for another stream';
is_deeply [@{$steered->{statuses}}],                   [(200) x @steering], 'though it is published';
cmp_ok $flooded->{kept}, '<', 30_000, 'what a page keeps of texts that look like a state is bounded by its history';
cmp_ok $typed->{kept},   '<', 30_000, 'so is what it keeps of events with long types and ids';
for my $seen (@pushed) {
    is $seen->{after}, $seen->{before}, 'a text that a handler pushes is no part of a map';
    unlike $seen->{after}, qr/bob|999/, 'at no time';
}

subtest 'the state that a page keeps has a bound' => sub {
    my ($full, $none) = run_script(
        publishers => {%shown, member => undef, posts => [], options => {history => 1_000, state => 200}},
        {%shown, member => undef, posts => [], options => {history => 1_000, state => 0}},
    );
    cmp_ok $full->{sizes}[0], '==', 1, 'the map has what there is room for';
    is @{$full->{warnings}}, 1, 'the page says so once';
    like $full->{warnings}[0], qr/state is larger than 200 characters/, 'in its console';
    is_deeply [@$none{qw(sizes warnings)}], [[0, 0], []], 'a page may keep none, of which nothing is said';
};

done_testing;

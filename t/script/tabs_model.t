# Tabs that share a stream, in a random model of browsers and a network (tabs_model.mjs), which t/browser/tabs*.t has in real
# ones: workers and leading tabs that end, a state that comes slowly, gaps while a tab is away, clocks, other users.
# EVENTSOURCE_XS_STEPS is the number of seeds, EVENTSOURCE_XS_SEED the first one.

use lib 't/lib';
use Testing;
use JSON::MaybeXS      qw(decode_json);
use Testing::Developer qw(needs_command);

needs_command('node');

my $seeds    = $ENV{EVENTSOURCE_XS_STEPS} || 150;
my $first    = $ENV{EVENTSOURCE_XS_SEED}  || 1;
my ($script) = grep { -e } map { "$_/auto/share/dist/EventSource-XS/eventsource-hub.js" } grep { !ref } @INC;
my @lines    = qx{node t/script/tabs_model.mjs '$script' $first $seeds};
is $?, 0, 'the model ran';
my $all = decode_json(pop @lines);
is $all->{seeds}, $seeds, 'all seeds';
cmp_ok $all->{events}, '>', 50 * $seeds, "each tab has each event once, in order, of its user ($all->{gaps} gaps)";
is join('', @lines), '', 'in each of them';

my $classic = $script =~ s/[.]js\z/.classic.js/r;
is qx{node t/script/ended_stream.mjs '$classic'}, "2\n",
    'a tab that greets an ended stream leaves the next one to later tabs';

done_testing;

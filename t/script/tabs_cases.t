# Cases of tabs that share a stream, in the browser and on the network of the random model (tabs_model.mjs): what each tab
# receives, and what that costs.

use lib 't/lib';
use Testing;
use JSON::MaybeXS      qw(decode_json);
use Testing::Developer qw(needs_command);

needs_command('node');

my ($script) = grep { -e } map { "$_/auto/share/dist/EventSource-XS/eventsource-hub.js" } grep { !ref } @INC;
my @cases    = map  { decode_json($_) } qx{node t/script/tabs_cases.mjs '$script'};
is $?, 0, 'the cases ran';
is_deeply $_->{found}, $_->{expected}, $_->{name} or diag explain $_->{found} for @cases;

done_testing;

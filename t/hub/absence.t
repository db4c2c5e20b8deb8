# What a hub knows of its process: whether that is away, who waits for it, and who logs that.

use lib 't/lib';
use Testing;
use EventSource::Error;
use EventSource::XS::Hub::Absence;

my $away    = EventSource::Error->new(code => 'unavailable', message => 'away',  place => EventSource::Error->here);
my $other   = EventSource::Error->new(code => 'invalid',     message => 'wrong', place => EventSource::Error->here);
my $absence = EventSource::XS::Hub::Absence->new('shop');

my @warnings;
local $SIG{__WARN__} = sub { push @warnings, @_ };

is $absence->patience, 0, 'nobody waits for a process that is there';
cmp_ok $absence->patience_of_stream, '>', 0, 'except a stream that it has not taken yet';

$absence->note;
cmp_ok $absence->patience, '>', 0, 'when it is away, the first one waits';
is $absence->patience, 0, 'and no other one';
is_deeply \@warnings, [], 'one that may just begin is not logged';

ok $absence->claim_log($other),   'another error is logged';
ok $absence->claim_log($other),   'each time';
ok $absence->claim_log("died\n"), 'so is an exception of the application';
ok $absence->claim_log($away),    'that the process is away is logged';
ok !$absence->claim_log($away),   'once';

$absence->{since} -= 10;
$absence->note;
is_deeply \@warnings, [], 'a stream that waits logs it not again';

$absence->end;
is $absence->patience, 0, 'when it has answered, nobody waits';
$absence->note;
$absence->{since} -= 10;
$absence->note for 1, 2;
is scalar @warnings, 1, 'the next absence has one line';
like $warnings[0], qr/the hub process 'shop' does not answer/, 'with the name';
ok !$absence->claim_log($away), 'whoever asks';
cmp_ok $absence->patience, '>', 0, 'and its first stream waits';

done_testing;

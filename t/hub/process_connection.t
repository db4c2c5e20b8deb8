# EventSource::Hub->process: another connection to the hub process, which can do what a hub object cannot.

use lib 't/lib';
use Testing qw(named_hubs);
use EventSource::Hub;
use Testing::StoredHub;

my $started = Testing::StoredHub->start(undef);
my $hub     = $started->hub;
$hub->publish(news => 'hello');

my $process = $hub->process;
isa_ok $process, 'EventSource::Hub::Process';
is $process->pid, $hub->stats->{process}{pid}, 'it is connected to this hub';
my @names;
$process->channels('**', sub { push @names, $_[0]{name} });
is_deeply \@names, ['news'], 'and knows its channels';

ok !eval { EventSource::Hub->new->process; 1 }, 'a hub without a name has none';
is $@ && $@->code, 'state', 'which is an error in the state';

done_testing;

# Apache with mod_perl ends its children while they hold streams. A child has freed the request of its stream when it runs END
# blocks.

use lib 't/lib';
use Testing;
use Testing::Deadline qw($DEADLINE wait_until);
use Testing::HubServer;

Testing::HubServer->require_or_skip_all('mod_perl');

my $server = Testing::HubServer->start('mod_perl', workers => 2);
for my $signal (qw(HUP TERM)) {
    my $client;    # a child that ends resets the connections that it has not accepted yet
    wait_until(
        $DEADLINE,
        sub {
            $client = eval { $server->stream('/hub', channels => 'a') }
        }
    ) or die $@;
    kill $signal => $server->pid;
    ok $client->read_all, "$signal: the stream ends";
}
ok wait_until($DEADLINE, sub { $server->has_ended }), 'Apache ends';
unlike $server->log, qr/exit signal/, 'no child has crashed';

done_testing;

# Apache with mod_perl ends its children while they hold streams. A child has freed the request of its stream when it runs END
# blocks. With threads, each has a copy of the application that was loaded before.

use lib 't/lib';
use Testing qw(HubServer=mod_perl);

# Children that end reset the connections that they have not accepted yet.
sub stream {
    my $server = shift;
    my $client;
    wait_until $DEADLINE, sub {
        $client = eval { $server->stream('/hub', channels => 'a') }
    } or die $@;
    return $client;
}

for my $name ('mod_perl', 'mod_perl, with threads') {
    subtest $name => sub {
        my $server = Testing::HubServer->start($name, workers => 4);
        for my $signal (qw(HUP TERM)) {
            my @clients = map { stream($server) } 1 .. 2;
            if ($name =~ /threads/) {
                my ($id) = $server->publish(channel => 'a', count => 1);
                ok $_->read_until(qr/^id: \Q$id\E$/m), "$signal: the threads of a process have one hub" for @clients;
            }
            kill $signal => $server->pid;
            ok $_->read_all, "$signal: the stream ends" for @clients;
        }
        ok wait_until($DEADLINE, sub { $server->has_ended }), 'Apache ends';
        unlike $server->log, qr/exit signal|SIGKILL|in cleanup/, 'no child has crashed';
    };
}

done_testing;

# A stream over max_streams: its client receives the status 200 and a retry, whether its stream is native or not.

use lib 't/lib';
use Testing qw(native);
use Testing::Client;
use Testing::HubServer qw(path);
use Testing::Server;

for my $name (Testing::Server->names) {
    subtest $name => sub {
        my $server = Testing::HubServer->start($name, settings => {max_streams => 1});
        my $holds  = $server->stream('/hub', channels => 'a');
        for my $path ('/hub', '/filtered') {
            my $more = Testing::Client->get($server->port, path($path, channels => 'a'));
            ok $more->read_all, "$path: a stream over max_streams ends";
            is $more->status, 200, 'a stream over max_streams has the status 200';
            is_deeply [grep { $_ ne 'keepalive' } $more->text =~ /^(\w+):/mg], ['retry'],
                'a stream over max_streams receives a retry and nothing else';
            is $server->stats->{streams}, 1, 'a stream over max_streams is not counted';
        }
        $server->publish(channel => 'a', from => 5);
        ok $holds->read_until(qr/^data: 5/m), 'the first stream receives events after others were refused';
        $holds->leave;
        $server->stats_ok(
            sub { !$_->{streams} && !$_->{streams_all}{open} },
            'the hub counts no stream when the first client has left'
        );
        my $next = $server->stream('/filtered', channels => 'a');
        is $next->status, 200, 'a stream begins when the first client has left';
    };
}

done_testing;
